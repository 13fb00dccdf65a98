"""Exact ranges of functions of one variable: the activations and their derivatives.

On an interval `[a, b]` a smooth function takes its extremes at an end or at a critical point inside. The ends are
evaluated with a bound of the rounding error; the critical points and values are known from ball arithmetic
(`_critical.py`). Which function a polynomial is, is decided by equality of normal forms up to `c·p + d`, which is a
proof.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from . import _arithmetic as ia
from . import _balls as balls
from ._activations import known_functions
from ._balls import Ball
from ._elementary import bounds
from ._forms import Function, Polynomial, Variable
from ._interval import Interval
from ._rounding import bracket, format_of

# The variable that known functions are written in.
U = Variable(-1)


class Normalised(NamedTuple):
    """`p = scale·(core + offset)`, where `core` has no constant and leading coefficient 1."""

    core: Polynomial
    scale: Fraction
    offset: Fraction


def normalise(p: Polynomial) -> Normalised:
    """Splits off a factor and a constant; `p` must not be constant."""
    offset = p.terms.get((), Fraction(0))
    terms = {m: c for m, c in p.terms.items() if m}
    leading = max(terms, key=lambda m: (sum(e for _, e in m), hash(m)))
    scale = terms[leading]
    core = Polynomial({m: c / scale for m, c in terms.items()})
    return Normalised(core, scale, offset / scale)


def in_base(p: Polynomial) -> tuple[Polynomial, Variable, Fraction, Fraction]:
    """`p` in terms of `u = a·x + b`, the argument of one of its functions if that is affine; `(p, x, a, b)`."""
    (x,) = p.variables
    a, b = Fraction(1), Fraction(0)
    lines = [f.argument.affine() for f in p.atoms if isinstance(f, Function)]
    for line in lines:
        if line is not None:
            _, a, b = line
            break
    image = Polynomial.of(U).scaled(1 / a) - Polynomial.constant(b / a)

    def rename(atom: object) -> Polynomial:
        if isinstance(atom, Function):
            return Polynomial.of(Function(atom.name, atom.argument.substitute(lambda _: image)))
        return image

    return p.substitute(rename), x, a, b


@cache
def _critical_points(
    dtype: np.dtype,
) -> dict[Polynomial, tuple[tuple[str, Fraction, Fraction, Fraction], ...]]:
    table = {}
    for function in known_functions(dtype.name):
        core, scale, offset = normalise(in_base(function.form)[0])
        table[core] = tuple((u, Fraction(value), scale, offset) for u, value in function.critical)
    return table


# The decimal digits in `_critical.py` are wrong by less than this, relative to the larger of the number and 1.
_DIGITS = Fraction(1, 10**25)


def _around(value: Fraction, dtype: np.dtype, error: Fraction) -> tuple[float, float]:
    return bracket(value - error, dtype)[0], bracket(value + error, dtype)[1]


def smooth_range(p: Polynomial, x: Interval) -> Interval | None:
    """The range of a polynomial of one variable without indicators, or None if it is not known.

    Args:
        p: Polynomial in one variable and functions of it.
        x: What the variable ranges over.
    """
    if p.value is not None:
        return ia.constant(p.value, x.dtype)
    line = p.affine()
    if line is not None:
        return _line(x, line[1], line[2])
    simple = _one_function(p, x)
    if simple is not None:
        return simple
    q, _, a, b = in_base(p)
    dtype = np.dtype(x.dtype)
    core, scale, offset = normalise(q)
    if core not in _critical_points(dtype):
        return None
    evaluate = _evaluator(core + Polynomial.constant(offset), dtype)
    if evaluate is None:
        return None
    u = _line(x, a, b)
    ends = evaluate(jnp.stack([u.lower, u.upper]))
    lower = jnp.minimum(ends.lower[0], ends.lower[1])
    upper = jnp.maximum(ends.upper[0], ends.upper[1])
    for text, value, known_scale, known_offset in _critical_points(dtype)[core]:
        at = Fraction(text)
        error = _DIGITS * max(1, abs(at))
        low_u, upp_u = _around(at, dtype, error)
        # The table holds values of scale·(core + offset).
        exact = value / known_scale - known_offset + offset
        error = _DIGITS * max(1, abs(value)) / abs(known_scale)
        low_v, upp_v = _around(exact, dtype, error)
        inside = (u.lower <= upp_u) & (u.upper >= low_u)
        lower = jnp.where(inside, jnp.minimum(lower, low_v), lower)
        upper = jnp.where(inside, jnp.maximum(upper, upp_v), upper)
    return ia.scale(Interval._make(lower, upper), scale)


def _line(x: Interval, a: Fraction, b: Fraction) -> Interval:
    scaled = ia.scale(x, a)
    return ia.add(scaled, ia.constant(b, x.dtype)) if b else scaled


def _one_function(p: Polynomial, x: Interval) -> Interval | None:
    """The range of `c·f(q) + d`, where f is monotone and the range of q is plain."""
    functions = [a for a in p.atoms if isinstance(a, Function)]
    if len(functions) != 1:
        return None
    (f,) = functions
    c = p.terms.get(((f, 1),))
    d = p.terms.get((), Fraction(0))
    if c is None:
        return None
    rest = p - Polynomial.of(f).scaled(c) - Polynomial.constant(d)
    q = plain_range(f.argument, x)
    if q is None:
        return None
    if f.name == "softplus":
        if rest == -f.argument.scaled(c):  # softplus(q) − q = softplus(−q)
            return _plus(ia.scale(_softplus(ia.neg(q)), c), d)
        return _plus(ia.scale(_softplus(q), c), d) if not rest.terms else None
    if rest.terms:
        return None
    match f.name:
        case "exp" if d == -c:
            return ia.scale(_monotone(lax.expm1_p, q, -1, None), c)
        case "exp":
            return _plus(ia.scale(_monotone(lax.exp_p, q, 0, None), c), d)
        case "logistic" if d == -c / 2:
            return ia.scale(_monotone(lax.tanh_p, ia.scale(q, Fraction(1, 2)), -1, 1), c / 2)
        case "logistic" if d == -c:
            return ia.scale(_monotone(lax.logistic_p, ia.neg(q), 0, 1), -c)
        case "logistic":
            return _plus(ia.scale(_monotone(lax.logistic_p, q, 0, 1), c), d)
        case "erf" if d == -c:
            return ia.scale(_erfc(q), -c)
        case "erf" if d == c:
            return ia.scale(_erfc(ia.neg(q)), c)
        case "erf":
            return _plus(ia.scale(_monotone(lax.erf_p, q, -1, 1), c), d)
    return None


def _plus(x: Interval, d: Fraction) -> Interval:
    return ia.add(x, ia.constant(d, x.dtype)) if d else x


def plain_range(q: Polynomial, x: Interval) -> Interval | None:
    """The exact range of `a·xⁿ + b`, where `q` is that."""
    powers = [m for m in q.terms if m]
    if len(powers) != 1 or len(powers[0]) != 1 or not isinstance(powers[0][0][0], Variable):
        return None
    power = ia.scale(ia.power(x, powers[0][0][1]), q.terms[powers[0]])
    return _plus(power, q.terms.get((), Fraction(0)))


def _monotone(primitive: Primitive, q: Interval, least: float | int | None, most: float | int | None) -> Interval:
    lower, upper = bounds(primitive, (q.lower,), (q.upper,))
    return Interval._make(
        lower if least is None else jnp.maximum(lower, least),
        upper if most is None else jnp.minimum(upper, most),
    )


def _erfc(q: Interval) -> Interval:
    reversed_ends = Interval._make(q.upper, q.lower)
    return _monotone(lax.erfc_p, reversed_ends, 0, 2)


def _softplus(q: Interval) -> Interval:
    """`log(1 + exp(q)) = max(q, 0) + log1p(exp(−|q|))`, nondecreasing."""

    def ball(x: Array) -> Interval:
        e = balls.exp(balls.point(-jnp.abs(x)))
        # log1p has slope at most 1 on [0, ∞).
        return (balls.point(jnp.maximum(x, 0)) + balls.apply(lax.log1p_p, e, 1.0)).interval()

    ends = ball(jnp.stack([q.lower, q.upper]))
    return Interval._make(jnp.maximum(ends.lower[0], 0), ends.upper[1])


Evaluator = Callable[[Array], Interval]


def _evaluator(p: Polynomial, dtype: np.dtype) -> Evaluator | None:
    """A function that encloses `p(u)` at exact points u, also at infinite ones."""
    functions = {a for a in p.atoms if isinstance(a, Function)}
    kinds = sorted(f.name for f in functions)
    if kinds == ["logistic"]:
        (sigmoid,) = functions
        return _logistic_family(p, sigmoid, dtype)
    if kinds in (["exp"], ["erf"], ["erf", "exp"]):
        return _gauss_family(p, functions, dtype)
    return None


def _in_powers(p: Polynomial) -> list[Fraction]:
    """Coefficients of a polynomial in `U` alone."""
    c = {dict(m).get(U, 0): value for m, value in p.terms.items()}
    return [c.get(k, Fraction(0)) for k in range(max(c, default=0) + 1)]


def _within(
    evaluate: Callable[[Array], Interval], left: list[Fraction], right: list[Fraction], dtype: np.dtype
) -> Evaluator:
    """Extends a formula to the whole line, given the polynomials that the function approaches at −∞ and ∞.

    Beyond `cut` all exponentials are below the smallest normal number, and all critical points lie inside (the tests
    check it). Where the limit is a number, the function is therefore between its value at `cut` and its limit. Where
    it is not, the formula itself is good, except at infinity.
    """
    cut = 128.0 if format_of(dtype).mantissa == 23 else 750.0

    def extended(u: Array) -> Interval:
        inner = u
        if len(left) <= 1:
            inner = jnp.maximum(inner, -cut)
        if len(right) <= 1:
            inner = jnp.minimum(inner, cut)
        value = evaluate(inner)
        for limit, beyond in ((left, u < -cut), (right, u > cut)):
            if len(limit) <= 1:
                end = ia.constant(limit[0] if limit else Fraction(0), u.dtype)
                both = ia.hull(value, end)
                value = Interval._make(
                    jnp.where(beyond, both.lower, value.lower),
                    jnp.where(beyond, both.upper, value.upper),
                )
            else:
                odd = len(limit) % 2 == 0
                sign = (1 if limit[-1] > 0 else -1) * (-1 if odd and limit is left else 1)
                infinite = beyond & jnp.isinf(u)
                value = Interval._make(
                    jnp.where(infinite, sign * jnp.inf, value.lower),
                    jnp.where(infinite, sign * jnp.inf, value.upper),
                )
        return value

    return extended


def _finite(u: Array) -> Array:
    return jnp.where(jnp.isinf(u), jnp.zeros((), u.dtype), u)


def _trimmed(c: list[Fraction]) -> list[Fraction]:
    while c and c[-1] == 0:
        c = c[:-1]
    return c


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
    left = _trimmed([in_s[k][0] if k in in_s else Fraction(0) for k in range(top + 1)])
    right = _trimmed([sum(in_s.get(k, []), Fraction(0)) for k in range(top + 1)])
    argument = _in_powers(sigmoid.argument)

    def evaluate(u: Array) -> Interval:
        x = balls.point(_finite(u))
        q = balls.horner(argument, x) if argument != [0, 1] else x
        s = balls.logistic(q)
        r = balls.logistic(-q)
        half = Ball(0.5 * q.value, 0.5 * q.error + format_of(u.dtype).tiny)
        tau = balls.apply(lax.tanh_p, half, 1.0)
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


def _factor(c: list[Fraction]) -> tuple[int, int, list[Fraction]]:
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
    return i, j, _trimmed(result)


def _gauss_family(p: Polynomial, functions: set[Function], dtype: np.dtype) -> Evaluator | None:
    """Evaluates `A(u)·erf(u) + B(u)·exp(−κu²) + C(u)`.

    `A·erf + C` is `(C ± A) ∓ A·erfc(|u|)`, with the upper signs for u ≥ 0: what decays is computed as such.
    """
    gauss = next((f for f in functions if f.name == "exp"), None)
    error = next((f for f in functions if f.name == "erf"), None)
    kappa = [] if gauss is None else _in_powers(gauss.argument)
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
    left, right = _trimmed(_in_powers(c - a)), _trimmed(_in_powers(c + a))

    def evaluate(u: Array) -> Interval:
        finite = _finite(u)
        x = balls.point(finite)
        total = balls.horner(_in_powers(b), x)
        if gauss is not None:
            total = total * balls.exp(balls.horner(kappa, x))
        if a.terms:
            tail = balls.apply(lax.erfc_p, balls.point(jnp.abs(finite)), 2.0)
            by_sign = balls.horner(_in_powers(a), x) * tail
            total = total + Ball(jnp.where(finite >= 0, -by_sign.value, by_sign.value), by_sign.error)
        if left == right:
            total = total + balls.horner(left, x) if left else total
        else:
            below, above = balls.horner(left, x), balls.horner(right, x)
            total = total + Ball(
                jnp.where(finite >= 0, above.value, below.value),
                jnp.where(finite >= 0, above.error, below.error),
            )
        return total.interval()

    return _within(evaluate, left, right, dtype)
