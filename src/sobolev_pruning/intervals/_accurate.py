"""Elementary functions to more than working precision, where XLA's own are bad or good is not enough.

Each returns a `Pair` whose sum is within a small fraction of an ulp of the truth, so that bounds need hardly more than
the final rounding. Constants are rational numbers of 50 digits, cut to the format. Methods, all classical (J.-M.
Muller, Elementary Functions, 3rd ed., chapters 3, 5 and 11):

* `exp`, `expm1`, `exp2`, `sinh`, `cosh`, `tanh`, `logistic`: `x = k·ln 2 + r` with r as a pair; Taylor polynomial of
  `expm1(r)` with its first two terms exact;
* `log`, `log1p`, `atanh`, `asinh`, `acosh`: `log(1 + f) = 2·atanh(f/(2 + f))` with the quotient as a pair;
* `pow`: `exp(y·log x)` with another term of the logarithm exact;
* `cbrt`: what the rounded root lacks, from its exact cube;
* `atan`: `atan c + atan((x − c)/(1 + c·x))` for the nearest c of 0, ¼, ½, ¾, 1, and reciprocals beyond 1;
* `erfc`: `exp(−x²)·R(x)/(1 + 2x)` with `x²` as a pair, and a power series below ½.

Errors are measured like those of XLA's functions (`_elementary.py`); below the smallest normal number, and where low
parts would be, they are absolute.
"""

from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import _pairs as dd
from ._erfcx import COEFFICIENTS
from ._pairs import Pair
from ._rounding import format_of

LN2 = Fraction("0.6931471805599453094172321214581765680755001343602552541206")
PI = Fraction("3.141592653589793238462643383279502884197169399375105820975")
TWO_OVER_SQRT_PI = Fraction("1.128379167095512573896158903121545171688101258657997713688")
ATAN_OF_QUARTERS = (
    Fraction(0),
    Fraction("0.244978663126864154172082481211275810914144098381184067127376"),
    Fraction("0.463647609000806116214256231461214402028537054286120263810933"),
    Fraction("0.643501108793284386802809228717322638041510591115312382865606"),
    PI / 4,
)


def _point(x: Array) -> Pair:
    return Pair(x, jnp.zeros_like(x))


def _polynomial(terms: list[Fraction], x: Array) -> Array:
    total = jnp.full_like(x, float(terms[-1]))
    for c in reversed(terms[:-1]):
        total = total * x + float(c)
    return total


def _power_of_two(k: Array, dtype: np.dtype) -> Array:
    """`2ᵏ` for an integer k within the normal range."""
    fmt = format_of(dtype)
    bias = np.finfo(dtype).maxexp - 1
    return lax.bitcast_convert_type((k + bias) << fmt.mantissa, dtype)


def _times_power(x: Pair, k: Array) -> Pair:
    """`2ᵏ·x` in two steps, so that neither power leaves the range when the result is within it."""
    half = k >> 1
    first, second = (_power_of_two(n, x.high.dtype) for n in (half, k - half))
    return Pair(x.high * first * second, x.low * first * second)


def _fraction_of_log2(x: Pair) -> tuple[Array, Pair]:
    """`x = k·ln 2 + r` with `|r| ≤ 0.35`, for `|x| ≤ 2¹¹`: k as an integer, and r.

    The first two parts of ln 2 are short, so that their products with k are exact.
    """
    dtype = x.high.dtype
    fmt = format_of(dtype)
    short = fmt.mantissa - 12
    first, _ = dd.parts(LN2, dtype, short)
    second, _ = dd.parts(LN2 - Fraction(first), dtype, short)
    third, _ = dd.parts(LN2 - Fraction(first) - Fraction(second), dtype)
    n = jnp.round(x.high * float(1 / LN2))
    r = dd.two_sum(x.high - n * first, -(n * second))
    r = dd.fast_two_sum(r.high, r.low + (x.low - n * third))
    return n.astype(fmt.bits), r


def _expm1_reduced(r: Pair) -> Pair:
    """`exp(r) − 1` for `|r| ≤ 0.35`, relative to r: `r + r²/2` exactly, and the rest, which is at most r²/15."""
    h, low = dd.split(r.high)
    terms = [Fraction(1, int(np.prod(range(1, n + 1), dtype=object))) for n in range(3, 10 if _is_single(h) else 16)]
    tail = r.high * r.high * r.high * _polynomial(terms, r.high)
    # r² = h² + (r − h)(r + h)
    total = dd.fast_two_sum(r.high, 0.5 * h * h)
    rest = 0.5 * low * (h + r.high) + tail
    return dd.fast_two_sum(total.high, total.low + (rest + r.low * (1 + total.high)))


