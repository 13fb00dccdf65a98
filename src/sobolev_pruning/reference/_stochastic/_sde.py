"""Itô equations `dS = a(S, t) dt + b(S, t) dW`, the models of the simulation."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from .._types import Scalar


class AbstractSDE(eqx.Module):
    """A stochastic differential equation in the sense of Itô, with q states and r independent Brownian motions.

    A model is two functions. One that knows a better step than a general scheme (an exact one, say) overrides `step`,
    and is then simulated with `ModelStep`. Parameters are leaves, so that they may depend on the input of a surrogate
    and be differentiated. A model without noise (`n_noise` 0) is an ordinary differential equation.
    """

    @property
    @abc.abstractmethod
    def n_noise(self) -> int:
        """Number of independent Brownian motions, r."""

    @abc.abstractmethod
    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """Drift a, in units of the state per year."""

    @abc.abstractmethod
    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """Diffusion b, in units of the state per square root of a year."""

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """The state at `t + dt`, driven by the increments `dw`; the step of Euler and Maruyama if not overridden.

        Args:
            t: time at the start of the step, in years.
            dt: length of the step.
            s: state at `t`.
            dw: increments of the r Brownian motions, independent normals of variance `dt`.
        """
        return s + self.drift(t, s) * dt + self.diffusion(t, s) @ dw

    @property
    def step_is_invertible(self) -> bool:
        """Whether `step` maps the increments one to one and smoothly onto states, the same ones for all parameters.

        Only then does the new state have a density whose score `LikelihoodRatio` can take by differentiating the step.
        A model that overrides `step` says so itself.
        """
        return False

    @property
    def diffusion_vanishes(self) -> bool:
        """Whether b may become singular on a path, where a step of Euler's scheme has no density; overridden if so."""
        return False

    def observe(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " a"]:
        """What a payoff sees of the state: the prices of a assets; the state itself if not overridden."""
        return s

    @property
    def own_rate(self) -> Scalar | Float[Array, " d"] | None:
        """The risk-free rate in the drift, if the model was given one; a model that has such a rate overrides this."""
        return None

    def at_rate(self, rate: Scalar) -> "AbstractSDE":
        """The model with this risk-free rate in its drift; itself if it knows none. Overridden with `own_rate`."""
        return self


def number_or_zero(rate: Scalar | None) -> Scalar:
    """A rate that was not given is zero outside of a problem."""
    return 0.0 if rate is None else rate


@final
class ItoSDE(AbstractSDE):
    """Any Itô equation, from two functions.

    Attributes:
        drift_function: `a(t, s) -> (q,)`.
        diffusion_function: `b(t, s) -> (q, r)`; a single asset has shape `(1, 1)`.
        brownian_motions: number of independent ones, r; 0 makes an ordinary differential equation.

    Raises:
        ValueError: a negative number of Brownian motions.
    """

    drift_function: Callable[[Scalar, Float[Array, " q"]], Float[Array, " q"]]
    diffusion_function: Callable[[Scalar, Float[Array, " q"]], Float[Array, "q r"]]
    brownian_motions: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.brownian_motions < 0:
            raise ValueError(f"`brownian_motions` is {self.brownian_motions}; give their number, 0 for none.")

    @property
    def n_noise(self) -> int:
        """As given."""
        return self.brownian_motions

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """The first function."""
        return self.drift_function(t, s)

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """The second function."""
        return self.diffusion_function(t, s)
