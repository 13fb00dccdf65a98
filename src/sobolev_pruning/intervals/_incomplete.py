"""Enclosures of the regularised incomplete gamma and beta functions at points.

* `P(a, x) = D·Σ xⁿ/((a+1)…(a+n))`, `D = xᵃe⁻ˣ/Γ(a+1)` (DLMF 8.7.1), for x < max(a, 1): positive terms.
* `Q(a, x) = D·(a/x)·(1 + (a−1)/x + (a−1)(a−2)/x² + … + tⱼ·θ)` (8.8.2), for the other x: positive terms until
  `α = a − j ≤ 1`, and then `θ(α, x) = x¹⁻ᵅeˣΓ(α, x)` by a continued fraction (8.9.2) of positive terms, which lies
  between the values that its smallest and largest possible tails give.
* `Iₓ(a, b) = D·Σ (a+b)ₙ/(a+1)ₙ·xⁿ`, `D = xᵃ(1−x)ᵇ/(a·B(a, b))` (8.17.8): positive terms; and `1 − I₁₋ₓ(b, a)`.

The terms of a sum are floats with counted roundings, and the first omitted term bounds the rest as a geometric series.
Where that does not happen in `LIMIT` steps, the bounds are still valid, and wide. D is the exponential of an enclosed
logarithm: from 8.5 on both a and b are replaced by what Stirling's formula leaves, because Γ, xᵃ and e⁻ˣ cancel.
"""

from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
from jax import Array, lax

from . import _arithmetic as ia
from ._gamma import FAR, lgamma_near, lgamma_positive, stirling_correction
from ._interval import Interval
from ._registry import rule_for
from ._rounding import format_of, outward
from ._special_constants import PI

LIMIT = 4000


# Beyond these parameters nothing is claimed but the range.
LARGEST = 2.0**20


def _sum(n: Array, total: Array, weighted: Array, roundings: int, rest: Interval) -> Interval:
    """A sum of n positive terms, and the rest of its series.

    The k-th term passed through `roundings·k` roundings, of which `weighted` is the sum, and the sum through n.
    """
    error = format_of(total.dtype).eps / 2 * (1.01 * roundings * weighted + n * total)
    lower, upper = outward(total, total, absolute=error)
    return ia.add(Interval._make(lower, upper), rest)


def _power_series(a: Array, numerator: Array | None, x: Array, active: Array) -> Interval:
    """`Σ xⁿ/((a+1)…(a+n))`, or with numerators c(c+1)…(c+n−1) for c ≥ a."""
    eps, tiny = format_of(x.dtype).eps, format_of(x.dtype).tiny

    def ratio(n: Array) -> Array:
        return (x if numerator is None else (numerator + n) * x) / (a + (n + 1))

    def rest(n: Array, term: Array) -> Array:
        # The ratios decrease to 0, and with numerators they tend to x from either side.
        r = ratio(n) if numerator is None else jnp.maximum(ratio(n), x)
        r = r * (1 + 16 * eps)
        return jnp.where(r < 1, 1.01 * term * r / (1 - r), jnp.inf)

    def running(state: tuple[Array, ...]) -> Array:
        n, term, total, _ = state
        return active & (n < LIMIT) & ~(rest(n, term) < eps / 64 * total)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        n, term, total, weighted = state
        following = term * ratio(n)
        after = (n + 1, following, total + following, weighted + (n + 1) * following)
        go = running(state)
        return tuple(jnp.where(go, new, old) for new, old in zip(after, state, strict=True))

    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    state = lax.while_loop(lambda state: jnp.any(running(state)), step, (zero, one, one, zero))
    n, term, total, weighted = state
    # Rounded in a step: a + n, the quotient and the product; and c (twice), its product with x, and x itself.
    return _sum(n, total, weighted, 3 if numerator is None else 7, Interval._make(zero, rest(n, term) + tiny))


