"""Interval arithmetic that the engine itself needs: sums, products, powers.

Reference: IEEE 1788-2015, Table 9.1. `0·∞ = 0`, since infinity is no member of an interval.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ._elementary import bounds
from ._interval import Interval
from ._rounding import bracket, format_of, outward, rounded, rounded_quotient, rounded_sum


def point(x: Array) -> Interval:
    """The interval of an array of exact numbers."""
    return Interval._make(x, x)


def as_interval(x: Any) -> Interval:
    """An operand as an interval, also if it is an exact array."""
    return x if isinstance(x, Interval) else point(x)


def is_point(x: Interval) -> bool:
    """Whether the interval is known while tracing to hold one number in each entry."""
    return x.lower is x.upper


def each(f: Callable[[Array], Array], x: Interval) -> Interval:
    """An exact, nondecreasing function of arrays, or a rearrangement, of both ends; a point stays one."""
    low = f(x.lower)
    return Interval._make(low, low if is_point(x) else f(x.upper))


def together(*operands: Interval) -> list[Interval]:
    """The operands in one shape: a constant may come as a scalar."""
    shape = jnp.broadcast_shapes(*(x.shape for x in operands))
    return [of_shape(x, shape) for x in operands]


def of_shape(x: Interval, shape: tuple[int, ...]) -> Interval:
    """The interval broadcast to a shape."""
    return x if x.shape == shape else each(lambda end: jnp.broadcast_to(end, shape), x)


def choose(condition: Array, x: Interval, y: Interval) -> Interval:
    """x where the condition holds, and y elsewhere."""
    return Interval._make(jnp.where(condition, x.lower, y.lower), jnp.where(condition, x.upper, y.upper))


def constant(value: Fraction | int | str, dtype: DTypeLike) -> Interval:
    """The tightest scalar interval around a rational number."""
    low, upp = bracket(Fraction(value), dtype)
    lower = jnp.asarray(low, dtype)
    return Interval._make(lower, lower if low == upp else jnp.asarray(upp, dtype))


def hull(x: Interval, y: Interval) -> Interval:
    """The smallest interval around both, neither of which has a subnormal end."""
    return Interval._make(jnp.minimum(x.lower, y.lower), jnp.maximum(x.upper, y.upper))


def limits(dtype: Any) -> tuple[Array, Array]:
    """The least and the largest number of a format."""
    if jnp.issubdtype(dtype, jnp.floating):
        return jnp.asarray(-jnp.inf, dtype), jnp.asarray(jnp.inf, dtype)
    info = jnp.iinfo(dtype)
    return jnp.asarray(info.min, dtype), jnp.asarray(info.max, dtype)


def neg(x: Interval) -> Interval:
    """`−x`, exact."""
    if is_point(x):
        negative = -x.lower
        return Interval._make(negative, negative)
    return Interval._make(-x.upper, -x.lower)


def add(x: Interval, y: Interval) -> Interval:
    """`x + y`; exact where the sums of the ends are."""
    return Interval._make(*rounded_sum((x.lower, x.upper), (y.lower, y.upper)))


def sub(x: Interval, y: Interval) -> Interval:
    """`x − y`, as `x + (−y)`."""
    return add(x, neg(y))


def _times(a: Array, b: Array) -> Array:
    # An infinite end stands for arbitrarily large numbers, so its product with zero is zero.
    return jnp.where((a == 0) | (b == 0), jnp.zeros((), a.dtype), a * b)


def mul(x: Interval, y: Interval) -> Interval:
    """`x·y` for independent operands: the extreme products of ends."""
    if is_point(x) and is_point(y):
        products = [_times(x.lower, y.lower)]
    elif is_point(x):
        products = [_times(x.lower, y.lower), _times(x.lower, y.upper)]
    elif is_point(y):
        products = [_times(x.lower, y.lower), _times(x.upper, y.lower)]
    else:
        products = [_times(a, b) for a in (x.lower, x.upper) for b in (y.lower, y.upper)]
    lower, upper = rounded(reduce(jnp.minimum, products), reduce(jnp.maximum, products))
    # Where the product cannot be negative (or positive), the margin need not make it so.
    (x_up, x_down), (y_up, y_down) = ((v.lower >= 0, v.upper <= 0) for v in (x, y))
    zero = (x_up & x_down) | (y_up & y_down)
    same, opposite = (x_up & y_up) | (x_down & y_down) | zero, (x_up & y_down) | (x_down & y_up) | zero
    lower = jnp.where(same, jnp.maximum(lower, 0), lower)
    upper = jnp.where(opposite, jnp.minimum(upper, 0), upper)
    return Interval._make(lower, upper)


def reciprocal(y: Interval) -> Interval:
    """`1/y`; unbounded where y contains zero."""
    lower, upper = rounded_quotient(1 / y.upper, 1 / y.lower)
    # 1/∞ = 0, and 1/y has the sign of y.
    lower = jnp.where(y.lower > 0, jnp.maximum(lower, 0), lower)
    upper = jnp.where(y.upper < 0, jnp.minimum(upper, 0), upper)
    zero = (y.lower <= 0) & (y.upper >= 0)
    # One-sided: 1/[0, b] = [1/b, ∞), 1/[a, 0] = (−∞, 1/a].
    right, left = (y.lower == 0) & (y.upper > 0), (y.upper == 0) & (y.lower < 0)
    lower = jnp.where(zero & ~right, -jnp.inf, lower)
    upper = jnp.where(zero & ~left, jnp.inf, upper)
    return Interval._make(lower, upper)


def div(x: Interval, y: Interval) -> Interval:
    """`x/y`; where y contains zero, by `1/y` (extended division). By zero alone, nothing is defined."""
    zero = (y.lower <= 0) & (y.upper >= 0)
    safe = choose(zero, point(jnp.ones((), y.dtype)), y)
    quotients = [_over(a, b) for a in (x.lower, x.upper) for b in (safe.lower, safe.upper)]
    lower, upper = rounded_quotient(reduce(jnp.minimum, quotients), reduce(jnp.maximum, quotients))
    same = ((x.lower >= 0) & (safe.lower > 0)) | ((x.upper <= 0) & (safe.upper < 0))
    opposite = ((x.lower >= 0) & (safe.upper < 0)) | ((x.upper <= 0) & (safe.lower > 0))
    lower = jnp.where(same, jnp.maximum(lower, 0), lower)
    upper = jnp.where(opposite, jnp.minimum(upper, 0), upper)
    return choose(zero, mul(x, reciprocal(y)), Interval._make(lower, upper))


def _over(a: Array, b: Array) -> Array:
    # ∞/∞ stands for quotients of large numbers: anything between 0 and ∞, of which 0 comes from the other ends.
    return jnp.where(jnp.isinf(b) & jnp.isinf(a), jnp.sign(a) * jnp.sign(b) * jnp.inf, a / b)


def div_by_positive(x: Interval, y: Interval) -> Interval:
    """`x/y` for y > 0, which takes fewer operations."""
    lower = x.lower / jnp.where(x.lower >= 0, y.upper, y.lower)
    upper = x.upper / jnp.where(x.upper >= 0, y.lower, y.upper)
    return Interval._make(*outward(lower, upper))


def scale(x: Interval, factor: Fraction) -> Interval:
    """`factor·x` for an exact factor."""
    fmt = format_of(x.dtype)
    if factor == 1:
        return x
    if factor == -1:
        return neg(x)
    if not Fraction(fmt.tiny) <= abs(factor) <= Fraction(fmt.max):
        return mul(x, constant(factor, x.dtype))
    low, upp = bracket(factor, x.dtype)
    near = min((low, upp), key=lambda f: abs(Fraction(f) - factor))
    c = jnp.asarray(near, x.dtype)
    first, last = (x.lower, x.upper) if factor > 0 else (x.upper, x.lower)
    low_product, upp_product = c * first, c * last
    if low != upp:
        # Half an eps for the product, half an eps for the factor's own rounding, and their product.
        lower, upper = outward(low_product, upp_product, ulps=1.01)
    else:
        lower, upper = rounded(low_product, upp_product)
        if _is_power_of_two(abs(factor)):
            # A power of two times a float is exact, unless it overflows or underflows.
            lower = jnp.where((jnp.abs(low_product) >= fmt.tiny) & (low_product < jnp.inf), low_product, lower)
            upper = jnp.where((jnp.abs(upp_product) >= fmt.tiny) & (upp_product > -jnp.inf), upp_product, upper)
    lower = jnp.where((first >= 0) if factor > 0 else (first <= 0), jnp.maximum(lower, 0), lower)
    upper = jnp.where((last <= 0) if factor > 0 else (last >= 0), jnp.minimum(upper, 0), upper)
    return Interval._make(lower, upper)


def _is_power_of_two(factor: Fraction) -> bool:
    return factor.numerator & (factor.numerator - 1) == 0 and factor.denominator & (factor.denominator - 1) == 0


# Up to this exponent the margin of integer powers was measured.
LARGEST_POWER = 64


def power(x: Interval, exponent: int) -> Interval:
    """`xⁿ` for a natural number n: monotone on either side of zero, and even powers are not negative."""
    assert exponent >= 0
    if exponent == 0:
        one = jnp.ones_like(x.lower)
        return Interval._make(one, one)
    if exponent == 1:
        return x
    # A higher power is evaluated to twice the precision, in halves whose margins were measured.
    if exponent > LARGEST_POWER:
        square = power(power(x, exponent // 2), 2)
        return mul(square, x) if exponent % 2 else square
    if exponent % 2:
        low, upp = (x.lower,), (x.lower,) if is_point(x) else (x.upper,)
        lower, upper = bounds(lax.integer_pow_p, low, upp, y=exponent)
        # A power has the sign of its base, whatever the margin.
        lower = jnp.where(x.lower >= 0, jnp.maximum(lower, 0), lower)
        upper = jnp.where(x.upper <= 0, jnp.minimum(upper, 0), upper)
        return Interval._make(lower, upper)
    low = x.mignitude
    upp = low if is_point(x) else x.magnitude
    if exponent == 2:
        lower, upper = rounded(low * low, upp * upp)
    else:
        lower, upper = bounds(lax.integer_pow_p, (low,), (upp,), y=exponent)
    upper = jnp.where(upp == 0, 0, upper)
    return Interval._make(jnp.maximum(lower, 0), upper)
