"""Interval rules for sorting: the order of entries is known only as far as their intervals are apart.

The k-th smallest of n numbers is nondecreasing in each of them, so the sorted ends enclose the sorted values. What is
sorted along with the keys, and an index that is found, is the hull over the entries that can stand at a position
(`_ranks.py`): where the keys are apart, this is one entry.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .._interval import Interval
from .._ranks import as_ordered, candidates, hull_of, is_exact, reverse_order, winners
from .._registry import definteger, defrule
from .._ternary import Ternary


def _ends(x: Any) -> tuple[Any, Any]:
    match x:
        case Interval():
            return x.lower, x.upper
        case Ternary():
            return x.can_be_true, x.can_be_false
        case _:
            return x, x


def _first_extreme(
    primitive: Primitive, largest: bool, x: Any, *, axes: tuple[int, ...], index_dtype: Any, **params: Any
) -> Any:
    """The first index of an extreme: from the first to the last index that can be it."""
    if is_exact(x):
        return primitive.bind(_ends(x)[0], axes=axes, index_dtype=index_dtype, **params)
    (axis,) = axes
    ordered = as_ordered(x)
    ordered = ordered if largest else reverse_order(ordered)
    can, _ = winners(Interval._make(*(jnp.moveaxis(end, axis, 0) for end in (ordered.lower, ordered.upper))))
    first = jnp.argmax(can, axis=0).astype(index_dtype)
    last = (can.shape[0] - 1 - jnp.argmax(can[::-1], axis=0)).astype(index_dtype)
    return Interval._make(first, last)


defrule(lax.argmax_p, _first_extreme, True)
defrule(lax.argmin_p, _first_extreme, False)
definteger(lax.argmax_p, _first_extreme, True)
definteger(lax.argmin_p, _first_extreme, False)


def _moved(x: Any, source: int, target: int) -> Any:
    match x:
        case Interval():
            return Interval._make(*(jnp.moveaxis(end, source, target) for end in (x.lower, x.upper)))
        case Ternary():
            return Ternary(*(jnp.moveaxis(end, source, target) for end in _ends(x)))
        case _:
            return jnp.moveaxis(x, source, target)


def _sort(
    primitive: Primitive, *operands: Any, dimension: int, is_stable: bool, num_keys: int, **params: Any
) -> list[Any]:
    def sorted_ends(x: Any) -> Any:
        lower, upper = (
            primitive.bind(end, dimension=dimension, is_stable=is_stable, num_keys=1, **params)[0] for end in _ends(x)
        )
        return Interval._make(lower, upper)

    first, *others = operands
    if not others and isinstance(first, Interval):
        if is_exact(first):
            (point,) = primitive.bind(first.lower, dimension=dimension, is_stable=is_stable, num_keys=1, **params)
            return [Interval._make(point, point)]
        return [sorted_ends(first)]
    if is_stable and all(map(is_exact, operands[:num_keys])):
        return _permuted(primitive, operands, dimension=dimension, is_stable=is_stable, num_keys=num_keys, **params)
    keys = [_moved(as_ordered(x), dimension, 0) for x in operands[:num_keys]]
    possible = candidates(keys, is_stable)
    results = [_moved(hull_of(possible, _moved(x, dimension, 0)), 0, dimension) for x in operands]
    if isinstance(first, Interval):
        results[0] = sorted_ends(first)
    return results


def _permuted(primitive: Primitive, operands: tuple[Any, ...], **params: Any) -> list[Any]:
    """Exact keys: both ends take the permutation of the keys."""
    lower, upper = zip(*map(_ends, operands), strict=True)
    k = params["num_keys"]
    values = primitive.bind(*lower, *upper[k:], **params)
    seconds = [*values[:k], *values[len(operands) :]]
    return [
        Interval._make(low, low if is_exact(x) else upp) if isinstance(x, Interval)
        else Ternary(low, upp) if isinstance(x, Ternary)
        else low
        for x, low, upp in zip(operands, values[: len(operands)], seconds, strict=True)
    ]  # fmt: skip


defrule(lax.sort_p, _sort)
definteger(lax.sort_p, _sort)


def _top_k(primitive: Primitive, x: Any, *, k: int, axis: int, **params: Any) -> list[Any]:
    """The k largest, and where they stand; of equal entries the first comes first."""
    bound = [primitive.bind(end, k=k, axis=axis, **params) for end in _ends(x)]
    if is_exact(x):
        values, indices = bound[0]
        return [Interval._make(values, values) if isinstance(x, Interval) else values, indices]
    keys = _moved(reverse_order(x), axis, 0)
    positions = jnp.arange(keys.shape[0], dtype=np.int32).reshape(-1, *[1] * (keys.ndim - 1))
    possible: Array = candidates([keys], stable=True)[:k]
    indices = _moved(hull_of(possible, jnp.broadcast_to(positions, keys.shape)), 0, axis)
    return [Interval._make(bound[0][0], bound[1][0]), indices]


defrule(lax.top_k_p, _top_k)
definteger(lax.top_k_p, _top_k)
