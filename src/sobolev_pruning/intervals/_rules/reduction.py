"""Interval rules for reductions by order: maximum and minimum along axes.

Both are nondecreasing in every entry and exact. `associative.py` has products along an axis, whose signs need all
corners.
"""

from typing import Any

from jax import lax
from jax.extend.core import Primitive

from .._registry import definteger, defrule
from .._ternary import Ternary
from .piecewise import endwise

ORDERED: tuple[Primitive, ...] = (
    lax.reduce_max_p,
    lax.reduce_min_p,
    lax.cummax_p,
    lax.cummin_p,
)


for _primitive in ORDERED:
    defrule(_primitive, endwise)
    definteger(_primitive, endwise)


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
