"""Interval rules for indices that are undecided over the box: the hull over every index that is possible.

The indices are ranges of integers. All of them are tried, component by component, in a loop whose length is the largest
number of possibilities; a decided index costs one pass. Entries out of bounds are treated as the primitive treats them.
Loops of unknown length cannot be differentiated in reverse mode, and so a bound that comes from here cannot.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, definteger
from .._ternary import Ternary
from .piecewise import hull_of_possible
from .structural import gathered, rearranged


def _each(lower: list[Array], upper: list[Array], read: Any) -> Any:
    """The hull of `read(index)` over all indices between `lower` and `upper`, given as lists of components."""
    spans = [jnp.max(last - first, initial=0).astype(jnp.int32) + 1 for first, last in zip(lower, upper, strict=True)]
    total = jnp.asarray(1, jnp.int32)
    for span in spans:
        total = total * span

    def at(k: Array) -> Any:
        index = []
        for first, last, span in zip(lower, upper, spans, strict=True):
            digit, k = k % span, k // span
            index.append(jnp.minimum(first + digit.astype(first.dtype), last))
        return read(index)

    def step(state: Any) -> Any:
        k, found = state
        both = [jnp.ones((), bool)] * 2
        return k + 1, hull_of_possible(both, [found, at(k)])

    found = at(jnp.asarray(0, jnp.int32))
    if not isinstance(found, Interval | Ternary):
        found = Ternary(found, ~found) if found.dtype == bool else Interval._make(found, found)
    return lax.while_loop(lambda state: state[0] < total, step, (jnp.asarray(1, jnp.int32), found))[1]


def _gather(primitive: Primitive, operand: Any, indices: Any, **params: Any) -> Any:
    if not isinstance(indices, Interval):
        return gathered(primitive, operand, indices, **params)
    parts = range(indices.shape[-1])
    lower, upper = ([end[..., k] for k in parts] for end in (indices.lower, indices.upper))
    return _each(lower, upper, lambda index: gathered(primitive, operand, jnp.stack(index, -1), **params))


def _dynamic_slice(primitive: Primitive, operand: Any, *indices: Any, **params: Any) -> Any:
    if not any(isinstance(i, Interval) for i in indices):
        return rearranged(primitive, operand, *indices, **params)
    pairs = [i if isinstance(i, Interval) else Interval._make(i, i) for i in indices]
    return _each(
        [i.lower for i in pairs],
        [i.upper for i in pairs],
        lambda index: rearranged(primitive, operand, *index, **params),
    )


def _update(primitive: Primitive, operand: Any, *others: Any, **params: Any) -> Any:
    if any(isinstance(i, Interval) for i in others[1:]):
        raise UnsupportedPrimitiveError("writes to a place that is undecided over the box")
    return rearranged(primitive, operand, *others, **params)


definteger(lax.gather_p, _gather)
definteger(lax.dynamic_slice_p, _dynamic_slice)
definteger(lax.dynamic_update_slice_p, _update)
