"""Normal forms: polynomials with exact rational coefficients over the elementwise atoms of a program.

Interval arithmetic forgets that two operands are the same variable, and loses most where a function of one variable is
written with several: SiLU is `x·σ(x)`, its derivative `σ + x·σ − x·σ²`. Here every elementwise value carries a
polynomial over *atoms*: variables of the program, functions of polynomials (σ, exp, erf, softplus), and indicators of
half lines. The identities of these functions rewrite to one form what automatic differentiation arranges in many, so
that an equality of polynomials proves that two programs compute the same function of real numbers. Names of functions
play no part. The identities of the functions stand in `_identities.py`.
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


def nonlinear_variables(p: Polynomial) -> set[Variable]:
    """The variables that occur in a power or in a function."""
    factors = (factor for monomial in p.terms for factor in monomial)
    return {variable_of(atom) for atom, power in factors if power > 1 or not isinstance(atom, Variable)}


def order_of(factor: tuple[Atom, int]) -> tuple[Any, ...]:
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
    yield tuple(sorted(powers.items(), key=order_of)), Fraction(1)


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


def in_powers(p: Polynomial) -> rational.Coefficients:
    """The coefficients of a polynomial of at most one variable and no functions."""
    by_degree = {sum(power for _, power in monomial): c for monomial, c in p.terms.items()}
    return tuple(by_degree.get(k, Fraction(0)) for k in range(max(by_degree, default=-1) + 1))


def rename(p: Polynomial, images: dict[Variable, Variable]) -> Polynomial:
    """The polynomial with its variables renamed."""

    def image(atom: Any) -> Polynomial:
        match atom:
            case Variable():
                return Polynomial.of(images[atom])
            case Function(name, argument):
                return Polynomial.of(Function(name, argument.substitute(image)))
            case Indicator(variable, threshold, strict):
                return Polynomial.of(Indicator(images[variable], threshold, strict))
            case _:
                raise AssertionError(atom)

    return p.substitute(image)
