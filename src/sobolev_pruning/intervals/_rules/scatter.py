"""Interval rules for scatters that combine: extremes, products, and replacement; `linear.py` has sums.

Indices are exact, so both ends go to the same places; those out of bounds are treated as the mode says. Several updates
may fall on one entry: extremes are exact, and the product of all factors of an entry is a product of intervals, which
is associative.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, definteger, defrule
from .piecewise import endwise
from .structural import rearranged


def _scatter(primitive: Primitive, x: Any, indices: Any, updates: Any, *, update_jaxpr: Any, **params: Any) -> Any:
    if isinstance(indices, Interval):
        raise UnsupportedPrimitiveError("writes to a place that is undecided over the box")
    if update_jaxpr is not None:
        raise UnsupportedPrimitiveError("applies a function to the entries at indices")
    return rearranged(primitive, x, indices, updates, update_jaxpr=None, **params)


def targets(shape: tuple[int, ...], indices: Array, updates: tuple[int, ...], dimension_numbers: Any, mode: Any) -> Any:
    """Where each update goes: positions in the flattened operand, −1 for those that are dropped; of shape `updates`."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=dimension_numbers.update_window_dims,
        collapsed_slice_dims=dimension_numbers.inserted_window_dims,
        start_index_map=dimension_numbers.scatter_dims_to_operand_dims,
        operand_batching_dims=dimension_numbers.operand_batching_dims,
        start_indices_batching_dims=dimension_numbers.scatter_indices_batching_dims,
    )
    if mode == lax.GatherScatterMode.PROMISE_IN_BOUNDS:
        mode = lax.GatherScatterMode.FILL_OR_DROP  # a scatter drops what breaks the promise, a gather clips it
    single = {*dimension_numbers.inserted_window_dims, *dimension_numbers.operand_batching_dims}
    window = iter(updates[d] for d in dimension_numbers.update_window_dims)
    sizes = tuple(1 if d in single else next(window) for d in range(len(shape)))
    positions = jnp.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    return lax.gather(positions, indices, numbers, sizes, mode=mode, fill_value=-1)


def _scatter_mul(
    primitive: Primitive, x: Interval, indices: Any, updates: Interval, *, dimension_numbers: Any, mode: Any, **_: Any
) -> Interval:
    where = targets(x.shape, indices, updates.shape, dimension_numbers, mode).reshape(-1)
    if where.size == 0:
        return x
    # Factors of one entry are brought together, and multiplied within their segment.
    order = jnp.argsort(where)
    where = where[order]
    factors = ia.each(lambda end: end.reshape(-1)[order], updates)
    starts = jnp.concatenate([jnp.ones(1, bool), where[1:] != where[:-1]])

    def join(first: tuple[Interval, Array], second: tuple[Interval, Array]) -> tuple[Interval, Array]:
        (x, begun), (y, begins) = first, second
        return ia.choose(begins, y, ia.mul(x, y)), begun | begins

    products, _starts = lax.associative_scan(join, (factors, starts))
    ends = jnp.concatenate([starts[1:], jnp.ones(1, bool)])
    # What is dropped, and what is not the last of its segment, goes to a place behind the array.
    place = jnp.where(ends & (where >= 0), where, x.size)
    one = jnp.ones(x.size + 1, x.dtype)
    total = Interval._make(one.at[place].set(products.lower), one.at[place].set(products.upper))
    hit = jnp.zeros(x.size + 1, bool).at[place].set(True)[:-1].reshape(x.shape)
    result = ia.mul(x, ia.each(lambda end: end[:-1].reshape(x.shape), total))
    return ia.choose(hit, result, x)


defrule(lax.scatter_p, _scatter)
definteger(lax.scatter_p, _scatter)
defrule(lax.scatter_mul_p, _scatter_mul)
defrule(lax.scatter_min_p, endwise)
defrule(lax.scatter_max_p, endwise)
