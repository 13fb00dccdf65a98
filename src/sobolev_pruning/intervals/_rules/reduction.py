"""Interval rules for reductions by order: maximum and minimum along axes.

Both are nondecreasing in every entry and exact. Products along an axis are left out: their signs need all corners.
"""

from typing import Any

from jax import lax
from jax.extend.core import Primitive

from .._interval import Interval
from .._registry import defrule
from .._ternary import Ternary

ORDERED: tuple[Primitive, ...] = (
    lax.reduce_max_p,
    lax.reduce_min_p,
    lax.cummax_p,
    lax.cummin_p,
)


def _ordered(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    return Interval._make(primitive.bind(x.lower, **params), primitive.bind(x.upper, **params))


for _primitive in ORDERED:
    defrule(_primitive, _ordered)


def _all(primitive: Primitive, x: Any, **params: Any) -> Any:
    if not isinstance(x, Ternary):
        return primitive.bind(x, **params)
    return Ternary(
        primitive.bind(x.can_be_true, **params),
        lax.reduce_or_p.bind(x.can_be_false, **params),
    )


def _any(primitive: Primitive, x: Any, **params: Any) -> Any:
    if not isinstance(x, Ternary):
        return primitive.bind(x, **params)
    return Ternary(
        primitive.bind(x.can_be_true, **params),
        lax.reduce_and_p.bind(x.can_be_false, **params),
    )


defrule(lax.reduce_and_p, _all)
defrule(lax.reduce_or_p, _any)