def _descent(a: Array, x: Array, active: Array) -> Interval:
    """`1 + (a−1)/x + (a−1)(a−2)/x² + … + tⱼ·θ(a − j, x)`, for x ≥ max(a, 1)."""
    eps, tiny = format_of(x.dtype).eps, format_of(x.dtype).tiny

    def running(state: tuple[Array, ...]) -> Array:
        n, alpha, term, total, _ = state
        return active & (alpha > 1) & (n < LIMIT) & ~(term * x < eps / 64 * total * (x - alpha + 1))

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        n, alpha, term, total, weighted = state
        # α − 1 is exact.
        after = (n + 1, alpha - 1, term * ((alpha - 1) / x), total + term, weighted + n * term)
        go = running(state)
        return tuple(jnp.where(go, new, old) for new, old in zip(after, state, strict=True))

    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    state = lax.while_loop(lambda state: jnp.any(running(state)), step, (zero, a, one, zero, zero))
    n, alpha, term, total, weighted = state
    theta = ia.choose(
        alpha <= 1,
        _tail_fraction(jnp.minimum(alpha, 1), x),
        Interval._make(zero, 1.01 * x / (x - alpha + 1)),
    )
    low, upp = outward(term, term, absolute=eps * n * term)
    last = ia.mul(Interval._make(jnp.maximum(low, 0), upp + tiny), theta)
    return _sum(n, total, weighted, 2, last)


def _tail_fraction(alpha: Array, x: Array) -> Interval:
    """θ = x/g₁ with `gₘ = x + (m − α)/(1 + m/gₘ₊₁)`, for 0 < α ≤ 1 ≤ x; gₘ increases in gₘ₊₁."""
    levels = 30 if format_of(x.dtype).mantissa == 23 else 120

    def level(k: Array, g: tuple[Array, Array]) -> tuple[Array, Array]:
        m = (levels - k).astype(x.dtype)
        # Five roundings, of which the last two concern all of the result.
        return outward(*(x + (m - alpha) / (1 + m / end) for end in g), ulps=2.5)

    # The tail is at least x, and at most x + m − α.
    lower, upper = lax.fori_loop(0, levels, level, (x, (x + (levels + 1)) * 1.01))
    return ia.div_by_positive(ia.point(x), Interval._make(jnp.maximum(lower, x), upper))


def _stacked(*intervals: Interval) -> Interval:
    return Interval._make(jnp.stack([x.lower for x in intervals]), jnp.stack([x.upper for x in intervals]))


def _each(f: Callable[[Interval], Interval], *intervals: Interval) -> list[Interval]:
    """f of each, by one evaluation: compiling these functions takes longer than running them."""
    values = f(_stacked(*intervals))
    return [values[i] for i in range(len(intervals))]


def _log_ratio(quotient: Interval, difference: Interval) -> Interval:
    """log(q) where q − 1 is enclosed as well: by whichever is better."""
    near = difference.magnitude <= 0.5
    safe = ia.choose(near, difference, ia.constant(0, quotient.lower.dtype))
    return ia.choose(near, rule_for(lax.log1p_p)(safe), rule_for(lax.log_p)(quotient))


def _lgamma_of_next(a: Array) -> Interval:
    """log Γ(1 + a) for 0 < a < `FAR`."""
    n = jnp.round(a)
    return lgamma_near(n + 1, a - n)


def gamma_at(a: Array, x: Array) -> tuple[Interval, Interval]:
    """P(a, x) and Q(a, x) for 0 < a ≤ `LARGEST` and 0 < x < ∞."""
    small = a < FAR
    near, far = ia.point(jnp.where(small, a, 1)), ia.point(jnp.where(small, FAR, a))
    logarithm = ia.sub(ia.sub(ia.mul(near, rule_for(lax.log_p)(ia.point(x))), ia.point(x)), _lgamma_of_next(near.lower))
    # log D = a·log(x/a) − (x − a) − ½·log(2πa) − …
    difference = ia.sub(ia.point(x), far)
    stirling = ia.mul(far, _log_ratio(ia.div_by_positive(ia.point(x), far), ia.div_by_positive(difference, far)))
    root = ia.scale(rule_for(lax.log_p)(ia.scale(far, 2 * Fraction(PI))), Fraction(1, 2))
    stirling = ia.sub(ia.sub(ia.sub(stirling, difference), root), stirling_correction(far))
    d = rule_for(lax.exp_p)(ia.choose(small, logarithm, stirling))
    by_series = x < jnp.maximum(a, 1)
    p = ia.mul(d, _power_series(a, None, jnp.where(by_series, x, 0), by_series))
    beyond = jnp.where(by_series, jnp.maximum(a, 1), x)
    q = ia.mul(ia.mul(d, ia.div_by_positive(ia.point(a), ia.point(beyond))), _descent(a, beyond, ~by_series))
    return _complements(by_series, p, q)