def _is_single(x: Array) -> bool:
    return format_of(x.dtype).mantissa == 23


def _limit(x: Array) -> float:
    """Beyond this the exponential function overflows, or its reciprocal underflows, in any case."""
    return 120.0 if _is_single(x) else 800.0


def _beyond(x: Array, exponent: int) -> Array:
    """Whether `eˣ` exceeds 2 to that power."""
    return x > float(exponent * LN2)


def _infinite_where(condition: Array, total: Pair) -> Pair:
    return dd.where(condition, _point(jnp.full_like(total.high, jnp.inf)), total)


def _exp_of(x: Pair) -> Pair:
    k, r = _fraction_of_log2(x)
    e = _expm1_reduced(r)
    one = dd.fast_two_sum(dd.opaque(1.0, e.high), e.high)
    return _times_power(dd.fast_two_sum(one.high, one.low + e.low), k)


def exp(x: Array) -> Pair:
    """`eˣ`."""
    return _exp_of(_point(jnp.clip(x, -_limit(x), _limit(x))))


def exp2(x: Array) -> Pair:
    """`2ˣ`: the fraction of x is exact."""
    x = jnp.clip(x, -2 * _limit(x), 2 * _limit(x))
    k = jnp.round(x)
    r = dd.times(_point(x - k), dd.constant(LN2, x))
    e = _expm1_reduced(r)
    one = dd.fast_two_sum(dd.opaque(1.0, x), e.high)
    return _times_power(dd.fast_two_sum(one.high, one.low + e.low), k.astype(format_of(x.dtype).bits))


def expm1(x: Array) -> Pair:
    """`eˣ − 1 = (2ᵏ − 1) + 2ᵏ·expm1(r)`, halved while it is put together."""
    # Below −60, eˣ is less than 2⁻⁸⁶.
    beyond = _beyond(x, np.finfo(x.dtype).maxexp)
    k, r = _fraction_of_log2(_point(jnp.where(beyond, 0, jnp.maximum(x, -60.0))))
    half = _power_of_two(k - 1, x.dtype)
    e = _expm1_reduced(r)
    whole = dd.two_sum(half, dd.opaque(-0.5, x))
    total = dd.scaled(dd.add(whole, dd.scaled(e, half)), 2.0)
    return _infinite_where(beyond, dd.where(k == 0, e, total))


def _hyperbolic(x: Array) -> tuple[Pair, Pair, Array, Array]:
    """`expm1(r)`, `expm1(−r)`, `2ᵏ⁻²` and `2⁻ᵏ⁻²` for `|x| = k·ln 2 + r`, unless a quarter of `e^|x|` overflows."""
    k, r = _fraction_of_log2(_point(jnp.where(_beyond(jnp.abs(x), np.finfo(x.dtype).maxexp + 1), 0, jnp.abs(x))))
    large = _power_of_two(k - 2, x.dtype)
    small = _power_of_two(jnp.maximum(-k - 2, np.finfo(x.dtype).minexp), x.dtype)
    return _expm1_reduced(r), _expm1_reduced(dd.negative(r)), large, small


def sinh(x: Array) -> Pair:
    """`±2·(2ᵏ⁻² − 2⁻ᵏ⁻² + 2ᵏ⁻²·expm1(r) − 2⁻ᵏ⁻²·expm1(−r))` for `|x| = k·ln 2 + r`."""
    e, f, large, small = _hyperbolic(x)
    total = dd.add(dd.two_sum(large, -small), dd.add(dd.scaled(e, large), dd.negative(dd.scaled(f, small))))
    beyond = _beyond(jnp.abs(x), np.finfo(x.dtype).maxexp + 1)
    return _odd(x, _infinite_where(beyond, dd.scaled(total, 2.0)))


def cosh(x: Array) -> Pair:
    """`2·(2ᵏ⁻² + 2⁻ᵏ⁻² + 2ᵏ⁻²·expm1(r) + 2⁻ᵏ⁻²·expm1(−r))` for `|x| = k·ln 2 + r`."""
    e, f, large, small = _hyperbolic(x)
    total = dd.add(dd.two_sum(large, small), dd.add(dd.scaled(e, large), dd.scaled(f, small)))
    return _infinite_where(_beyond(jnp.abs(x), np.finfo(x.dtype).maxexp + 1), dd.scaled(total, 2.0))


def _odd(x: Array, of_magnitude: Pair) -> Pair:
    """An odd function, given its value at |x|."""
    return dd.where(x < 0, dd.negative(of_magnitude), of_magnitude)


