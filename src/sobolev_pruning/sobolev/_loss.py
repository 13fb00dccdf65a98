"""Losses on values and derivatives, all of a batch in normalised units."""

import abc
import dataclasses
import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ..reference import AbstractDirections, Axes, InUnits, Rademacher, Samples
from ..surrogate import Normalisation
from ._balance import AbstractBalance, LabelScale
from ._batched import Network, derivatives
from ._curvature import check_has_curvature, is_rounding, warn_of_noise
from ._labels import Labels, curvature_labels, gradient_labels, mean_square, value_labels

# Up to here the whole Hessian costs no more than four directions.
_WHOLE_UP_TO = 4


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
    def residuals(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Weighted residuals of every sample, whose mean squared norm is the loss.

        Args:
            network: maps normalised inputs to normalised outputs.
            samples: in normalised units.
            key: random key of this batch, for a loss that draws directions.
        """

    @abc.abstractmethod
    def __call__(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """Mean loss over the batch, in squared deviations of the outputs; arguments as of `residuals`."""


@final
class ValueLoss(AbstractLoss):
    """Mean squared error of the values, `1/n Σ ‖y − f(x)‖²`: vanilla training.

    With weights, `m / K Σ w (y − f(x))²` over the K values that are known, those of positive weight.
    """

    def calibrate(self, samples: Samples) -> "ValueLoss":
        """Nothing to learn, but weights that leave no value are refused."""
        value_labels(samples).check()
        return self

    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """None: no second derivatives."""
        return None

    def residuals(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Weighted errors of the values, `(n, m)`."""
        return value_labels(samples).differences(derivatives(network, samples.x, order=0).values).T

    def __call__(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """Mean squared error of the values."""
        return mean_square(value_labels(samples).differences(derivatives(network, samples.x, order=0).values))


@final
class SobolevLoss(AbstractLoss):
    """Values, gradients and curvature, in normalised units:

    `1/n Σ ‖y − f(x)‖² + λ₁ / c₁ ‖∇y − ∇f(x)‖² + λ₂ / c₂ · 1/k Σ_v ‖∇²y v − ∇²f(x) v‖²`.

    The constants are the mean squared norms of the labels of the first batch. They bring all terms to the same scale,
    so that λ = 1 weighs them alike at any dimension and in any units (B. Huge, A. Savine, *Differential Machine
    Learning*, 2020, appendix 3, do the same for each input; one constant keeps the metric of the gradient). Other
    ways of balancing are `LabelNoise` and `GeometricMean`. With λ₁ = λ₂ = 0 this is `ValueLoss`.

    *Curvature* is compared along the directions that come with the samples; a reference is asked for them. Samples with
    whole Hessians are multiplied with fresh directions at every step. All k directions of a sample share one
    linearisation, so a step costs about as much as 1 + k steps without curvature. Without a key (as in
    `fit_levenberg_marquardt`) whole Hessians are compared.

    *Many outputs*: samples with `vjps` in place of `dydx` are compared along their c cotangents, at the cost of c rows.

    *Weights* of labels multiply the squares of every term; labels of weight zero are not known and add exactly nothing.
    Means are over the labels that are known.

    References: W. Czarnecki et al., *Sobolev Training for Neural Networks*, NeurIPS 2017;
    Kichler et al. (2024).

    Attributes:
        gradient_weight: λ₁, not negative.
        curvature_weight: λ₂, not negative.
        curvature_directions: the v, in normalised units; `None` takes `Axes()`, the whole Hessian, up to four inputs
            and one `Rademacher()` direction beyond.
        balance: how λ is to be understood.
        gradient_scale, curvature_scale: c₁ and c₂; learned by `calibrate`.

    Raises:
        ValueError: a negative weight, samples without the derivatives that are weighed, weights of labels that leave
            nothing, or a network without curvature in a loss of second order.
    """

    gradient_weight: float = eqx.field(static=True, default=1.0, converter=float)
    curvature_weight: float = eqx.field(static=True, default=0.0, converter=float)
    curvature_directions: AbstractDirections | None = None
    balance: AbstractBalance = LabelScale()
    gradient_scale: Float[Array, ""] | float = 1.0
    curvature_scale: Float[Array, ""] | float = 1.0

    def __check_init__(self) -> None:
        for name in ("gradient_weight", "curvature_weight"):
            weight = getattr(self, name)
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"`{name}` is {weight}; it must be finite, zero or positive.")

    def calibrate(self, samples: Samples) -> "SobolevLoss":
        """Learn the scales of the derivatives; warn of second-order labels that are noise (`NoisyCurvatureWarning`)."""
        values = value_labels(samples)
        values.check(needed=self.gradient_weight == 0)
        scales = {}
        size_below = values.size()
        if self.gradient_weight > 0:
            labels, _ = gradient_labels(samples)
            labels.check()
            size = labels.size()
            size_below = size_below + size
            scales["gradient_scale"] = self.balance.scale(1, size)
        if self.curvature_weight > 0:
            # The scale is one constant of the whole training; which directions measure it is of no account.
            labels, v = curvature_labels(samples, self._chosen(samples.x.shape[1]), jax.random.key(0))
            labels.check()
            size = labels.size()
            if not isinstance(size, Tracer):
                known = labels.differences(None)
                warn_of_noise(jnp.einsum("dmkn,nld->nmkl", known, v), size, size_below)
            # Rounding errors of a function without curvature must not be blown up to its size.
            meant = jnp.where(is_rounding(size, size_below), jnp.zeros_like(size), size)
            scales["curvature_scale"] = self.balance.scale(2, meant)
        return dataclasses.replace(self, **scales)

    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """Those of the second order, isotropic in normalised units; None if curvature has no weight."""
        if self.curvature_weight == 0:
            return None
        return InUnits(self._chosen(units.x_scale.shape[0]), units.x_scale, units.y_scale)

    def residuals(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Errors of the values, then weighted errors of gradients and curvature, `(n, m + c d + m k d)`."""
        self.balance.check_least_squares()
        parts = []
        for difference, weight, scale in self._differences(network, samples, key):
            factor = jnp.sqrt(jnp.asarray(weight, difference.dtype) / scale)
            parts.append((factor * difference).T.reshape(samples.n, -1))
        return jnp.concatenate(parts, axis=1)

    def __call__(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """The loss over the batch; arguments as of `residuals`."""
        terms = self._differences(network, samples, key)
        errors = [mean_square(difference) / scale for difference, _, scale in terms]
        return self.balance.total(errors, [weight for _, weight, _ in terms])

    def _differences(
        self, network: Network, samples: Samples, key: PRNGKeyArray | None
    ) -> list[tuple[Array, float, Array]]:
        """Differences of the orders that count, samples last, each with its weight and its scale."""
        orders: list[tuple[Labels, float, Array | float]] = [(value_labels(samples), 1.0, 1.0)]
        cotangents = v = None
        if self.gradient_weight > 0:
            labels, cotangents = gradient_labels(samples)
            orders.append((labels, self.gradient_weight, self.gradient_scale))
        if self.curvature_weight > 0:
            check_has_curvature(network)
            labels, v = curvature_labels(samples, self._chosen(samples.x.shape[1]), key)
            orders.append((labels, self.curvature_weight, self.curvature_scale))
        order = 2 if self.curvature_weight > 0 else int(self.gradient_weight > 0)
        found = derivatives(network, samples.x, order=order, cotangents=cotangents, directions=v)
        everything = [found.values]
        everything += [found.gradients] if self.gradient_weight > 0 else []
        everything += [found.products] if self.curvature_weight > 0 else []
        return [
            (labels.differences(part), weight, jnp.asarray(scale, samples.y.dtype))
            for (labels, weight, scale), part in zip(orders, everything, strict=True)
        ]

    def _chosen(self, dim: int) -> AbstractDirections:
        if self.curvature_directions is not None:
            return self.curvature_directions
        return Axes() if dim <= _WHOLE_UP_TO else Rademacher()
