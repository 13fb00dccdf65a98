"""Interval arithmetic that the engine itself needs: sums, products, powers.

Reference: IEEE 1788-2015, Table 9.1. `0·∞ = 0`, since infinity is no member of an interval.
"""

from fractions import Fraction

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ._elementary import bounds
from ._interval import Interval
from ._rounding import bracket, format_of, outward, rounded, rounded_sum

__all__ = ["add", "constant", "exact", "hull", "is_point", "mul", "neg", "power", "scale", "sub"]


def exact(lower: Array, upper: Array) -> Interval:
    """Bounds that need no rounding."""
    return Interval._make(lower, upper)


def is_point(x: Interval) -> bool:
    """Whether the interval is known while tracing to hold one number in each entry."""
    return x.lower is x.upper


def constant(value: Fraction, dtype: DTypeLike) -> Interval:
    """The tightest scalar interval around a rational number."""
    low, upp = bracket(value, dtype)
    lower = jnp.asarray(low, dtype)
    return Interval._make(lower, lower if low == upp else jnp.asarray(upp, dtype))


def hull(x: Interval, y: Interval) -> Interval:
    """The smallest interval around both, neither of which has a subnormal end."""
    return Interval._make(jnp.minimum(x.lower, y.lower), jnp.maximum(x.upper, y.upper))


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
    low = upp = products[0]
    for product in products[1:]:
        low, upp = jnp.minimum(low, product), jnp.maximum(upp, product)
    lower, upper = rounded(low, upp)
    # Where the product cannot be negative (or positive), the margin need not make it so.
    zero = ((x.lower == 0) & (x.upper == 0)) | ((y.lower == 0) & (y.upper == 0))
    same = ((x.lower >= 0) & (y.lower >= 0)) | ((x.upper <= 0) & (y.upper <= 0)) | zero
    opposite = ((x.lower >= 0) & (y.upper <= 0)) | ((x.upper <= 0) & (y.lower >= 0)) | zero
    lower = jnp.where(same, jnp.maximum(lower, 0), lower)
    upper = jnp.where(opposite, jnp.minimum(upper, 0), upper)
    return Interval._make(lower, upper)


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
