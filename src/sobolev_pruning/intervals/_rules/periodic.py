"""Interval rules for sine, cosine and tangent, and for the hyperbolic cosine.

On `[a, b]` sine takes its extremes at an end, or is 1 (−1) where a maximum (minimum) lies between. Maxima and minima
alternate, π apart, so n of them between need `b − a ≥ (n − 1)·π`, and the derivative changes its sign at each. Where
its signs at a and b differ and `b − a < 2π`, exactly one lies between, a maximum if sine rises at a. Where they agree
there is none for `b − a < π`, and possibly one of each up to 2π, beyond which the range is `[−1, 1]`. The signs are
those of computed derivatives, whose errors are less than their size for every argument, however large: XLA reduces it
exactly, and the only float where sine or cosine vanishes is zero.

The same signs tell whether a pole of tangent, a zero of cosine, lies between.

Margins of the ends are measured.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .._arithmetic import is_point
from .._elementary import bounds, evaluate
from .._interval import Interval
from .._registry import defrule

# Just below π and 2π in both formats, by more than a rounded difference of two numbers can be off.
_HALF_TURN = 3.14159
_TURN = 6.28318


def _rises(primitive: Primitive, x: Array) -> Array:
    """Whether the derivative of sine or cosine is positive; it is zero only at the maximum of cosine, at 0."""
    return evaluate(lax.cos_p, x) > 0 if primitive is lax.sin_p else evaluate(lax.sin_p, x) < 0


def _wave(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    low, upp = bounds(primitive, (x.lower,), (x.lower,))
    if not is_point(x):
        at_upper = bounds(primitive, (x.upper,), (x.upper,))
        low, upp = jnp.minimum(low, at_upper[0]), jnp.maximum(upp, at_upper[1])
        width = x.upper - x.lower
        rises, rises_after = _rises(primitive, x.lower), _rises(primitive, x.upper)
        # An infinite end makes the width infinite.
        everything = (width >= _TURN) | ((width >= _HALF_TURN) & (rises == rises_after))
        upp = jnp.where(everything | (rises & ~rises_after), 1, upp)
        low = jnp.where(everything | (~rises & rises_after), -1, low)
    if primitive is lax.sin_p:
        low, upp = _with_sign(x, low, upp, _HALF_TURN)
    return Interval._make(jnp.maximum(low, -1), jnp.minimum(upp, 1))


def _with_sign(x: Interval, lower: Array, upper: Array, period: float) -> tuple[Array, Array]:
    """Bounds of a function that has the sign of its argument up to `±period`."""
    lower = jnp.where((x.lower >= 0) & (x.upper <= period), jnp.maximum(lower, 0), lower)
    upper = jnp.where((x.upper <= 0) & (x.lower >= -period), jnp.minimum(upper, 0), upper)
    return lower, upper


defrule(lax.sin_p, _wave)
defrule(lax.cos_p, _wave)


def _tan(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    """Nondecreasing between its poles at `π/2 + πk`."""
    lower, upper = bounds(primitive, (x.lower,), (x.upper,))
    lower, upper = _with_sign(x, lower, upper, _HALF_TURN / 2)
    if is_point(x):
        return Interval._make(lower, upper)
    changes = (evaluate(lax.cos_p, x.lower) > 0) != (evaluate(lax.cos_p, x.upper) > 0)
    pole = changes | (x.upper - x.lower >= _HALF_TURN)
    return Interval._make(jnp.where(pole, -jnp.inf, lower), jnp.where(pole, jnp.inf, upper))


defrule(lax.tan_p, _tan)


def _cosh(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    """Even, and nondecreasing on [0, ∞)."""
    low = x.mignitude
    lower, upper = bounds(primitive, (low,), (low if is_point(x) else x.magnitude,))
    upper = jnp.where((x.lower == 0) & (x.upper == 0), 1, upper)
    return Interval._make(jnp.maximum(lower, 1), upper)


defrule(lax.cosh_p, _cosh)
