"""Derivatives of normal forms of one variable.

The derivative of `erf q` holds `2/√π`, which is no rational number, so a derivative comes as several forms, one for
each bound of every such number. It is linear in each of these numbers, so its values lie between those of the forms.
"""

from fractions import Fraction

from ._forms import Function, Indicator, Polynomial, Variable
from ._identities import exp, logistic

# 2/√π = 1.12837916709551257389615890312154517…
_ERF_SLOPE = (Fraction(112837916709551257389615890312, 10**29), Fraction(112837916709551257389615890313, 10**29))


def derivatives(p: Polynomial, order: int = 1) -> tuple[Polynomial, ...]:
    """Forms between which the derivative of `p` lies; `p` has one variable and no indicators.

    Raises:
        TooLarge: the forms outgrow the limits.
    """
    forms = (p,)
    for _ in range(order):
        forms = tuple(dict.fromkeys(q for form in forms for q in _derivative(form)))
    return forms


def _derivative(p: Polynomial) -> tuple[Polynomial, ...]:
    holds_erf = any(isinstance(a, Function) and a.name == "erf" for a in p.atoms)
    return tuple(derivative(p, number) for number in (_ERF_SLOPE if holds_erf else _ERF_SLOPE[:1]))


def derivative(p: Polynomial, erf_slope: Fraction) -> Polynomial:
    """The derivative of a form of one variable without indicators, with a number in the place of `2/√π`."""
    result = Polynomial({})
    for monomial, c in p.terms.items():
        for k, (atom, power) in enumerate(monomial):
            rest = [(a, n) for j, (a, n) in enumerate(monomial) if j != k]
            term = Polynomial.of(atom) ** (power - 1) * _of_atom(atom, erf_slope).scaled(c * power)
            for other, n in rest:
                term = term * Polynomial.of(other) ** n
            result = result + term
    return result


def _of_atom(atom: Variable | Function | Indicator, erf_slope: Fraction) -> Polynomial:
    if isinstance(atom, Variable):
        return Polynomial.constant(1)
    assert isinstance(atom, Function)
    q, f = atom.argument, Polynomial.of(atom)
    inner = derivative(q, erf_slope)
    match atom.name:
        case "logistic":
            outer = f - f * f
        case "exp":
            outer = f
        case "erf":
            outer = _known(exp(-(q * q))).scaled(erf_slope)
        case "softplus":
            outer = _known(logistic(q))
        case "tanh_softplus":
            outer = (Polynomial.constant(1) - f * f) * _known(logistic(q))
        case "reciprocal":
            outer = -(f * f)
        case "rsqrt":
            outer = (f**3).scaled(Fraction(-1, 2))
        case _:
            raise AssertionError(atom.name)
    return outer * inner


def _known(p: Polynomial | None) -> Polynomial:
    assert p is not None  # of a polynomial in one variable
    return p
