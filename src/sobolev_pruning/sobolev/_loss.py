"""Losses on values and derivatives, all of a batch in normalised units."""

import abc
import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..reference import AbstractDirections, Samples
from ..surrogate import MLP, Normalisation


class AbstractLoss(eqx.Module):
    """How far a network is from normalised samples.

    A loss may learn constants from a first batch (`calibrate`), so that its terms are comparable.
    """

    @abc.abstractmethod
    def calibrate(self, samples: Samples) -> "AbstractLoss":
        """The same loss with its constants learned from normalised samples.

        Raises:
            ValueError: the samples lack what the loss asks for.
        """

    @abc.abstractmethod
    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """Of the second derivatives to ask the reference for, in physical units; None to ask for none."""

    @abc.abstractmethod
    def residuals(self, network: MLP, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Weighted residuals of every sample, whose mean squared norm is the loss.

        Args:
            network: maps normalised inputs to normalised outputs.
            samples: in normalised units.
            key: random key of this batch, for a loss that draws directions.
        """

    def __call__(self, network: MLP, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """Mean loss over the batch, in squared deviations of the outputs."""
        return _mean_square(self.residuals(network, samples, key=key))


@final
class ValueLoss(AbstractLoss):
    """Mean squared error of the values, `1/n Σ ‖y − f(x)‖²`: vanilla training."""

    def calibrate(self, samples: Samples) -> "ValueLoss":
        """Nothing to learn."""
        return self

    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """None: no second derivatives."""
        return None

    def residuals(self, network: MLP, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Errors of the values, `(n, m)`."""
        return jax.vmap(network)(samples.x) - samples.y


@final
class SobolevLoss(AbstractLoss):
    """Values and gradients, `1/n Σ ‖y − f(x)‖² + λ₁ / c ‖∇y − ∇f(x)‖²`, in normalised units.

    The constant `c` is the mean squared norm of the gradients of the first batch. It brings both terms to the same
    scale, so that λ₁ = 1 weighs them alike at any dimension (B. Huge, A. Savine, *Differential Machine Learning*,
    2020, appendix 3, do the same for each input; one constant keeps the metric of the gradient). With
    λ₁ = 0 this is `ValueLoss`.

    References: W. Czarnecki et al., *Sobolev Training for Neural Networks*, NeurIPS 2017;
    Kichler et al. (2024).

    Attributes:
        gradient_weight: λ₁, not negative.
        gradient_scale: c; learned by `calibrate`.

    Raises:
        ValueError: a negative weight, or samples without derivatives.
    """

    gradient_weight: float = eqx.field(static=True, default=1.0, converter=float)
    gradient_scale: Float[Array, ""] | float = 1.0

    def __check_init__(self) -> None:
        if not (self.gradient_weight >= 0 and math.isfinite(self.gradient_weight)):
            raise ValueError(f"`gradient_weight` is {self.gradient_weight}; it must be finite, zero or positive.")

    def calibrate(self, samples: Samples) -> "SobolevLoss":
        """Learn the scale of the gradients."""
        if self.gradient_weight == 0:
            return self
        scale = _mean_square(_gradients(samples))
        # Where all gradients vanish there is no scale to learn, and the term is as it is.
        return SobolevLoss(self.gradient_weight, jnp.where(scale > 0, scale, jnp.ones_like(scale)))

    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """None: no second derivatives."""
        return None

    def residuals(self, network: MLP, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Errors of the values, then weighted errors of the gradients, `(n, m + m d)`."""

        def value_and_jacobian(x: Float[Array, " d"]):
            y, pullback = jax.vjp(network, x)
            (dydx,) = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
            return y, dydx

        if self.gradient_weight == 0:
            return ValueLoss().residuals(network, samples)
        labels = _gradients(samples)
        y, dydx = jax.vmap(value_and_jacobian)(samples.x)
        weight = jnp.sqrt(self.gradient_weight / jnp.asarray(self.gradient_scale, y.dtype))
        of_gradients = weight * (dydx - labels).reshape(samples.n, -1)
        return jnp.concatenate([y - samples.y, of_gradients], axis=1)


def _gradients(samples: Samples) -> Float[Array, "n m d"]:
    if samples.dydx is None:
        raise ValueError(
            "`samples.dydx` is None: a Sobolev loss needs derivative labels. Give them, or use `ValueLoss()`."
        )
    return samples.dydx


def _mean_square(residual: Float[Array, "n ..."]) -> Float[Array, ""]:
    """Squared norm of each row, averaged over the rows."""
    return jnp.sum(residual**2) / residual.shape[0]
