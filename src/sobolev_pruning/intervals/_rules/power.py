"""Interval rules for powers.

`xⁿ` is monotone on either side of zero; even powers are not negative. `xᵖ` with a real exponent is `exp(p·log x)`,
defined for x > 0, nondecreasing in x for p ≥ 0 and nonincreasing for p ≤ 0, and monotone in p on either side of x =
1: its extremes over a box are at the corners. Margins of both are measured.
"""

from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from ..._compat import since
from .. import _arithmetic as ia
from .._elementary import bounds
from .._interval import Interval
from .._registry import defrule


def _integer_pow(_: Primitive, x: Interval, *, y: int, **params: Any) -> Interval:
    return ia.power(x, y) if y >= 0 else ia.reciprocal(ia.power(x, -y))


def _square(_: Primitive, x: Interval, **params: Any) -> Interval:
    return ia.power(x, 2)


def _one_minus_square(_: Primitive, x: Interval, **params: Any) -> Interval:
    """`1 − x²` as `(1 + |x|)·(1 − |x|)`, which keeps what is small near 1 and falls in |x|."""
    one = ia.point(jnp.ones((), x.dtype))

    def at(size: Array) -> Interval:
        return ia.mul(ia.add(one, ia.point(size)), ia.sub(one, ia.point(size)))

    return Interval._make(at(x.magnitude).lower, at(x.mignitude).upper)


defrule(lax.integer_pow_p, _integer_pow)
defrule(lax.square_p, _square)
for _primitive in since("one_minus_square"):
    defrule(_primitive, _one_minus_square)


def _pow(primitive: Primitive, x: Interval, y: Any, **params: Any) -> Interval:
    if not isinstance(y, Interval):  # an integer exponent: as a real number, for positive bases
        y = ia.point(y.astype(x.dtype))
    x, y = ia.together(x, y)
    # For negative bases the power of a real number is defined only for integer exponents; nothing is known of others.
    undefined = x.lower < 0
    zero = jnp.zeros((), x.dtype)
    low, upp = jnp.maximum(x.lower, zero), jnp.maximum(x.upper, zero)
    if ia.is_point(x) and ia.is_point(y):
        lower, upper = bounds(primitive, (low, y.lower), (low, y.lower))
    else:
        # The least value is at one of the ends of y for the x that makes it least, and so is the greatest.
        corners = [
            bounds(primitive, (jnp.where(e >= 0, low, upp), e), (jnp.where(e >= 0, upp, low), e))
            for e in ((y.lower,) if ia.is_point(y) else (y.lower, y.upper))
        ]
        lower, upper = reduce(jnp.minimum, (c[0] for c in corners)), reduce(jnp.maximum, (c[1] for c in corners))
    lower = jnp.where(undefined, -jnp.inf, jnp.maximum(lower, 0))
    return Interval._make(lower, jnp.where(undefined, jnp.inf, upper))


defrule(lax.pow_p, _pow)
