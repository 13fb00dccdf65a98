"""Interval rules for indices that are undecided over the box: the hull over every index that is possible.

The indices are ranges of integers. All of them are tried, component by component, in a loop whose length is the largest
number of possibilities; a decided index costs one pass. Indices out of bounds are treated as the primitive treats them,
which is alike for all on one side: the nearest one on either side stands for them.
Loops of unknown length cannot be differentiated in reverse mode, and so a bound that comes from here cannot.
"""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, definteger
from .._ternary import Ternary
from .piecewise import hull_of_possible
from .structural import gathered, rearranged


def _each(indices: list[Interval], places: list[int], at_index: Any) -> Any:
    """The hull of `at_index` over all indices, given as components, of which `places` are in bounds from 0 on."""
    if math.prod(n + 2 for n in places) > np.iinfo(np.int32).max:
        raise UnsupportedPrimitiveError("uses one of more than 2³¹ places, which is undecided over the box")
    lower = [_clipped(i.lower, n) for i, n in zip(indices, places, strict=True)]
    upper = [_clipped(i.upper, n) for i, n in zip(indices, places, strict=True)]
    spans = [jnp.max(last - first, initial=0) + 1 for first, last in zip(lower, upper, strict=True)]
    total = functools.reduce(jnp.multiply, spans)

    def at(k: Array) -> Any:
        index = []
        for first, last, span in zip(lower, upper, spans, strict=True):
            digit, k = k % span, k // span
            index.append(jnp.minimum(first + digit, last))
        return at_index(index)

    def step(state: Any) -> Any:
        k, found = state
        both = [jnp.ones((), bool)] * 2
        return k + 1, hull_of_possible(both, [found, at(k)])

    found = at(jnp.asarray(0, jnp.int32))
    if not isinstance(found, Interval | Ternary):
        found = Ternary(found, ~found) if found.dtype == bool else Interval._make(found, found)
    return lax.while_loop(lambda state: state[0] < total, step, (jnp.asarray(1, jnp.int32), found))[1]


def _clipped(index: Array, places: int) -> Array:
    """With −1 and `places` for what is out of bounds, so that nothing wraps around."""
    info = jnp.iinfo(index.dtype)
    return jnp.clip(index, max(-1, info.min), min(places, info.max)).astype(jnp.int32)


def _gather(primitive: Primitive, operand: Any, indices: Any, **params: Any) -> Any:
    if not isinstance(indices, Interval):
        return gathered(primitive, operand, indices, **params)
    axes, sizes = params["dimension_numbers"].start_index_map, params["slice_sizes"]
    parts = [ia.each(lambda end, k=k: end[..., k], indices) for k in range(len(axes))]
    places = [operand.shape[axis] - sizes[axis] + 1 for axis in axes]
    return _each(parts, places, lambda index: gathered(primitive, operand, jnp.stack(index, -1), **params))


def _dynamic_slice(primitive: Primitive, operand: Any, *indices: Any, **params: Any) -> Any:
    if not any(isinstance(i, Interval) for i in indices):
        return rearranged(primitive, operand, *indices, **params)
    places = [n - size + 1 for n, size in zip(operand.shape, params["slice_sizes"], strict=True)]
    pairs = [ia.as_interval(i) for i in indices]
    return _each(pairs, places, lambda index: rearranged(primitive, operand, *index, **params))


def _update(primitive: Primitive, operand: Any, update: Any, *indices: Any, **params: Any) -> Any:
    """One block is written, so the outcomes are as many as its places; of several, their combinations would count."""
    if not any(isinstance(i, Interval) for i in indices):
        return rearranged(primitive, operand, update, *indices, **params)
    places = [n - size + 1 for n, size in zip(operand.shape, update.shape, strict=True)]
    pairs = [ia.as_interval(i) for i in indices]
    return _each(pairs, places, lambda index: rearranged(primitive, operand, update, *index, **params))


definteger(lax.gather_p, _gather)
definteger(lax.dynamic_slice_p, _dynamic_slice)
definteger(lax.dynamic_update_slice_p, _update)
