"""Interval rules for ranges of integers: counters, indices and counts that are undecided over a box.

Monotone operations take their ends, as those of real numbers do, and nothing is rounded. Integers of a fixed width wrap
around: where a result may leave its format, it may be any integer of the format.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from ..._compat import since
from .._arithmetic import as_interval
from .._interval import Interval
from .._registry import definteger
from .piecewise import endwise


def _checked(lower: Array, upper: Array, fits: Array) -> Interval:
    info = jnp.iinfo(lower.dtype)
    return Interval._make(
        jnp.where(fits, lower, jnp.asarray(info.min, lower.dtype)),
        jnp.where(fits, upper, jnp.asarray(info.max, lower.dtype)),
    )


def _within(approximate: Array, dtype: Any) -> Array:
    """Whether a result, computed in floating point, is safely inside of the format."""
    info = jnp.iinfo(dtype)
    # float32 is wrong by less than one part in 10⁶ here, and the limits give way by more.
    return (approximate > 0.999 * float(info.min) - (info.min == 0)) & (approximate < 0.999 * float(info.max))


def _approximate(x: Array) -> Array:
    return x.astype(jnp.float32)


def _corners(primitive: Primitive, x: Any, y: Any, **params: Any) -> Interval:
    """Sums, differences and products: their extremes are at pairs of ends."""
    x, y = as_interval(x), as_interval(y)
    pairs = [(a, b) for a in (x.lower, x.upper) for b in (y.lower, y.upper)]
    results = [primitive.bind(a, b, **params) for a, b in pairs]
    fits = jnp.ones((), bool)
    for (a, b), result in zip(pairs, results, strict=True):
        fits &= _fits(primitive, a, b, result)
    return _checked(reduce(jnp.minimum, results), reduce(jnp.maximum, results), fits)


def _fits(primitive: Primitive, a: Array, b: Array, result: Array) -> Array:
    """Whether the result did not wrap around."""
    zero = jnp.zeros((), b.dtype)
    if primitive is lax.add_p:  # a sum that wraps lies on the wrong side of a
        return jnp.where(b >= zero, result >= a, result < a)
    if primitive is lax.sub_p:
        return jnp.where(b >= zero, (result <= a) & ((jnp.iinfo(a.dtype).min < 0) | (a >= b)), result > a)
    return _within(_approximate(a) * _approximate(b), result.dtype)


for _primitive in (lax.add_p, lax.sub_p, lax.mul_p):
    definteger(_primitive, _corners)


for _primitive in (lax.max_p, lax.min_p, lax.clamp_p, lax.sign_p):
    definteger(_primitive, endwise)


def _has_opposite(x: Interval) -> Array:
    """Whether a change of sign does not overflow; of unsigned integers there is none."""
    info = jnp.iinfo(x.dtype)
    return x.lower > info.min if info.min < 0 else jnp.ones((), bool)


def _magnitude(x: Interval) -> Array:
    return jnp.maximum(jnp.abs(x.lower), jnp.abs(x.upper))


def _mignitude(x: Interval) -> Array:
    # The opposite of an unsigned integer wraps around.
    zero = jnp.zeros((), x.dtype)
    return jnp.where(x.lower >= zero, x.lower, jnp.where(x.upper <= zero, -x.upper, zero))


def _decreasing(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    info = jnp.iinfo(x.dtype)
    low, upp = primitive.bind(x.upper, **params), primitive.bind(x.lower, **params)
    return _checked(low, upp, (x.lower > info.min) & (info.min < 0))


definteger(lax.neg_p, _decreasing)


def _absolute(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    return _checked(_mignitude(x), _magnitude(x), _has_opposite(x))


definteger(lax.abs_p, _absolute)


def _quotient(primitive: Primitive, x: Any, y: Any, **params: Any) -> Interval:
    """Truncated towards zero: monotone in both, on either side of y = 0. By zero, anything may come."""
    x, y = as_interval(x), as_interval(y)
    apart = (y.lower > 0) | (y.upper < 0)
    one = jnp.ones((), y.dtype)
    low, upp = jnp.where(apart, y.lower, one), jnp.where(apart, y.upper, one)
    results = [primitive.bind(a, b, **params) for a in (x.lower, x.upper) for b in (low, upp)]
    # The least integer divided by −1 does not fit.
    return _checked(reduce(jnp.minimum, results), reduce(jnp.maximum, results), apart & _has_opposite(x))


definteger(lax.div_p, _quotient)


def _remainder(primitive: Primitive, x: Any, y: Any, **params: Any) -> Interval:
    """It has the sign of the dividend, is no larger than it, and smaller than the divisor."""
    x, y = as_interval(x), as_interval(y)
    fits = ((y.lower > 0) | (y.upper < 0)) & _has_opposite(x)
    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    largest = _magnitude(y) - one
    low = jnp.where(x.lower < 0, jnp.maximum(x.lower, -largest), zero)
    upp = jnp.where(x.upper > 0, jnp.minimum(x.upper, largest), zero)
    # A dividend smaller than every divisor is its own remainder.
    own = _magnitude(x) < _mignitude(y)
    return _checked(jnp.where(own, x.lower, low), jnp.where(own, x.upper, upp), fits)


definteger(lax.rem_p, _remainder)


def _summed(count: Callable[[dict[str, Any], tuple[int, ...]], int]) -> Callable[..., Interval]:
    def law(primitive: Primitive, x: Interval, **params: Any) -> Interval:
        low, upp = primitive.bind(x.lower, **params), primitive.bind(x.upper, **params)
        fits = jnp.ones((), bool)
        for end in (x.lower, x.upper):
            sums = primitive.bind(_approximate(jnp.abs(end)), **params)
            # Of n terms, the sum of the magnitudes is wrong by at most n roundings.
            slack = 1 + 1.2e-7 * count(params, x.shape)
            fits &= _within(sums * slack, low.dtype)
        return _checked(low, upp, fits)

    return law


definteger(lax.reduce_sum_p, _summed(lambda params, shape: int(np.prod([shape[a] for a in params["axes"]]))))
definteger(lax.cumsum_p, _summed(lambda params, shape: shape[params["axis"]]))


def _integer_pow(primitive: Primitive, x: Interval, *, y: int, **params: Any) -> Interval:
    low, upp = (primitive.bind(end, y=y, **params) for end in (x.lower, x.upper))
    largest = jnp.maximum(_approximate(jnp.abs(x.lower)), _approximate(jnp.abs(x.upper)))
    fits = _within(primitive.bind(largest, y=y, **params), x.dtype) & (y >= 0)
    if y % 2 == 0:
        zero = jnp.zeros((), x.dtype)
        around = (x.lower <= 0) & (x.upper >= 0)
        low, upp = jnp.where(around, zero, jnp.minimum(low, upp)), jnp.maximum(low, upp)
    return _checked(low, upp, fits)


definteger(lax.integer_pow_p, _integer_pow)


def _square(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    return _integer_pow(lax.integer_pow_p, x, y=2)


def _one_minus_square(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    return _corners(lax.sub_p, jnp.ones((), x.dtype), _square(lax.square_p, x))


definteger(lax.square_p, _square)
for _primitive in since("one_minus_square"):
    definteger(_primitive, _one_minus_square)
