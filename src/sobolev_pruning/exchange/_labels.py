"""What an estimator is given, as samples: unknown labels, weights, and columns that do not vary."""

from collections.abc import Sequence
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..reference import LabelWeights, Samples
from ..surrogate import Normalisation

# A column varies if its deviation is more than so many roundings of its largest number.
_ROUNDINGS = 32


def column_names(table: Any) -> Sequence[str]:
    """Names of the columns of a data frame or of a series, as far as all are texts; of anything else none."""
    # Of a table of Arrow `columns` are the columns themselves.
    names = getattr(table, "column_names", None)
    names = getattr(table, "columns", None) if names is None else names
    names = [getattr(table, "name", None)] if names is None else list(names)
    return cast("list[str]", names) if all(isinstance(name, str) and name.strip() for name in names) else []


def checked_weights(sample_weight: Any, n: int) -> Float[np.ndarray, " n"]:
    """Weights of the rows, of mean one over those that count; ones if they are not given.

    Raises:
        ValueError: they have another shape, one is negative or not finite, or fewer than two are positive.
    """
    if sample_weight is None:
        return np.ones(n)
    refuse_masked("sample_weight", sample_weight)
    weights = _numbers("sample_weight", sample_weight)
    if weights.shape != (n,):
        raise ValueError(f"`sample_weight` has shape {weights.shape}; give one number for each row, ({n},).")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise ValueError(
            f"`sample_weight` is {weights[bad[0]]} in row {bad[0]}; weights are finite, and zero or positive."
        )
    if (weights > 0).sum() < 2:
        raise ValueError(f"`sample_weight` is zero in all but {(weights > 0).sum()} rows; at least 2 must count.")
    weights = weights / weights.max()  # the mean of large ones would overflow
    return weights / weights[weights > 0].mean()


def checked_values(y: Any, n: int) -> Float[np.ndarray, "n ..."]:
    """Values beside derivatives, `(n,)` or `(n, m)`; those that are NaN are not known.

    Raises:
        ValueError: they have another shape, hold infinities, or are no numbers.
    """
    values = _numbers("y", y)
    if values.ndim not in (1, 2) or values.shape[0] != n:
        raise ValueError(f"`y` has shape {values.shape}; `X` has {n} rows, so it must be ({n},) or ({n}, m).")
    _refuse_infinite("y", values)
    return values


def checked_derivatives(dydx: Any, shape: tuple[int, ...], names: Any) -> Float[np.ndarray, "n ..."]:
    """Derivatives; those that are NaN are not known.

    Args:
        dydx: as they were given. Columns of a table that have the names of the inputs are put in their order.
        shape: that they must have; a length below zero is any length.
        names: of the inputs; None if they have none.

    Raises:
        ValueError: they have another shape, hold infinities or no derivative at all, or are no numbers.
    """
    columns = column_names(dydx)
    found = _numbers("dydx", dydx)
    fits = found.ndim == len(shape) and all(b in (-1, a) for a, b in zip(found.shape, shape, strict=True))
    if not fits:
        asked = str(shape).replace("-1", "m")
        raise ValueError(
            f"`dydx` has shape {found.shape}; `X` and `y` ask for {asked}: one derivative of every output with respect "
            "to every input, for each sample."
        )
    if names is not None and len(columns) == len(names) and set(columns) == set(names):
        found = found[:, [columns.index(name) for name in names]]
    _refuse_infinite("dydx", found)
    return found


def refuse_masked(name: str, given: Any) -> None:
    """Refuse masked entries where every number must be known: NumPy reads what lies below the mask.

    Raises:
        ValueError: there are some.
    """
    if np.ma.is_masked(given):
        raise ValueError(
            f"`{name}` is a masked array with {np.ma.count_masked(given)} masked entries; leave those rows out."
        )


def refuse_complex(name: str, given: Any) -> None:
    """Refuse complex numbers, of which NumPy would keep the real part.

    Raises:
        ValueError: they are complex.
    """
    if np.asarray(given).dtype.kind == "c":
        # The first words are those that scikit-learn's own checks look for.
        raise ValueError(f"Complex data not supported: `{name}` holds complex numbers; give real ones.")


