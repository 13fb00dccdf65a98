"""Interval rules for continuous, monotone elementwise primitives.

A nondecreasing `f` maps `[a, b]` onto `[f(a), f(b)]`, a nonincreasing one onto `[f(b), f(a)]`, so only rounding needs
care. Outside the domain of `f` nothing is defined: the operand is intersected with the domain (IEEE 1788-2015, clause
10.5.3), and where nothing is left, the result is unbounded rather than empty. Margins: `_elementary.py`; measured,
except for √, which is correctly rounded.

Reference: IEEE 1788-2015, Table 9.1 (exp, log, tanh, …); logistic, erf and erfc follow from their derivatives' signs.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive

from .._elementary import margin
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of, outward


class Monotone(NamedTuple):
    """What is known of a monotone function: the bounds of its domain and of its range."""

    domain: tuple[float, float] = (-jnp.inf, jnp.inf)
    range: tuple[float, float] = (-jnp.inf, jnp.inf)


NONDECREASING: dict[Primitive, Monotone] = {
    lax.exp_p: Monotone(range=(0, jnp.inf)),
    lax.exp2_p: Monotone(range=(0, jnp.inf)),
    lax.expm1_p: Monotone(range=(-1, jnp.inf)),
    lax.log_p: Monotone(domain=(0, jnp.inf)),
    lax.log1p_p: Monotone(domain=(-1, jnp.inf)),
    lax.tanh_p: Monotone(range=(-1, 1)),
    lax.logistic_p: Monotone(range=(0, 1)),
    lax.erf_p: Monotone(range=(-1, 1)),
    lax.sinh_p: Monotone(),
    lax.asinh_p: Monotone(),
    lax.atan_p: Monotone(),
    lax.asin_p: Monotone(domain=(-1, 1)),
    lax.acosh_p: Monotone(domain=(1, jnp.inf), range=(0, jnp.inf)),
    lax.atanh_p: Monotone(domain=(-1, 1)),
    lax.cbrt_p: Monotone(),
    lax.sqrt_p: Monotone(domain=(0, jnp.inf), range=(0, jnp.inf)),
}

NONINCREASING: dict[Primitive, Monotone] = {
    lax.erfc_p: Monotone(range=(0, 2)),
    lax.acos_p: Monotone(domain=(-1, 1), range=(0, jnp.inf)),
    lax.rsqrt_p: Monotone(domain=(0, jnp.inf), range=(0, jnp.inf)),
}


def _monotone(primitive: Primitive, sign: int, known: Monotone, x: Interval, **params: Any) -> Interval:
    first, last = known.domain
    outside = (x.upper < first) | (x.lower > last)
    low, upp = jnp.clip(x.lower, first, last), jnp.clip(x.upper, first, last)
    if sign < 0:
        low, upp = upp, low
    # Both ends take the same parameters: the margins hold for the default accuracy.
    params = {name: None if name == "accuracy" else value for name, value in params.items()}
    at_low, at_upp = primitive.bind(low, **params), primitive.bind(upp, **params)
    # Some implementations flush more than the result: asin of twice the smallest normal number is 0.
    lower, upper = outward(at_low, at_upp, ulps=margin(primitive, x.dtype), absolute=2 * format_of(x.dtype).tiny)
    lower = jnp.maximum(lower, known.range[0])
    upper = jnp.minimum(upper, known.range[1])
    lower = jnp.where(outside, -jnp.inf, lower)
    upper = jnp.where(outside, jnp.inf, upper)
    return Interval._make(lower, upper)


for _primitive, _known in NONDECREASING.items():
    defrule(_primitive, _monotone, 1, _known)
for _primitive, _known in NONINCREASING.items():
    defrule(_primitive, _monotone, -1, _known)
