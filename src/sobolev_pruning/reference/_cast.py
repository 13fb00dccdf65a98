"""From double precision to that of the samples, with a refusal of what would be lost on the way."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from .._columns import Moments, remedy

# What is learned from as it is; weights and directions only have to stay in range.
_LEARNED = ("x", "y")


def cast(
    part: str,
    given: Any,
    dtype: DTypeLike,
    *,
    known: Bool[np.ndarray, "n ..."] | None = None,
    names: Sequence[str] | None = None,
    whole: bool = True,
) -> Float[Array, "n ..."]:
    """One part of samples in a precision.

    Args:
        part: its name, such as `dydx`.
        given: the numbers, `(n, …)`.
        dtype: to which they are cast.
        known: which of them count, for the messages; all that are finite if not given.
        names: of the columns, in the order of the flattened trailing axes; their indices if not given.
        whole: whether these are all rows; some rows of a column may agree although the column varies.

    Raises:
        ValueError: a column becomes infinite, zero or constant; the message says how to keep it.
    """
    values = np.asarray(given).astype(np.float64)
    dtype = jnp.dtype(dtype)
    if len(values) and values.size and np.asarray(given).dtype != dtype:
        flat = values.reshape(len(values), -1)
        counts = np.isfinite(flat) if known is None else np.isfinite(flat) & known.reshape(flat.shape)
        check_kept(part, Moments.of(flat, counts), dtype, values.shape[1:], names, whole=whole)
    return jnp.asarray(values, dtype)


def check_kept(
    part: str,
    moments: Moments,
    dtype: DTypeLike,
    shape: Sequence[int],
    names: Sequence[str] | None = None,
    *,
    whole: bool = True,
) -> None:
    """Refuse columns that a cast from double precision would make infinite, zero or constant.

    Raises:
        ValueError: naming the first of them.
    """
    dtype, info = jnp.dtype(dtype), jnp.finfo(dtype)
    lost = (part in _LEARNED and whole) & moments.is_resolved(np.float64) & ~moments.is_resolved(dtype)
    too_large, too_small = moments.size > float(info.max), (moments.size > 0) & (moments.size < float(info.tiny))
    bad = np.flatnonzero(lost | too_large | too_small)
    if not bad.size:
        return
    k = int(bad[0])
    index = ", ".join(map(str, np.unravel_index(k, tuple(shape)))) if len(shape) else "0"
    column = f"`samples.{part}`, column {index}," if names is None else f"column '{names[k]}'"
    size = moments.size[k]
    if too_large[k] or too_small[k]:
        large = "large" if too_large[k] else "small"
        raise ValueError(f"{column} reaches {size:.3g}, too {large} for {dtype}; {remedy(dtype, 'change its units')}.")
    raise ValueError(
        f"{column} varies by {moments.deviation[k]:.2g} around {moments.mean[k]:.6g}, where numbers of {dtype} are "
        f"{moments.steps(dtype)[k]:.2g} apart; {remedy(dtype, 'take the offset off it')}."
    )
