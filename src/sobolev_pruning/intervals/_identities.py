"""The identities of elementary functions: how each acts on normal forms.

The identities:

* `tanh u = 2σ(2u) − 1`, `σ(−u) = 1 − σ(u)`, `1/(1 + eᵘ) = σ(−u)`
* `erfc u = 1 − erf u`, `erf(−u) = −erf u`
* `log(1 + eᵘ) = softplus u`, `softplus(−u) = softplus(u) − u`, `exp(u − softplus u) = σ(u)`
* `exp(u)·σ(u) = exp(u) − σ(u)`, `exp(−u)·σ(u) = 1 − σ(u)`
* `tanh(softplus u)` is an atom of its own, which Mish is made of
* `√q = q·(1/√q)` for a polynomial q without zeros
* `[x > a]·[x > b] = [x > max(a, b)]` for indicators of one variable, so that a monomial holds at most one of them
* `f(a + H·(b − a)) = f(a) + H·(f(b) − f(a))` for an indicator H: a function of a choice is a choice of functions

A function here returns the form of its value, or None where there is none.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction

from . import _roots as rational
from ._forms import ONE, ZERO, Function, Indicator, Monomial, Polynomial, Variable, in_powers, order_of, pieces

# Where a piece lies: bounds of variables, or None where there are none.
Bounds = Mapping[Variable, tuple[Fraction | None, Fraction | None]]
Operation = Callable[["Polynomial", Bounds], "Polynomial | None"]


def _leading_sign(p: Polynomial) -> int:
    """A sign that `p` and `−p` do not share."""
    monomial = max((m for m in p.terms if m), key=lambda m: (sum(e for _, e in m), [order_of(f) for f in m]))
    return 1 if p.terms[monomial] > 0 else -1


def _choice(f: Operation, p: Polynomial, bounds: Bounds | None = None) -> Polynomial | None:
    """`f(p)` with the indicators of `p` moved outside."""
    bounds = bounds or {}
    switched = [a.variable for a in p.atoms if isinstance(a, Indicator)]
    if not switched:
        return f(p, bounds)
    x = min(switched)
    result, before = ZERO, ZERO
    for first, last, piece in pieces(p, x):
        where = (first and first.threshold, last and last.threshold)
        mine = _choice(f, piece, {**bounds, x: where})
        if mine is None:
            return None
        result = mine if first is None else result + Polynomial.of(first) * (mine - before)
        before = mine
    return result


def _in_variable(p: Polynomial) -> bool:
    """Whether `p` is a nonconstant polynomial of one variable, without functions."""
    return len(p.variables) == 1 and all(isinstance(a, Variable) for a in p.atoms)


def _without_zeros(p: Polynomial, bounds: Bounds) -> bool:
    if not _in_variable(p):
        return False
    (x,) = p.variables
    return not rational.has_root(in_powers(p), *bounds.get(x, (None, None)))


def _softplus_argument(p: Polynomial) -> Polynomial | None:
    """u if p is `softplus(u)`."""
    (*functions,) = (a for a in p.atoms if isinstance(a, Function))
    if len(functions) != 1 or functions[0].name != "softplus":
        return None
    rest = p - Polynomial.of(functions[0])
    u = functions[0].argument
    return u if not rest.terms else -u if rest == -u else None


def logistic(p: Polynomial) -> Polynomial | None:
    """`σ(p)`, or None if that is no form."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if p.value == 0:
            return Polynomial.constant(Fraction(1, 2))
        for sign in (1, -1):
            u = _softplus_argument(p.scaled(Fraction(sign, 2)))
            if u is not None:  # σ(2v) = (1 + tanh v)/2
                return (ONE + tanh_softplus(u).scaled(Fraction(sign))).scaled(Fraction(1, 2))
        if not _in_variable(p):
            return None
        if _leading_sign(p) > 0:
            return Polynomial.of(Function("logistic", p))
        return ONE - Polynomial.of(Function("logistic", -p))

    return _choice(apply, p)


def tanh(p: Polynomial) -> Polynomial | None:
    """`tanh(p)`."""
    s = logistic(p.scaled(Fraction(2)))
    return None if s is None else s.scaled(Fraction(2)) - ONE


def tanh_softplus(p: Polynomial) -> Polynomial:
    """`tanh(log(1 + exp(p)))`."""
    return Polynomial.of(Function("tanh_softplus", p))


def softplus(p: Polynomial) -> Polynomial | None:
    """`log(1 + exp(p))`."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if not _in_variable(p):
            return None
        if _leading_sign(p) > 0:
            return Polynomial.of(Function("softplus", p))
        return Polynomial.of(Function("softplus", -p)) + p

    return _choice(apply, p)


def exp(p: Polynomial) -> Polynomial | None:
    """`exp(p)`."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if p.value == 0:
            return ONE
        if _in_variable(p):
            return Polynomial.of(Function("exp", p))
        soft = [a for a in p.atoms if isinstance(a, Function)]
        if len(soft) == 1 and soft[0].name == "softplus":
            # p = k·softplus(u) + r: exp(u − softplus u) = σ(u) and exp(−softplus u) = 1 − σ(u).
            u, s = soft[0].argument, Polynomial.of(Function("logistic", soft[0].argument))
            rest = p + Polynomial.of(soft[0])
            if rest == u:
                return s
            if rest.value == 0:
                return ONE - s
        return None

    return _choice(apply, p)


def expm1(p: Polynomial) -> Polynomial | None:
    """`exp(p) − 1`."""
    e = exp(p)
    return None if e is None else e - ONE


