"""Payoffs on a path, as accumulators: a path is looked at date by date and never stored."""

import abc
import dataclasses
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Scalar
from ._profiles import AbstractProfile, Smoothing, check_width
from ._quotes import AbstractFixing, AbstractQuote, Asset, Terminal


class AbstractPayoff(eqx.Module):
    """What is paid at maturity for a path of the prices that a model shows (`AbstractSDE.observe`).

    A payoff declares where it is smooth, and so which labels are right; see `Pathwise` and `LikelihoodRatio`.
    """

    @property
    @abc.abstractmethod
    def lipschitz(self) -> bool:
        """Whether it is a Lipschitz function of the prices on the path, with no jump."""

    @property
    @abc.abstractmethod
    def kinked(self) -> bool:
        """Whether its derivative, or the payoff itself, jumps somewhere."""

    @property
    @abc.abstractmethod
    def smoothings(self) -> tuple[Smoothing, ...]:
        """Where and how widely it was smoothed."""

    @abc.abstractmethod
    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """The state of the accumulator at the start of the path; a pytree of arrays of fixed shapes."""

    @abc.abstractmethod
    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """The state after one more date, at which the prices are `s`."""

    @abc.abstractmethod
    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """What is paid, one amount or m of them."""

    @property
    def own_rates(self) -> tuple[tuple[str, Scalar | None], ...]:
        """Risk-free rates at which the payoff itself discounts, with what has them; overridden if there are any."""
        return ()

    def at_rate(self, rate: Scalar) -> "AbstractPayoff":
        """The payoff that discounts at this rate; itself if it discounts nothing. Overridden with `own_rates`."""
        return self

    def check_steps(self, n_steps: int) -> None:
        """Refuse a number of steps that is not the payoff's own; overridden where there is one.

        Raises:
            ValueError: how many steps there must be.
        """


@final
class Option(AbstractPayoff):
    """A profile of a fixing: `Option(Call(1.1))`, `Option(Put(1.0), ArithmeticAverage())`, `Option(Call(1.0),
    Terminal(BestOf()))`.

    Attributes:
        profile: the payoff as a function of one number.
        fixing: that number; the price of the first asset at maturity if not given.
    """

    profile: AbstractProfile
    fixing: AbstractFixing = Terminal()

    @property
    def lipschitz(self) -> bool:
        """As the profile is; all fixings are Lipschitz."""
        return self.profile.lipschitz

    @property
    def kinked(self) -> bool:
        """Where the profile or the quote is."""
        return self.profile.kinked or self.fixing.quote.kinked

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """Those of the profile and of the quote."""
        return self.profile.smoothings + self.fixing.quote.smoothings

    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """That of the fixing."""
        return self.fixing.init(self.fixing.quote(s0))

    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """That of the fixing."""
        return self.fixing.update(carry, self.fixing.quote(s))

    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """The profile of the fixing."""
        return self.profile(self.fixing.value(carry))