def tanh(x: Array) -> Pair:
    """`e/(e + 2)` with `e = expm1(2|x|)`."""
    e = expm1(2 * jnp.minimum(jnp.abs(x), 40.0))
    two = dd.two_sum(dd.opaque(2.0, x), e.high)
    return _odd(x, dd.over(e, dd.fast_two_sum(two.high, two.low + e.low)))


def logistic(x: Array) -> Pair:
    """`1/(1 + e)` or `e/(1 + e)` with `e = exp(−|x|)`."""
    e = exp(-jnp.abs(x))
    one = dd.opaque(1.0, x)
    below = dd.fast_two_sum(one, e.high)
    numerator = dd.where(x < 0, e, _point(one))
    return dd.over(numerator, dd.fast_two_sum(below.high, below.low + e.low))


def _binary(x: Array) -> tuple[Array, Array]:
    """`x = 2ᵏ·m` with `√½ ≤ m < √2`, for normal `x > 0`."""
    fmt = format_of(x.dtype)
    root = np.asarray(np.sqrt(0.5), x.dtype).view(fmt.bits)
    k = (lax.bitcast_convert_type(x, fmt.bits) - root) >> fmt.mantissa
    m = lax.bitcast_convert_type(lax.bitcast_convert_type(x, fmt.bits) - (k << fmt.mantissa), x.dtype)
    return k, m


def _log1p_reduced(f: Pair, precise: bool = False) -> Pair:
    """`log(1 + f) = 2·(s + s³/3 + s⁵/5 + …)` with `s = f/(2 + f)`, for `√½ ≤ 1 + f ≤ √2`."""
    two = dd.fast_two_sum(dd.opaque(2.0, f.high), f.high)
    s = dd.over(f, dd.fast_two_sum(two.high, two.low + f.low))
    w = s.high * s.high
    n = 7 if _is_single(w) else 14
    if not precise:
        tail = s.high * w * _polynomial([Fraction(2, 2 * i + 1) for i in range(1, n)], w)
        return dd.fast_two_sum(2 * s.high, 2 * s.low + tail)
    square = dd.times(s, s)
    third = dd.times(dd.times(s, square), dd.constant(Fraction(2, 3), w))
    tail = s.high * w * w * _polynomial([Fraction(2, 2 * i + 1) for i in range(2, n)], w)
    return dd.add(dd.scaled(s, 2.0), dd.fast_two_sum(third.high, third.low + tail))


def _plus_log2(k: Array, log_m: Pair) -> Pair:
    dtype = log_m.high.dtype
    first, _ = dd.parts(LN2, dtype, format_of(dtype).mantissa - 12)
    rest = dd.parts(LN2 - Fraction(first), dtype)
    n = k.astype(dtype)
    return dd.add(dd.two_sum(n * first, n * rest[0]), log_m)


def _log_at(x: Array, precise: bool = False) -> Pair:
    k, m = _binary(x)
    return _plus_log2(k, _log1p_reduced(_point(m - 1), precise))


def log(x: Array) -> Pair:
    """`log x`; −∞ at zero."""
    inside = (x > 0) & (x < jnp.inf)
    total = _log_at(jnp.where(inside, x, jnp.ones((), x.dtype)))
    outside = jnp.where(x == 0, -jnp.inf, jnp.where(x == jnp.inf, jnp.inf, jnp.nan))
    return dd.where(inside, total, _point(outside.astype(x.dtype)))


def _log1p_at(x: Pair) -> Pair:
    """`log(1 + x)` for a finite pair above −1."""
    one = dd.two_sum(dd.opaque(1.0, x.high), x.high)
    one = dd.fast_two_sum(one.high, one.low + x.low)
    k, m = _binary(one.high)
    rest = one.low * _power_of_two(-k, x.high.dtype)
    f = dd.where(k == 0, x, dd.two_sum(m - 1, rest))
    return _plus_log2(k, _log1p_reduced(f))


def log1p(x: Array) -> Pair:
    """`log(1 + x)`, with the error of the sum; −∞ at −1."""
    inside = (x > -1) & (x < float(np.finfo(x.dtype).max) / 4)
    at = jnp.where(inside, x, jnp.zeros((), x.dtype))
    huge = x >= float(np.finfo(x.dtype).max) / 4
    outside = jnp.where(x == -1, -jnp.inf, jnp.nan).astype(x.dtype)
    return dd.where(inside, _log1p_at(_point(at)), dd.where(huge, log(jnp.maximum(x, 1)), _point(outside)))


