"""Interval rules for the gamma function's logarithm and its derivatives, Hurwitz' zeta, and the inverse of erf.

* log|Γ| is convex between its poles 0, −1, −2, …, since ψ' > 0 on the whole real line: on a box it is largest at an
  end, and least at an end or at the one zero of ψ between two poles. On the negative
  axis the minima decrease to the left.
* ψ increases between the poles. `ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹·n!·ζ(n + 1, x)` (DLMF 5.15.1, 25.11.12) is monotone for x > 0, and
  positive everywhere for odd n; nothing is said of even n on the negative axis.
* ζ(s, q) decreases in q. In s, all summands decrease but the first, which increases if q < 1.
* `erf⁻¹` increases. XLA's value is a candidate only: an interval Newton step (A. Neumaier, Interval Methods for Systems
  of Equations, 1990, theorem 5.1.7) with enclosures of erf and erfc proves where the zero is.

Values at points: `_gamma.py`.
"""

from collections.abc import Callable
from fractions import Fraction
from math import factorial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._gamma import digamma_at, lgamma_at, lgamma_minima, zeta_at
from .._interval import Interval
from .._registry import defrule, rule_for
from .._rounding import bracket, format_of, outward
from .._special_constants import PI


def _at_ends(f: Callable[[Array], Interval], x: Interval) -> tuple[Interval, Interval]:
    """The enclosures of f at both ends, by one evaluation."""
    if ia.is_point(x):
        value = f(x.lower)
        return value, value
    values = f(jnp.stack([x.lower, x.upper]))
    return values[0], values[1]


def _lgamma(_: Primitive, x: Interval, **params: Any) -> Interval:
    low, upp = x.lower, x.upper
    at_low, at_upp = _at_ends(lgamma_at, x)
    lower = jnp.minimum(at_low.lower, at_upp.lower)
    if not ia.is_point(x):
        lower = jnp.minimum(lower, _lowest_minimum(low, upp))
    lower = jnp.where(low == -jnp.inf, -jnp.inf, lower)
    upper = jnp.where(_has_pole(low, upp) | (upp == jnp.inf), jnp.inf, jnp.maximum(at_low.upper, at_upp.upper))
    return Interval._make(lower, upper)


def _lowest_minimum(low: Array, upp: Array) -> Array:
    """The least of the minima that may lie in [low, upp].

    Of those in the intervals between poles to which the ends belong, and of those between, all on the negative axis, of
    which the leftmost is the lowest.
    """
    first, last = _component(low), _component(upp)
    at, least = lgamma_minima(jnp.stack([first, last, jnp.maximum(first - 1, 0)]))
    inside = (at.upper > low[None]) & (at.lower < upp[None])
    inside = inside & jnp.stack([first >= last, first >= last, first - last > 1])
    return jnp.where(inside, least, jnp.inf).min(0)


def _component(x: Array) -> Array:
    """0 on (0, ∞), n on [−n, 1 − n): the interval between poles to the right of x, if x is one."""
    return jnp.where(x >= 0, 0, -jnp.floor(x))


def _has_pole(low: Array, upp: Array) -> Array:
    return jnp.ceil(low) <= jnp.minimum(jnp.floor(upp), 0)


def _digamma(_: Primitive, x: Interval, **params: Any) -> Interval:
    at_low, at_upp = _at_ends(digamma_at, x)
    right_of_pole = (jnp.ceil(x.lower) <= 0) & (jnp.ceil(x.lower) < x.upper)
    left_of_pole = jnp.floor(jnp.minimum(x.upper, 0)) > x.lower
    lower = jnp.where(right_of_pole | (x.lower == -jnp.inf), -jnp.inf, at_low.lower)
    upper = jnp.where(left_of_pole | (x.upper == jnp.inf), jnp.inf, at_upp.upper)
    return Interval._make(lower, upper)


defrule(lax.lgamma_p, _lgamma)
defrule(lax.digamma_p, _digamma)


def _zeta(_: Primitive, s: Interval, q: Interval, **params: Any) -> Interval:
    s, q = ia.together(s, q)
    one, tiny = jnp.ones((), s.dtype), format_of(q.dtype).tiny
    next_to_one = 1 + format_of(s.dtype).eps
    s_low, s_upp = (jnp.where(end > 1, end, next_to_one) for end in (s.lower, s.upper))
    q_low, q_upp = (jnp.where(end > 0, end, tiny) for end in (q.lower, q.upper))
    # ζ is convex in s: a sum of exponentials. The first summand, at its least, and the others at theirs: ζ(s, q) =
    # q⁻ˢ + ζ(s, q + 1).
    small = jnp.where(q_upp < 1, q_upp, one)
    next_q = ia.add(ia.point(small), ia.constant(1, small.dtype)).upper
    values = zeta_at(jnp.stack([s_low, s_upp, s_upp, s_upp]), jnp.stack([q_low, q_low, q_upp, next_q]))
    upper = jnp.where(s.upper == jnp.inf, values.upper[0], jnp.maximum(values.upper[0], values.upper[1]))
    split = ia.add(rule_for(lax.pow_p)(ia.point(small), ia.point(-s_low)), values[3])
    least = ia.choose((q_upp < 1) & (s_low < s_upp), split, values[2])
    endless = s.upper == jnp.inf
    lower = jnp.where(endless | (q.upper == jnp.inf), 0, jnp.maximum(least.lower, 0))
    upper = jnp.where((s.lower <= 1) | (q.lower <= 0) | (endless & (q.lower < 1)), jnp.inf, upper)
    outside = (s.upper <= 1) | (q.upper <= 0)
    return _unbounded_where(outside, Interval._make(lower, upper))


