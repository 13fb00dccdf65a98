"""What is known of the order of intervals: which entry can be the first maximum, and which ranks an entry can take.

Entry i comes before entry j for certain if `upperᵢ < lowerⱼ`, or if `upperᵢ ≤ lowerⱼ` and ties go to i. If m others
come before an entry for certain, its rank is at least m; so ranks lie in an interval, and the entry at a rank is one of
those whose interval holds it.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._arithmetic import is_point
from ._interval import Interval
from ._ternary import Ternary


def is_exact(x: Any) -> bool:
    """Whether a value is known while tracing to be one array: an exact integer or condition, or a point."""
    return is_point(x) if isinstance(x, Interval) else not isinstance(x, Ternary)


def as_ordered(x: Any) -> Interval:
    """Any value as an interval of numbers; false is 0 and true is 1."""
    if isinstance(x, Interval):
        return x
    if isinstance(x, Ternary):
        return Interval._make((~x.can_be_false).astype(np.int8), x.can_be_true.astype(np.int8))
    x = x.astype(np.int8) if x.dtype == bool else x
    return Interval._make(x, x)


def _before(ends: Array) -> tuple[Array, Array]:
    """The maxima of all entries before and after each, along axis 0; of no entries, the least value of the dtype."""
    least = jnp.full_like(ends[:1], -np.inf if jnp.issubdtype(ends.dtype, jnp.floating) else jnp.iinfo(ends.dtype).min)
    before = lax.cummax(jnp.concatenate([least, ends[:-1]]), axis=0)
    after = lax.cummax(jnp.concatenate([ends[1:], least]), axis=0, reverse=True)
    return before, after


def winners(x: Interval) -> tuple[Array, Array]:
    """Which entries along axis 0 can be the first largest, and which must be.

    Args:
        x: Intervals of floats or integers, at least one along axis 0.

    Returns:
        Two masks of the shape of `x`: the entry is the first largest at some, and at all points of the box.
    """
    rank = jnp.arange(x.shape[0]).reshape(-1, *[1] * (x.ndim - 1))
    last = x.shape[0] - 1
    before, after = _before(x.lower)
    can = ((rank == 0) | (x.upper > before)) & ((rank == last) | (x.upper >= after))
    before, after = _before(x.upper)
    must = ((rank == 0) | (x.lower > before)) & ((rank == last) | (x.lower >= after))
    return can, must


def reverse_order(x: Interval) -> Interval:
    """Intervals in which the smallest come last: `−x`, which for integers does not overflow."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return Interval._make(-x.upper, -x.lower)
    return Interval._make(~x.upper, ~x.lower)


def candidates(keys: Sequence[Interval], stable: bool) -> Array:
    """Which entries along axis 0 can stand at which position after sorting in ascending lexicographic order.

    Args:
        keys: Sort keys, the first one decides first; all of one shape `(n, ...)`.
        stable: Whether equal entries keep their order; otherwise they may take any.

    Returns:
        A mask `(n, n, ...)`: entry i, along axis 1, can stand at position p, along axis 0.
    """
    n = keys[0].shape[0]
    tail = [1] * (keys[0].ndim - 1)
    index = jnp.arange(n)
    before = (index[:, None] < index[None, :]) & stable  # [i, j]: i comes before j for certain
    before = before.reshape(n, n, *tail)
    for key in reversed(keys):
        upper, lower = key.upper[:, None], key.lower[None, :]
        before = (upper < lower) | ((upper <= lower) & before)
    first = before.sum(0)
    last = n - 1 - before.sum(1)
    position = index.reshape(n, 1, *tail)
    return (first[None] <= position) & (position <= last[None])


def hull_of(possible: Array, x: Any) -> Any:
    """The hull, along axis 1 of `possible`, of the entries of `x` along its axis 0 that are possible."""
    if isinstance(x, Ternary) or (not isinstance(x, Interval) and x.dtype == bool):
        pair = x if isinstance(x, Ternary) else Ternary(x, ~x)
        return Ternary(
            (possible & pair.can_be_true[None]).any(1),
            (possible & pair.can_be_false[None]).any(1),
        )
    x = as_ordered(x)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    least, most = (-np.inf, np.inf) if floating else (jnp.iinfo(x.dtype).min, jnp.iinfo(x.dtype).max)
    return Interval._make(
        jnp.where(possible, x.lower[None], jnp.asarray(most, x.dtype)).min(1),
        jnp.where(possible, x.upper[None], jnp.asarray(least, x.dtype)).max(1),
    )
