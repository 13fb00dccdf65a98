"""Interval rules for the derivatives of maximum and minimum over windows.

The derivative of a maximum is that of the entry that attains it, the first one of equals. Over a box, an entry can be
the maximum of its window at some point, at all points, or at none (`_ranks.py`). So what a window passes on is the hull
over the entries that can be its maximum, and what an entry receives from a window is all, nothing, or anything between.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .._interval import Interval
from .._ranks import hull_of, reverse_order, winners
from .._registry import defrule
from .linear import summed
from .windows import windows


def _winners(select: Primitive, x: Interval, **geometry: Any) -> tuple[Array, Array]:
    # Padding cannot be selected.
    ordered = x if select is lax.ge_p else reverse_order(x)
    return winners(Interval._make(*(windows(end, -np.inf, **geometry) for end in (ordered.lower, ordered.upper))))


def _gather(_: Primitive, tangents: Interval, x: Interval, *, select_prim: Primitive, **geometry: Any) -> Interval:
    can, _must = _winners(select_prim, x, **geometry)
    entries = Interval._make(windows(tangents.lower, 0, **geometry), windows(tangents.upper, 0, **geometry))
    return hull_of(can[None], entries)[0]


def _scatter(_: Primitive, source: Interval, x: Interval, *, select_prim: Primitive, **geometry: Any) -> Interval:
    can, must = _winners(select_prim, x, **geometry)
    positions = windows(jnp.arange(x.size).reshape(x.shape), x.size, **geometry)
    zero = jnp.zeros((), x.dtype)
    given = Interval._make(
        jnp.where(must, source.lower, jnp.where(can, jnp.minimum(source.lower, zero), zero)),
        jnp.where(must, source.upper, jnp.where(can, jnp.maximum(source.upper, zero), zero)),
    )
    # An entry stands in one window at most for every offset.
    most = can.shape[0]

    def collected(end: Array) -> Array:
        return jnp.zeros(x.size + 1, x.dtype).at[positions].add(end)[:-1].reshape(x.shape)

    return summed(collected, most, given)


defrule(lax.select_and_gather_add_p, _gather)
defrule(lax.select_and_scatter_add_p, _scatter)
