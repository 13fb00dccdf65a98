"""Operations on intervals as sets: hull, intersection, subdivision."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ._bits import flush_down, flush_up
from ._interval import Interval
from ._rounding import format_of


def hull(first: Any, second: Any) -> Interval:
    """The smallest intervals that contain both (IEEE 1788-2015, clause 9.3, `convexHull`).

    Subnormal ends are widened to their normal neighbours.

    Args:
        first: Intervals of any shape.
        second: Intervals of a shape and dtype that fit those of `first`.
    """
    _check_pair("hull", first, second)
    (a, b), (c, d) = (_normal(x) for x in (first, second))
    return Interval._make(jnp.minimum(a, c), jnp.maximum(b, d))


def intersection(first: Any, second: Any) -> Interval:
    """The numbers in both, which may be none (IEEE 1788-2015, clause 9.3, `intersection`).

    Two enclosures of one quantity always meet: where they do not, one of them encloses something else, or the quantity
    is nowhere defined.

    Args:
        first: Intervals of any shape.
        second: Intervals of a shape and dtype that fit those of `first`.
    """
    _check_pair("intersection", first, second)
    (a, b), (c, d) = (_normal(x) for x in (first, second))
    lower, upper = jnp.maximum(a, c), jnp.minimum(b, d)
    meet = lower <= upper
    return Interval._make(jnp.where(meet, lower, jnp.inf), jnp.where(meet, upper, -jnp.inf))


def _normal(x: Interval) -> Any:
    return flush_down(x.lower), flush_up(x.upper)


def _check_pair(name: str, first: Any, second: Any) -> None:
    for argument, x in (("first", first), ("second", second)):
        if not isinstance(x, Interval):
            raise TypeError(
                f"{name}: `{argument}` must be an Interval, got {type(x).__name__}. Wrap numbers with `Interval.point`."
            )
    if first.dtype != second.dtype:
        raise TypeError(
            f"{name}: `first` has dtype {first.dtype}, `second` has dtype {second.dtype}. Convert one of them with "
            "`.astype`, which rounds outwards."
        )
    try:
        jnp.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise ValueError(
            f"{name}: the shapes {first.shape} of `first` and {second.shape} of `second` do not fit. Reshape one."
        ) from None


def split(x: Interval, parts: int = 2, *, at: int | tuple[int, ...] | None = None) -> Interval:
    """Cuts a box along one of its entries, into parts of equal width that cover it and share their ends.

    Args:
        x: The box, any shape.
        parts: How many parts.
        at: Index of the entry to cut; without it, the widest one is cut.

    Returns:
        Boxes of shape `(parts, *x.shape)`.

    Raises:
        ValueError: `parts` is not positive, or `at` is no index of an entry.

    >>> split(Interval(jnp.array([0.0, 0.0]), jnp.array([1.0, 4.0]))).upper.tolist()
    [[1.0, 2.0], [1.0, 4.0]]
    """
    if not isinstance(parts, int | np.integer) or parts < 1:
        raise ValueError(f"split: `parts` must be a positive integer, got {parts!r}.")
    low, upp = x.lower.ravel(), x.upper.ravel()
    if at is None:
        index: Any = jnp.argmax(x.width.ravel())
    else:
        position = (at,) if isinstance(at, int | np.integer) else tuple(at)
        if len(position) != x.ndim or any(not -n <= i < n for i, n in zip(position, x.shape, strict=False)):
            raise ValueError(f"split: `at` must be the index of one entry of shape {x.shape}, got {at!r}.")
        index = (
            int(np.ravel_multi_index([i % n for i, n in zip(position, x.shape, strict=True)], x.shape)) if x.ndim else 0
        )
    largest = format_of(x.dtype).max
    first, last = (jnp.clip(end[index], -largest, largest) for end in (low, upp))
    fractions = jnp.asarray(np.arange(1, parts) / parts, x.dtype)
    # Any cuts in rising order do: each is the end of one part and the start of the next.
    cuts = jnp.clip(first * (1 - fractions) + last * fractions, first, last)
    cuts = jnp.sort(cuts)
    starts = jnp.concatenate([low[index][None], cuts])
    ends = jnp.concatenate([cuts, upp[index][None]])
    empty = ~(low[index] <= upp[index])
    starts, ends = jnp.where(empty, jnp.inf, starts), jnp.where(empty, -jnp.inf, ends)
    lower = jnp.broadcast_to(low, (parts, low.size)).at[:, index].set(starts)
    upper = jnp.broadcast_to(upp, (parts, upp.size)).at[:, index].set(ends)
    shape = (parts, *x.shape)
    return Interval._make(lower.reshape(shape), upper.reshape(shape))