@final
class Barrier(AbstractPayoff):
    """Another payoff that is lost (out) or won (in) once a quote has crossed a level on a date of the simulation.

    The barrier is watched on all dates but the first. The payoff jumps where the path touches the level, so pathwise
    derivatives are wrong; with a width, each date's indicator is a sigmoid of that width instead.

    Attributes:
        payoff: what is paid if alive.
        level: the barrier.
        up: whether crossing is from below.
        out: whether the payoff is lost then, or won.
        width: of the smoothing, in units of the price; None keeps the jump.
        quote: what is watched; the first asset if not given.

    Raises:
        ValueError: the width is not positive.
    """

    payoff: AbstractPayoff
    level: Scalar
    up: bool = eqx.field(static=True, kw_only=True)
    out: bool = eqx.field(static=True, kw_only=True)
    width: Scalar | None = eqx.field(default=None, kw_only=True)
    quote: AbstractQuote = eqx.field(default=Asset(), kw_only=True)

    def __check_init__(self) -> None:
        check_width(self.width)

    @property
    def lipschitz(self) -> bool:
        """Only if smoothed."""
        return self.width is not None and self.payoff.lipschitz

    @property
    def kinked(self) -> bool:
        """Unless all is smoothed."""
        return self.width is None or self.payoff.kinked or self.quote.kinked

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """That of the level, and those of the payoff and the quote."""
        own = () if self.width is None else (Smoothing(self.level, self.width),)
        return own + self.payoff.smoothings + self.quote.smoothings

    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """Alive."""
        return self.payoff.init(s0), jnp.ones_like(self.quote(s0))

    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """Alive if it was and the level is not crossed."""
        inner, alive = carry
        room = (self.quote(s) - self.level) * (-1.0 if self.up else 1.0)
        if self.width is None:
            inside = jnp.where(room > 0, jnp.ones_like(room), jnp.zeros_like(room))
        else:
            inside = jax.nn.sigmoid(room / self.width)
        return self.payoff.update(inner, t, s), alive * inside

    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """The other payoff times the part that is alive, or that is not."""
        inner, alive = carry
        return self.payoff.value(inner) * (alive if self.out else 1 - alive)

    @property
    def own_rates(self) -> tuple[tuple[str, Scalar | None], ...]:
        """Those of the other payoff."""
        return self.payoff.own_rates

    def at_rate(self, rate: Scalar) -> "Barrier":
        """The other payoff at this rate."""
        return dataclasses.replace(self, payoff=self.payoff.at_rate(rate))

    def check_steps(self, n_steps: int) -> None:
        """Those of the other payoff."""
        self.payoff.check_steps(n_steps)


@final
class TerminalPayoff(AbstractPayoff):
    """Any function of the prices at maturity.

    Attributes:
        function: `(a,) -> ()` or `(m,)`.
        is_lipschitz, is_kinked: what the function is. Nothing checks it, and labels rely on it.
    """

    function: Callable[[Float[Array, " a"]], Float[Array, "..."]]
    is_lipschitz: bool = eqx.field(static=True, kw_only=True)
    is_kinked: bool = eqx.field(static=True, kw_only=True)

    @property
    def lipschitz(self) -> bool:
        """As declared."""
        return self.is_lipschitz

    @property
    def kinked(self) -> bool:
        """As declared."""
        return self.is_kinked

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None that are known."""
        return ()

    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """The prices."""
        return s0

    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """The newest."""
        return s

    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """The function of the last."""
        return self.function(carry)


@final
class Portfolio(AbstractPayoff):
    """Several payoffs on one path, each an output of its own.

    Attributes:
        payoffs: at least one.

    Raises:
        ValueError: there is none.
    """

    payoffs: tuple[AbstractPayoff, ...] = eqx.field(converter=tuple)

    def __check_init__(self) -> None:
        if not self.payoffs:
            raise ValueError("`payoffs` is empty; give at least one.")

    @property
    def lipschitz(self) -> bool:
        """If all are."""
        return all(payoff.lipschitz for payoff in self.payoffs)

    @property
    def kinked(self) -> bool:
        """If one is."""
        return any(payoff.kinked for payoff in self.payoffs)

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """Those of all."""
        return tuple(smoothing for payoff in self.payoffs for smoothing in payoff.smoothings)

    def init(self, s0: Float[Array, " a"]) -> PyTree:
        """Those of all."""
        return tuple(payoff.init(s0) for payoff in self.payoffs)

    def update(self, carry: PyTree, t: Scalar, s: Float[Array, " a"]) -> PyTree:
        """All of them."""
        return tuple(payoff.update(c, t, s) for payoff, c in zip(self.payoffs, carry, strict=True))

    def value(self, carry: PyTree) -> Float[Array, ""] | Float[Array, " m"]:
        """All amounts in one row."""
        values = [jnp.atleast_1d(payoff.value(c)) for payoff, c in zip(self.payoffs, carry, strict=True)]
        return jnp.concatenate(values)

    @property
    def own_rates(self) -> tuple[tuple[str, Scalar | None], ...]:
        """Those of all."""
        return tuple(rate for payoff in self.payoffs for rate in payoff.own_rates)

    def at_rate(self, rate: Scalar) -> "Portfolio":
        """All of them at this rate."""
        return Portfolio(tuple(payoff.at_rate(rate) for payoff in self.payoffs))

    def check_steps(self, n_steps: int) -> None:
        """Those of all."""
        for payoff in self.payoffs:
            payoff.check_steps(n_steps)
