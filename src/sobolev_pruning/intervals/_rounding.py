"""Outward rounding in software, because XLA has no rounding modes.

Every bound that a rule computes is moved away from the interval by a margin that covers its rounding error:

* *proved* for the correctly rounded operations (+, −, ×, ÷, √): half a unit roundoff each;
* *bounded* for sums and dot products, by the constant γₙ that holds for every order of summation
  (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1);
* *measured and doubled* for elementary functions, by `benchmarks/ulp_error.py`.

XLA on a CPU reads subnormal numbers as zero and flushes subnormal results to zero. So no interval that a
rule sees has a subnormal end (`_bits.normalised` establishes this where numbers enter), and every margin has an
absolute part.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

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
    result of this function encloses `r`.

    Proof, for the lower end. The pad is `p = (ulps + ¾)·eps·|c| + 4·tiny + 2·absolute`, computed with relative error
    below `2·eps`. The subtraction is wrong by at most `½·eps·(|c| + p) + tiny`. What remains is at least `(ulps +
    ¼)·eps·|c| − O(ulps²·eps²)·|c| + 2·tiny + absolute`, and the second-order terms, which also pay for `max(|c|,
    |r|)` in place of `|c|`, stay below `¼·eps·|c|` as long as `ulps ≤ 2¹⁰` . ∎

    A bound that overflowed inwards becomes the largest finite number, and a NaN bound becomes infinite: what is
    unknown is unbounded, never verified.

    Args:
        lower: Computed lower bound.
        upper: Computed upper bound, same shape and dtype.
        ulps: Relative error of both, in units of `eps·|bound|`; ½ for one correctly rounded operation.
        absolute: Absolute error of both, a non-negative number or array.

    Returns:
        The padded bounds. Under `rounding="nearest"` only overflow and NaN are treated.
    """
    fmt = format_of(lower.dtype)
    low = jnp.where(lower > fmt.max, fmt.max, lower)
    upp = jnp.where(upper < -fmt.max, -fmt.max, upper)
    if is_outward():
        assert 0 <= ulps <= 1024
        relative = (ulps + 0.75) * fmt.eps
        pad = 4 * fmt.tiny
        if not (isinstance(absolute, float) and absolute == 0.0):
            pad = pad + 2 * jnp.asarray(absolute, lower.dtype)
        low = low - (relative * jnp.abs(low) + pad)
        upp = upp + (relative * jnp.abs(upp) + pad)
    return unbounded_if_nan(low, upp)


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
