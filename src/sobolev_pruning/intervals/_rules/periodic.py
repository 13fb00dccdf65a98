"""Interval rules for sine, cosine and tangent.

Sine takes its extremes on `[a, b]` at an end, or is 1 (−1) where a maximum (minimum) `π/2 + 2πk` (`−π/2 + 2πk`) lies
inside. Whether one lies inside is decided by counting half turns in floating point, with the interval widened by a
bound of the counting's error, so that an extremum is never overlooked; beyond `10³` turns the result is `[−1, 1]`.
Margins of the ends are measured.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .._elementary import margin
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of, outward

# No count of turns is trusted beyond this argument.
_LARGEST = 6000.0


def _contains_turn(x: Interval, offset: float) -> Array:
    """Whether some `2π·(offset + k)` may lie in x."""
    eps = format_of(x.dtype).eps
    turns = [end / (2 * math.pi) - offset for end in (x.lower, x.upper)]
    # 2π as a float, the quotient and the difference: three roundings of numbers below |end/2π| + 1.
    slack = [4 * eps * (jnp.abs(t) + 1) for t in turns]
    return jnp.floor(turns[1] + slack[1]) >= jnp.ceil(turns[0] - slack[0])


def _wave(primitive: Primitive, maximum: float, x: Interval, **params: Any) -> Interval:
    params = {name: None if name == "accuracy" else value for name, value in params.items()}
    far = ~((x.lower >= -_LARGEST) & (x.upper <= _LARGEST))
    zero = jnp.zeros((), x.dtype)
    near = Interval._make(jnp.where(far, zero, x.lower), jnp.where(far, zero, x.upper))
    ends = [primitive.bind(end, **params) for end in (near.lower, near.upper)]
    lower, upper = outward(jnp.minimum(*ends), jnp.maximum(*ends), ulps=margin(primitive, x.dtype))
    upper = jnp.where(far | _contains_turn(near, maximum), 1, jnp.minimum(upper, 1))
    lower = jnp.where(far | _contains_turn(near, maximum + 0.5), -1, jnp.maximum(lower, -1))
    return Interval._make(lower, upper)


# Where the maximum is, in turns.
MAXIMUM: dict[Primitive, float] = {lax.sin_p: 0.25, lax.cos_p: 0.0}
for _primitive, _maximum in MAXIMUM.items():
    defrule(_primitive, _wave, _maximum)


def _tan(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    """Nondecreasing between its poles at `π/2 + πk`."""
    params = {name: None if name == "accuracy" else value for name, value in params.items()}
    far = ~((x.lower >= -_LARGEST) & (x.upper <= _LARGEST))
    zero = jnp.zeros((), x.dtype)
    near = Interval._make(jnp.where(far, zero, x.lower), jnp.where(far, zero, x.upper))
    pole = far | _contains_turn(near, 0.25) | _contains_turn(near, 0.75)
    lower, upper = outward(
        primitive.bind(near.lower, **params),
        primitive.bind(near.upper, **params),
        ulps=margin(primitive, x.dtype),
    )
    return Interval._make(jnp.where(pole, -jnp.inf, lower), jnp.where(pole, jnp.inf, upper))


defrule(lax.tan_p, _tan)


def _cosh(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    """Even, and nondecreasing on [0, ∞)."""
    lower, upper = outward(
        primitive.bind(x.mignitude, **params),
        primitive.bind(x.magnitude, **params),
        ulps=margin(primitive, x.dtype),
    )
    return Interval._make(jnp.maximum(lower, 1), upper)


defrule(lax.cosh_p, _cosh)
