"""How the terms of a Sobolev loss are brought to one scale."""

import abc
from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..reference import Samples


class AbstractBalance(eqx.Module):
    """Turns the mean squared errors of values, gradients and curvature into one loss."""

    @abc.abstractmethod
    def scale(self, order: int, size: Float[Array, ""]) -> Float[Array, ""]:
        """What the error of the derivatives of an order is divided by, before its λ.

        Args:
            order: 1 or 2.
            size: mean squared norm of the labels of that order in the first batch.
        """

    @abc.abstractmethod
    def total(self, errors: Sequence[Float[Array, ""]], weights: Sequence[float]) -> Float[Array, ""]:
        """The loss.

        Args:
            errors: mean squared errors of the values and of the derivatives that count, divided by their scales.
            weights: 1 for the values, λ₁ and λ₂.
        """

    @abc.abstractmethod
    def check_least_squares(self) -> None:
        """Refuse to be written as a sum of squares, which Levenberg–Marquardt asks for.

        Raises:
            ValueError: the loss is not one.
        """


@final
class LabelScale(AbstractBalance):
    """Each term is divided by the mean squared norm of its labels, once and for all: λ is all that weighs them.

    Errors are then relative ones, so the same λ means the same at any dimension and in any units.
    """

    def scale(self, order: int, size: Float[Array, ""]) -> Float[Array, ""]:
        """The size itself; labels that all vanish have no scale and leave their term as it is."""
        return jnp.where(size > 0, size, jnp.ones_like(size))

    def total(self, errors: Sequence[Float[Array, ""]], weights: Sequence[float]) -> Float[Array, ""]:
        """The weighted sum."""
        return _weighted_sum(errors, weights)

    def check_least_squares(self) -> None:
        """It is one."""


@final
class LabelNoise(AbstractBalance):
    """Each term is weighted by the inverse variance of the noise of its labels, relative to that of the values.

    For labels `∂y + ε` with independent normal ε of variance s² the likelihood of a network is
    `exp(−Σ ‖labels − derivatives‖² / 2s²)` over all orders, so with λ₁ = λ₂ = 1 the loss is the negative logarithm of
    the likelihood, times 2 s₀² and up to a constant, and its minimiser the most likely network. Noisy derivatives
    then weigh little by themselves, and cannot hurt as they do under a fixed weight. All variances are in normalised
    units and of single labels: of one value, of one entry of a Jacobian, of one entry of a Hessian.

    Attributes:
        y: s₀², variance of the noise of values.
        dydx: s₁², of entries of Jacobians; `None` if the loss does not use them.
        d2ydx2: s₂², of entries of Hessians; `None` if the loss does not use them.

    Raises:
        ValueError: a variance that is not positive, or one that the loss needs and that is not there.
    """

    y: float = eqx.field(static=True)
    dydx: float | None = eqx.field(static=True, default=None)
    d2ydx2: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        for name in ("y", "dydx", "d2ydx2"):
            variance = getattr(self, name)
            if variance is not None and not 0 < variance < float("inf"):
                raise ValueError(
                    f"the noise variance `{name}` is {variance}; it must be finite and positive. Labels without noise "
                    "need `LabelScale()`."
                )

    @classmethod
    def from_repeats(cls, first: Samples, second: Samples) -> "LabelNoise":
        """Estimate the variances from independent labels at the same inputs.

        Half the mean squared difference of two labels is an unbiased estimate of the variance of one. Derivatives
        along directions or cotangents must share those; their noise is brought back to that of one entry.

        Args:
            first: labels in normalised units, such as `units.normalise(basket.label(key, x))`.
            second: labels at the same `x`, drawn with another key. A label that either does not know is left out.

        Raises:
            ValueError: the inputs, directions or cotangents differ, or labels do not differ at all.
        """
        _check_same("x", first.x, second.x)
        known = [_known(first, name) & _known(second, name) for name in ("y", "dydx", "d2ydx2")]
        y = _variance(first.y, second.y, known[0])
        dydx = d2ydx2 = None
        if first.dydx is not None and second.dydx is not None:
            dydx = _variance(first.dydx, second.dydx, known[1])
        elif first.vjps is not None and second.vjps is not None:
            w = first.vjps.cotangents
            _check_same("vjps.cotangents", w, second.vjps.cotangents)
            # The noise of `wᵀ ∇y` is that of one entry times |w|².
            dydx = _variance(first.vjps.products, second.vjps.products) / float(jnp.mean(jnp.sum(w**2, axis=2)))
        if first.d2ydx2 is not None and second.d2ydx2 is not None:
            d2ydx2 = _variance(first.d2ydx2, second.d2ydx2, known[2])
        elif first.hvps is not None and second.hvps is not None:
            v = first.hvps.directions
            _check_same("hvps.directions", v, second.hvps.directions)
            d2ydx2 = _variance(first.hvps.products, second.hvps.products) / float(jnp.mean(jnp.sum(v**2, axis=2)))
        return cls(y, dydx, d2ydx2)

    def scale(self, order: int, size: Float[Array, ""]) -> Float[Array, ""]:
        """Noise variance of that order as a multiple of that of the values; the size plays no part."""
        name = ("y", "dydx", "d2ydx2")[order]
        variance = getattr(self, name)
        if variance is None:
            raise ValueError(
                f"`LabelNoise` has no `{name}`, but the loss weighs derivatives of order {order}: give their noise "
                "variance, or set that weight to zero."
            )
        return jnp.full_like(size, variance / self.y)

    def total(self, errors: Sequence[Float[Array, ""]], weights: Sequence[float]) -> Float[Array, ""]:
        """The weighted sum."""
        return _weighted_sum(errors, weights)

    def check_least_squares(self) -> None:
        """It is one."""


