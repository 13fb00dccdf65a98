"""Interval rules for the functions of a quotient: the angle of a point, and the truncated remainder.

* The angle `atan2(y, x)` is monotone in each operand on each side of the negative real axis, where it jumps from π to
  −π: its extremes are at corners, and [−π, π] where a box touches that axis from below (IEEE 1788-2015, Table 9.1).
  (0, 0) is outside of its domain. Zero has no sign here: on the negative axis the angle is π.
* The remainder `x − y·trunc(x/y)` has the sign of x and does not see that of y. Where the truncated quotient is the
  same all over the box, it increases in x and decreases in |y|. Otherwise it is zero somewhere, and below |y|. It is a
  float, and XLA's is exact (`benchmarks/special_margins.py`).
"""

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._bits import normalised
from .._elementary import Margin
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of, outward
from .._special_constants import PI

# Twice the largest error that `benchmarks/special_margins.py` measured, and at least 4.
ATAN2 = Margin(4, 4)


def _angle(primitive: Primitive, y: Array, x: Array) -> Interval:
    """The angle of a point other than (0, 0), exact on the axes up to the rounding of π."""
    value = primitive.bind(y, x)
    # A quotient that underflows is flushed to zero.
    lower, upper = outward(value, value, ulps=ATAN2.of(x.dtype), absolute=2 * format_of(x.dtype).tiny)
    pi = ia.constant(Fraction(PI), x.dtype)
    half = ia.constant(Fraction(PI) / 2, x.dtype)
    lower = jnp.where(y >= 0, jnp.maximum(lower, 0), jnp.maximum(lower, -pi.upper))
    upper = jnp.where(y <= 0, jnp.minimum(upper, 0), jnp.minimum(upper, pi.upper))
    for on_axis, low, upp in (
        ((y == 0) & (x > 0), 0, 0),
        ((y == 0) & (x < 0), pi.lower, pi.upper),
        ((x == 0) & (y > 0), half.lower, half.upper),
        ((x == 0) & (y < 0), -half.upper, -half.lower),
    ):
        lower, upper = jnp.where(on_axis, low, lower), jnp.where(on_axis, upp, upper)
    return Interval._make(lower, upper)


def _atan2(primitive: Primitive, y: Interval, x: Interval, **params: Any) -> Interval:
    y, x = ia.together(y, x)
    above = _atan2_above(primitive, y, x)
    below = ia.neg(_atan2_above(primitive, ia.neg(y), x))
    pi = ia.constant(Fraction(PI), x.dtype).upper
    # Neither above nor below: through the positive axis, or across the negative one.
    cut = (y.lower < 0) & (y.upper >= 0) & (x.lower < 0)
    lower = jnp.where(y.lower >= 0, above.lower, jnp.where(cut, -pi, below.lower))
    upper = jnp.where((y.lower >= 0) | (y.upper > 0), above.upper, below.upper)
    return Interval._make(lower, jnp.where(cut, pi, upper))


def _atan2_above(primitive: Primitive, y: Interval, x: Interval) -> Interval:
    """The bounds that hold for y ≥ 0; the upper one also for boxes with x ≥ 0, whatever y."""
    # Where the corner is the origin, which is left out, another point of the box takes its place.
    least_y = jnp.where(x.upper > 0, y.lower, y.upper)
    nowhere_right = (least_y == 0) & (x.upper == 0)
    least = _angle(primitive, least_y, jnp.where(nowhere_right, x.lower, x.upper))
    most_y = jnp.where(x.lower < 0, y.lower, y.upper)
    nowhere_left = (most_y == 0) & (x.lower == 0)
    most = _angle(primitive, most_y, jnp.where(nowhere_left, x.upper, x.lower))
    return Interval._make(least.lower, most.upper)


defrule(lax.atan2_p, _atan2)


def _rem(primitive: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    x, y = ia.together(x, y)
    divisor = Interval._make(y.mignitude, y.magnitude)
    right = _rem_positive(primitive, Interval._make(jnp.maximum(x.lower, 0), jnp.maximum(x.upper, 0)), divisor)
    left = _rem_positive(primitive, Interval._make(jnp.maximum(-x.upper, 0), jnp.maximum(-x.lower, 0)), divisor)
    lower = jnp.where(x.lower >= 0, right.lower, -left.upper)
    upper = jnp.where(x.upper <= 0, -left.lower, right.upper)
    nowhere = divisor.upper == 0
    return Interval._make(jnp.where(nowhere, -jnp.inf, lower), jnp.where(nowhere, jnp.inf, upper))


def _rem_positive(primitive: Primitive, x: Interval, y: Interval) -> Interval:
    """The remainders of non-negative numbers by non-negative numbers."""
    least, least_known = _quotient(primitive, x.lower, y.upper)
    most, most_known = _quotient(primitive, x.upper, y.lower)
    lower = jnp.where(jnp.isinf(y.upper), x.lower, primitive.bind(x.lower, y.upper))
    upper = jnp.where(jnp.isinf(y.lower), x.upper, primitive.bind(x.upper, y.lower))
    point = (x.lower == x.upper) & (y.lower == y.upper)
    constant = (((least == most) & least_known & most_known) | point) & ~jnp.isnan(lower) & ~jnp.isnan(upper)
    # With the quotient k the divisor is above x/(k + 1), so the remainder is below x/(k + 1), and below the divisor.
    below = x.upper / (least + 1)
    _, below = outward(below, below)
    highest = jnp.minimum(jnp.minimum(x.upper, y.upper), jnp.where(least_known, below, jnp.inf))
    # A remainder may be subnormal although nothing else is.
    return Interval._make(*normalised(jnp.where(constant, lower, 0), jnp.where(constant, upper, highest)))


def _quotient(primitive: Primitive, x: Array, y: Array) -> tuple[Array, Array]:
    """trunc(x/y) for x, y ≥ 0, and whether it is certain.

    x minus its remainder is a multiple of y, so the quotient is within two roundings of an integer, and certain where
    these are less than ½, and where the remainder is not subnormal, which would be read as zero.
    """
    fmt = format_of(x.dtype)
    smaller = x < y
    quotient = jnp.where(smaller, 0, jnp.round((x - primitive.bind(x, y)) / y))
    return quotient, smaller | ((quotient < 2.0 ** (fmt.mantissa - 3)) & (y >= fmt.tiny / fmt.eps))


defrule(lax.rem_p, _rem)
