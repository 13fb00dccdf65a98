"""How wrong a surrogate is on held-out samples, and how wrong it may be."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..metrics import errors_by_column
from ..reference import Samples
from ..surrogate import Surrogate

_LABELS = {"value": "y", "gradient": "dydx", "curvature": "d2ydx2"}
# Columns that a warning names.
_MOST_LISTED = 6


@final
@dataclass(frozen=True)
class SurrogateErrors:
    """Errors on held-out samples, those of the worst column; None where there are no labels.

    A column is one output, or one derivative of one output: `∂y/∂a` and `∂y/∂b` are measured each by itself, since they
    have different units and one would hide the other.

    Attributes:
        values, gradients, curvature: unexplained part of the variance, `1 − R²`, of the worst output, of the worst
            first and of the worst second derivative; `metrics.ColumnErrors` defines it, also where one hardly varies.
        largest_value, largest_gradient, largest_curvature: largest absolute error of any component, in its units.
    """

    values: float | None
    gradients: float | None
    curvature: float | None
    largest_value: float | None
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
        columns = errors_by_column(surrogate.evaluate(in_precision_of(surrogate, truth.x)), truth)
        found = [columns.get(name) for name in _LABELS.values()]
        unexplained = [None if errors is None else _worst(errors.unexplained) for errors in found]
        largest = [None if errors is None else _worst(errors.max_error) for errors in found]
        return cls(*unexplained, *largest)

    def as_dict(self) -> dict[str, float | None]:
        """By name, as JSON can hold them: what is not finite is None."""
        return {
            name: None if number is None or not math.isfinite(number) else number
            for name, number in dataclasses.asdict(self).items()
        }


def _worst(columns: Float[np.ndarray, "m ..."]) -> float | None:
    known = columns[~np.isnan(columns)]
    return float(known.max()) if known.size else None


@final
@dataclass(frozen=True)
class Tolerance:
    """How far values and sensitivities may be off on held-out samples; what is None may be anything.

    Attributes:
        values, gradients, curvature: largest `1 − R²` of any output or derivative, each measured by itself.
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

    def misses(self, errors: SurrogateErrors, where: Mapping[str, str] | None = None) -> str:
        """Every bound that is missed, and by how much, in words.

        Args:
            errors: that were measured.
            where: the column of each of them, such as `worst_columns` gives.
        """
        places = {name: f" of {column}" for name, column in ({} if where is None else where).items()}
        return ", ".join(
            f"`{name}`{places.get(name, '')} is {found:.3g}, {found / self.bounds[name]:.4g} times the "
            f"{self.bounds[name]:.3g} allowed"
            for name, found in self.missed(errors).items()
        )

    def warn_of_unlabelled(self, surrogate: Surrogate, samples: Samples) -> None:
        """Warn of outputs and derivatives that a bound speaks of, and no sample has a label of.

        Warns:
            UserWarning: there are some; with their names.
        """
        unknown = []
        for name, label in _LABELS.items():
            weight = None if samples.weights is None else getattr(samples.weights, label)
            if weight is not None and any(name in bound for bound in self.bounds):
                unknown += _columns(surrogate, np.argwhere(~(np.asarray(weight) > 0).any(axis=0)).tolist())
        if unknown:
            listed = ", ".join(unknown[:_MOST_LISTED]) + (", …" if len(unknown) > _MOST_LISTED else "")
            warnings.warn(
                f"no sample to judge by has a label of {listed}, so the tolerance says nothing of it", stacklevel=2
            )


def worst_columns(surrogate: Surrogate, truth: Samples) -> dict[str, str]:
    """The output or derivative that each number of `SurrogateErrors.of` is from, by its name; where there are several.

    Args:
        surrogate: what is judged.
        truth: held-out samples in physical units.
    """
    columns = errors_by_column(surrogate.evaluate(in_precision_of(surrogate, truth.x)), truth)
    names = {}
    for (name, label), of_all in zip(_LABELS.items(), ("values", "gradients", "curvature"), strict=True):
        for error, part in ((of_all, "unexplained"), (f"largest_{name}", "max_error")):
            found = getattr(columns[label], part) if label in columns else np.full(1, np.nan)
            if found.size > 1 and not np.isnan(found).all():
                place = np.argwhere(found == np.nanmax(found))[0].tolist()
                (names[error],) = _columns(surrogate, [place])
    return names


def _columns(surrogate: Surrogate, places: Iterable[list[int]]) -> list[str]:
    """Names of outputs or derivatives by their indices: of the output, then of the inputs."""
    x, y = surrogate.input_names, surrogate.output_names
    named = []
    for k, *by in places:
        below = "".join(f"∂{x[i]}" for i in by)
        order = "²" if len(by) > 1 else ""
        named.append(f"∂{order}{y[k]}/{below}" if by else y[k])
    return named


def _number(errors: SurrogateErrors, name: str) -> float:
    found = getattr(errors, name)
    # An error that nobody measured meets no bound.
    return math.inf if found is None or math.isnan(found) else found


def in_precision_of(surrogate: Surrogate, tree):
    """All floating-point arrays of a pytree in the precision of a surrogate's network."""
    dtype = surrogate.network.layers[0].weight.dtype
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)
