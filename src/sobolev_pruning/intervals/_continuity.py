"""Whether a piecewise function is continuous where its pieces meet."""

import math
from fractions import Fraction
from itertools import pairwise

from ._forms import Atom, Function, Indicator, Polynomial, Variable, pieces, variable_of


def continuous(form: Polynomial) -> bool:
    """Whether a form is proved to be continuous in its variables.

    Its atoms are continuous, except for indicators. At a threshold t of x the pieces on its two sides, and that for
    t itself, if it has one, must agree: their differences at `x = t` are polynomials in the other atoms that must
    vanish identically. That is sufficient and, since values of functions at t are taken for independent unless they
    are known rational numbers, not necessary.

    >>> x = Variable(0)
    >>> on = Polynomial.of(Indicator(x, Fraction(1), True))
    >>> continuous(on * (Polynomial.of(x) - Polynomial.constant(1))), continuous(on * Polynomial.of(x))
    (True, False)
    """
    for x in {a.variable for a in form.atoms if isinstance(a, Indicator)}:
        for left, right in pairwise(pieces(form, x)):
            assert right.first is not None
            if _at(right.polynomial - left.polynomial, x, right.first.threshold).terms:
                return False
    return True


def _at(p: Polynomial, x: Variable, t: Fraction) -> Polynomial:
    """The polynomial at `x = t`; a function whose value there is no known rational number stays as it is."""

    def image(atom: Atom) -> Polynomial:
        if variable_of(atom) != x:
            return Polynomial.of(atom)
        match atom:
            case Function(name, argument):
                u = argument.substitute(lambda _: Polynomial.constant(t)).value
                value = None if u is None else _value(name, u)
                return Polynomial.of(atom) if value is None else Polynomial.constant(value)
            case _:
                return Polynomial.constant(t)

    return p.substitute(image)


# Values at 0.
_AT_ZERO = {
    "logistic": Fraction(1, 2),
    "exp": Fraction(1),
    "erf": Fraction(0),
    "tanh_softplus": Fraction(3, 5),  # tanh(log 2)
}


def _value(name: str, u: Fraction) -> Fraction | None:
    if name == "reciprocal":
        return 1 / u if u else None
    if name == "rsqrt" and u > 0:
        above, below = math.isqrt(u.numerator), math.isqrt(u.denominator)
        return Fraction(below, above) if above**2 == u.numerator and below**2 == u.denominator else None
    return _AT_ZERO.get(name) if u == 0 else None
