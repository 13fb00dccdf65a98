"""Interval rules for `e⁻ˣ·I₀(x)` and `e⁻ˣ·I₁(x)` of |x|, the exponentially scaled modified Bessel functions.

The first is even, positive, and decreases in |x|; the second is odd and, for x > 0, positive with one maximum, where
`I₀ = (1 + 1/x)·I₁` (DLMF 10.29.2). Margins are measured by `benchmarks/special_margins.py`.
"""

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._elementary import Margin
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of, outward
from .._special_constants import BESSEL_I1E_MAXIMUM

# Twice the largest error measured.
MARGINS: dict[Primitive, Margin] = {lax.bessel_i0e_p: Margin(8, 8), lax.bessel_i1e_p: Margin(24, 16)}


def _i0e(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    low, upp = primitive.bind(x.magnitude), primitive.bind(x.mignitude)
    lower, upper = outward(low, upp, ulps=MARGINS[primitive].of(x.dtype))
    lower = jnp.where(x.magnitude == jnp.inf, 0, jnp.maximum(lower, 0))
    return Interval._make(lower, jnp.minimum(upper, 1))


def _i1e(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    ends = [jnp.where(jnp.isinf(end), 0, primitive.bind(end)) for end in (x.lower, x.upper)]
    # The result of the smallest numbers is half as large, and flushed to zero.
    lower, upper = outward(
        jnp.minimum(*ends),
        jnp.maximum(*ends),
        ulps=MARGINS[primitive].of(x.dtype),
        absolute=2 * format_of(x.dtype).tiny,
    )
    lower = jnp.where(x.lower >= 0, jnp.maximum(lower, 0), lower)
    upper = jnp.where(x.upper <= 0, jnp.minimum(upper, 0), upper)
    at, value = (ia.constant(Fraction(v), x.dtype) for v in BESSEL_I1E_MAXIMUM)
    lower = jnp.where((x.lower <= -at.lower) & (x.upper >= -at.upper), -value.upper, jnp.maximum(lower, -value.upper))
    upper = jnp.where((x.lower <= at.upper) & (x.upper >= at.lower), value.upper, jnp.minimum(upper, value.upper))
    return Interval._make(lower, upper)


defrule(lax.bessel_i0e_p, _i0e)
defrule(lax.bessel_i1e_p, _i1e)