def erf(p: Polynomial) -> Polynomial | None:
    """`erf(p)`."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if p.value == 0:
            return ZERO
        if not _in_variable(p):
            return None
        if _leading_sign(p) > 0:
            return Polynomial.of(Function("erf", p))
        return -Polynomial.of(Function("erf", -p))

    return _choice(apply, p)


def erfc(p: Polynomial) -> Polynomial | None:
    """`1 − erf(p)`."""
    e = erf(p)
    return None if e is None else ONE - e


def log(p: Polynomial) -> Polynomial | None:
    """`log(p)`, for `p = 1 + exp(u)` and for 1."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if p == ONE:
            return ZERO
        inner = (p - ONE).lone_atom
        if isinstance(inner, Function) and inner.name == "exp":
            return softplus(inner.argument)
        return None

    return _choice(apply, p)


def log1p(p: Polynomial) -> Polynomial | None:
    """`log(1 + p)`."""
    return log(p + ONE)


def reciprocal(p: Polynomial) -> Polynomial | None:
    """`1/p`, for numbers, exponentials, `c·(1 + exp(u))`, roots, and polynomials without zeros."""

    def apply(p: Polynomial, bounds: Bounds) -> Polynomial | None:
        if p.value is not None:
            return Polynomial.constant(1 / p.value) if p.value else None
        if _without_zeros(p, bounds):
            leading = in_powers(p)[-1]
            return Polynomial.of(Function("reciprocal", p.scaled(1 / leading))).scaled(1 / leading)
        root = next((a for a in p.atoms if isinstance(a, Function) and a.name == "rsqrt"), None)
        if root is not None and p == root.argument * Polynomial.of(root):
            return Polynomial.of(root)
        c = p.terms.get(())
        rest = p - Polynomial.constant(c) if c else p
        if len(rest.terms) != 1:
            return None
        ((monomial, factor),) = rest.terms.items()
        if len(monomial) != 1 or monomial[0][1] != 1:
            return None
        atom = monomial[0][0]
        if not isinstance(atom, Function) or atom.name != "exp":
            return None
        if not c:
            return Polynomial.of(Function("exp", -atom.argument)).scaled(1 / factor)
        s = logistic(-atom.argument) if factor == c else None
        return None if s is None else s.scaled(1 / c)

    return _choice(apply, p)


def rsqrt(p: Polynomial) -> Polynomial | None:
    """`1/√p`, for polynomials that are positive everywhere."""

    def apply(p: Polynomial, bounds: Bounds) -> Polynomial | None:
        if not _without_zeros(p, bounds):
            return None
        (x,) = p.variables
        low, high = bounds.get(x, (None, None))
        inside = low if low is not None else high if high is not None else Fraction(0)
        return Polynomial.of(Function("rsqrt", p)) if rational.value(in_powers(p), inside) > 0 else None

    return _choice(apply, p)


def sqrt(p: Polynomial) -> Polynomial | None:
    """`√p`, for polynomials that are positive everywhere."""
    inverse = rsqrt(p)
    return None if inverse is None else p * inverse


def above(p: Polynomial, strict: bool) -> Polynomial | None:
    """The indicator of `p > 0`, or of `p ≥ 0` unless `strict`."""

    def apply(p: Polynomial, _: Bounds) -> Polynomial | None:
        if p.value is not None:
            return ONE if p.value > 0 or (p.value == 0 and not strict) else ZERO
        line = p.affine()
        if line is None:
            return None
        x, a, b = line
        if a > 0:
            return Polynomial.of(Indicator(x, -b / a, strict))
        # a·x + b > 0 means x < −b/a, which is not (x ≥ −b/a).
        return ONE - Polynomial.of(Indicator(x, -b / a, not strict))

    return _choice(apply, p)


def zero(p: Polynomial) -> Polynomial | None:
    """The indicator of `p = 0`."""
    low, upp = above(p, False), above(p, True)
    return None if low is None or upp is None else low - upp


def whole_gaussians(p: Polynomial, ends: Mapping[Function, int]) -> Polynomial:
    """The polynomial without the indicators of `|v| < c` in what is multiplied by `exp(−v²)`, for v affine in x.

    JAX takes x for 0 there, in the derivative of `exp(−x²)`, to have no product of 0 and ∞. What that leaves out is
    below the smallest number, `c·exp(−c²)`, and were it kept, one function would be two pieces and a jump.

    Args:
        p: The polynomial.
        ends: For each `exp(−v²)`, c.
    """
    terms: dict[Monomial, Fraction] = {}
    for monomial, coefficient in p.terms.items():
        powers = dict(monomial)
        for gaussian in [a for a in powers if isinstance(a, Function) and a in ends]:
            argument = in_powers(gaussian.argument)
            for cut in [a for a in powers if isinstance(a, Indicator) and a.variable in gaussian.argument.variables]:
                if len(argument) == 3 and rational.value(argument, cut.threshold) == -(ends[gaussian] ** 2):
                    del powers[cut]
                    if cut.threshold > -argument[1] / (2 * argument[2]):  # switched on beyond the upper end
                        coefficient = Fraction(0)
        key = tuple(sorted(powers.items(), key=order_of))
        terms[key] = terms.get(key, Fraction(0)) + coefficient
    return Polynomial(terms)


APPLY: dict[str, Callable[[Polynomial], Polynomial | None]] = {
    "logistic": logistic,
    "exp": exp,
    "erf": erf,
    "softplus": softplus,
    "tanh_softplus": tanh_softplus,
    "reciprocal": reciprocal,
    "rsqrt": rsqrt,
}
