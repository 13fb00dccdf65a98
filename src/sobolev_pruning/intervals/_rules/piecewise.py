"""Interval rules for piecewise primitives: comparisons, choices, absolute value, maximum, minimum, clamp, sign.

A comparison of overlapping intervals is undecided: a `Ternary`. A choice by an undecided condition is the hull of the
outcomes that are possible; never one branch silently. Nothing here is rounded, and comparisons of ends are exact,
since no end is subnormal.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .._arithmetic import is_point
from .._interval import Interval, Ternary
from .._registry import UnsupportedPrimitiveError, defrule


def _can_be_equal(x: Interval, y: Interval) -> Array:
    return (x.lower <= y.upper) & (y.lower <= x.upper)


def _must_be_equal(x: Interval, y: Interval) -> Array:
    return (x.lower == x.upper) & (y.lower == y.upper) & (x.lower == y.lower)


# For each comparison: when it may hold, and when it may fail.
COMPARISONS: dict[Primitive, Callable[[Interval, Interval], tuple[Array, Array]]] = {
    lax.lt_p: lambda x, y: (x.lower < y.upper, x.upper >= y.lower),
    lax.le_p: lambda x, y: (x.lower <= y.upper, x.upper > y.lower),
    lax.gt_p: lambda x, y: (x.upper > y.lower, x.lower <= y.upper),
    lax.ge_p: lambda x, y: (x.upper >= y.lower, x.lower < y.upper),
    lax.eq_p: lambda x, y: (_can_be_equal(x, y), ~_must_be_equal(x, y)),
    lax.ne_p: lambda x, y: (~_must_be_equal(x, y), _can_be_equal(x, y)),
}


def _comparison(
    primitive: Primitive,
    possible: Callable[[Interval, Interval], tuple[Array, Array]],
    x: Any,
    y: Any,
    **params: Any,
) -> Any:
    if not isinstance(x, Interval) or not isinstance(y, Interval):
        if isinstance(x, Ternary) or isinstance(y, Ternary):
            raise UnsupportedPrimitiveError("compares undecided conditions")
        return primitive.bind(x, y, **params)
    if is_point(x) and is_point(y):
        return primitive.bind(x.lower, y.lower, **params)
    return Ternary(*possible(x, y))


for _primitive, _possible in COMPARISONS.items():
    defrule(_primitive, _comparison, _possible)


def _pair(x: Any) -> Ternary:
    return x if isinstance(x, Ternary) else Ternary(x, ~x)


def _logical(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    if not any(isinstance(x, Ternary) for x in operands):
        return primitive.bind(*operands, **params)
    pairs = [_pair(x) for x in operands]
    if primitive is lax.not_p:
        return Ternary(pairs[0].can_be_false, pairs[0].can_be_true)
    x, y = pairs
    if primitive is lax.and_p:
        return Ternary(x.can_be_true & y.can_be_true, x.can_be_false | y.can_be_false)
    return Ternary(x.can_be_true | y.can_be_true, x.can_be_false & y.can_be_false)


for _primitive in (lax.and_p, lax.or_p, lax.not_p):
    defrule(_primitive, _logical)


def _is_finite(_: Primitive, x: Interval, **params: Any) -> Ternary:
    """Asked only of exact arrays: an infinite entry is one, a NaN became unbounded, all real numbers are finite."""
    infinite = (x.lower == jnp.inf) | (x.upper == -jnp.inf)
    unknown = (x.lower == -jnp.inf) & (x.upper == jnp.inf)
    return Ternary(~infinite, infinite | unknown)


defrule(lax.is_finite_p, _is_finite)


def _select(primitive: Primitive, which: Any, *cases: Any, **params: Any) -> Any:
    if not isinstance(which, Ternary):
        if isinstance(cases[0], Interval):
            low = primitive.bind(which, *(c.lower for c in cases), **params)
            if all(map(is_point, cases)):
                return Interval._make(low, low)
            return Interval._make(low, primitive.bind(which, *(c.upper for c in cases), **params))
        if any(isinstance(c, Ternary) for c in cases):
            pairs = [_pair(c) for c in cases]
            return Ternary(
                primitive.bind(which, *(c.can_be_true for c in pairs), **params),
                primitive.bind(which, *(c.can_be_false for c in pairs), **params),
            )
        return primitive.bind(which, *cases, **params)
    off, on = cases
    if isinstance(off, Interval) and isinstance(on, Interval):
        low = jnp.where(which.can_be_true, on.lower, jnp.inf)
        low = jnp.minimum(low, jnp.where(which.can_be_false, off.lower, jnp.inf))
        upp = jnp.where(which.can_be_true, on.upper, -jnp.inf)
        upp = jnp.maximum(upp, jnp.where(which.can_be_false, off.upper, -jnp.inf))
        return Interval._make(low, upp)
    if on.shape == off.shape and (isinstance(on, Ternary) or on.dtype == bool):
        x, y = _pair(on), _pair(off)
        return Ternary(
            (which.can_be_true & x.can_be_true) | (which.can_be_false & y.can_be_true),
            (which.can_be_true & x.can_be_false) | (which.can_be_false & y.can_be_false),
        )
    raise UnsupportedPrimitiveError("chooses between integers by a condition that is undecided over the box")


defrule(lax.select_n_p, _select)


def _absolute(_: Primitive, x: Interval, **params: Any) -> Interval:
    return Interval._make(x.mignitude, x.magnitude)


def _endwise(primitive: Primitive, *operands: Interval, **params: Any) -> Interval:
    """Nondecreasing in every operand, and exact."""
    return Interval._make(
        primitive.bind(*(x.lower for x in operands), **params),
        primitive.bind(*(x.upper for x in operands), **params),
    )


defrule(lax.abs_p, _absolute)
ENDWISE: tuple[Primitive, ...] = (
    lax.max_p,
    lax.min_p,
    lax.clamp_p,
    lax.sign_p,
    lax.floor_p,
    lax.ceil_p,
    lax.round_p,
)
for _primitive in ENDWISE:
    defrule(_primitive, _endwise)
