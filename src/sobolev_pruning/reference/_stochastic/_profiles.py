"""Payoffs as functions of one number, and smoothing between any two of them."""

import abc
import math
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from .._types import Scalar


class Smoothing(NamedTuple):
    """Where a payoff was smoothed, and how widely.

    Attributes:
        position: in units of what is smoothed.
        width: the scale of the sigmoid, in the same units.
    """

    position: Scalar
    width: Scalar


def check_width(width: Scalar | None) -> None:
    """Raise unless a width, where it is concrete, is positive and finite."""
    if width is not None and not isinstance(width, Tracer) and not 0 < float(width) < math.inf:
        raise ValueError(f"`width` of the smoothing is {width}; it must be positive and finite.")


class AbstractProfile(eqx.Module):
    """A payoff as a function of one number, which declares where it is smooth.

    `lipschitz` and `kinked` decide which labels are right: pathwise derivatives ask for a Lipschitz payoff, and second
    ones for one without kinks.
    """

    @property
    @abc.abstractmethod
    def lipschitz(self) -> bool:
        """Whether it is Lipschitz, with no jump."""

    @property
    @abc.abstractmethod
    def kinked(self) -> bool:
        """Whether its derivative, or the payoff itself, jumps somewhere."""

    @property
    @abc.abstractmethod
    def smoothings(self) -> tuple[Smoothing, ...]:
        """Where and how widely it was smoothed."""

    @abc.abstractmethod
    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The payoff."""


@final
class Smoothed(AbstractProfile):
    """`f(u) (1 − p) + g(u) p` with `p = 1/(1 + exp(−(u − position)/width))`: from f on the left to g on the right.

    It is as smooth as f and g are, and tends to them at a distance of many widths. With `f = 0`, `g = u − K` and the
    position K it is the smoothed call `v/(1 + exp(−v/w))`, `v = u − K`.

    Attributes:
        left, right: the smooth functions f and g of one number.
        position: where they are blended.
        width: the scale of the sigmoid; positive.

    Raises:
        ValueError: the width is not positive.
    """

    left: Callable[[Float[Array, ""]], Float[Array, ""]]
    right: Callable[[Float[Array, ""]], Float[Array, ""]]
    position: Scalar
    width: Scalar

    def __check_init__(self) -> None:
        check_width(self.width)

    @property
    def lipschitz(self) -> bool:
        """Yes."""
        return True

    @property
    def kinked(self) -> bool:
        """No, if f and g are smooth."""
        return any(isinstance(f, AbstractProfile) and f.kinked for f in (self.left, self.right))

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """This one, and those of f and g."""
        inner = [s for f in (self.left, self.right) if isinstance(f, AbstractProfile) for s in f.smoothings]
        return (Smoothing(self.position, self.width), *inner)

    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The blend."""
        p = jax.nn.sigmoid((u - self.position) / self.width)
        return self.left(u) * (1 - p) + self.right(u) * p


@final
class Line(AbstractProfile):
    """`level + slope (u − zero)`: a forward, or one arm of a payoff that is to be smoothed.

    Attributes:
        level, slope, zero: the numbers in it.
    """

    level: Scalar = 0.0
    slope: Scalar = 0.0
    zero: Scalar = 0.0

    @property
    def lipschitz(self) -> bool:
        """Yes."""
        return True

    @property
    def kinked(self) -> bool:
        """No."""
        return False

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The line."""
        return (u - self.zero) * self.slope + self.level


@final
class Call(AbstractProfile):
    """`max(u − K, 0)`.

    Attributes:
        strike: K.
    """

    strike: Scalar

    @property
    def lipschitz(self) -> bool:
        """Yes."""
        return True

    @property
    def kinked(self) -> bool:
        """At the strike."""
        return True

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The payoff."""
        return jnp.maximum(u - self.strike, 0)

    def smooth(self, width: Scalar) -> Smoothed:
        """`v/(1 + exp(−v/w))` with `v = u − K`; within 0.2785 widths of the call."""
        return Smoothed(Line(), Line(0.0, 1.0, self.strike), self.strike, width)


@final
class Put(AbstractProfile):
    """`max(K − u, 0)`.

    Attributes:
        strike: K.
    """

    strike: Scalar

    @property
    def lipschitz(self) -> bool:
        """Yes."""
        return True

    @property
    def kinked(self) -> bool:
        """At the strike."""
        return True

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The payoff."""
        return jnp.maximum(self.strike - u, 0)

    def smooth(self, width: Scalar) -> Smoothed:
        """The mirror image of the smoothed call."""
        return Smoothed(Line(0.0, -1.0, self.strike), Line(), self.strike, width)


@final
class Digital(AbstractProfile):
    """A fixed amount where `u > K`, else nothing. It jumps, so it has no pathwise derivatives.

    Attributes:
        strike: K.
        cash: the amount.
    """

    strike: Scalar
    cash: Scalar = 1.0

    @property
    def lipschitz(self) -> bool:
        """No: it jumps at the strike."""
        return False

    @property
    def kinked(self) -> bool:
        """At the strike."""
        return True

    @property
    def smoothings(self) -> tuple[Smoothing, ...]:
        """None."""
        return ()

    def __call__(self, u: Float[Array, ""]) -> Float[Array, ""]:
        """The payoff."""
        return jnp.where(u > self.strike, jnp.ones_like(u), jnp.zeros_like(u)) * self.cash

    def smooth(self, width: Scalar) -> Smoothed:
        """The amount times a sigmoid."""
        return Smoothed(Line(), Line(self.cash), self.strike, width)
