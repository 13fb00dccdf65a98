"""Exact ranges of functions of one variable: the activations and their derivatives.

On an interval `[a, b]` a smooth function takes its extremes at an end or at a critical point inside. The ends are
evaluated with a bound of the rounding error; the critical points and values are known from ball arithmetic
(`_critical.py`). Which function a polynomial is, is decided by equality of normal forms up to `c·p + d`, which is a
proof.
"""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from . import _arithmetic as ia
from . import _balls as balls
from ._activations import known_functions
from ._algebraic import Critical, Curve, algebraic
from ._elementary import is_accurate
from ._evaluators import U, evaluator
from ._forms import Function, Polynomial, Variable, rename
from ._identities import APPLY
from ._interval import Interval
from ._registry import rule_for
from ._rounding import bracket


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


def in_u(p: Polynomial) -> Polynomial:
    """A polynomial of one variable with that variable called `U`."""
    return rename(p, dict.fromkeys(p.variables, U))


def in_base(p: Polynomial) -> tuple[Polynomial, Variable, Fraction, Fraction]:
    """`p` in terms of `u = a·x + b`, the argument of one of its functions if that is affine; `(p, x, a, b)`.

    A function that exists on a piece alone, such as the quotient `1/x` for `x ≥ ½`, is not rewritten: then u is x.
    """
    (x,) = p.variables
    if any(isinstance(f, Function) and f.name in ("reciprocal", "rsqrt") for f in p.atoms):
        return p, x, Fraction(1), Fraction(0)
    a, b = Fraction(1), Fraction(0)
    functions = sorted((f for f in p.atoms if isinstance(f, Function)), key=lambda f: f.name)
    # tanh∘softplus has no symmetry, so its argument goes first.
    for f in reversed(functions):
        line = f.argument.affine()
        if line is not None:
            _, a, b = line
            break
    image = Polynomial.of(U).scaled(1 / a) - Polynomial.constant(b / a)

    def rename(atom: object) -> Polynomial:
        if not isinstance(atom, Function):
            return image
        renamed = APPLY[atom.name](atom.argument.substitute(lambda _: image))
        assert renamed is not None
        return renamed

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


def smooth_range(p: Polynomial, x: Interval) -> Interval | None:
    """The range of a polynomial of one variable without indicators, or None if it is not known.

    Args:
        p: Polynomial in one variable and functions of it.
        x: What the variable ranges over.
    """
    if p.value is not None:
        return ia.constant(p.value, x.dtype)
    plain = plain_range(p, x)
    if plain is not None:
        return plain
    simple = _one_function(p, x)
    if simple is not None:
        return simple
    curve = _algebraic(in_u(p), np.dtype(x.dtype))
    if curve is not None:
        return _between(curve, x)
    q, _, a, b = in_base(p)
    core, scale, offset = normalise(q)
    known = _known(core, offset, np.dtype(x.dtype))
    return None if known is None else ia.scale(_between(known, _line(x, a, b)), scale)


_algebraic = cache(algebraic)


@cache
def _known(core: Polynomial, offset: Fraction, dtype: np.dtype) -> Curve | None:
    """The curve of `core + offset`, if the core is in the table."""
    if core not in _critical_points(dtype):
        return None
    evaluate = evaluator(core + Polynomial.constant(offset), dtype)
    if evaluate is None:
        return None
    critical = []
    for text, value, known_scale, known_offset in _critical_points(dtype)[core]:
        at = Fraction(text)
        error = _DIGITS * max(1, abs(at))
        # The table holds values of scale·(core + offset).
        exact = value / known_scale - known_offset + offset
        error_of_value = _DIGITS * max(1, abs(value)) / abs(known_scale)
        critical.append(Critical((at - error, at + error), (exact - error_of_value, exact + error_of_value)))
    return Curve(evaluate, tuple(sorted(critical)))


def _at_ends(curve: Curve, u: Interval) -> tuple[Interval, Interval]:
    if not is_accurate(lax.exp_p, u.dtype):
        return curve.evaluate(u.lower), curve.evaluate(u.upper)
    # A function that takes many operations is compiled once for both ends, which costs a copy of each.
    ends = curve.evaluate(both_ends(u))
    return ends[0], ends[1]


def _between(curve: Curve, u: Interval) -> Interval:
    """The range on an interval: the values at its ends and at the critical points inside."""
    if ia.is_point(u):
        return curve.evaluate(u.lower)
    a, b = _at_ends(curve, u)
    lower = jnp.minimum(a.lower, b.lower)
    upper = jnp.maximum(a.upper, b.upper)
    for i, (at, value) in enumerate(curve.critical):
        # What exceeds a neighbour is no minimum on any side, and what a neighbour exceeds no maximum.
        beside = [c.value for c in (*curve.critical[max(i - 1, 0) : i], *curve.critical[i + 1 : i + 2])]
        inside = (u.lower <= bracket(at[1], u.dtype)[1]) & (u.upper >= bracket(at[0], u.dtype)[0])
        if not any(value[0] > other[1] for other in beside):
            lower = jnp.where(inside, jnp.minimum(lower, _bound(value[0], u.dtype, 0)), lower)
        if not any(value[1] < other[0] for other in beside):
            upper = jnp.where(inside, jnp.maximum(upper, _bound(value[1], u.dtype, 1)), upper)
    return Interval._make(lower, upper)


def both_ends(x: Interval) -> Array:
    """The ends along a new axis 0, so that a function is evaluated once; a batch stays in front of it."""
    return lax.concatenate([lax.expand_dims(end, (0,)) for end in (x.lower, x.upper)], 0)


def _bound(value: Fraction | float, dtype: DTypeLike, side: int) -> float:
    return bracket(value, dtype)[side] if isinstance(value, Fraction) else value


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
            return _plus(ia.scale(softplus_range(ia.neg(q)), c), d)
        return _plus(ia.scale(softplus_range(q), c), d) if not rest.terms else None
    if rest.terms:
        return None
    match f.name:
        case "exp" if d == -c:
            return ia.scale(rule_for(lax.expm1_p)(q), c)
        case "exp":
            return _plus(ia.scale(rule_for(lax.exp_p)(q), c), d)
        case "logistic" if d == -c / 2:
            return ia.scale(rule_for(lax.tanh_p)(ia.scale(q, Fraction(1, 2))), c / 2)
        case "logistic" if d == -c:
            return ia.scale(rule_for(lax.logistic_p)(ia.neg(q)), -c)
        case "logistic":
            return _plus(ia.scale(rule_for(lax.logistic_p)(q), c), d)
        case "erf" if d == -c:
            return ia.scale(rule_for(lax.erfc_p)(q), -c)
        case "erf" if d == c:
            return ia.scale(rule_for(lax.erfc_p)(ia.neg(q)), c)
        case "erf":
            return _plus(ia.scale(rule_for(lax.erf_p)(q), c), d)
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


def softplus_range(q: Interval) -> Interval:
    """`log(1 + exp(q)) = max(q, 0) + log1p(exp(−|q|))`, nondecreasing."""

    def ball(x: Array) -> Interval:
        e = balls.exp(balls.point(-jnp.abs(x)))
        # log1p has slope at most 1 on [0, ∞).
        return (balls.point(jnp.maximum(x, 0)) + balls.apply(lax.log1p_p, e, 1.0)).interval()

    ends = ball(both_ends(q))
    return Interval._make(jnp.maximum(ends.lower[0], 0), ends.upper[1])
