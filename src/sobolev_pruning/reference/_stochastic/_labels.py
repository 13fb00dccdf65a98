"""How the derivatives of an expectation are had from single paths, and when that is right."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._jacobian import value_and_jacobian
from ._payoffs import AbstractPayoff
from ._simulation import Normals

# The payoff of one path as a function of the input and of the path's normals.
Path = Callable[[Float[Array, " d"], Normals], Float[Array, " m"]]
# The normals that keep the path where it is while the input moves, and the logarithm of its density.
Pinned = Callable[[Float[Array, " d"], Normals], tuple[Normals, Float[Array, ""]]]


class AbstractLabels(eqx.Module):
    """Estimates derivatives of the expected payoff, path by path and without bias."""

    @property
    @abc.abstractmethod
    def needs_density(self) -> bool:
        """Whether the scheme's steps must have a density that can be differentiated."""

    @abc.abstractmethod
    def check(self, payoff: AbstractPayoff, *, second: bool) -> None:
        """Refuse a payoff for which the first (or the second) derivatives would be wrong.

        Raises:
            ValueError: the message says why, and what to do.
        """

    @abc.abstractmethod
    def values(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, " m"]:
        """The payoff, in such a form that its derivative by AD is the label of the gradient."""

    @abc.abstractmethod
    def gradients(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, "m d"]:
        """An estimate of the gradient, in such a form that its derivative by AD is the label of the curvature."""


@final
class Pathwise(AbstractLabels):
    """Derivatives of the payoff along the path.

    Expectation and derivative may be exchanged if the payoff is Lipschitz and differentiable almost everywhere in the
    input; for the second derivative, if its gradient is.

    Reference: P. Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), section 7.2.
    """

    @property
    def needs_density(self) -> bool:
        """No."""
        return False

    def check(self, payoff: AbstractPayoff, *, second: bool) -> None:
        """Refuse jumps, and for second derivatives kinks."""
        if not payoff.lipschitz:
            raise ValueError(
                "`labels` is Pathwise, and the payoff is not Lipschitz: it jumps (a digital, a barrier). The "
                "derivative along a path is zero on both sides of a jump and misses it, so the mean of these labels is "
                "not the derivative of the price. Smooth the payoff (`Digital(strike).smooth(width)`, `Barrier(..., "
                "width=width)`, `Smoothed(f, g, position, width)`), or use `labels=LikelihoodRatio()`."
            )
        if second and payoff.kinked:
            raise ValueError(
                "`labels` is Pathwise, and the payoff has a kink: its second derivative along a path is zero almost "
                "everywhere, and the mean of these labels is zero instead of the gamma. Smooth the payoff "
                "(`Call(strike).smooth(width)`), or use `labels=Mixed()`, the likelihood ratio of the pathwise "
                "derivative; or train on values and gradients."
            )

    def values(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, " m"]:
        """The payoff as it is."""
        return path(x, normals)

    def gradients(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, "m d"]:
        """The derivative along the path."""
        return value_and_jacobian(lambda x: path(x, normals), x)[1]


@final
class LikelihoodRatio(AbstractLabels):
    """First derivatives from the score of the path's density: the payoff need not even be continuous.

    `∇ E[f(S)] = E[f(S) ∇ log p(S; x)]`, with the path held where it is. Only what the payoff itself takes from the
    input (a strike, the discount) is differentiated along the path, and there the payoff must be Lipschitz. The density
    is that of the scheme's own steps, so the labels are unbiased for the discretised model. The noise grows with the
    number of steps as 1/dt, since the spot is felt by the first step alone: where the model has an exact step, take
    `ModelStep()` and few steps; with one it is the score of the terminal density.

    Reference: M. Broadie, P. Glasserman, *Estimating Security Price Derivatives Using Simulation* (1996).
    """

    @property
    def needs_density(self) -> bool:
        """Yes."""
        return True

    def check(self, payoff: AbstractPayoff, *, second: bool) -> None:
        """Refuse second derivatives."""
        if second:
            raise ValueError(
                "`labels` is LikelihoodRatio, which gives first derivatives. For second ones of a Lipschitz payoff use "
                "`labels=Mixed()`; one that jumps must be smoothed."
            )

    def values(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, " m"]:
        """The payoff times a ratio of densities that is one, and whose derivative is the score."""
        zeta, log_density = pinned(x, normals)
        return path(x, zeta) * _ratio(log_density)

    def gradients(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, "m d"]:
        """The label of first order; its own derivative is no label."""
        return value_and_jacobian(lambda x: self.values(path, pinned, x, normals), x)[1]


@final
class Mixed(AbstractLabels):
    """First derivatives along the path, second ones as the likelihood ratio of these.

    For a payoff with kinks: its pathwise derivative jumps, and the score is what differentiates a jump. As noisy as
    `LikelihoodRatio`, in the second order only.

    Reference: P. Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), section 7.3.4.
    """

    @property
    def needs_density(self) -> bool:
        """Yes."""
        return True

    def check(self, payoff: AbstractPayoff, *, second: bool) -> None:
        """Refuse jumps."""
        if not payoff.lipschitz:
            raise ValueError(
                "`labels` is Mixed, whose first derivatives are pathwise, and the payoff is not Lipschitz: it jumps. "
                "Smooth the payoff, or use `labels=LikelihoodRatio()` for first derivatives."
            )

    def values(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, " m"]:
        """The payoff as it is."""
        return path(x, normals)

    def gradients(self, path: Path, pinned: Pinned, x: Float[Array, " d"], normals: Normals) -> Float[Array, "m d"]:
        """The derivative along the path, times the ratio of densities."""
        zeta, log_density = pinned(x, normals)
        # The inner derivative moves the path, at normals that are given; the outer one holds it.
        return value_and_jacobian(lambda x: path(x, zeta), x)[1] * _ratio(log_density)


def _ratio(log_density: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.exp(log_density - jax.lax.stop_gradient(log_density))