def atanh(x: Array) -> Pair:
    """`½·(log(1 + x) − log(1 − x))`, which does not cancel."""
    inside = jnp.abs(x) < 1
    at = jnp.where(inside, x, jnp.zeros((), x.dtype))
    total = dd.scaled(dd.add(_log1p_at(_point(at)), dd.negative(_log1p_at(_point(-at)))), 0.5)
    outside = jnp.where(jnp.abs(x) == 1, jnp.inf * x, jnp.nan).astype(x.dtype)
    return dd.where(inside, total, _point(outside))


def asinh(x: Array) -> Pair:
    """`±log1p(a + a²/(1 + √(1 + a²)))` with `a = |x|`; `log a + log 2` for large a."""
    a = jnp.abs(x)
    large = a > 1 / format_of(x.dtype).eps
    at = jnp.where(large, jnp.ones((), x.dtype), a)
    square = dd.product(at, at)
    one = dd.whole(1.0, x)
    z = dd.add(_point(at), dd.over(square, dd.add(one, dd.root(dd.add(one, square)))))
    far = dd.add(log(jnp.where(large, a, jnp.ones((), x.dtype))), dd.constant(LN2, x))
    # What does not reach the square of a number cannot change it either.
    small = a < format_of(x.dtype).eps ** 2
    return _odd(x, _keep_infinite(a, dd.where(small, _point(a), dd.where(large, far, _log1p_at(z)))))


def acosh(x: Array) -> Pair:
    """`log1p(t + √(t·(t + 2)))` with `t = x − 1`; `log x + log 2` for large x."""
    large = x > 1 / format_of(x.dtype).eps
    at = jnp.where(large | ~(x >= 1), jnp.ones((), x.dtype), x)
    t = dd.two_sum(at, dd.opaque(-1.0, x))
    z = dd.add(t, dd.root(dd.times(t, dd.add(t, dd.whole(2.0, x)))))
    far = dd.add(log(jnp.where(large, x, jnp.ones((), x.dtype))), dd.constant(LN2, x))
    total = _keep_infinite(x, dd.where(large, far, _log1p_at(z)))
    return dd.where(x >= 1, total, _point(jnp.full_like(x, jnp.nan)))


def _keep_infinite(x: Array, total: Pair) -> Pair:
    return dd.where(x == jnp.inf, _point(x), total)


