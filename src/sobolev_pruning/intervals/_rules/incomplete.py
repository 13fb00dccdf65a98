"""Interval rules for the regularised incomplete gamma and beta functions.

All are monotone in every operand: `P(a, x)` increases in x and decreases in a, `Q = 1 − P`, and `Iₓ(a, b)` increases in
x and b and decreases in a; so each bound is the value at one corner. (∂P/∂a < 0: the gamma distributions increase
stochastically with their shape; likewise the beta distributions with a, and decrease with b.) Values at points:
`_incomplete.py`.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._incomplete import LARGEST, beta_at, gamma_at
from .._interval import Interval
from .._registry import defrule

_UNKNOWN = (0.0, 1.0)


def _corners(first: tuple[Array, ...], last: tuple[Array, ...]) -> list[Array]:
    """Both corners in one array, so that there is one loop."""
    return [jnp.stack([a, b]) for a, b in zip(first, last, strict=True)]


def _inside(x: Array, high: float) -> Array:
    return (x > 0) & (x < high)


def _gamma(_: Primitive, complement: bool, a: Interval, x: Interval, **params: Any) -> Interval:
    a, x = ia.together(a, x)
    point = ia.is_point(a) and ia.is_point(x)
    shape, at = (a.lower[None], x.lower[None]) if point else _corners((a.upper, x.lower), (a.lower, x.upper))
    shape, at = jnp.maximum(shape, 0), jnp.maximum(at, 0)
    known = _inside(shape, LARGEST) & _inside(at, jnp.inf)
    p, q = gamma_at(jnp.where(known, shape, 1), jnp.where(known, at, 1))
    # P(a, 0) = 0 and P(0, x) = 1, which is also the limit for large x.
    zero, one = (at == 0) & (shape > 0), ((shape == 0) & (at > 0)) | ((at == jnp.inf) & (shape < jnp.inf))
    low = jnp.where(one, 1, jnp.where(known, p.lower, 0))
    upp = jnp.where(zero, 0, jnp.where(known, p.upper, 1))
    if complement:
        low, upp = (
            jnp.where(zero, 1, jnp.where(known, q.lower, 0)),
            jnp.where(one, 0, jnp.where(known, q.upper, 1)),
        )
        return Interval._make(low[-1], upp[0])
    return Interval._make(low[0], upp[-1])


defrule(lax.igamma_p, _gamma, False)
defrule(lax.igammac_p, _gamma, True)


def _beta(_: Primitive, a: Interval, b: Interval, x: Interval, **params: Any) -> Interval:
    a, b, x = ia.together(a, b, x)
    if ia.is_point(a) and ia.is_point(b) and ia.is_point(x):
        first, second, at = a.lower[None], b.lower[None], x.lower[None]
    else:
        first, second, at = _corners((a.upper, b.lower, x.lower), (a.lower, b.upper, x.upper))
    first, second, at = jnp.maximum(first, 0), jnp.maximum(second, 0), jnp.clip(at, 0, 1)
    known = _inside(first, LARGEST) & _inside(second, LARGEST) & _inside(at, 1.0)
    value = beta_at(*(jnp.where(known, v, 0.5) for v in (first, second, at)))
    value = ia.choose(known, value, Interval._make(*(jnp.full_like(at, end) for end in _UNKNOWN)))
    # The probability of an interval that is empty, and of one that is everything.
    ordinary = _inside(first, jnp.inf) & _inside(second, jnp.inf)
    zero, one = ordinary & (at == 0), ordinary & (at == 1)
    low = jnp.where(one, 1, jnp.where(zero, 0, value.lower))
    upp = jnp.where(zero, 0, jnp.where(one, 1, value.upper))
    return Interval._make(low[0], upp[-1])


defrule(lax.regularized_incomplete_beta_p, _beta)
