"""Interval rules for linear primitives.

The range of a linear function over a box is the sum of the ranges of its terms, so ends are combined with the sign of
their coefficient, all of which are ±1 here. A sum of n terms is wrong by at most `γₙ·Σ|xᵢ|`, for any order of
summation (Higham, section 4.2), plus the smallest normal number for every flushed subnormal.
"""

from functools import partial
from typing import Any, SupportsIndex

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive, primitives

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, definteger, defrule
from .._rounding import format_of, gamma, outward
from .undecided_scatter import scattered_anywhere


def _add(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.add(x, y)


def _sub(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.sub(x, y)


def _neg(_: Primitive, x: Interval, **params: Any) -> Interval:
    return ia.neg(x)


defrule(lax.add_p, _add)
defrule(primitives.add_jaxvals_p, _add)
defrule(lax.sub_p, _sub)
defrule(lax.neg_p, _neg)


def summed(sums: Any, n: int, x: Interval) -> Interval:
    def bound(end: Array) -> tuple[Array, Array]:
        magnitude = sums(jnp.abs(end))
        relative = gamma(n, x.dtype)
        # The magnitudes are summed with the same relative error.
        return sums(end), relative * (1 + 2 * relative) * magnitude + 2 * n * format_of(x.dtype).tiny

    low, low_error = bound(x.lower)
    upp, upp_error = (low, low_error) if ia.is_point(x) else bound(x.upper)
    lower, _ = outward(low, low, absolute=low_error)
    _, upper = outward(upp, upp, absolute=upp_error)
    return Interval._make(lower, upper)


def _reduce_sum(primitive: Primitive, x: Interval, *, axes: tuple[SupportsIndex, ...], **params: Any) -> Interval:
    n = int(np.prod([x.shape[a] for a in axes]))
    return summed(lambda end: primitive.bind(end, axes=axes, **params), max(n, 1), x)


def _cumsum(primitive: Primitive, x: Interval, *, axis: int, **params: Any) -> Interval:
    return summed(lambda end: primitive.bind(end, axis=axis, **params), x.shape[axis] + 1, x)


defrule(lax.reduce_sum_p, _reduce_sum)
defrule(lax.cumsum_p, _cumsum)


def _scatter_sum(
    primitive: Primitive, sign: int, x: Interval, indices: Any, updates: Interval, **params: Any
) -> Interval:
    """`x` plus or minus updates at indices."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UnsupportedPrimitiveError("adds integers that are undecided over the box")
    if isinstance(indices, Interval):
        if sign < 0:
            raise UnsupportedPrimitiveError("writes to a place that is undecided over the box")
        exactly = partial(_scatter_sum, primitive, sign, **params)
        numbers, mode = params["dimension_numbers"], params["mode"]
        return scattered_anywhere(exactly, x, indices, updates, dimension_numbers=numbers, mode=mode)
    # Any number of updates may fall on one entry.
    n = updates.size + 1
    relative = gamma(n, x.dtype)

    def bound(first: Array, second: Array) -> tuple[Array, Array]:
        magnitude = primitive.bind(jnp.abs(first), indices, sign * jnp.abs(second), **params)
        error = relative * (1 + 2 * relative) * magnitude + 2 * n * format_of(x.dtype).tiny
        return primitive.bind(first, indices, second, **params), error

    least, largest = (updates.lower, updates.upper) if sign > 0 else (updates.upper, updates.lower)
    low, low_error = bound(x.lower, least)
    upp, upp_error = bound(x.upper, largest)
    lower, _ = outward(low, low, absolute=low_error)
    _, upper = outward(upp, upp, absolute=upp_error)
    return Interval._make(lower, upper)


for _primitive, _sign in {lax.scatter_add_p: 1, lax.scatter_sub_p: -1}.items():
    defrule(_primitive, _scatter_sum, _sign)
    definteger(_primitive, _scatter_sum, _sign)
