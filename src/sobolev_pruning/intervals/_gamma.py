"""Enclosures of log|Γ|, of its derivatives and of Hurwitz' zeta function at points.

XLA's own implementations are wrong by any number of ulps near their zeros, so none of them is used. Near zero the
functions follow from the Taylor series of log Γ about 2 (DLMF 5.7.3) and the recurrence of Γ (5.5.1), far from it from
Stirling's series (5.11.1, 5.11.2), on the negative axis by reflection (5.5.3, 5.5.4); ζ(s, q) from the
Euler–Maclaurin formula (2.10.1). Every remainder is bounded: that of an asymptotic series by the first omitted term,
which also gives its sign (5.11(ii); 2.10(i), since `x ↦ (q + x)⁻ˢ` is completely monotone).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import comb, factorial

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from . import _arithmetic as ia
from ._interval import Interval
from ._registry import rule_for
from ._rounding import format_of, outward
from ._special_constants import EULER_GAMMA, LGAMMA_MINIMA, PI, ZETA_MINUS_ONE

# Stirling's series from here on.
FAR = 8.5


def _bernoulli(n: int) -> list[Fraction]:
    numbers = [Fraction(1)]
    for m in range(1, n + 1):
        numbers.append(-sum((comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    return numbers


_BERNOULLI = _bernoulli(28)


def _is_single(dtype: DTypeLike) -> bool:
    return format_of(dtype).mantissa == 23


def _taylor(coefficients: Sequence[Fraction], t: Array) -> Interval:
    """`Σ cₖtᵏ` for |t| ≤ ½, without the last coefficient, which bounds the remainder.

    By Horner's scheme `cₖ` passes through 2k + 1 roundings and its own, so the error is at most `u·Σ(2k + 2)|cₖ||t|ᵏ`,
    to first order; the omitted terms fall at least as fast as 4⁻ᵏ.
    """
    *kept, omitted = coefficients
    value = jnp.zeros_like(t)
    for c in reversed(kept):
        value = value * t + float(c)
    rounding = sum((2 * k + 2) * abs(c) / 2**k for k, c in enumerate(kept)) * Fraction(format_of(t.dtype).eps) / 2
    remainder = abs(omitted) * Fraction(4, 3) / 2 ** len(kept)
    return Interval._make(*outward(value, value, ulps=0, absolute=float(rounding * Fraction(101, 100) + remainder)))


def _lgamma_coefficients(dtype: DTypeLike) -> list[Fraction]:
    """log Γ(2 + t) = t·Σ cₖtᵏ (DLMF 5.7.3)."""
    rest = [Fraction(z) * (-1) ** k / k for k, z in enumerate(ZETA_MINUS_ONE, 2)]
    return [1 - Fraction(EULER_GAMMA), *rest][: 14 if _is_single(dtype) else 29]


def _digamma_coefficients(dtype: DTypeLike) -> list[Fraction]:
    return [(k + 1) * c for k, c in enumerate(_lgamma_coefficients(dtype))]


def _asymptotic(terms: Sequence[Fraction], y: Interval) -> Interval:
    """`Σ cₖy⁻²ᵏ`, k ≥ 0, for y ≥ `FAR` of a width of a few eps; the last term only bounds the remainder.

    The second term is less than 1/700 of the first, and each after it less than half of the one before. The k-th passed
    through fewer than 20k + 2 roundings (of y, y², the coefficient, and Horner's), so all of them make less than 2 eps
    of c₀.
    """
    inverse = 1 / (y.lower * y.lower)
    value = jnp.zeros_like(y.lower)
    for c in reversed(terms[:-1]):
        value = value * inverse + float(c)
    remainder = float(abs(terms[-1]) / Fraction(FAR) ** (2 * len(terms) - 2))
    return Interval._make(
        *outward(value, value, absolute=2 * format_of(y.dtype).eps * abs(float(terms[0])) + remainder)
    )


def stirling_correction(y: Interval) -> Interval:
    """`log Γ(y) − (y − ½)·log y + y − ½·log 2π` for y ≥ `FAR`."""
    count = 5 if _is_single(y.dtype) else 10
    terms = [_BERNOULLI[2 * k] / (2 * k * (2 * k - 1)) for k in range(1, count + 1)]
    return ia.div_by_positive(_asymptotic(terms, y), y)


def _lgamma_far(y: Interval) -> Interval:
    # (y − ½)(log y − 1) + (½·log 2π − ½): two positive terms, where the usual form cancels.
    half = ia.constant(Fraction(1, 2), y.lower.dtype)
    two_pi = rule_for(lax.log_p)(ia.constant(2 * Fraction(PI), y.lower.dtype))
    main = ia.mul(ia.sub(y, half), ia.sub(rule_for(lax.log_p)(y), ia.constant(1, y.lower.dtype)))
    rest = ia.sub(ia.scale(two_pi, Fraction(1, 2)), half)
    return ia.add(main, ia.add(rest, stirling_correction(y)))


def _digamma_far(y: Interval) -> Interval:
    count = 5 if _is_single(y.dtype) else 10
    terms = [-_BERNOULLI[2 * k] / (2 * k) for k in range(1, count + 1)]
    inverse = ia.div_by_positive(ia.constant(1, y.lower.dtype), y)
    # −1/(2y) − 1/(12y²) + …
    series = ia.add(ia.mul(_asymptotic(terms, y), inverse), ia.constant(Fraction(-1, 2), y.lower.dtype))
    return ia.add(rule_for(lax.log_p)(y), ia.mul(series, inverse))


def _steps(n: Array, t: Array) -> list[tuple[Array, Array]]:
    """The factors between Γ(n + t) and Γ(2 + t), apart from 1 + t, each with the condition under which it occurs.

    Where n + t is a float they are exact: multiples of its last digit, and not larger than it.
    """
    above = [(n > j, t + j) for j in range(2, int(FAR + 1))]
    below = [(n <= -i, t - i) for i in range(int(FAR + 1))]
    return above + below


def lgamma_near(n: Array, t: Array) -> Interval:
    """`log|Γ(n + t)|` for an integer n of at most `FAR` + ½ in magnitude, and |t| ≤ ½."""
    eps = format_of(t.dtype).eps
    base = ia.mul(ia.point(t), _taylor(_lgamma_coefficients(t.dtype), t))
    product = jnp.ones_like(t)
    for used, factor in _steps(n, t):
        product = jnp.where(used, product * jnp.abs(factor), product)
    count = jnp.maximum(n - 2, 1 - n)
    # n + t itself may have been rounded to t + n by the caller: one rounding a factor, and one a product.
    low, upp = outward(product, product, absolute=eps * count * product)
    exact = (count <= 1) & (n <= 0)
    factors = rule_for(lax.log_p)(ia.choose(exact, ia.point(product), Interval._make(low, upp)))
    # Γ(1 + t) is 1 near t = 0; further to the left the relative error of log(1 + t) does not matter.
    next_to = Interval._make(*outward(1 + t, 1 + t))
    one = ia.choose(n == 1, rule_for(lax.log1p_p)(ia.point(t)), rule_for(lax.log_p)(next_to))
    zero = ia.point(jnp.zeros_like(t))
    return ia.choose(
        n >= 3,
        ia.add(base, factors),
        ia.choose(n == 2, base, ia.sub(ia.sub(base, one), ia.choose(n == 1, zero, factors))),
    )


def lgamma_positive(x: Array) -> Interval:
    """log Γ(x) for x > 0."""
    near = x < FAR
    inner = jnp.where(near, x, 1)
    n = jnp.round(inner)
    return ia.choose(near, lgamma_near(n, inner - n), _lgamma_far(ia.point(jnp.maximum(x, FAR))))


def _reflected(x: Array) -> tuple[Interval, Interval, Interval]:
    """For |x| ≥ `FAR`: |x| or, on the negative axis, 1 − x; sine and cosine of π·x, but for the sign of the sine."""
    far = jnp.where(jnp.abs(x) < FAR, FAR, x)
    y = ia.choose(far > 0, ia.point(jnp.abs(far)), ia.sub(ia.constant(1, x.dtype), ia.point(far)))
    angle = ia.mul(ia.constant(PI, x.dtype), ia.point(far - jnp.round(far)))
    return y, rule_for(lax.sin_p)(angle), rule_for(lax.cos_p)(angle)


def lgamma_at(x: Array) -> Interval:
    """log|Γ(x)|; at a pole its lower bound is a large number."""
    near = jnp.abs(x) < FAR
    inner = jnp.where(near, x, 1)
    n = jnp.round(inner)
    y, sine, _ = _reflected(x)
    far = _lgamma_far(y)
    magnitude = Interval._make(sine.mignitude, sine.magnitude)
    log_pi = rule_for(lax.log_p)(ia.constant(PI, x.dtype))
    reflected = ia.sub(ia.sub(log_pi, rule_for(lax.log_p)(magnitude)), far)
    return ia.choose(near, lgamma_near(n, inner - n), ia.choose(x > 0, far, reflected))


def digamma_at(x: Array) -> Interval:
    """ψ(x); at a pole, unbounded."""
    near = jnp.abs(x) < FAR
    inner = jnp.where(near, x, 1)
    n = jnp.round(inner)
    t = inner - n
    eps = format_of(x.dtype).eps
    total = jnp.where(n <= 1, -1 / (1 + t), 0)
    size = jnp.abs(total)
    for used, factor in _steps(n, t):
        term = jnp.where(used, 1 / jnp.where(used, factor, 1), 0)
        total = jnp.where(n >= 3, total + term, total - term)
        size = size + jnp.abs(term)
    # Each term is rounded twice at most, and each sum once.
    poles = Interval._make(*outward(total, total, absolute=0.5 * eps * (jnp.abs(n) + 4) * size))
    inside = ia.add(_taylor(_digamma_coefficients(x.dtype), t), poles)
    y, sine, cosine = _reflected(x)
    far = _digamma_far(y)
    cotangent = rule_for(lax.div_p)(ia.scale(cosine, Fraction(PI)), sine)
    return ia.choose(near, inside, ia.choose(x > 0, far, ia.sub(far, cotangent)))


def lgamma_minima(n: Array) -> tuple[Interval, Array]:
    """Where log|Γ| is least on (0, ∞), for n = 0, or on (−n, 1 − n), and a lower bound of its value there.

    Beyond the table: the minimum lies in the left part of its interval, the smaller the larger n is, because
    `cot πx = ψ(1 − x)/π` there and ψ increases; and `|Γ(x)| = π/(|sin πx|·Γ(1 − x)) ≥ π/n! ≥ n⁻ⁿ`.
    """
    table = [(ia.constant(at, n.dtype), ia.constant(value, n.dtype)) for at, value in LGAMMA_MINIMA]
    k = jnp.clip(n, 0, len(table) - 1).astype(jnp.int32)
    low, upp, least = (
        jnp.stack([pick(a, v) for a, v in table])[k]
        for pick in (lambda a, v: a.lower, lambda a, v: a.upper, lambda a, v: v.lower)
    )
    beyond = n >= len(table)
    tail = Fraction(LGAMMA_MINIMA[-1][0]) + len(LGAMMA_MINIMA) - 1
    right = ia.add(ia.constant(tail, n.dtype), ia.point(-n)).upper
    bound = ia.mul(ia.point(-n), rule_for(lax.log_p)(ia.point(jnp.maximum(n, 1))))
    at = Interval._make(jnp.where(beyond, -n, low), jnp.where(beyond, right, upp))
    return at, jnp.where(beyond, bound.lower, least)


def zeta_at(s: Array, q: Array) -> Interval:
    """ζ(s, q) for s > 1 and q > 0, with N explicit terms.

    `Σ_{k<N} (q+k)⁻ˢ + w⁻ˢ·(w/(s−1) + ½ + Σⱼ B₂ⱼ/(2j)!·s(s+1)…(s+2j−2)/w²ʲ⁻¹)`, w = q + N. All terms after the N
    explicit ones also lie between 0 and `w⁻ˢ·(1 + w/(s−1))`, the integral of the decreasing summand.
    """
    terms, orders = (4, 6) if _is_single(s.dtype) else (10, 12)
    eps = format_of(s.dtype).eps
    shifts = jnp.arange(terms + 1, dtype=s.dtype).reshape((-1,) + (1,) * q.ndim)
    bases = ia.add(ia.point(q[None]), ia.point(shifts))
    exact = (shifts == 0) & (q[None] == q[None])
    bases = ia.choose(exact, ia.point(jnp.broadcast_to(q[None], bases.shape)), bases)
    powers = rule_for(lax.pow_p)(bases, ia.point(jnp.broadcast_to(-s, bases.shape)))
    low, upp = powers.lower[:terms].sum(0), powers.upper[:terms].sum(0)
    total = Interval._make(*outward(low, upp, ulps=terms / 2))

    w = q + terms
    integral = w / (s - 1)
    coefficients = jnp.asarray([float(_BERNOULLI[2 * j] / factorial(2 * j)) for j in range(1, orders + 2)], s.dtype)

    def add(j: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        ratio, bracket, weighted = state
        term = coefficients[j] * ratio
        i = 2 * j.astype(s.dtype) + 1
        following = ratio * ((s + i) / w) * ((s + (i + 1)) / w)
        return following, bracket + term, weighted + (j + 1).astype(s.dtype) * jnp.abs(term)

    ratio, bracket, weighted = lax.fori_loop(0, orders, add, (s / w, integral + 0.5, jnp.zeros_like(s)))
    # A step has six roundings, and two of w; the coefficient one; the sum one. The first term is w/(s − 1) + ½.
    omitted = 1.01 * jnp.abs(coefficients[orders] * ratio)
    error = eps / 2 * (10.1 * weighted + (orders + 4) * (integral + 1) + orders * weighted)
    low, upp = outward(bracket, bracket + omitted, absolute=error)
    most = outward(integral, integral + 1, ulps=2.5)[1]
    known = jnp.isfinite(low) & jnp.isfinite(upp)
    low = jnp.where(known, jnp.maximum(low, 0), 0)
    upp = jnp.where(known, jnp.minimum(upp, most), most)
    return ia.add(total, ia.mul(powers[terms], Interval._make(low, upp)))
