"""Evaluation of the known activations at points, with a bound of the rounding error, tails included.

The families are polynomials in the variable and σ, in it and erf and exp, in it and σ and tanh∘softplus. Every
function is written with what decays (σ(−|u|), erfc(|u|), …) computed as such, so that its values in the tails are
accurate relative to their size.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from . import _balls as balls
from . import _roots as rational
from ._balls import Ball
from ._forms import Function, Polynomial, Variable, in_powers
from ._interval import Interval
from ._rounding import format_of

# The variable that known functions are written in.
U = Variable(-1)

Evaluator = Callable[[Array], Interval]


def evaluator(p: Polynomial, dtype: np.dtype) -> Evaluator | None:
    """A function that encloses `p(u)` at exact points u, also at infinite ones."""
    functions = {a for a in p.atoms if isinstance(a, Function)}
    kinds = sorted(f.name for f in functions)
    if kinds == ["logistic"]:
        (sigmoid,) = functions
        return _logistic_family(p, sigmoid, dtype)
    if kinds in (["exp"], ["erf"], ["erf", "exp"]):
        return _gauss_family(p, functions, dtype)
    if kinds in (["tanh_softplus"], ["logistic", "tanh_softplus"]):
        return _mish_family(p, functions, dtype)
    return None


def cut_of(dtype: np.dtype) -> float:
    """Beyond this, every exponential in a known function is below the smallest normal number."""
    return 128.0 if format_of(dtype).mantissa == 23 else 750.0


def _within(
    evaluate: Callable[[Ball, Array], Interval],
    left: rational.Coefficients,
    right: rational.Coefficients,
    dtype: np.dtype,
) -> Evaluator:
    """Extends a formula to the whole line, given the polynomials that the function approaches at −∞ and ∞.

    All critical points lie within the cut. Where the limit is a number, the function beyond is therefore between its
    value at the cut and its limit, which differ by less than a hundredth of `tiny`: the factor in `Ball.interval`
    covers that. Where it is not, the formula itself is good, except at infinity.

    Args:
        evaluate: The formula of the variable and of the variable clipped at the cuts, of which σ, exp and erfc are
            taken; by that they change as little. SiLU and its slope take σ of one argument, which XLA evaluates once.
        left: Coefficients of the limit at −∞.
        right: Coefficients of the limit at ∞.
        dtype: Of the variable.
    """
    cut = cut_of(dtype)

    def extended(u: Array) -> Interval:
        clipped = jnp.clip(u, -cut, cut)
        inner = u
        if len(left) <= 1 and len(right) <= 1:
            inner = clipped
        elif len(left) <= 1:
            inner = jnp.maximum(inner, -cut)
        elif len(right) <= 1:
            inner = jnp.minimum(inner, cut)
        value = evaluate(balls.point(inner if inner is clipped else _finite(inner)), clipped)
        for limit, end in ((left, -math.inf), (right, math.inf)):
            if len(limit) > 1:
                odd = len(limit) % 2 == 0
                there = math.copysign(1.0, limit[-1]) * (end if odd else math.inf)
                at_end = u == end
                value = Interval._make(jnp.where(at_end, there, value.lower), jnp.where(at_end, there, value.upper))
        return value

    return extended


def _finite(u: Array) -> Array:
    return jnp.where(jnp.isinf(u), jnp.zeros((), u.dtype), u)


def _logistic_family(p: Polynomial, sigmoid: Function, dtype: np.dtype) -> Evaluator | None:
    """Evaluates `Σₖ uᵏ·Pₖ(σ)` as `σⁱ·(1−σ)ʲ·Σₖ uᵏ·σⁱ'·(1−σ)ʲ'·Rₖ(τ)` with `τ = 2σ − 1 = tanh(q/2)`.

    The powers of σ and 1 − σ = σ(−q), each accurate where it is small, carry the decay in both tails, and τ the zero
    in the middle; a polynomial in σ alone would cancel there.
    """
    rows: dict[int, dict[int, Fraction]] = {}
    for monomial, c in p.terms.items():
        powers = dict(monomial)
        rows.setdefault(powers.get(U, 0), {})[powers.get(sigmoid, 0)] = c
    in_s = {k: [row.get(j, Fraction(0)) for j in range(max(row) + 1)] for k, row in rows.items()}
    factored = {k: _factor(c) for k, c in in_s.items()}
    i0 = min(i for i, _, _ in factored.values())
    j0 = min(j for _, j, _ in factored.values())
    top = max(in_s)
    left = rational.trimmed([in_s[k][0] if k in in_s else Fraction(0) for k in range(top + 1)])
    right = rational.trimmed([sum(in_s.get(k, []), Fraction(0)) for k in range(top + 1)])
    argument = in_powers(sigmoid.argument)

    def evaluate(x: Ball, u: Array) -> Interval:
        q = balls.horner(argument, x) if argument != (0, 1) else balls.point(u)
        s = balls.logistic(q)
        r = balls.logistic(-q)
        tau = balls.apply(lax.tanh_p, q.half(), 1.0)
        total = None
        for k, (i, j, rest) in sorted(factored.items()):
            term = balls.horner(rest, tau)
            for base, power in ((x, k), (s, i - i0), (r, j - j0)):
                term = term * base.power(power) if power else term
            total = term if total is None else total + term
        assert total is not None
        for base, power in ((s, i0), (r, j0)):
            total = total * base.power(power) if power else total
        return total.interval()

    return _within(evaluate, left, right, dtype)


def _factor(c: list[Fraction]) -> tuple[int, int, rational.Coefficients]:
    """`P(s) = sⁱ·(1−s)ʲ·R(2s − 1)`; returns i, j and the coefficients of R."""
    i = j = 0
    while c[0] == 0:
        c = c[1:]
        i += 1
    while sum(c) == 0:
        # Division by (1 − s): the coefficients of the quotient are partial sums.
        partial = Fraction(0)
        quotient = []
        for value in c[:-1]:
            partial += value
            quotient.append(partial)
        c = quotient
        j += 1
    # Substitute s = (1 + τ)/2 by Horner's rule.
    result = [Fraction(0)]
    for value in reversed(c):
        shifted = [Fraction(0), *result]
        result = [(a + b) / 2 for a, b in zip([*result, Fraction(0)], shifted, strict=True)]
        result[0] += value
    return i, j, rational.trimmed(result)


def _gauss_family(p: Polynomial, functions: set[Function], dtype: np.dtype) -> Evaluator | None:
    """Evaluates `A(u)·erf(u) + B(u)·exp(−κu²) + C(u)`.

    `A·erf + C` is `(C ± A) ∓ A·erfc(|u|)`, with the upper signs for u ≥ 0: what decays is computed as such.
    """
    gauss = next((f for f in functions if f.name == "exp"), None)
    error = next((f for f in functions if f.name == "erf"), None)
    kappa = [] if gauss is None else in_powers(gauss.argument)
    if gauss is not None and (len(kappa) != 3 or kappa[0] or kappa[1] or kappa[2] > 0):
        return None
    zero = Polynomial({})
    by_gauss = {0: p} if gauss is None else p.coefficients(gauss)
    if set(by_gauss) - {0, 1}:
        return None
    b, rest = by_gauss.get(1, zero), by_gauss.get(0, zero)
    a, c = zero, rest
    if error is not None:
        by_error = rest.coefficients(error)
        if error.argument != Polynomial.of(U) or set(by_error) - {0, 1}:
            return None
        a, c = by_error.get(1, zero), by_error.get(0, zero)
    if any(isinstance(atom, Function) for q in (a, b, c) for atom in q.atoms):
        return None
    left, right = rational.trimmed(in_powers(c - a)), rational.trimmed(in_powers(c + a))

    def evaluate(x: Ball, u: Array) -> Interval:
        total = balls.horner(in_powers(b), x)
        if gauss is not None:
            total = total * balls.exp(balls.horner(kappa, balls.point(u)))
        if a.terms:
            tail = balls.apply(lax.erfc_p, balls.point(jnp.abs(u)), 2.0)
            by_sign = balls.horner(in_powers(a), x) * tail
            total = total + balls.where(u >= 0, -by_sign, by_sign)
        if left == right:
            total = total + balls.horner(left, x) if left else total
        else:
            below, above = balls.horner(left, x), balls.horner(right, x)
            total = total + balls.where(u >= 0, above, below)
        return total.interval()

    return _within(evaluate, left, right, dtype)


def _mish_family(p: Polynomial, functions: set[Function], dtype: np.dtype) -> Evaluator | None:
    """Evaluates polynomials in u, `s = σ(u)` and `t = tanh(softplus(u))`, which decay as `eᵘ` on the left.

    On the right `1 − t` decays as `e⁻²ᵘ`: its powers are split off, so what is left has no such zero.
    """
    if any(f.argument != Polynomial.of(U) for f in functions):
        return None
    t = next(f for f in functions if f.name == "tanh_softplus")
    s = next((f for f in functions if f.name == "logistic"), None)
    rest, decay = p, 0
    while len(rest.terms) > 1 and not _at_one(rest, t).terms:
        rest, decay = _divided(rest, t), decay + 1
    common_s = min(dict(m).get(s, 0) for m in rest.terms) if s is not None else 0
    common_t = min(dict(m).get(t, 0) for m in rest.terms)
    rows: dict[tuple[int, int], dict[int, Fraction]] = {}
    for monomial, c in rest.terms.items():
        powers = dict(monomial)
        i, j = (powers.get(s, 0) if s is not None else 0) - common_s, powers.get(t, 0) - common_t
        rows.setdefault((i, j), {})[powers.get(U, 0)] = c
    # The limits as polynomials: s and t tend to 0 on the left and to 1 on the right.
    at_zero = {m: c for m, c in p.terms.items() if not any(isinstance(a, Function) for a, _ in m)}
    left = rational.trimmed(in_powers(Polynomial(at_zero)))
    ones = p.substitute(lambda a: Polynomial.constant(1) if isinstance(a, Function) else Polynomial.of(a))
    right = rational.trimmed(in_powers(ones))

    def evaluate(x: Ball, u: Array) -> Interval:
        tanh, complement = balls.tanh_softplus(u)
        sigmoid = balls.logistic(balls.point(u))
        total = None
        for (i, j), row in sorted(rows.items()):
            term = balls.horner([row.get(k, Fraction(0)) for k in range(max(row) + 1)], x)
            for base, power in ((sigmoid, i), (tanh, j)):
                term = term * base.power(power) if power else term
            total = term if total is None else total + term
        assert total is not None
        for base, power in ((sigmoid, common_s), (tanh, common_t), (complement, decay)):
            total = total * base.power(power) if power else total
        return total.interval()

    return _within(evaluate, left, right, dtype)


def _at_one(p: Polynomial, atom: Function) -> Polynomial:
    return sum(p.coefficients(atom).values(), Polynomial({}))


def _divided(p: Polynomial, atom: Function) -> Polynomial:
    """`p/(1 − atom)` where the division leaves no remainder: the coefficients of the quotient are partial sums."""
    parts = p.coefficients(atom)
    partial, quotient = Polynomial({}), Polynomial({})
    for k in range(max(parts)):
        partial = partial + parts.get(k, Polynomial({}))
        quotient = quotient + partial * Polynomial.of(atom) ** k
    return quotient
