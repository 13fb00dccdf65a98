"""Interval rules for piecewise primitives: comparisons, choices, absolute value, maximum, minimum, clamp, sign.

A comparison of overlapping intervals is undecided: a `Ternary`. A choice by an undecided condition is the hull of the
outcomes that are possible; never one branch silently. Integers may be ranges, too. Nothing here is rounded, and
comparisons of ends are exact, since no end is subnormal.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .._arithmetic import as_interval, is_point, limits
from .._continuity import continuous
from .._decoration import DISCONTINUOUS
from .._dependence import MARK
from .._interval import Interval
from .._origins import Origin
from .._registry import UnsupportedPrimitiveError, definteger, defrule, defstructured
from .._ternary import Ternary, ternary


def _can_be_equal(x: Interval, y: Interval) -> Array:
    return (x.lower <= y.upper) & (y.lower <= x.upper)


def _must_be_equal(x: Interval, y: Interval) -> Array:
    return (x.lower == x.upper) & (y.lower == y.upper) & (x.lower == y.lower)


Possible = Callable[[Interval, Interval], tuple[Array, Array]]


def _less(x: Interval, y: Interval) -> tuple[Array, Array]:
    return x.lower < y.upper, x.upper >= y.lower


def _at_most(x: Interval, y: Interval) -> tuple[Array, Array]:
    return x.lower <= y.upper, x.upper > y.lower


def _equal(x: Interval, y: Interval) -> tuple[Array, Array]:
    return _can_be_equal(x, y), ~_must_be_equal(x, y)


# For each comparison: when it may hold, and when it may fail. The total orders differ from the usual ones at NaN and at
# the two zeros, none of which real numbers have.
COMPARISONS: dict[Primitive, Possible] = {
    lax.lt_p: _less,
    lax.lt_to_p: _less,
    lax.le_p: _at_most,
    lax.le_to_p: _at_most,
    lax.gt_p: lambda x, y: _less(y, x),
    lax.ge_p: lambda x, y: _at_most(y, x),
    lax.eq_p: _equal,
    lax.eq_to_p: _equal,
    lax.ne_p: lambda x, y: (~_must_be_equal(x, y), _can_be_equal(x, y)),
}


def _comparison(
    primitive: Primitive,
    possible: Possible,
    x: Any,
    y: Any,
    **params: Any,
) -> Any:
    if isinstance(x, Ternary) or isinstance(y, Ternary):
        return _same(primitive, ternary(x), ternary(y))
    if not isinstance(x, Interval) and not isinstance(y, Interval):
        return primitive.bind(x, y, **params)
    x, y = as_interval(x), as_interval(y)
    if is_point(x) and is_point(y):
        return primitive.bind(x.lower, y.lower, **params)
    return Ternary(*possible(x, y))


def _same(primitive: Primitive, x: Ternary, y: Ternary) -> Ternary:
    """Whether two conditions agree, or differ."""
    if primitive not in (lax.eq_p, lax.ne_p, lax.xor_p):
        raise UnsupportedPrimitiveError("orders conditions that are undecided over the box")
    alike = (x.can_be_true & y.can_be_true) | (x.can_be_false & y.can_be_false)
    different = (x.can_be_true & y.can_be_false) | (x.can_be_false & y.can_be_true)
    return Ternary(alike, different) if primitive is lax.eq_p else Ternary(different, alike)


for _primitive, _possible in COMPARISONS.items():
    defrule(_primitive, _comparison, _possible)
    definteger(_primitive, _comparison, _possible)


def _logical(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    if not any(isinstance(x, Ternary) for x in operands):
        return primitive.bind(*operands, **params)
    if any(not isinstance(x, Ternary) and x.dtype != bool for x in operands):
        raise UnsupportedPrimitiveError("combines the bits of integers that are undecided over the box")
    pairs = [ternary(x) for x in operands]
    if primitive is lax.xor_p:
        return _same(primitive, *pairs)
    if primitive is lax.not_p:
        return Ternary(pairs[0].can_be_false, pairs[0].can_be_true)
    x, y = pairs
    if primitive is lax.and_p:
        return Ternary(x.can_be_true & y.can_be_true, x.can_be_false | y.can_be_false)
    return Ternary(x.can_be_true | y.can_be_true, x.can_be_false & y.can_be_false)


for _primitive in (lax.and_p, lax.or_p, lax.xor_p, lax.not_p):
    defrule(_primitive, _logical)


def _is_finite(_: Primitive, x: Interval, **params: Any) -> Ternary:
    """Asked only of exact arrays: an infinite entry is one, a NaN became unbounded, all real numbers are finite."""
    infinite = (x.lower == jnp.inf) | (x.upper == -jnp.inf)
    unknown = (x.lower == -jnp.inf) & (x.upper == jnp.inf)
    return Ternary(~infinite, infinite | unknown)


defrule(lax.is_finite_p, _is_finite)


def possible_cases(which: Any, n: int) -> list[Any]:
    """For each of n cases, whether it may be the one; `which` is an integer or a condition, exact or not."""
    if isinstance(which, Ternary):
        return [which.can_be_false, which.can_be_true]
    if isinstance(which, Interval):
        return [(which.lower <= k) & (k <= which.upper) for k in range(n)]
    return [which == bool(k) if which.dtype == bool else which == k for k in range(n)]


def hull_of_possible(possible: list[Any], cases: list[Any]) -> Any:
    """The hull of the cases that may be the one; the empty set where none is. The cases may be empty themselves."""
    if any(isinstance(c, Ternary) or c.dtype == bool for c in cases):
        pairs = [ternary(c) for c in cases]
        can_be_true = can_be_false = jnp.zeros((), bool)
        for may, pair in zip(possible, pairs, strict=True):
            can_be_true = can_be_true | (may & pair.can_be_true)
            can_be_false = can_be_false | (may & pair.can_be_false)
        return Ternary(can_be_true, can_be_false)
    lower = upper = None
    for may, case in zip(possible, map(as_interval, cases), strict=True):
        first, last = limits(case.dtype)
        low, upp = jnp.where(may, case.lower, last), jnp.where(may, case.upper, first)
        lower = low if lower is None else jnp.minimum(lower, low)
        upper = upp if upper is None else jnp.maximum(upper, upp)
    return Interval._make(lower, upper)


def _select(primitive: Primitive, which: Any, *cases: Any, **params: Any) -> Any:
    if isinstance(which, Ternary | Interval):
        if any(jnp.issubdtype(c.dtype, jax.dtypes.extended) for c in cases if not isinstance(c, Ternary)):
            raise UnsupportedPrimitiveError("chooses a random key by a condition that is undecided over the box")
        return hull_of_possible(possible_cases(which, len(cases)), list(cases))
    if any(isinstance(c, Ternary) for c in cases):
        pairs = [ternary(c) for c in cases]
        return Ternary(
            primitive.bind(which, *(c.can_be_true for c in pairs), **params),
            primitive.bind(which, *(c.can_be_false for c in pairs), **params),
        )
    if any(isinstance(c, Interval) for c in cases):
        pairs = [as_interval(c) for c in cases]
        low = primitive.bind(which, *(c.lower for c in pairs), **params)
        if all(map(is_point, pairs)):
            return Interval._make(low, low)
        return Interval._make(low, primitive.bind(which, *(c.upper for c in pairs), **params))
    return primitive.bind(which, *cases, **params)


def _select_n(walk: Any, inputs: list[Any], params: dict[str, Any], avals: list[Any]) -> list[Any]:
    """A choice is defined where what it chooses is, and jumps where it is undecided, unless its form says otherwise."""
    which, *cases = inputs
    decided = None if which.form is None else which.form.value
    if decided is not None and which.empty is None and which.lack is None:
        return [cases[int(decided)]]
    (aval,) = avals
    if all(n.empty is None or n.soft for n in inputs):
        (node,) = walk.apply(partial(_select, lax.select_n_p), lax.select_n_p, params, inputs, avals)
        node.empty, node.soft = _empty_choice(walk, which, cases, aval), True
    else:
        result = _select(lax.select_n_p, walk.in_band(which), *map(walk.in_band, cases), **params)
        node = walk.new(aval, result)
        node.origin = Origin(lax.select_n_p, tuple(inputs), params)
        if isinstance(result, Interval):
            node.empty = (result.lower > result.upper).astype(MARK)
        elif isinstance(result, Ternary):
            node.empty = (~(result.can_be_true | result.can_be_false)).astype(MARK)
        node._value = walk.filled(node)
    if walk.decorated:
        possible = possible_cases(walk.in_band(which), len(cases))
        count = sum(jnp.asarray(p, MARK) for p in possible)
        jumps = jnp.zeros((), bool) if node.form is not None and continuous(node.form) else count > 1
        lack = jnp.where(jumps, DISCONTINUOUS, 0).astype(MARK)
        if which.lack is not None:
            lack = jnp.maximum(lack, which.lack)
        for may, case in zip(possible, cases, strict=True):
            if case.lack is not None:
                lack = jnp.maximum(lack, jnp.where(may, case.lack, 0).astype(MARK))
        node.lack = jnp.broadcast_to(lack, aval.shape)
    return [node]


def _empty_choice(walk: Any, which: Any, cases: list[Any], aval: Any) -> Any:
    """Marks where nothing can be chosen that is not empty; None if that is nowhere."""
    if all(n.empty is None for n in (which, *cases)):
        return None
    nothing = jnp.ones((), bool)
    for may, case in zip(possible_cases(walk.in_band(which), len(cases)), cases, strict=True):
        empty = jnp.zeros((), bool) if case.empty is None else case.empty > 0
        nothing = nothing & (jnp.logical_not(may) | empty)
    if which.empty is not None:
        nothing = nothing | (which.empty > 0)
    return jnp.broadcast_to(nothing, aval.shape).astype(MARK)


defstructured(lax.select_n_p, _select_n)


def _absolute(_: Primitive, x: Interval, **params: Any) -> Interval:
    return Interval._make(x.mignitude, x.magnitude)


def endwise(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    """Nondecreasing in every operand, and exact; of conditions, false comes before true."""
    if any(isinstance(x, Ternary) for x in operands):
        pairs = [ternary(x) for x in operands]
        low = primitive.bind(*(~x.can_be_false for x in pairs), **params)
        return Ternary(primitive.bind(*(x.can_be_true for x in pairs), **params), ~low)
    pairs = [as_interval(x) for x in operands]
    low = primitive.bind(*(x.lower for x in pairs), **params)
    return Interval._make(
        low, low if all(map(is_point, pairs)) else primitive.bind(*(x.upper for x in pairs), **params)
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
    defrule(_primitive, endwise)
