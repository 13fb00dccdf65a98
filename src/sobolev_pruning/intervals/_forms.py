"""Normal forms: polynomials with exact rational coefficients over the elementwise atoms of a program.

Interval arithmetic forgets that two operands are the same variable, and loses most where a function of one variable is
written with several: SiLU is `x·σ(x)`, its derivative `σ + x·σ − x·σ²`. Here every elementwise value carries a
polynomial over *atoms*: variables of the program, functions of polynomials (σ, exp, erf, softplus), and indicators of
half lines. The identities of these functions rewrite to one form what automatic differentiation arranges in many, so
that an equality of polynomials proves that two programs compute the same function of real numbers. Names of functions
play no part.

The identities:

* `tanh u = 2σ(2u) − 1`, `σ(−u) = 1 − σ(u)`, `1/(1 + eᵘ) = σ(−u)`
* `erfc u = 1 − erf u`, `erf(−u) = −erf u`
* `log(1 + eᵘ) = softplus u`, `softplus(−u) = softplus(u) − u`, `exp(u − softplus u) = σ(u)`
* `exp(u)·σ(u) = exp(u) − σ(u)`, `exp(−u)·σ(u) = 1 − σ(u)`
* `tanh(softplus u)` is an atom of its own, which Mish is made of
* `√q = q·(1/√q)` for a polynomial q without zeros
* `[x > a]·[x > b] = [x > max(a, b)]` for indicators of one variable, so that a monomial holds at most one of them
* `f(a + H·(b − a)) = f(a) + H·(f(b) − f(a))` for an indicator H: a function of a choice is a choice of functions
"""

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, final

from . import _roots as rational

MAX_MONOMIALS = 192
MAX_DEGREE = 24

Monomial = tuple[tuple["Atom", int], ...]


@final
class Variable(NamedTuple):
    """A value of the program that is not looked into; `number` tells variables apart."""

    number: int


@final
class Function(NamedTuple):
    """`name` applied to a polynomial of one variable.

    `name` is σ (`logistic`), `exp`, `erf`, `softplus`, `tanh_softplus`, or `reciprocal` and `rsqrt` of a polynomial
    that has no zero where the function matters.
    """

    name: str
    argument: "Polynomial"


@final
class Indicator(NamedTuple):
    """1 where the variable exceeds the threshold (or equals it, unless `strict`), else 0."""

    variable: Variable
    threshold: Fraction
    strict: bool


Atom = Variable | Function | Indicator


def variable_of(atom: Atom) -> Variable:
    """The variable that an atom is a function of."""
    match atom:
        case Variable():
            return atom
        case Indicator():
            return atom.variable
        case Function():
            return next(iter(atom.argument.variables))


class TooLarge(Exception):
    """A polynomial outgrew the limits; the value becomes a variable instead."""


