"""Interval rules for products, quotients and dot products.

A product takes its extremes at pairs of ends. A dot product is evaluated by midpoints and radii (S. Rump, Fast and
parallel interval arithmetic, BIT 39, 1999): `X·Y ⊆ mX·mY ± (|mX|·rY + rX·(|mY| + rY))`, which for an exact factor is
the range itself. Each float dot product of n terms is wrong by at most `γₙ·|mX|·|mY|` plus n flushed subnormals, for
any order of summation. A dot product of midpoints that overflows says nothing.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, defrule
from .._rounding import format_of, gamma, outward, rounded


def _mul(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.mul(x, y)


def _reciprocal(y: Interval) -> Interval:
    """`1/y`; unbounded where y contains zero."""
    lower, upper = rounded(1 / y.upper, 1 / y.lower)
    # 1/∞ = 0, and 1/y has the sign of y.
    lower = jnp.where(y.lower > 0, jnp.maximum(lower, 0), lower)
    upper = jnp.where(y.upper < 0, jnp.minimum(upper, 0), upper)
    zero = (y.lower <= 0) & (y.upper >= 0)
    # One-sided: 1/[0, b] = [1/b, ∞), 1/[a, 0] = (−∞, 1/a].
    right, left = (y.lower == 0) & (y.upper > 0), (y.upper == 0) & (y.lower < 0)
    lower = jnp.where(zero & ~right, -jnp.inf, lower)
    upper = jnp.where(zero & ~left, jnp.inf, upper)
    return Interval._make(lower, upper)


def _div(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    zero = (y.lower <= 0) & (y.upper >= 0)
    safe = Interval._make(
        jnp.where(zero, jnp.ones((), y.dtype), y.lower), jnp.where(zero, jnp.ones((), y.dtype), y.upper)
    )
    quotients = [_over(a, b) for a in (x.lower, x.upper) for b in (safe.lower, safe.upper)]
    low = upp = quotients[0]
    for quotient in quotients[1:]:
        low, upp = jnp.minimum(low, quotient), jnp.maximum(upp, quotient)
    lower, upper = rounded(low, upp)
    same = ((x.lower >= 0) & (safe.lower > 0)) | ((x.upper <= 0) & (safe.upper < 0))
    opposite = ((x.lower >= 0) & (safe.upper < 0)) | ((x.upper <= 0) & (safe.lower > 0))
    lower = jnp.where(same, jnp.maximum(lower, 0), lower)
    upper = jnp.where(opposite, jnp.minimum(upper, 0), upper)
    through = ia.mul(x, _reciprocal(y))
    lower, upper = jnp.where(zero, through.lower, lower), jnp.where(zero, through.upper, upper)
    # Nothing can be divided by zero alone, not even zero: no number is left, which is unbounded.
    nowhere = (y.lower == 0) & (y.upper == 0)
    return Interval._make(jnp.where(nowhere, -jnp.inf, lower), jnp.where(nowhere, jnp.inf, upper))


def _over(a: Array, b: Array) -> Array:
    # ∞/∞ stands for quotients of large numbers: anything between 0 and ∞, of which 0 comes from the other ends.
    return jnp.where(jnp.isinf(b) & jnp.isinf(a), jnp.sign(a) * jnp.sign(b) * jnp.inf, a / b)


defrule(lax.mul_p, _mul)
defrule(lax.div_p, _div)


def _dot_general(
    primitive: Primitive,
    x: Interval,
    y: Interval,
    *,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    **params: Any,
) -> Interval:
    (contract, _), _ = dimension_numbers
    n = max(int(np.prod([x.shape[d] for d in contract])), 1)
    dtype = x.dtype

    def dot(a: Array, b: Array) -> Array:
        # Faster and less precise formats of accelerators would void the error bound.
        return primitive.bind(
            a,
            b,
            dimension_numbers=dimension_numbers,
            precision=(lax.Precision.HIGHEST, lax.Precision.HIGHEST),
            preferred_element_type=np.dtype(dtype),
            **params,
        )

    if y.dtype != dtype:
        raise UnsupportedPrimitiveError(f"multiplies {dtype} by {y.dtype}; convert one of them first")
    tiny = format_of(dtype).tiny
    relative = gamma(n + 2, dtype)

    def rounding(m: Array) -> Array:
        # The share of the error bound that the other factor multiplies: flushed to zero, it would be lost.
        return jnp.where(m == 0, jnp.zeros((), dtype), jnp.maximum(relative * jnp.abs(m), tiny))

    mx, rx = _midpoint_radius(x)
    my, ry = _midpoint_radius(y)
    middle = dot(mx, my)
    if rx is None and ry is None:
        radius = relative * dot(jnp.abs(mx), jnp.abs(my))
    elif ry is None:
        assert rx is not None
        radius = dot(rx + rounding(mx), jnp.abs(my))
    elif rx is None:
        radius = dot(jnp.abs(mx), ry + rounding(my))
    else:
        radius = dot(jnp.abs(mx), ry + rounding(my)) + dot(rx, jnp.abs(my) + ry)
    # The radius is a sum of non-negative terms, each computed with a few more roundings than n.
    radius = radius * (1 + 2 * gamma(n + 8, dtype)) + 8 * n * tiny
    # An unbounded operand has an infinite radius; where that meets a zero, NaN becomes unbounded. So does a middle
    # that overflowed: the radius alone may well be finite.
    known = jnp.isfinite(middle) & ~jnp.isnan(radius)
    radius = jnp.where(known, radius, jnp.inf)
    middle = jnp.where(known, middle, jnp.zeros((), dtype))
    lower, upper = outward(middle - radius, middle + radius)
    return Interval._make(lower, upper)


def _midpoint_radius(x: Interval) -> tuple[Array, Array | None]:
    """A centre and a bound of the distance to both ends; the radius of a point is None."""
    if ia.is_point(x):
        return x.lower, None
    bounded = jnp.isfinite(x.lower) & jnp.isfinite(x.upper)
    zero = jnp.zeros((), x.dtype)
    low, upp = jnp.where(bounded, x.lower, zero), jnp.where(bounded, x.upper, zero)
    middle = jnp.where(low == upp, low, 0.5 * low + 0.5 * upp)
    _, radius = outward(zero, jnp.maximum(upp - middle, middle - low))
    radius = jnp.where(low == upp, zero, radius)
    return middle, jnp.where(bounded, radius, jnp.inf)


defrule(lax.dot_general_p, _dot_general)
