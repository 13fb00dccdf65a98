"""Numbers of twice the precision, as unevaluated sums of two floats, built so that XLA's fusing cannot spoil them.

The building blocks are those of Dekker (A floating-point technique for extending the available precision, Numer. Math.
18, 1971) with one difference. XLA on the CPU may or may not contract `a·b + c` to one rounding, and may do both with
the same product. So no sum here whose error is wanted has a rounded product among its larger operands: products are
taken of halves of the significand, which are cut off as bits and multiply exactly, where contraction changes nothing.
"""

from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ._rounding import format_of


class Pair(NamedTuple):
    """`high + low`; `|low|` is at most about half an ulp of `high`."""

    high: Array
    low: Array


def split(x: Array) -> tuple[Array, Array]:
    """`x = h + l` exactly, where h has the upper half of the bits of x, so that products of such h are exact."""
    fmt = format_of(x.dtype)
    cut = (fmt.mantissa + 2) // 2
    mask = np.array(-(1 << cut), fmt.bits)
    bits = lax.bitcast_convert_type(x, fmt.bits) & mask
    high = lax.bitcast_convert_type(bits, x.dtype)
    return high, x - high


def fast_two_sum(a: Array, b: Array) -> Pair:
    """`a + b` exactly, for `|a| ≥ |b|` or `a = 0`."""
    total = a + b
    return Pair(total, b - (total - a))


def two_sum(a: Array, b: Array) -> Pair:
    """`a + b` exactly."""
    total = a + b
    part = total - a
    return Pair(total, (a - (total - part)) + (b - part))


def add(x: Pair, y: Pair) -> Pair:
    """`x + y`; accurate relative to the larger operand."""
    total = two_sum(x.high, y.high)
    return fast_two_sum(total.high, total.low + (x.low + y.low))


def product(a: Array, b: Array) -> Pair:
    """`a·b`, to about twice the precision."""
    (ah, al), (bh, bl) = split(a), split(b)
    return fast_two_sum(ah * bh, (ah * bl + al * bh) + al * bl)


def times(x: Pair, y: Pair) -> Pair:
    """`x·y`."""
    high = product(x.high, y.high)
    return fast_two_sum(high.high, high.low + (x.high * y.low + x.low * y.high))


def over(x: Pair, y: Pair) -> Pair:
    """`x/y`: the rounded quotient, and its remainder divided."""
    q = x.high / y.high
    back = product(q, y.high)
    remainder = ((x.high - back.high) - back.low) + (x.low - q * y.low)
    return fast_two_sum(q, remainder / y.high)


def root(x: Pair) -> Pair:
    """`√x`: the rounded root, and one step of Newton's method for what it lacks; 0 for `x = 0`."""
    r = jnp.sqrt(x.high)
    back = product(r, r)
    remainder = ((x.high - back.high) - back.low) + x.low
    return fast_two_sum(r, jnp.where(r == 0, jnp.zeros((), r.dtype), remainder / (2 * r)))


def scaled(x: Pair, factor: Array | float) -> Pair:
    """`factor·x` for a power of two."""
    return Pair(x.high * factor, x.low * factor)


def negative(x: Pair) -> Pair:
    """`−x`."""
    return Pair(-x.high, -x.low)


def where(condition: Array, x: Pair, y: Pair) -> Pair:
    """`x` where the condition holds, else `y`."""
    return Pair(jnp.where(condition, x.high, y.high), jnp.where(condition, x.low, y.low))


def parts(value: Fraction, dtype: DTypeLike, bits: int | None = None) -> tuple[float, float]:
    """The first `bits` bits of a number (as many as the format holds), and the rest, rounded."""
    fmt = format_of(dtype)
    bits = fmt.mantissa + 1 if bits is None else bits
    if not value:
        return 0.0, 0.0
    exponent = 0
    while abs(value) >= Fraction(2) ** exponent:
        exponent += 1
    while abs(value) < Fraction(2) ** (exponent - 1):
        exponent -= 1
    unit = Fraction(2) ** (exponent - bits)
    first = round(value / unit) * unit
    kind = np.dtype(dtype).type
    return float(kind(float(first))), float(kind(float(value - first)))


def opaque(value: float, like: Array) -> Array:
    """A constant of the shape of `like` that XLA does not see: it folds `(x + 1) − 1` to `x`."""
    return jnp.where(jnp.isnan(like), jnp.nan, jnp.asarray(value, like.dtype))


def whole(value: float, like: Array) -> Pair:
    """A float as a pair."""
    return Pair(opaque(value, like), jnp.zeros_like(like))


def constant(value: Fraction, like: Array) -> Pair:
    """A rational number as a pair."""
    high, low = parts(value, like.dtype)
    return Pair(opaque(high, like), jnp.full_like(like, low))
