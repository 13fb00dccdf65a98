"""Interval rules for continuous, monotone elementwise primitives.

A nondecreasing `f` maps `[a, b]` onto `[f(a), f(b)]`, a nonincreasing one onto `[f(b), f(a)]`, so only rounding needs
care. Outside the domain of `f` nothing is defined: the operand is intersected with the domain (IEEE 1788-2015, clause
10.5.3), and where nothing is left, `_domains.py` makes the result empty. No margin crosses a value that f takes
exactly, as 0 at 0. Margins: `_elementary.py`; measured, except for √, which is correctly rounded.

Reference: IEEE 1788-2015, Table 9.1 (exp, log, tanh, …); logistic, erf and erfc follow from their derivatives' signs.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive

from .._arithmetic import is_point
from .._elementary import bounds
from .._interval import Interval
from .._registry import defrule


class Monotone(NamedTuple):
    """What is known of a monotone function: the bounds of its domain and of its range, and a point of its graph."""

    domain: tuple[float, float] = (-jnp.inf, jnp.inf)
    range: tuple[float, float] = (-jnp.inf, jnp.inf)
    exact: tuple[float, float] = (0, 0)


NONDECREASING: dict[Primitive, Monotone] = {
    lax.exp_p: Monotone(range=(0, jnp.inf), exact=(0, 1)),
    lax.exp2_p: Monotone(range=(0, jnp.inf), exact=(0, 1)),
    lax.expm1_p: Monotone(range=(-1, jnp.inf)),
    lax.log_p: Monotone(domain=(0, jnp.inf), exact=(1, 0)),
    lax.log1p_p: Monotone(domain=(-1, jnp.inf)),
    lax.tanh_p: Monotone(range=(-1, 1)),
    lax.logistic_p: Monotone(range=(0, 1), exact=(0, 0.5)),
    lax.erf_p: Monotone(range=(-1, 1)),
    lax.sinh_p: Monotone(),
    lax.asinh_p: Monotone(),
    lax.atan_p: Monotone(),
    lax.asin_p: Monotone(domain=(-1, 1)),
    lax.acosh_p: Monotone(domain=(1, jnp.inf), range=(0, jnp.inf), exact=(1, 0)),
    lax.atanh_p: Monotone(domain=(-1, 1)),
    lax.cbrt_p: Monotone(),
    lax.sqrt_p: Monotone(domain=(0, jnp.inf), range=(0, jnp.inf)),
}

NONINCREASING: dict[Primitive, Monotone] = {
    lax.erfc_p: Monotone(range=(0, 2), exact=(0, 1)),
    lax.acos_p: Monotone(domain=(-1, 1), range=(0, jnp.inf), exact=(1, 0)),
    lax.rsqrt_p: Monotone(domain=(0, jnp.inf), range=(0, jnp.inf), exact=(1, 1)),
}


def _monotone(primitive: Primitive, sign: int, known: Monotone, x: Interval, **params: Any) -> Interval:
    # The margins hold for the default accuracy, so a requested one is not passed on.
    first, last = known.domain
    outside = (x.upper < first) | (x.lower > last)
    low = jnp.clip(x.lower, first, last)
    upp = low if is_point(x) else jnp.clip(x.upper, first, last)
    if sign < 0:
        low, upp = upp, low
    lower, upper = bounds(primitive, (low,), (upp,))
    at, value = known.exact
    lower = jnp.where(sign * low >= sign * at, jnp.maximum(lower, value), lower)
    upper = jnp.where(sign * upp <= sign * at, jnp.minimum(upper, value), upper)
    lower = jnp.maximum(lower, known.range[0])
    upper = jnp.minimum(upper, known.range[1])
    lower = jnp.where(outside, -jnp.inf, lower)
    upper = jnp.where(outside, jnp.inf, upper)
    return Interval._make(lower, upper)


for _primitive, _known in NONDECREASING.items():
    defrule(_primitive, _monotone, 1, _known)
for _primitive, _known in NONINCREASING.items():
    defrule(_primitive, _monotone, -1, _known)