def cbrt(x: Array) -> Pair:
    """What `y = cbrt(x)` lacks is `(x − y³)/(3y²)`, to first order; of a scaled x, so that no part of y³ is lost."""
    fmt = format_of(x.dtype)
    step = 3 * (fmt.mantissa // 2 + 1)
    # y³ of the largest numbers might overflow, and the low part of that of the smallest is lost.
    up = jnp.abs(x) < 1
    a = x * jnp.where(up, 2.0**step, 2.0**-step)
    y = jnp.cbrt(a)
    cube = dd.times(dd.product(y, y), _point(y))
    lack = ((a - cube.high) - cube.low) / (3 * y * y)
    total = dd.fast_two_sum(y, jnp.where((y == 0) | jnp.isinf(y), jnp.zeros((), x.dtype), lack))
    return dd.scaled(total, jnp.where(up, 2.0 ** (-step // 3), 2.0 ** (step // 3)))


def atan(x: Array) -> Pair:
    """`atan x`, odd; `π/2 − atan(1/x)` beyond 1."""
    a = jnp.abs(x)
    beyond = a > 1
    one = dd.whole(1.0, x)
    # Beyond the square of 1/eps the result is π/2 to twice the precision.
    within = jnp.minimum(a, format_of(x.dtype).eps ** -3)
    z = dd.where(beyond, dd.over(one, _point(within)), _point(a))
    nearest = jnp.round(4 * z.high)
    c = 0.25 * nearest
    bottom = dd.add(one, dd.times(_point(c), z))
    s = dd.over(dd.add(z, _point(-c)), bottom)
    w = s.high * s.high
    n = 5 if _is_single(x) else 10
    tail = s.high * w * _polynomial([Fraction((-1) ** i, 2 * i + 1) for i in range(1, n)], w)
    near = dd.fast_two_sum(s.high, s.low + tail)
    offset = dd.constant(Fraction(0), x)
    for i, value in enumerate(ATAN_OF_QUARTERS):
        offset = dd.where(nearest == i, dd.constant(value, x), offset)
    total = dd.where(nearest == 0, near, dd.add(offset, near))
    half_pi = dd.constant(PI / 2, x)
    return _odd(x, dd.where(beyond, dd.add(half_pi, dd.negative(total)), total))


def _erf_small(x: Array) -> Pair:
    """`erf x = 2/√π·(x − x³/3 + x⁵/10 − …)` for `|x| ≤ ½`, the first term as a pair."""
    w = x * x
    factorials = [int(np.prod(range(1, n + 1), dtype=object)) for n in range(10 if _is_single(x) else 18)]
    terms = [TWO_OVER_SQRT_PI * (-1) ** i / (f * (2 * i + 1)) for i, f in enumerate(factorials)]
    first = dd.times(_point(x), dd.constant(terms[0], x))
    return dd.fast_two_sum(first.high, first.low + x * w * _polynomial(terms[1:], w))


def _erfc_large(x: Array) -> Pair:
    """`erfc x = exp(−x²)·R(t)/(1 + 2x)` for `½ ≤ x`, with t and R of `_erfcx.py`."""
    x = jnp.clip(x, 0.5, 10.5 if _is_single(x) else 28.0)
    c = [Fraction(text) for text in COEFFICIENTS[np.dtype(x.dtype).name]]
    t = (x - 4.5) / (x + 3.5)
    first = dd.constant(c[0], x)
    r = dd.fast_two_sum(first.high, first.low + t * _polynomial(c[1:], t))
    scale = dd.over(r, dd.two_sum(dd.opaque(1.0, x), 2 * x))
    return dd.times(_exp_of(dd.negative(dd.product(x, x))), scale)


def erfc(x: Array) -> Pair:
    """`1 − erf x` near zero, `2 − erfc(−x)` on the left."""
    small = jnp.clip(x, -0.5, 0.5)
    one = dd.whole(1.0, x)
    near = dd.add(one, dd.negative(_erf_small(small)))
    tail = _erfc_large(jnp.abs(x))
    left = dd.add(dd.whole(2.0, x), dd.negative(tail))
    return dd.where(jnp.abs(x) < 0.5, near, dd.where(x < 0, left, tail))


def erf(x: Array) -> Pair:
    """Odd; `1 − erfc x` beyond ½."""
    far = dd.add(dd.whole(1.0, x), dd.negative(_erfc_large(jnp.abs(x))))
    return dd.where(jnp.abs(x) < 0.5, _erf_small(jnp.clip(x, -0.5, 0.5)), _odd(x, far))


def power(x: Array, y: Array) -> Pair:
    """`xʸ` for `x ≥ 0`."""
    most = _limit(x)
    regular = (x > 0) & (x < jnp.inf) & (jnp.abs(y) < jnp.inf)
    log_x = _log_at(jnp.where(regular, x, jnp.ones((), x.dtype)), precise=True)
    # |log x| ≥ u for x ≠ 1, so a larger exponent changes nothing but overflows.
    largest = 2 * most / format_of(x.dtype).eps
    z = dd.times(log_x, _point(jnp.clip(y, -largest, largest)))
    beyond = ~(jnp.abs(z.high) <= most)
    z = dd.where(beyond, _point(jnp.clip(z.high, -most, most)), z)
    # Of zero, infinity, or with an infinite exponent: by the sign of y·log x, or 1 where that is no number.
    sign = y * jnp.sign(x - 1)
    limit = jnp.where(sign > 0, jnp.inf, jnp.where(sign < 0, 0.0, 1.0)).astype(x.dtype)
    # A branch is compiled by itself, which cuts the chain of operations in two. As one chain, with a minimum or another
    # such chain behind it, it takes the loop vectoriser of LLVM exponentially long, as of JAX 0.12.
    total = lax.cond(regular.any(), _exp_of, lambda z: z, z)
    return dd.where(regular, total, _point(limit))


def integer_power(x: Array, *, y: int) -> Pair:
    """`xʸ` for a natural number `y ≥ 1`, by squaring."""
    result, square, n = None, _point(x), y
    while n:
        if n & 1:
            result = square if result is None else dd.times(result, square)
        n >>= 1
        if n:
            square = dd.times(square, square)
    assert result is not None
    # Infinite ends, and what overflows.
    return dd.where(jnp.isfinite(result.high), result, _point(lax.integer_pow(x, y)))


FUNCTIONS: dict[str, Callable[..., Pair]] = {
    "acosh": acosh,
    "asinh": asinh,
    "atan": atan,
    "atanh": atanh,
    "cbrt": cbrt,
    "cosh": cosh,
    "erf": erf,
    "erfc": erfc,
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "integer_pow": integer_power,
    "log": log,
    "log1p": log1p,
    "logistic": logistic,
    "pow": power,
    "sinh": sinh,
    "tanh": tanh,
}
