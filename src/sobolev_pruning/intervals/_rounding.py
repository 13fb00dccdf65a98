"""Outward rounding in software, because XLA has no rounding modes.

Every bound that a rule computes is moved away from the interval by a margin that covers its rounding error:

* *proved* for the correctly rounded operations (+, −, ×, ÷, √): to the neighbouring float, or not at all if exact;
* *bounded* for sums and dot products, by the constant γₙ that holds for every order of summation
  (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1);
* *measured and doubled* for elementary functions, by `benchmarks/rounding_margins.py`.

XLA on a CPU reads subnormal numbers as zero and flushes subnormal results to zero. So no interval that a
rule sees has a subnormal end (`_bits.normalised` establishes this where numbers enter), and every margin has an
absolute part.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

Rounding = Literal["outward", "nearest"]

_rounding: contextvars.ContextVar[Rounding] = contextvars.ContextVar("rounding", default="outward")


@contextlib.contextmanager
def rounding_mode(mode: Rounding) -> Iterator[None]:
    """Sets how `outward` rounds while a function is traced."""
    token = _rounding.set(mode)
    try:
        yield
    finally:
        _rounding.reset(token)


def is_outward() -> bool:
    """Whether margins are added, which is the default."""
    return _rounding.get() == "outward"


class _Format(NamedTuple):
    eps: float  # distance from 1 to the next number, twice the unit roundoff
    tiny: float  # smallest normal number
    max: float
    bits: np.dtype  # the integers of the same width
    mantissa: int  # bits of the stored mantissa


def _describe(dtype: type) -> _Format:
    info = np.finfo(dtype)
    bits = np.dtype(f"int{info.bits}")
    return _Format(float(info.eps), float(info.tiny), float(info.max), bits, info.nmant)


_FORMATS = {np.dtype(t): _describe(t) for t in (np.float32, np.float64)}


def format_of(dtype: DTypeLike) -> _Format:
    """The numbers that describe float32 or float64.

    Raises:
        TypeError: for any other dtype: no margins were measured for it.
    """
    dtype = np.dtype(dtype)
    if dtype not in _FORMATS:
        raise TypeError(
            f"Interval arithmetic is available in float32 and float64, got {dtype}. Convert the inputs "
            "and the parameters with `x.astype(jnp.float32)` first."
        )
    return _FORMATS[dtype]


def outward(lower: Array, upper: Array, *, ulps: float | int = 0.5, absolute: ArrayLike = 0.0) -> tuple[Array, Array]:
    """Moves two computed bounds apart, so that they enclose what they approximate.

    Let `r` be the true bound and `c` the computed one, with `|c − r| ≤ ulps·eps·max(|c|, |r|) + tiny + absolute`. The
    result of this function encloses `r`. For one correctly rounded operation, `rounded` is tighter.

    Proof, for the lower end, with `κ = ulps·eps ≤ 2⁻¹³` and `u = eps/2`. From `|r| ≤ |c| + |c − r|` follows
    `|c − r| ≤ (κ·|c| + tiny + absolute)·(1 + 2κ)`. The pad `p = R·|c| + P` is computed with at most four roundings and
    two flushes, the subtraction with one and one: the result is below `c − (1 − 5u)·(R·|c| + P) + u·|c| + 3·tiny`.
    So `(1 − 5u)·R ≥ κ·(1 + 2κ) + u` is enough, which `R = (ulps + ½ + s)·eps` with `s = (2·ulps + 4)·(ulps + 1)·eps`
    satisfies, and `(1 − 5u)·P ≥ (tiny + absolute)·(1 + 2κ) + 3·tiny`, which `P = 5·tiny + (1 + 2κ + 8u)·absolute`
    does. ∎

    A bound that overflowed inwards becomes the largest finite number, and a NaN bound becomes infinite: what is
    unknown is unbounded, never verified.

    Args:
        lower: Computed lower bound.
        upper: Computed upper bound, same shape and dtype.
        ulps: Relative error of both, in units of `eps·|bound|`, at most 1024.
        absolute: Absolute error of both, a non-negative number or array.

    Returns:
        The padded bounds. Under `rounding="nearest"` only overflow and NaN are treated.
    """
    fmt = format_of(lower.dtype)
    low, upp = jnp.minimum(lower, fmt.max), jnp.maximum(upper, -fmt.max)
    if is_outward():
        assert 0 <= ulps <= 1024
        relative = (ulps + 0.5 + (2 * ulps + 4) * (ulps + 1) * fmt.eps) * fmt.eps
        pad = 5 * fmt.tiny
        if not (isinstance(absolute, float) and absolute == 0.0):
            pad = pad + (1 + (2 * ulps + 4) * fmt.eps) * jnp.asarray(absolute, lower.dtype)
        low = low - (relative * jnp.abs(low) + pad)
        upp = upp + (relative * jnp.abs(upp) + pad)
    return unbounded_if_nan(low, upp)


def _step(c: Array) -> Array:
    """`δ` such that `c − δ` and `c + δ`, rounded to nearest, are the neighbours of `c`.

    `δ = max(φ·|c|, tiny)` with `φ = u·(1 + 2u)`, `u = eps/2` (S. Rump, P. Zimmermann, S. Boldo, G. Melquiond, Computing
    predecessor and successor in rounding to nearest, BIT 49, 2009, algorithm 2 with `tiny` in place of the smallest
    subnormal number).

    Proof, for `2ᵉ ≤ |c| < 2ᵉ⁺¹` and spacing `2u·2ᵉ`, while `φ·|c| ≥ tiny`. If `|c| = 2ᵉ`, the product is exact, and
    `u·2ᵉ < δ < 1.5u·2ᵉ`: away from zero that is more than half a step of `2u·2ᵉ`, towards zero it is a step of `u·2ᵉ`
    and less than half of another. Otherwise `|c| ≥ 2ᵉ·(1 + 2u)`, and `δ`, rounded or not (XLA may fuse the product
    with the sum), is more than `u·2ᵉ`, half a step, and less than `3u·2ᵉ`, one and a half. Towards zero `|c| − δ < 2ᵉ`,
    where steps are halved, could only happen for `|c| = 2ᵉ·(1 + 2u)`, for which `δ < 1.5u·2ᵉ`.

    While `φ·|c| < tiny`, half a step is at most `u·|c| < tiny = δ`, so `c − δ` lies at or beyond the neighbour, and
    further than any number that is rounded to `c` or, for `c = 0`, flushed to it. A difference that is itself flushed
    is flushed towards zero, which for a lower bound `c − δ > 0` is outwards, and `c − δ < 0` for `c ≤ 0` is at most
    `−tiny`, which is not flushed. ∎
    """
    fmt = format_of(c.dtype)
    u = fmt.eps / 2
    return jnp.maximum(u * (1 + 2 * u) * jnp.abs(c), fmt.tiny)


def rounded(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The neighbours of two bounds that are each one correctly rounded operation (+, −, ×, ÷, √) away from the truth.

    Overflow and NaN are treated as in `outward`.

    Args:
        lower: Computed lower bound.
        upper: Computed upper bound, same shape and dtype.

    Returns:
        The largest float below `lower` and the smallest above `upper`; proof in `_step`. Under `rounding="nearest"`
        the bounds themselves.
    """
    low, upp = _without_overflow(lower, upper)
    if is_outward():
        low, upp = low - _step(low), upp + _step(upp)
    return unbounded_if_nan(low, upp)


