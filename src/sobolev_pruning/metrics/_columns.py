"""Errors of every label by itself: of each output, and of each of its derivatives.

Derivatives with respect to different inputs have different units. Where they are pooled, the one with the largest
numbers hides what happens to the others: an R² of 0.996 over all of them can hold one of 0.55.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from ..reference import LabelWeights, Samples

# A derivative that varies by less than this share of its output's slope is measured against this share of the slope.
_CONSTANT = 0.01


@final
@dataclass(frozen=True)
class ColumnErrors:
    """Errors of one kind of label, column by column; NaN where a column holds no known label.

    The shape is that of the label of one sample: `(m,)` for values, `(m, d)` for gradients, `(m, d, d)` for Hessians.

    Attributes:
        unexplained: `1 − R² = Σ error² / Σ (truth − mean)²`, over the samples. R² has no meaning for a derivative that
            is constant or nearly so, such as that with respect to an input that plays no part. A derivative that varies
            by less than 1 % of the slope of its output is therefore measured against 1 % of the slope, which takes the
            place of its deviation. The slope of output k along input i is the root mean square length of its gradient
            in units of the inputs' deviations, divided by the deviation of input i; second derivatives accordingly.
        rmse: root mean square error, in units of the column.
        max_error: largest absolute error, in units of the column.
    """

    unexplained: Float[np.ndarray, "m ..."]
    rmse: Float[np.ndarray, "m ..."]
    max_error: Float[np.ndarray, "m ..."]

    @property
    def r2(self) -> Float[np.ndarray, "m ..."]:
        """Coefficient of determination of each column."""
        return 1.0 - self.unexplained


def errors_by_column(prediction: Samples, truth: Samples) -> dict[str, ColumnErrors]:
    """Compare a surrogate's evaluation with the truth at the same inputs, each output and each derivative by itself.

    Args:
        prediction: of the surrogate, such as `surrogate.evaluate(truth.x)`.
        truth: labels in the same units; those of weight zero play no part.

    Returns:
        By `y`, `dydx` and `d2ydx2`, as far as both sides have them.
    """
    weights = LabelWeights() if truth.weights is None else truth.weights
    labels, known = {}, {}
    for name in ("y", "dydx", "d2ydx2"):
        if getattr(truth, name) is not None and getattr(prediction, name) is not None:
            # In double precision: single precision cannot tell 1 − 10⁻⁷ from 1.
            label = np.asarray(getattr(truth, name), np.float64)
            weight = getattr(weights, name)
            known[name] = np.ones(label.shape, bool) if weight is None else np.asarray(weight) > 0
            labels[name] = np.where(known[name], label, 0.0)
    # In units of the largest value and input, where no square overflows or vanishes; powers of two round nothing.
    x = np.asarray(truth.x, np.float64)
    of_y = _exponents(labels["y"]) if "y" in labels else np.zeros(labels["dydx"].shape[1], np.int64)
    of_x = _exponents(x)
    units = {"y": of_y, "dydx": of_y[:, None] - of_x, "d2ydx2": of_y[:, None, None] - of_x[:, None] - of_x}
    scaled = {name: np.ldexp(label, -units[name]) for name, label in labels.items()}
    least = _least_variations(np.ldexp(x, -of_x), scaled, known)
    return {
        name: _compared(
            np.ldexp(np.asarray(getattr(prediction, name), np.float64), -units[name]),
            label,
            known[name],
            least[name],
            units[name],
        )
        for name, label in scaled.items()
    }


def _exponents(values: Float[np.ndarray, "n k"]) -> Int[np.ndarray, " k"]:
    return np.frexp(np.abs(values).max(axis=0, initial=0.0))[1].astype(np.int64)


def _compared(
    found: Float[np.ndarray, "n m ..."],
    label: Float[np.ndarray, "n m ..."],
    known: Bool[np.ndarray, "n m ..."],
    least: Float[np.ndarray, "m ..."],
    units: Int[np.ndarray, "m ..."],
) -> ColumnErrors:
    count = known.sum(axis=0)
    n = np.maximum(count, 1)
    error = np.where(known, found - label, 0.0)
    # A prediction that is not finite is as wrong as can be.
    error = np.where(np.isfinite(error), error, np.inf)
    missed = np.square(error).sum(axis=0)
    spread = np.where(known, (label - label.sum(axis=0) / n) ** 2, 0.0).sum(axis=0)
    spread = np.maximum(spread, n * least)
    # What does not vary cannot be explained, only met.
    unexplained = np.divide(missed, spread, out=np.full(missed.shape, np.inf), where=spread > 0)
    unexplained = np.where(missed == 0, 0.0, unexplained)
    parts = (unexplained, np.ldexp(np.sqrt(missed / n), units), np.ldexp(np.abs(error).max(axis=0), units))
    return ColumnErrors(*(np.where(count > 0, part, np.nan) for part in parts))


def _least_variations(
    x: Float[np.ndarray, "n d"], labels: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Mean squares below which a column counts as constant, for each kind of label.

    They are taken in units of the output, with derivatives multiplied by the spreads of the inputs. A function whose
    slope or curvature is itself nothing beside the order below it is measured against 1 % of that.
    """

    def mean_squares(name: str) -> np.ndarray:
        return np.square(labels[name]).sum(axis=0) / np.maximum(known[name].sum(axis=0), 1)

    variance = x.var(axis=0)
    least, below = {}, np.zeros(0)
    if "y" in labels:
        n = np.maximum(known["y"].sum(axis=0), 1)
        mean = labels["y"].sum(axis=0) / n
        below = np.where(known["y"], (labels["y"] - mean) ** 2, 0.0).sum(axis=0) / n
        # The mean of values says nothing about them, so they are only measured against how they vary.
        least["y"] = np.zeros_like(below)
    for name, scale in (("dydx", variance), ("d2ydx2", variance[:, None] * variance)):
        if name not in labels:
            continue
        squares = mean_squares(name)
        whole = (squares * scale).sum(axis=tuple(range(1, squares.ndim)))
        whole = np.maximum(whole, _CONSTANT**2 * below) if below.size else whole
        whole = whole.reshape(-1, *(1,) * scale.ndim)
        # Along an input that is the same in all rows only the derivative itself gives a scale.
        slope = np.divide(whole, scale, out=squares.copy(), where=(scale > 0) & np.ones(squares.shape, bool))
        least[name] = _CONSTANT**2 * slope
        below = whole.reshape(-1)
    return least
