"""How far a surrogate is from the truth, in values, gradients and curvature."""

import math
from collections.abc import Iterator
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..reference import Samples
from ._columns import errors_by_column


@final
class ErrorMeasures(eqx.Module):
    """Coefficient of determination, root mean square error and largest error of one quantity.

    Attributes:
        r2: `1 − Σ‖prediction − truth‖² / Σ‖truth − mean‖²`, summed over samples and components.
        rmse: root of the mean squared error over samples and components, in units of the quantity.
        max_error: largest absolute error over samples and components, in units of the quantity.
    """

    r2: float
    rmse: float
    max_error: float


@final
class Errors(eqx.Module):
    """Errors of a surrogate on one evaluation set.

    Attributes:
        values: of the prices.
        deltas: of all first derivatives.
        gammas: of the sum of the Hessian's entries. With weights that sum to one this is the second derivative with
            respect to the basket, as in the published table.
        hessian: of all entries of the Hessian.
        each_delta: R² of every first derivative by itself, of the first output's first; see `ColumnErrors`.
    """

    values: ErrorMeasures
    deltas: ErrorMeasures
    gammas: ErrorMeasures
    hessian: ErrorMeasures
    each_delta: tuple[float, ...] = ()

    def items(self) -> Iterator[tuple[str, ErrorMeasures]]:
        """The four quantities by name."""
        for name in ("values", "deltas", "gammas", "hessian"):
            yield name, getattr(self, name)

    def table(self) -> dict[str, dict[str, float]]:
        """`{"r2": {"values": …, …}, "rmse": …, "max_error": …}`, as `summary.json` holds it."""
        return {
            measure: {name: getattr(errors, measure) for name, errors in self.items()}
            for measure in ("r2", "rmse", "max_error")
        }


def errors_between(prediction: Samples, truth: Samples) -> Errors:
    """Compare a surrogate's evaluation with the truth at the same inputs.

    Raises:
        ValueError: a derivative is missing on either side.
    """
    return Errors(
        measure(prediction.y, truth.y),
        measure(_known(prediction.dydx, "dydx"), _known(truth.dydx, "dydx")),
        measure(gammas(prediction), gammas(truth)),
        measure(_known(prediction.d2ydx2, "d2ydx2"), _known(truth.d2ydx2, "d2ydx2")),
        tuple(errors_by_column(prediction, truth)["dydx"].r2.ravel().tolist()),
    )


def gammas(samples: Samples) -> Float[Array, "n m"]:
    """Sum of the entries of each Hessian."""
    return jnp.sum(_known(samples.d2ydx2, "d2ydx2"), axis=(2, 3))


def _known(part: Float[Array, "n ..."] | None, name: str) -> Float[Array, "n ..."]:
    if part is None:
        raise ValueError(f"`{name}` of the samples is None; evaluate gradients and Hessians first.")
    return part


def measure(
    prediction: Float[Array, "n ..."], truth: Float[Array, "n ..."], known: Bool[Array, "n ..."] | None = None
) -> ErrorMeasures:
    """Compare one quantity with its truth.

    Args:
        prediction: of the surrogate.
        truth: at the same inputs.
        known: which components count; all of them if not given.

    Raises:
        ValueError: nothing is known.
    """
    # In double precision: single precision cannot tell 1 − 10⁻⁷ from 1.
    exact = np.asarray(truth, np.float64)
    counts = np.ones(exact.shape, bool) if known is None else np.asarray(known)
    if not counts.any():
        raise ValueError("`known` is false everywhere, so there is nothing to compare with.")
    error = np.where(counts, np.asarray(prediction, np.float64) - exact, 0.0)
    # In units of the largest number, so that no square overflows or vanishes; a power of two rounds nothing.
    largest = float(np.max(np.abs(np.where(counts, exact, 0.0))))
    unit = 2.0 ** int(np.clip(np.frexp(largest)[1], -1000, 1000)) if largest > 0 else 1.0
    scaled = np.where(counts, exact / unit, 0.0)
    mean = scaled.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    spread = float(np.sum(np.where(counts, scaled - mean, 0.0) ** 2))
    unexplained = float(np.sum((error / unit) ** 2))
    # A quantity that does not vary cannot be explained, only met.
    ratio = unexplained / spread if spread > 0 else (0.0 if unexplained == 0 else math.inf)
    return ErrorMeasures(1.0 - ratio, unit * math.sqrt(unexplained / counts.sum()), float(np.max(np.abs(error))))
