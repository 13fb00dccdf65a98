"""Functions of one variable whose critical points are algebraic, found while tracing: no table is needed.

These are polynomials, rational functions `N/D`, roots `(A + B/√q)/qᵐ` and Gaussians `B·exp(q) + C` with a number C, all
with rational coefficients. Their derivatives vanish only at roots of

* `N'D − N·D'`,
* `a²q − b²` with `a = A'q − m·A·q'` and `b = B'q − (m + ½)·B·q'`, since `(A + B·q^(−½))·q^(−m)` has the derivative
  `(a + b·q^(−½))·q^(−m−1)`,
* `B' + B·q'`,

which are polynomials, and whose real roots are isolated exactly (`_roots.py`). Among the roots of the second are some
where the derivative does not vanish; these do no harm, since the values there are values of the function as well.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from . import _balls as balls
from . import _roots as rational
from ._balls import Ball
from ._forms import Function, Polynomial, in_powers
from ._interval import Interval
from ._roots import Bracket, Coefficients
from ._rounding import bracket, format_of

Limit = Bracket | float


class Critical(NamedTuple):
    """A bracket of a critical point or of a pole, and the bounds of the values that the function takes at it."""

    at: Bracket
    value: tuple[Fraction | float, Fraction | float]


class Curve(NamedTuple):
    """A function that is monotone between its critical points: how to enclose it at points, and these."""

    evaluate: Callable[[Array], Interval]
    critical: tuple[Critical, ...]


class _Formula(NamedTuple):
    """What is known of a family member: its formula at finite points, where its slope may vanish, its limits."""

    ball: Callable[[Ball], Ball]
    slope: Coefficients
    value: Callable[[Bracket], Bracket | None]
    poles: Coefficients
    limits: tuple[Limit, Limit]
    cuts: tuple[float, float]  # how far out, to the left and to the right, the formula neither over- nor underflows


def algebraic(p: Polynomial, dtype: np.dtype) -> Curve | None:
    """The curve of a polynomial of one variable and functions of it, if it belongs to one of the families."""
    functions = {a for a in p.atoms if isinstance(a, Function)}
    kinds = {f.name for f in functions}
    formula: _Formula | None = None
    if kinds <= {"reciprocal"}:
        formula = _rational(p, functions, dtype)
    elif kinds == {"rsqrt"} and len(functions) == 1:
        formula = _root(p, next(iter(functions)), dtype)
    elif kinds == {"exp"} and len(functions) == 1:
        formula = _gaussian(p, next(iter(functions)), dtype)
    return None if formula is None else _curve(formula, dtype)


def _curve(f: _Formula, dtype: np.dtype) -> Curve | None:
    critical = [Critical(at, (-math.inf, math.inf)) for at in rational.roots(f.poles)]
    for at in rational.roots(f.slope):
        if any(at[0] <= pole.at[1] and pole.at[0] <= at[1] for pole in critical):
            continue
        value = f.value(at)
        if value is None:
            return None
        critical.append(Critical(at, value))
    # Beyond the cuts, which are rounded to floats, the function is monotone, up to its limit.
    if any(c.at[0] < -0.999 * f.cuts[0] or c.at[1] > 0.999 * f.cuts[1] for c in critical):
        return None

    def evaluate(u: Array) -> Interval:
        value = f.ball(balls.point(jnp.clip(u, -f.cuts[0], f.cuts[1]))).interval()
        for limit, beyond in zip(f.limits, (u < -f.cuts[0], u > f.cuts[1]), strict=True):
            low, upp = _around(limit, u.dtype)
            value = Interval._make(
                jnp.where(beyond, jnp.minimum(value.lower, low), value.lower),
                jnp.where(beyond, jnp.maximum(value.upper, upp), value.upper),
            )
        return value

    return Curve(evaluate, tuple(sorted(critical)))


def _around(limit: Limit, dtype: DTypeLike) -> tuple[float, float]:
    if not isinstance(limit, tuple):
        return limit, limit
    return bracket(limit[0], dtype)[0], bracket(limit[1], dtype)[1]


def _exactly(x: Fraction | float) -> Limit:
    return (x, x) if isinstance(x, Fraction) else x


def _size(p: Coefficients, radius: float) -> float:
    return max((math.log2(abs(c)) + k * math.log2(radius) for k, c in enumerate(p) if c), default=-math.inf)


def _cut(polynomials: list[Coefficients], dtype: np.dtype) -> float:
    """A power of two up to which the polynomials stay far below the largest float."""
    fmt = format_of(dtype)
    radius = 2.0 ** round(math.log2(fmt.max) - 1)
    while any(_size(p, radius) > math.log2(fmt.max) - 8 for p in polynomials) and radius > 2:
        radius /= 2
    return radius


# Polynomials and rational functions.


def _rational(p: Polynomial, functions: set[Function], dtype: np.dtype) -> _Formula | None:
    powers = {f: max(dict(m).get(f, 0) for m in p.terms) for f in functions}
    denominators = {f: in_powers(f.argument) for f in functions}
    numerator: Coefficients = ()
    for monomial, c in p.terms.items():
        here = dict(monomial)
        term: Coefficients = (c,)
        for f, most in powers.items():
            term = rational.mul(term, rational.power(denominators[f], most - here.get(f, 0)))
        degree = sum(e for a, e in monomial if not isinstance(a, Function))
        numerator = rational.add(numerator, (Fraction(0),) * degree + term)
    below: Coefficients = (Fraction(1),)
    for f, most in powers.items():
        below = rational.mul(below, rational.power(denominators[f], most))
    if not numerator:
        return None

    def ball(x: Ball) -> Ball:
        above = balls.horner(numerator, x)
        return above / balls.horner(below, x) if len(below) > 1 else above

    def value(at: Bracket) -> Bracket | None:
        low, high = rational.value_near(below, at)
        if low <= 0 <= high:
            return None
        return rational.product(rational.value_near(numerator, at), (1 / high, 1 / low))

    slope = rational.add(
        rational.mul(rational.derivative(numerator), below),
        rational.scaled(rational.mul(numerator, rational.derivative(below)), Fraction(-1)),
    )
    limits = [_exactly(_quotient_limit(numerator, below, sign)) for sign in (-1, 1)]
    cut = _cut([numerator, below], dtype)
    return _Formula(ball, slope, value, below, (limits[0], limits[1]), (cut, cut))


def _quotient_limit(above: Coefficients, below: Coefficients, sign: int) -> Fraction | float:
    if len(above) < len(below):
        return Fraction(0)
    if len(above) == len(below):
        return above[-1] / below[-1]
    excess = (Fraction(0),) * (len(above) - len(below)) + (above[-1] / below[-1],)
    return rational.limit(excess, sign)


# Roots.


def _root(p: Polynomial, root: Function, dtype: np.dtype) -> _Formula | None:
    q = in_powers(root.argument)
    terms = [(dict(m).get(root, 0), sum(e for a, e in m if a != root), c) for m, c in p.terms.items()]
    m = max(k // 2 for k, _, _ in terms)
    parts: list[Coefficients] = [(), ()]
    for k, degree, c in terms:
        term = rational.mul((Fraction(0),) * degree + (c,), rational.power(q, m - k // 2))
        parts[k % 2] = rational.add(parts[k % 2], term)
    a, b = parts
    if not b or len(q) % 2 == 0:
        return None
    dq = rational.derivative(q)

    def raised(c: Coefficients, exponent: Fraction) -> Coefficients:
        return rational.add(rational.mul(rational.derivative(c), q), rational.scaled(rational.mul(c, dq), -exponent))

    of_a, of_b = raised(a, Fraction(m)), raised(b, m + Fraction(1, 2))
    slope = rational.add(
        rational.mul(rational.mul(of_a, of_a), q), rational.scaled(rational.mul(of_b, of_b), Fraction(-1))
    )
    # A + B/√q = (A²q − B²)/(q·(A − B/√q)), without cancellation where the signs differ.
    conjugate = rational.add(rational.mul(rational.mul(a, a), q), rational.scaled(rational.mul(b, b), Fraction(-1)))

    def ball(x: Ball) -> Ball:
        under = balls.horner(q, x)
        second = balls.horner(b, x) / balls.sqrt(under)
        first = balls.horner(a, x)
        total = second
        if a:
            apart = balls.horner(conjugate, x) / (under * (first + -second))
            total = balls.where(first.value * second.value < 0, apart, first + second)
        return total / under.power(m) if m else total

    def value(at: Bracket) -> Bracket | None:
        under = rational.value_near(q, at)
        if under[0] <= 0:
            return None
        low, high = rational.sqrt_of(under)
        if low <= 0:
            return None
        second = rational.product(rational.value_near(b, at), (1 / high, 1 / low))
        first = rational.value_near(a, at)
        below = (under[0] ** m, under[1] ** m)
        return rational.product((first[0] + second[0], first[1] + second[1]), (1 / below[1], 1 / below[0]))

    if not slope:
        return None
    limits = [_root_limit(a, b, q, m, conjugate, sign) for sign in (-1, 1)]
    if limits[0] is None or limits[1] is None:
        return None
    cut = _cut([rational.mul(q, a), b, rational.power(q, m + 1), conjugate], dtype)
    return _Formula(ball, slope, value, q, (limits[0], limits[1]), (cut, cut))


def _root_limit(
    a: Coefficients, b: Coefficients, q: Coefficients, m: int, conjugate: Coefficients, sign: int
) -> Limit | None:
    """The limit of `(A + B/√q)/qᵐ`: by its leading terms, those of the conjugate form if the two differ in sign."""
    half = (len(q) - 1) // 2
    root = rational.sqrt_of((q[-1], q[-1]))

    def leading(c: Coefficients) -> int:
        return 0 if not c else (1 if c[-1] > 0 else -1) * (sign if len(c) % 2 == 0 else 1)

    # Degrees of A and of B/√q; `sum_of` is the leading coefficient of A ± B/√q, where nothing cancels.
    degrees = (len(a) - 1 if a else -math.inf, len(b) - 1 - half)
    against = leading(a) * leading(b) < 0

    def sum_of(flip: int) -> tuple[float | int, Bracket]:
        top = max(degrees)
        low = high = Fraction(0)
        if degrees[0] == top:
            c = a[-1] * (sign if len(a) % 2 == 0 else 1)
            low, high = c, c
        if degrees[1] == top:
            c = flip * b[-1] * (sign if len(b) % 2 == 0 else 1)
            quotient = rational.product((c, c), (1 / root[1], 1 / root[0]))
            low, high = low + quotient[0], high + quotient[1]
        return top, (low, high)

    if not against:
        degree, size = sum_of(1)
        degree -= 2 * half * m
        c = q[-1] ** -m
    else:
        if not conjugate:
            return (Fraction(0), Fraction(0))
        top, difference = sum_of(-1)
        degree = len(conjugate) - 1 - 2 * half * (m + 1) - top
        size = (1 / difference[1], 1 / difference[0])
        c = conjugate[-1] * q[-1] ** -(m + 1) * (sign if len(conjugate) % 2 == 0 else 1)
    coefficient = rational.product(size, (c, c))
    if degree < 0:
        return (Fraction(0), Fraction(0))
    if degree == 0:
        return coefficient
    return math.inf if coefficient[0] > 0 else -math.inf if coefficient[1] < 0 else None


# Gaussians.


def _gaussian(p: Polynomial, exponential: Function, dtype: np.dtype) -> _Formula | None:
    by_power = p.coefficients(exponential)
    constant = by_power.pop(0, Polynomial({})).value
    if constant is None or len(by_power) != 1:
        return None
    ((k, factor),) = by_power.items()
    b = in_powers(factor)
    q = rational.scaled(in_powers(exponential.argument), Fraction(k))
    fmt = format_of(dtype)
    slope = rational.add(rational.derivative(b), rational.mul(b, rational.derivative(q)))
    at_zero = rational.trimmed([constant])
    if not slope:
        return None

    def ball(x: Ball) -> Ball:
        total = balls.horner(b, x) * balls.exp(balls.horner(q, x))
        return total + balls.horner(at_zero, x) if at_zero else total

    def value(at: Bracket) -> Bracket | None:
        size = rational.exp_of(rational.value_near(q, at))
        if size is None:
            return None
        low, high = rational.product(rational.value_near(b, at), size)
        return low + constant, high + constant

    # Far enough for exp(q) to be zero or huge, and no farther: up to there, q is evaluated accurately.
    most = math.log(fmt.max)
    limits: list[Limit] = []
    cuts: list[float] = []
    for sign in (-1, 1):
        end = rational.limit(q, sign)
        far = math.inf if rational.limit(b, sign) > 0 else -math.inf
        limits.append((constant, constant) if end < 0 else far)
        goal = rational.add(q, (Fraction(round(1.25 * most)) if end < 0 else Fraction(-round(0.9 * most)),))
        crossings = [float(r[1]) * sign for r in rational.roots(goal) if r[1] * sign > 0]
        cuts.append(max(crossings, default=1.0) if end < 0 else 0.99 * min(crossings, default=1.0))
    return _Formula(ball, slope, value, (Fraction(1),), (limits[0], limits[1]), (cuts[0], cuts[1]))