def _numbers(name: str, given: Any) -> Float[np.ndarray, "n ..."]:
    refuse_complex(name, given)
    try:
        if np.ma.is_masked(given):  # what is masked is not known
            return np.ma.filled(given.astype(np.float64), np.nan)
        return np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` is no array of numbers: {error}") from None


def _refuse_infinite(name: str, values: Float[np.ndarray, "n ..."]) -> None:
    bad = np.argwhere(np.isinf(values))
    if bad.size:
        what = "derivatives" if name == "dydx" else "values"
        raise ValueError(
            f"`{name}` holds {len(bad)} {what} that are infinite, the first in row {bad[0][0]}; remove or repair those "
            "samples. What is not known is NaN."
        )


def as_samples(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "n m"],
    dydx: Float[np.ndarray, "n m d"] | None,
    weights: Float[np.ndarray, " n"],
) -> tuple[Samples, Normalisation, Bool[np.ndarray, " d"]]:
    """Samples with weights, units, and which inputs are idle: neither vary nor have a derivative.

    An output without any value is learned from its derivatives alone, which leave its level open.

    Raises:
        ValueError: an output has neither values nor derivatives.
    """
    known = {"y": ~np.isnan(y)}
    if dydx is not None:
        known["dydx"] = ~np.isnan(dydx)
    varies = _deviation(x, weights[:, None]) > 0
    units = [np.average(x, axis=0, weights=weights), np.where(varies, _deviation(x, weights[:, None]), 1.0)]
    of_y = np.where(known["y"], weights[:, None], 0.0)
    y = np.where(known["y"], y, 0.0)
    mean = (of_y * y).sum(axis=0) / np.maximum(of_y.sum(axis=0), np.finfo(float).tiny)
    scale = _deviation(y, of_y)
    if dydx is not None and not known["dydx"].any():
        dydx = None
    if dydx is not None:
        dydx = np.where(known["dydx"], dydx, 0.0)
        squares = np.einsum("n,nmd->md", weights, dydx**2) / np.maximum(known["dydx"].sum(axis=0), 1)
        # The length of the gradient in units of the inputs is the deviation of a linear function.
        length = np.sqrt((squares * units[1] ** 2).sum(axis=1))
        scale = np.where((scale == 0) & (length > 0), length, scale)
    if not (known["y"].any(axis=0) | (False if dydx is None else known["dydx"].any(axis=(0, 2)))).all():
        raise ValueError("`y` and `dydx` hold no known label of an output; leave that output out.")
    label_weights = LabelWeights(
        jnp.asarray(of_y),
        None if dydx is None else jnp.asarray(np.where(known["dydx"], weights[:, None, None], 0.0)),
    )
    samples = Samples(
        jnp.asarray(x), jnp.asarray(y), None if dydx is None else jnp.asarray(dydx), weights=label_weights
    )
    idle = ~varies
    if dydx is not None:
        idle &= ~known["dydx"].any(axis=(0, 1))
    return samples, Normalisation(*(jnp.asarray(u) for u in (*units, mean, np.where(scale > 0, scale, 1.0)))), idle


def _deviation(values: Float[np.ndarray, "n k"], weights: Float[np.ndarray, "n #k"]) -> Float[np.ndarray, " k"]:
    """Weighted deviation of every column; zero where it is lost in the rounding of the numbers."""
    weights = np.broadcast_to(weights, values.shape)
    total = np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
    counted = np.where(weights > 0, values, 0.0)
    largest = np.abs(counted).max(axis=0, initial=0.0)
    # Squares of large numbers overflow, those of small ones vanish.
    size = np.where(largest > 0, largest, 1.0)
    scaled = counted / size
    mean = (weights * scaled).sum(axis=0) / total
    found = np.sqrt((weights * np.square(scaled - mean)).sum(axis=0) / total)
    return np.where(found > _ROUNDINGS * np.finfo(float).eps, found, 0.0) * size