def _unbounded_where(condition: Array, x: Interval) -> Interval:
    lower = jnp.where(condition | jnp.isnan(x.lower), -jnp.inf, x.lower)
    return Interval._make(lower, jnp.where(condition | jnp.isnan(x.upper), jnp.inf, x.upper))


def _polygamma(_: Primitive, n: Interval, x: Interval, **params: Any) -> Interval:
    known = n.lower
    n, x = ia.together(n, x)
    orders = [_polygamma_of_positive_order(n, x)]
    if isinstance(known, Tracer) or not np.all(np.asarray(known) > 0):
        orders.append(_digamma(lax.digamma_p, x))
    integral = (n.lower == n.upper) & (n.lower == jnp.floor(n.lower)) & (n.lower >= 0)
    result = orders[0] if len(orders) == 1 else ia.choose(n.lower == 0, orders[1], orders[0])
    return _unbounded_where(~integral, result)


def _polygamma_of_positive_order(n: Interval, x: Interval) -> Interval:
    dtype, tiny = x.dtype, format_of(x.dtype).tiny
    order = jnp.maximum(n.lower, 1)
    low, upp = (jnp.where(end > 0, end, tiny) for end in (x.lower, x.upper))
    table = np.array([bracket(Fraction(factorial(k)), dtype) for k in range(200)], np.dtype(dtype))
    ends = jnp.asarray(table)[jnp.clip(order, 0, 199).astype(jnp.int32)]
    # From 200! on, which overflows in both formats, only the sign is known.
    known = order < 200
    product = Interval._make(jnp.where(known, ends[..., 0], 0), jnp.where(known, ends[..., 1], jnp.inf))
    s = order + 1
    values = zeta_at(jnp.stack([s, s]), jnp.stack([upp, low]))
    least = jnp.maximum(ia.mul(product, values[0]).lower, 0)
    most = ia.mul(product, values[1]).upper
    odd = order % 2 == 1
    least = jnp.where((x.lower < 0) | (x.upper == jnp.inf), 0, least)
    most = jnp.where(x.lower <= 0, jnp.inf, most)
    nothing = (x.lower < 0) & ~odd
    result = Interval._make(jnp.where(odd, least, -most), jnp.where(odd, most, -least))
    return _unbounded_where(nothing, result)


defrule(lax.zeta_p, _zeta)
defrule(lax.polygamma_p, _polygamma)


def _erf_inverse_at(primitive: Primitive, y: Array) -> Interval:
    """`erf⁻¹(y)` for |y| < 1."""
    magnitude = jnp.abs(y)
    eps = format_of(y.dtype).eps
    slope = rule_for(lax.sqrt_p)(ia.constant(Fraction(PI) / 4, y.dtype))
    # The first terms of its Maclaurin series (DLMF 7.17.2), where XLA's relative error is large.
    square = magnitude * magnitude
    series = slope.lower * magnitude * (1 + square * (0.261799388 + square * (0.143931731 + square * 0.097663620)))
    z = jnp.where(magnitude < 2**-4, series, jnp.abs(primitive.bind(y)))
    residual = ia.sub(rule_for(lax.erf_p)(ia.point(z)), ia.point(magnitude))
    # 1 − y is exact for y ≥ ½.
    complement = ia.sub(ia.point(1 - magnitude), rule_for(lax.erfc_p)(ia.point(z)))
    better = magnitude >= 0.5
    low = jnp.where(better, jnp.maximum(residual.lower, complement.lower), residual.lower)
    upp = jnp.where(better, jnp.minimum(residual.upper, complement.upper), residual.upper)
    # Without margins, under `rounding="nearest"`, the two need not meet.
    residual = Interval._make(jnp.minimum(low, upp), jnp.maximum(low, upp))
    # The zero is sought within twice the distance that the residual suggests; erf' = 2/√π·exp(−z²) decreases.
    radius = jnp.minimum(2 * slope.upper * residual.magnitude * jnp.exp(z * z) + 8 * eps * z, z / 256)
    first, last = z - radius, z + radius
    exponent = ia.neg(ia.power(Interval._make(first, last), 2))
    derivative = ia.div_by_positive(rule_for(lax.exp_p)(exponent), slope)
    step = ia.sub(ia.point(z), ia.div_by_positive(residual, derivative))
    proved = (step.lower >= first) & (step.upper <= last)
    lower = jnp.where(proved, step.lower, 0)
    upper = jnp.where(proved, step.upper, jnp.inf)
    # erf⁻¹(y)/(½√π·y) − 1 is a power series in y² with positive coefficients, and less than 0.27·y² at y = 1/16.
    linear = ia.mul(slope, ia.point(magnitude))
    lower = jnp.where(magnitude < eps**0.5, linear.lower, lower)
    upper = jnp.where(magnitude < eps**0.5, outward(linear.upper, linear.upper)[1], upper)
    zero = magnitude == 0
    lower, upper = jnp.where(zero, 0, jnp.maximum(lower, 0)), jnp.where(zero, 0, upper)
    return ia.choose(y >= 0, Interval._make(lower, upper), Interval._make(-upper, -lower))


def _erf_inv(primitive: Primitive, y: Interval, **params: Any) -> Interval:
    inner = Interval._make(*(jnp.where(jnp.abs(end) < 1, end, 0) for end in (y.lower, y.upper)))
    at_low, at_upp = _at_ends(lambda end: _erf_inverse_at(primitive, end), inner)
    lower = jnp.where(jnp.abs(y.lower) >= 1, -jnp.inf, at_low.lower)
    upper = jnp.where(jnp.abs(y.upper) >= 1, jnp.inf, at_upp.upper)
    return Interval._make(lower, upper)


defrule(lax.erf_inv_p, _erf_inv)
