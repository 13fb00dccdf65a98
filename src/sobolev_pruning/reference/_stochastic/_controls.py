"""Control variates: what has the expectation zero and goes with the payoff."""

import abc
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._types import Scalar
from ._payoffs import AbstractPayoff
from ._problem import Problem
from ._sde import number_or_zero


class PathStep(NamedTuple):
    """One step of a simulated path.

    Attributes:
        t, dt: its start and its length, in years.
        s: state at its start, `(q,)`.
        dw: increments of the Brownian motions over it, `(r,)`.
        s_next: state at its end, `(q,)`.
    """

    t: Float[Array, ""]
    dt: Float[Array, ""]
    s: Float[Array, " q"]
    dw: Float[Array, " r"]
    s_next: Float[Array, " q"]


class AbstractControl(eqx.Module):
    """Gathered along the path as a payoff is, and subtracted from it.

    Its expectation is zero for every input, so values keep their expectation, and derivatives theirs.
    """

    @property
    @abc.abstractmethod
    def lipschitz(self) -> bool:
        """Whether the derivative of its expectation is the expectation of its pathwise derivative."""

    @property
    @abc.abstractmethod
    def kinked(self) -> bool:
        """Whether that fails for the second derivative."""

    @abc.abstractmethod
    def init(self, problem: Problem) -> PyTree:
        """The state of the accumulator at the start."""

    @abc.abstractmethod
    def update(self, carry: PyTree, problem: Problem, step: PathStep) -> PyTree:
        """The state after one more step."""

    @abc.abstractmethod
    def value(self, carry: PyTree, problem: Problem, x: Float[Array, " d"]) -> Float[Array, ""] | Float[Array, " m"]:
        """The control, discounted to the start: one number for all outputs, or one for each."""


@final
class Control(AbstractControl):
    """Another payoff on the same path, less its known expectation.

    Attributes:
        payoff: the other payoff; it must be Lipschitz for pathwise labels.
        expectation: its discounted expectation as a differentiable function of the input, `(d,) -> ()` or `(m,)`.
    """

    payoff: AbstractPayoff
    expectation: Callable[[Float[Array, " d"]], Float[Array, "..."]]

    @property
    def lipschitz(self) -> bool:
        """As the payoff is."""
        return self.payoff.lipschitz

    @property
    def kinked(self) -> bool:
        """As the payoff is."""
        return self.payoff.kinked

    def init(self, problem: Problem) -> PyTree:
        """That of the payoff."""
        return self._payoff(problem).init(problem.model.observe(problem.begin, problem.start))

    def update(self, carry: PyTree, problem: Problem, step: PathStep) -> PyTree:
        """That of the payoff."""
        t = step.t + step.dt
        return self._payoff(problem).update(carry, t, problem.model.observe(t, step.s_next))

    def value(self, carry: PyTree, problem: Problem, x: Float[Array, " d"]) -> Float[Array, ""] | Float[Array, " m"]:
        """The discounted payoff less its expectation."""
        discount = jnp.exp(-number_or_zero(problem.rate) * (problem.maturity - problem.begin))
        return discount * self._payoff(problem).value(carry) - self.expectation(x)

    def _payoff(self, problem: Problem) -> AbstractPayoff:
        """At the rate of the problem."""
        return Problem(problem.model, problem.start, self.payoff, problem.maturity, problem.rate).agreed().payoff


@final
class DeltaHedge(AbstractControl):
    """The gains of a hedge, without their expectation: `Σ e^(−r t) (δ·b dW + ½ (dWᵀ bᵀΓb dW − tr(bᵀΓb) dt))`.

    `δ(t, S)` and `Γ(t, S)` are known before the increment is, so each summand has the expectation zero under any
    scheme, whatever the functions are: the labels stay unbiased even where the hedge is bad. Where δ is the true delta
    almost all noise is gone; Γ takes what is left of order dt. A surrogate's own delta and gamma are meant. Given the
    past, the derivative of a summand is again known times an increment, so derivatives keep their expectation, too,
    also those of a δ that has kinks or jumps.

    Attributes:
        delta: `(t, s) -> (q,)`, or `(m, q)` for m outputs: derivatives of the price at time t in the state.
        gamma: `(t, s) -> (q, q)` or `(m, q, q)`; None leaves the term out.
    """

    delta: Callable[[Scalar, Float[Array, " q"]], Float[Array, "... q"]]
    gamma: Callable[[Scalar, Float[Array, " q"]], Float[Array, "... q q"]] | None = None

    @property
    def lipschitz(self) -> bool:
        """Nothing is asked of the hedge."""
        return True

    @property
    def kinked(self) -> bool:
        """Nothing is asked of the hedge."""
        return False

    def init(self, problem: Problem) -> PyTree:
        """No gains yet."""
        shape = jax.eval_shape(lambda: self.delta(jnp.asarray(problem.begin, problem.start.dtype), problem.start)).shape
        if shape[-1:] != problem.start.shape:
            raise ValueError(
                f"`delta` returns shape {shape}; it must be (q,) or (m, q) with one number for each of the "
                f"{problem.start.shape[0]} states."
            )
        return jnp.zeros(shape[:-1], problem.start.dtype)

    def update(self, carry: PyTree, problem: Problem, step: PathStep) -> PyTree:
        """The gains of one more step."""
        b = problem.model.diffusion(step.t, step.s)
        move = b @ step.dw
        gain = self.delta(step.t, step.s) @ move
        if self.gamma is not None:
            square = move[:, None] * move[None] - step.dt * (b @ b.T)
            gain = gain + 0.5 * jnp.tensordot(self.gamma(step.t, step.s), square, 2)
        return carry + jnp.exp(-number_or_zero(problem.rate) * (step.t - problem.begin)) * gain

    def value(self, carry: PyTree, problem: Problem, x: Float[Array, " d"]) -> Float[Array, ""] | Float[Array, " m"]:
        """The gains."""
        return carry
