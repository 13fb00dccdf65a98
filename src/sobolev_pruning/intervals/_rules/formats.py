"""Interval rules for operations on the format of a number: its neighbour, and its rounding to fewer bits.

Both are nondecreasing in every operand and exact, but step over subnormal numbers and to infinity.
`nextafter` is a function of floats, not of real numbers; it is enclosed for all floats in the box.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._bits import normalised
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of


def _stepped(primitive: Primitive, x: Interval, *others: Interval, **params: Any) -> Interval:
    operands = ia.together(x, *others)
    low = primitive.bind(*(y.lower for y in operands), **params)
    upp = primitive.bind(*(y.upper for y in operands), **params)
    x = operands[0]
    lower, upper = normalised(low, upp)
    # Infinity is no number of an unbounded interval, so its neighbour bounds nothing; what overflowed is large.
    largest = format_of(x.dtype).max
    lower = jnp.where(x.lower == -jnp.inf, -jnp.inf, jnp.minimum(lower, largest))
    upper = jnp.where(x.upper == jnp.inf, jnp.inf, jnp.maximum(upper, -largest))
    return Interval._make(lower, upper)


defrule(lax.nextafter_p, _stepped)
defrule(lax.reduce_precision_p, _stepped)