@final
class Polynomial:
    """A polynomial over atoms with rational coefficients, in normal form; immutable and hashable."""

    def __init__(self, terms: Mapping[Monomial, Fraction]) -> None:
        self.terms: dict[Monomial, Fraction] = {m: c for m, c in terms.items() if c}
        if len(self.terms) > MAX_MONOMIALS:
            raise TooLarge
        self._hash = hash(frozenset(self.terms.items()))

    @classmethod
    def constant(cls, value: Fraction | int) -> "Polynomial":
        """A number."""
        return cls({(): Fraction(value)})

    @classmethod
    def of(cls, atom: Atom) -> "Polynomial":
        """One atom."""
        return cls({((atom, 1),): Fraction(1)})

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __repr__(self) -> str:
        return f"Polynomial({self.terms!r})"

    def __add__(self, other: "Polynomial") -> "Polynomial":
        terms = dict(self.terms)
        for monomial, c in other.terms.items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + c
        return Polynomial(terms)

    def __neg__(self) -> "Polynomial":
        return self.scaled(Fraction(-1))

    def __sub__(self, other: "Polynomial") -> "Polynomial":
        return self + -other

    def scaled(self, factor: Fraction) -> "Polynomial":
        """`factor` times the polynomial."""
        return Polynomial({m: c * factor for m, c in self.terms.items()})

    def __mul__(self, other: "Polynomial") -> "Polynomial":
        if len(self.terms) * len(other.terms) > MAX_MONOMIALS**2:
            raise TooLarge
        terms: dict[Monomial, Fraction] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in other.terms.items():
                for monomial, c in _product(m1, m2):
                    terms[monomial] = terms.get(monomial, Fraction(0)) + c * c1 * c2
        return Polynomial(terms)

    def __pow__(self, exponent: int) -> "Polynomial":
        if exponent > MAX_DEGREE:
            raise TooLarge
        result = Polynomial.constant(1)
        for _ in range(exponent):
            result = result * self
        return result

    @cached_property
    def atoms(self) -> frozenset[Atom]:
        """The atoms that occur, not counting those inside functions."""
        return frozenset(atom for monomial in self.terms for atom, _ in monomial)

    @cached_property
    def variables(self) -> frozenset[Variable]:
        """The variables that the polynomial is a function of."""
        return frozenset(variable_of(atom) for atom in self.atoms)

    @property
    def value(self) -> Fraction | None:
        """The number that the polynomial is, if it is one."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def lone_atom(self) -> Atom | None:
        """The atom that the polynomial is, if it is one."""
        if len(self.terms) == 1:
            ((monomial, c),) = self.terms.items()
            if c == 1 and len(monomial) == 1 and monomial[0][1] == 1:
                return monomial[0][0]
        return None

    def coefficients(self, atom: Atom) -> dict[int, "Polynomial"]:
        """The polynomial sorted by powers of one atom."""
        parts: dict[int, dict[Monomial, Fraction]] = {}
        for monomial, c in self.terms.items():
            power = dict(monomial).get(atom, 0)
            rest = tuple(factor for factor in monomial if factor[0] != atom)
            parts.setdefault(power, {})[rest] = c
        return {power: Polynomial(terms) for power, terms in parts.items()}

    def affine(self) -> tuple[Variable, Fraction, Fraction] | None:
        """`(x, a, b)` if the polynomial is `a·x + b` with `a ≠ 0`."""
        if len(self.variables) != 1:
            return None
        (x,) = self.variables
        linear = self.terms.get(((x, 1),), Fraction(0))
        constant = self.terms.get((), Fraction(0))
        if not linear or len(self.terms) > (2 if constant else 1):
            return None
        return x, linear, constant

    def substitute(self, image: Callable[[Atom], "Polynomial"]) -> "Polynomial":
        """Replaces every atom by a polynomial."""
        result = Polynomial({})
        images = {atom: image(atom) for atom in self.atoms}
        for monomial, c in self.terms.items():
            term = Polynomial.constant(c)
            for atom, power in monomial:
                term = term * images[atom] ** power
            result = result + term
        return result


ZERO = Polynomial({})
ONE = Polynomial.constant(1)


def _order(factor: tuple[Atom, int]) -> tuple[Any, ...]:
    # Any order does, as long as equal monomials are equal tuples. Two atoms of one hash could, at worst, hide a match.
    return (type(factor[0]).__name__, hash(factor[0]))


@lru_cache(maxsize=1 << 14)
def _product(first: Monomial, second: Monomial) -> tuple[tuple[Monomial, Fraction], ...]:
    if not first or not second:
        return (((first or second), Fraction(1)),)
    powers: dict[Atom, int] = dict(first)
    for atom, power in second:
        powers[atom] = powers.get(atom, 0) + power
    last: dict[Variable, Indicator] = {}
    for atom in [a for a in powers if isinstance(a, Indicator)]:
        del powers[atom]
        other = last.get(atom.variable, atom)
        last[atom.variable] = max(atom, other, key=_position)
    powers.update((indicator, 1) for indicator in last.values())
    return tuple(_reduce(powers))


def _position(indicator: Indicator) -> tuple[Fraction, bool]:
    """The order in which the indicators of a variable are switched on: `x ≥ c` before `x > c`."""
    return indicator.threshold, indicator.strict


def _reduce(powers: dict[Atom, int]) -> Iterable[tuple[Monomial, Fraction]]:
    """Applies the identities that lower the degree of a product of exp and σ."""
    if sum(powers.values()) > MAX_DEGREE:
        raise TooLarge
    for sigmoid in [a for a in powers if isinstance(a, Function) and a.name == "logistic"]:
        u = sigmoid.argument
        for sign in (1, -1):
            exponential = Function("exp", u if sign == 1 else -u)
            if exponential not in powers:
                continue
            rest = dict(powers)
            for atom in (sigmoid, exponential):
                rest[atom] -= 1
                if not rest[atom]:
                    del rest[atom]
            # exp(u)·σ(u) = exp(u) − σ(u); exp(−u)·σ(u) = 1 − σ(u)
            first = {**rest, exponential: rest.get(exponential, 0) + 1} if sign == 1 else rest
            second = {**rest, sigmoid: rest.get(sigmoid, 0) + 1}
            yield from _reduce(first)
            for monomial, c in _reduce(second):
                yield monomial, -c
            return
    yield tuple(sorted(powers.items(), key=_order)), Fraction(1)


def _leading_sign(p: Polynomial) -> int:
    """A sign that `p` and `−p` do not share."""
    monomial = max((m for m in p.terms if m), key=lambda m: (sum(e for _, e in m), [_order(f) for f in m]))
    return 1 if p.terms[monomial] > 0 else -1


# Where a piece lies: bounds of variables, or None where there are none.
Bounds = Mapping[Variable, tuple[Fraction | None, Fraction | None]]
Operation = Callable[["Polynomial", Bounds], "Polynomial | None"]


class Piece(NamedTuple):
    """A piece of a polynomial with indicators of x: from where it holds, up to where, and what it is there.

    `first` is the indicator that is switched on where it begins, `last` the one where it ends.
    """

    first: Indicator | None
    last: Indicator | None
    polynomial: Polynomial


def pieces(p: Polynomial, x: Variable) -> list[Piece]:
    """The pieces between the thresholds of the indicators of x, from −∞ to ∞."""
    steps: dict[Indicator, dict[Monomial, Fraction]] = {}
    plain: dict[Monomial, Fraction] = {}
    for monomial, c in p.terms.items():
        mine = next((a for a, _ in monomial if isinstance(a, Indicator) and a.variable == x), None)
        if mine is None:
            plain[monomial] = c
        else:
            steps.setdefault(mine, {})[tuple(f for f in monomial if f[0] != mine)] = c
    order = sorted(steps, key=_position)
    current = Polynomial(plain)
    result = [Piece(None, order[0] if order else None, current)]
    for k, indicator in enumerate(order):
        current = current + Polynomial(steps[indicator])
        result.append(Piece(indicator, order[k + 1] if k + 1 < len(order) else None, current))
    return result


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


def in_powers(p: Polynomial) -> rational.Coefficients:
    """The coefficients of a polynomial of at most one variable and no functions."""
    by_degree = {sum(power for _, power in monomial): c for monomial, c in p.terms.items()}
    return tuple(by_degree.get(k, Fraction(0)) for k in range(max(by_degree, default=-1) + 1))


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


APPLY: dict[str, Callable[[Polynomial], Polynomial | None]] = {
    "logistic": logistic,
    "exp": exp,
    "erf": erf,
    "softplus": softplus,
    "tanh_softplus": tanh_softplus,
    "reciprocal": reciprocal,
    "rsqrt": rsqrt,
}