# Errors of quotients and roots where they are not correctly rounded, in units of `eps·|result|`: twice the largest that
# `benchmarks/accelerator.py` finds on a GPU, rounded up.
APPROXIMATE = 5


def rounded_quotient(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The same for ÷ and √, which are correctly rounded on processors, but not on accelerators."""
    if jax.default_backend() == "cpu":
        return rounded(lower, upper)
    return outward(lower, upper, ulps=APPROXIMATE)


def _without_overflow(lower: Array, upper: Array) -> tuple[Array, Array]:
    # What overflowed inwards is beyond the largest number.
    largest = format_of(lower.dtype).max
    return jnp.minimum(lower, largest), jnp.maximum(upper, -largest)


def rounded_sum(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
    """Bounds of `x[0] + y[0]` from below and of `x[1] + y[1]` from above: a sum that is exact stays as it is.

    For `|a| ≥ |b|` and c the rounded sum, `c − a` is exact (T. Dekker, A floating-point technique for extending the
    available precision, Numer. Math. 18, 1971), unless it is flushed to zero, which is a monotone rounding, too, and
    moves it past no b: none is subnormal. So `c − a ≤ b` says that c is not above the sum, and `c − a ≥ b` that it is
    not below. Otherwise, and where a difference is no number, the bound is a neighbour of c, as in `rounded`.
    """
    low, low_valid, _ = _sum_and_order(x[0], y[0])
    upp, _, upp_valid = _sum_and_order(x[1], y[1])
    lower, upper = _without_overflow(low, upp)
    if is_outward():
        lower = jnp.where(low_valid, low, lower - _step(lower))
        upper = jnp.where(upp_valid, upp, upper + _step(upper))
    return unbounded_if_nan(lower, upper)


def _sum_and_order(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """The rounded sum; whether it is at most the true one; whether it is at least that."""
    total = x + y
    # XLA simplifies `(x + c) − c` to x if c is a constant, but not if it is chosen.
    swap = jnp.abs(x) < jnp.abs(y)
    larger, smaller = jnp.where(swap, y, x), jnp.where(swap, x, y)
    rest = total - larger
    return total, rest <= smaller, rest >= smaller


def around(middle: Array, radius: Array) -> tuple[Array, Array]:
    """Bounds of all numbers that are at most `radius ≥ 0` away from `middle`; unbounded where one is not finite.

    Proof, with `u = eps/2`. The computed `R` is at least `(1 − u)³·((1 + 8u)·radius + u·(1 + 8u)·|middle| + 8·tiny)`,
    less two flushes, so `(1 − u)·R ≥ radius + u·|middle| + tiny`. The rounding of `middle − R`, at most
    `u·(|middle| + R) + tiny`, therefore leaves the radius. ∎

    Args:
        middle: Centres.
        radius: Distances, of the same shape and dtype. NaN is unknown.

    Returns:
        The bounds. Under `rounding="nearest"`, without margin.
    """
    fmt = format_of(middle.dtype)
    size = jnp.abs(middle)
    if is_outward():
        few = 1 + 4 * fmt.eps
        radius = few * radius + (few * fmt.eps / 2 * size + 8 * fmt.tiny)
    known = (size < jnp.inf) & (radius < jnp.inf)
    return jnp.where(known, middle - radius, -jnp.inf), jnp.where(known, middle + radius, jnp.inf)


def unbounded_if_nan(lower: Array, upper: Array) -> tuple[Array, Array]:
    """A NaN bound says nothing, so it becomes infinite."""
    return (
        jnp.where(jnp.isnan(lower), -jnp.inf, lower),
        jnp.where(jnp.isnan(upper), jnp.inf, upper),
    )


def gamma(n: int, dtype: DTypeLike) -> float:
    """γₙ = n·u/(1 − n·u), rounded up: the relative error of n roundings.

    Raises:
        ValueError: if `n·u ≥ ½`, where the bound is no longer useful.
    """
    nu = n * format_of(dtype).eps / 2
    if nu >= 0.5:
        raise ValueError(f"A sum of {n} terms in {np.dtype(dtype)} has no useful error bound. Use float64.")
    return nu / (1 - nu) * (1 + 1e-6)


def bracket(value: Fraction, dtype: DTypeLike) -> tuple[float, float]:
    """The two neighbouring floats (or the one) around an exact number, none of them subnormal."""
    fmt = format_of(dtype)
    if value == 0:
        return 0.0, 0.0
    if abs(value) < Fraction(fmt.tiny):
        return (0.0, fmt.tiny) if value > 0 else (-fmt.tiny, 0.0)
    if abs(value) > Fraction(fmt.max):
        return (fmt.max, np.inf) if value > 0 else (-np.inf, -fmt.max)
    kind = np.dtype(dtype).type
    near = kind(float(value))
    low = high = near
    if not np.isfinite(near):  # rounded up over the largest number
        near = kind(np.copysign(fmt.max, near))
        low = high = near
    while Fraction(float(low)) > value:
        low = np.nextafter(low, kind(-np.inf))
    while Fraction(float(high)) < value:
        high = np.nextafter(high, kind(np.inf))
    return float(low), float(high)