@final
class GeometricMean(AbstractBalance):
    """The terms balance themselves: the loss is their geometric mean `(e₀ · e₁^λ₁ · e₂^λ₂)^(1 / (1 + λ₁ + λ₂))`.

    Its gradient weighs every term by the inverse of the error that it has now, `λ ∇e / e`, so all shrink by the same
    factor, whatever their units; no constant has to be known and no state is carried. It is the likelihood of
    `LabelNoise` with the variances unknown: for n labels of mean squared error e the logarithm of the normal
    likelihood is `−n/2 (log s² + e / s²)`, largest at `s² = e`, where it is `−n/2 log e` up to a constant. Learning
    the variances beside the weights (A. Kendall, Y. Gal, R. Cipolla, CVPR 2018) finds the same minimiser. So where
    the errors have reached the noise of the labels, terms are weighted by the inverse of that noise.

    The logarithm of a term that can be fitted exactly has no lower bound and would silence the others. Hence each
    error is taken plus `floor`: below that share of its labels' size a term counts as fitted, and no two weights
    differ by more than a factor of `1 + e / floor`.

    Attributes:
        floor: positive, relative to the mean squared norm of the labels (of values: to one deviation).

    Raises:
        ValueError: the floor is not positive; or least squares are asked for, of which this is none.
    """

    floor: float = eqx.field(static=True, default=1e-8)

    def __check_init__(self) -> None:
        if not 0 < self.floor < float("inf"):
            raise ValueError(f"`floor` is {self.floor}; it must be finite and positive.")

    def scale(self, order: int, size: Float[Array, ""]) -> Float[Array, ""]:
        """The size, which only says what the floor is relative to."""
        return jnp.where(size > 0, size, jnp.ones_like(size))

    def total(self, errors: Sequence[Float[Array, ""]], weights: Sequence[float]) -> Float[Array, ""]:
        """The weighted geometric mean."""
        logs = [weight * jnp.log(error + self.floor) for error, weight in zip(errors, weights, strict=True)]
        return jnp.exp(sum(logs[1:], logs[0]) / sum(weights))

    def check_least_squares(self) -> None:
        """It is none."""
        raise ValueError(
            "`GeometricMean` is no sum of squares, so it has no residuals: use `fit`, or balance by `LabelScale()` or "
            "`LabelNoise(…)`."
        )


def _weighted_sum(errors: Sequence[Float[Array, ""]], weights: Sequence[float]) -> Float[Array, ""]:
    terms = [weight * error for error, weight in zip(errors, weights, strict=True)]
    return sum(terms[1:], terms[0])


def _known(samples: Samples, name: str) -> Bool[Array, "..."] | bool:
    weights = None if samples.weights is None else getattr(samples.weights, name)
    return True if weights is None else weights > 0


def _variance(
    first: Float[Array, "n ..."], second: Float[Array, "n ..."], known: Bool[Array, "n ..."] | bool = True
) -> float:
    return float(0.5 * jnp.mean((first - second) ** 2, where=known))


def _check_same(name: str, first: Float[Array, "..."], second: Float[Array, "..."]) -> None:
    if first.shape != second.shape or not bool(jnp.all(first == second)):
        raise ValueError(f"`first.{name}` and `second.{name}` differ; noise is measured by labels at the same inputs.")