def _complements(first: Array, p: Interval, q: Interval) -> tuple[Interval, Interval]:
    """p and 1 − p where p is known, 1 − q and q elsewhere, as probabilities."""
    one = ia.constant(1, p.lower.dtype)
    results = ia.choose(first, p, ia.sub(one, q)), ia.choose(first, ia.sub(one, p), q)
    lower, upper = ([jnp.clip(getattr(r, end), 0, 1) for r in results] for end in ("lower", "upper"))
    return Interval._make(lower[0], upper[0]), Interval._make(lower[1], upper[1])


def beta_at(a: Array, b: Array, x: Array) -> Interval:
    """Iₓ(a, b) for 0 < a, b ≤ `LARGEST` and 0 < x < 1."""
    swap = x > (a + 1) / (a + b + 2)
    one = ia.constant(1, x.dtype)
    a, b = jnp.where(swap, b, a), jnp.where(swap, a, b)
    x_, y_ = (
        ia.choose(swap, ia.sub(one, ia.point(x)), ia.point(x)),
        ia.choose(swap, ia.point(x), ia.sub(one, ia.point(x))),
    )
    d = rule_for(lax.exp_p)(ia.choose((a >= FAR) & (b >= FAR), _log_beta_far(a, b, x_, y_), _log_beta(a, b, x_, y_)))
    # The series increases in x.
    series = _power_series(a[None], (a + b)[None], jnp.stack([x_.lower, x_.upper]), jnp.ones_like(swap)[None])
    value = ia.mul(d, Interval._make(series.lower[0], series.upper[1]))
    return _complements(~swap, value, value)[0]


def _log_beta(a: Array, b: Array, x: Interval, y: Interval) -> Interval:
    """`log(xᵃyᵇΓ(a + b)/(Γ(a + 1)Γ(b)))`."""
    small = a < FAR
    inner, outer = jnp.where(small, a, 1), jnp.where(small, FAR, a)
    total = a + b
    of_outer, of_b, whole = _each(lambda v: lgamma_positive(v.lower), *map(ia.point, (outer, b, total)))
    next_a = ia.choose(small, _lgamma_of_next(inner), ia.add(of_outer, rule_for(lax.log_p)(ia.point(outer))))
    # |s·ψ(s)| ≤ s·|log s| + 1 (H. Alzer, Math. Comp. 66 (1997), 373), so this covers the rounding of s = a + b.
    slack = format_of(a.dtype).eps * (total * jnp.abs(jnp.log(total)) + 2)
    whole = Interval._make(*outward(whole.lower, whole.upper, absolute=slack))
    powers = ia.add(ia.mul(ia.point(a), rule_for(lax.log_p)(x)), ia.mul(ia.point(b), rule_for(lax.log_p)(y)))
    return ia.sub(ia.add(powers, whole), ia.add(next_a, of_b))


def _log_beta_far(a: Array, b: Array, x: Interval, y: Interval) -> Interval:
    """The same by Stirling's formula, with `a/(a + b)` in x and its complement in y split off.

    `a·log(x(a+b)/a) + b·log(y(a+b)/b) + ½·log(b/(2πa(a+b))) + …`, where `x(a+b)/a = 1 + Δ/a` and `y(a+b)/b = 1 − Δ/b`
    for Δ = xb − ya.
    """
    p, q = ia.point(jnp.maximum(a, FAR)), ia.point(jnp.maximum(b, FAR))
    total = ia.add(p, q)
    delta = ia.sub(ia.mul(x, q), ia.mul(y, p))
    quotients = [ia.div_by_positive(ia.mul(x, total), p), ia.div_by_positive(ia.mul(y, total), q)]
    logs = _log_ratio(
        _stacked(*quotients), _stacked(ia.div_by_positive(delta, p), ia.neg(ia.div_by_positive(delta, q)))
    )
    powers = ia.add(ia.mul(p, logs[0]), ia.mul(q, logs[1]))
    root = rule_for(lax.log_p)(ia.div_by_positive(q, ia.scale(ia.mul(p, total), 2 * Fraction(PI))))
    of_p, of_q, of_total = _each(stirling_correction, p, q, total)
    corrections = ia.sub(of_total, ia.add(of_p, of_q))
    return ia.add(ia.add(powers, ia.scale(root, Fraction(1, 2))), corrections)
