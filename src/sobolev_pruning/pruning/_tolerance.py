"""How wrong a surrogate is on held-out samples, and how wrong it may be."""

import dataclasses
import math
from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..reference import LabelWeights, Samples
from ..surrogate import Surrogate

_LABELS = {"value": "y", "gradient": "dydx", "curvature": "d2ydx2"}


@final
@dataclass(frozen=True)
class SurrogateErrors:
    """Errors on held-out samples, of several outputs the worst one's; None where there are no labels.

    Attributes:
        values, gradients, curvature: unexplained part of the variance, `1 − R² = Σ‖error‖² / Σ‖truth − mean‖²`, of the
            values, of all first and of all second derivatives.
        largest_value, largest_gradient, largest_curvature: largest absolute error of any component, in its units.
    """

    values: float
    gradients: float | None
    curvature: float | None
    largest_value: float
    largest_gradient: float | None
    largest_curvature: float | None

    @classmethod
    def failed(cls) -> "SurrogateErrors":
        """Of a network that could not be trained."""
        return cls(*(math.inf,) * 6)

    @classmethod
    def of(cls, surrogate: Surrogate, truth: Samples) -> "SurrogateErrors":
        """Measure a surrogate against labels; those of weight zero play no part.

        Args:
            surrogate: what is judged.
            truth: held-out samples in physical units.
        """
        found = surrogate.evaluate(in_precision_of(surrogate, truth.x))
        weights = LabelWeights() if truth.weights is None else truth.weights
        unexplained, largest = {}, {}
        for quantity, name in _LABELS.items():
            given = getattr(truth, name)
            pair = (None, None) if given is None else _errors(getattr(found, name), given, getattr(weights, name))
            unexplained[quantity], largest[f"largest_{quantity}"] = pair
        return cls(*unexplained.values(), *largest.values())

    def as_dict(self) -> dict[str, float | None]:
        """By name, as JSON can hold them: what is not finite is None."""
        return {
            name: None if number is None or not math.isfinite(number) else number
            for name, number in dataclasses.asdict(self).items()
        }


def _errors(
    found: Float[Array, "n m ..."], truth: Float[Array, "n m ..."], weights: Float[Array, "n m ..."] | None
) -> tuple[float | None, float | None]:
    """Of the worst output: `1 − R²` and largest error."""
    # In double precision: single cannot tell 1 − 10⁻⁷ from 1.
    exact = np.asarray(truth, np.float64)
    known = np.ones(exact.shape, bool) if weights is None else np.asarray(weights) > 0
    error = np.where(known, np.asarray(found, np.float64) - exact, 0.0)
    exact = np.where(known, exact, 0.0)
    mean = exact.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    axes = (0, *range(2, exact.ndim))
    spread = np.where(known, (exact - mean) ** 2, 0.0).sum(axis=axes)
    missed = (error**2).sum(axis=axes)
    counted = known.any(axis=axes)
    if not counted.any():
        return None, None
    if not np.all(np.isfinite(missed)):
        return math.inf, math.inf
    # A quantity that does not vary cannot be explained, only met.
    ratio = np.where(missed == 0, 0.0, np.divide(missed, spread, out=np.full_like(missed, np.inf), where=spread > 0))
    return float(ratio[counted].max()), float(np.abs(error).max())


@final
@dataclass(frozen=True)
class Tolerance:
    """How far values and sensitivities may be off on held-out samples; what is None may be anything.

    Attributes:
        values, gradients, curvature: largest `1 − R²`.
        largest_value, largest_gradient, largest_curvature: largest absolute error, in units of the quantity.

    Raises:
        ValueError: a bound is not positive, or there is none.
    """

    values: float | None = None
    gradients: float | None = None
    curvature: float | None = None
    largest_value: float | None = None
    largest_gradient: float | None = None
    largest_curvature: float | None = None

    def __post_init__(self) -> None:
        if not self.bounds:
            raise ValueError("the tolerance bounds nothing; give at least one of its errors, such as `values=1e-5`.")
        for name, bound in self.bounds.items():
            if not (bound > 0 and math.isfinite(bound)):
                raise ValueError(f"`{name}` of the tolerance is {bound}; it must be finite and positive, or None.")

    @property
    def bounds(self) -> dict[str, float]:
        """Those that are given, by name."""
        return {name: bound for name, bound in dataclasses.asdict(self).items() if bound is not None}

    def check_labels(self, samples: Samples) -> None:
        """Refuse a bound on what the samples have no labels for."""
        for name in self.bounds:
            (label,) = (label for quantity, label in _LABELS.items() if quantity in name or quantity + "s" == name)
            if getattr(samples, label) is None:
                raise ValueError(
                    f"`{name}` of the tolerance bounds what there are no labels of. Leave that bound out, or give "
                    f"samples, or a reference, that have them (`{label}`)."
                )

    def excess(self, errors: SurrogateErrors) -> float:
        """The largest error as a multiple of its bound; at most 1 within the tolerance."""
        return max(_number(errors, name) / bound for name, bound in self.bounds.items())

    def holds(self, errors: SurrogateErrors) -> bool:
        """Whether every bound is met."""
        return self.excess(errors) <= 1

    def missed(self, errors: SurrogateErrors) -> dict[str, float]:
        """The errors beyond their bounds, by name."""
        found = {name: _number(errors, name) for name in self.bounds}
        return {name: error for name, error in found.items() if not error <= self.bounds[name]}

    def misses(self, errors: SurrogateErrors) -> str:
        """Every bound that is missed, and by how much, in words."""
        return ", ".join(
            f"`{name}` is {found:.3g}, {found / self.bounds[name]:.4g} times the {self.bounds[name]:.3g} allowed"
            for name, found in self.missed(errors).items()
        )


def _number(errors: SurrogateErrors, name: str) -> float:
    found = getattr(errors, name)
    # An error that nobody measured meets no bound.
    return math.inf if found is None or math.isnan(found) else found


def in_precision_of(surrogate: Surrogate, tree):
    """All floating-point arrays of a pytree in the precision of a surrogate's network."""
    dtype = surrogate.network.layers[0].weight.dtype
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)
