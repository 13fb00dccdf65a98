"""What the rules of special functions are put together from."""

from fractions import Fraction

import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive

from . import _arithmetic as ia
from ._elementary import Margin
from ._interval import Interval
from ._registry import rule_for
from ._rounding import format_of, outward


def point(x: Array) -> Interval:
    """The interval of an array of exact numbers."""
    return Interval._make(x, x)


def choose(condition: Array, x: Interval, y: Interval) -> Interval:
    """x where the condition holds, and y elsewhere."""
    return Interval._make(jnp.where(condition, x.lower, y.lower), jnp.where(condition, x.upper, y.upper))


def elementary(primitive: Primitive, x: Interval) -> Interval:
    """An elementary function that takes an accuracy, by its own rule."""
    return rule_for(primitive)(x, accuracy=None)


def divide(x: Interval, y: Interval) -> Interval:
    """x/y for y > 0, which needs less than the rule for all quotients."""
    lower = x.lower / jnp.where(x.lower >= 0, y.upper, y.lower)
    upper = x.upper / jnp.where(x.upper >= 0, y.lower, y.upper)
    return Interval._make(*outward(lower, upper))


def constant(value: Fraction | int | str, like: Array) -> Interval:
    """A constant, as an interval that broadcasts."""
    return ia.constant(Fraction(value), like.dtype)


def in_format(margin: Margin, x: Interval) -> float:
    """The margin of a primitive for the format of x, in units of eps."""
    return float(margin.float32 if format_of(x.dtype).mantissa == 23 else margin.float64)


def together(*operands: Interval) -> list[Interval]:
    """The operands in one shape: a constant may come as a scalar. A point stays one."""
    shape = jnp.broadcast_shapes(*(x.shape for x in operands))

    def spread(x: Interval) -> Interval:
        lower = jnp.broadcast_to(x.lower, shape)
        return Interval._make(lower, lower if ia.is_point(x) else jnp.broadcast_to(x.upper, shape))

    return [spread(x) for x in operands]
