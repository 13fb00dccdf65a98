"""Enclosures of normal forms.

A polynomial over atoms is sorted by one of its nonlinear variables, `P = Σ Cᵢ·pᵢ(x)`, where each `pᵢ` is a function
of x alone and the cofactors `Cᵢ` do not contain x. Each `pᵢ` is replaced by its range, exact where it is known, and
each cofactor by its own enclosure. This holds for any sorting; the better one comes from collecting cofactors of
equal `pᵢ`.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from . import _arithmetic as ia
from ._evaluators import U
from ._forms import ONE, Atom, Function, Indicator, Monomial, Piece, Polynomial, Variable, pieces, variable_of
from ._interval import Interval
from ._rounding import bracket, is_outward
from ._univariate import in_u, normalise, smooth_range


class Enclosure(NamedTuple):
    """An enclosure, and whether it is the range itself up to rounding."""

    interval: Interval
    exact: bool


def by_variable(p: Polynomial, x: Variable) -> dict[Polynomial, Polynomial]:
    """`p = Σ Cᵢ·qᵢ(x)` with functions qᵢ of x alone, up to a factor, and cofactors Cᵢ without x: `{qᵢ: Cᵢ}`."""
    by_cofactor: dict[Monomial, dict[Monomial, Fraction]] = {}
    for monomial, c in p.terms.items():
        mine = tuple(f for f in monomial if variable_of(f[0]) == x)
        rest = tuple(f for f in monomial if variable_of(f[0]) != x)
        by_cofactor.setdefault(rest, {})[mine] = c
    groups: dict[Polynomial, dict[Monomial, Fraction]] = {}
    for rest, terms in by_cofactor.items():
        q = Polynomial(terms)
        if q.value is not None:
            q, factor = ONE, q.value
        else:
            core, factor, offset = normalise(q)
            q = core + Polynomial.constant(offset)
        groups.setdefault(q, {})[rest] = factor
    return {q: Polynomial(cofactors) for q, cofactors in groups.items()}


class Ranges:
    """Enclosures of polynomials, given those of the variables; each is computed once."""

    def __init__(self, variable: Callable[[Variable], Interval]) -> None:
        self._variable = variable
        self._known: dict[Any, Enclosure] = {}
        self._powers: dict[tuple[Atom, int], Interval] = {}

    def enclose(self, p: Polynomial, dtype: Any, shape: tuple[int, ...], natural: Callable[[], Any]) -> Interval:
        """The smallest enclosure known of a value: by its form, by its operands, or both.

        Args:
            p: The form of the value.
            dtype: Dtype of the value.
            shape: Shape of the value.
            natural: Evaluates the enclosure by the rule of the last operation, from its operands.
        """
        lone = p.lone_atom
        if isinstance(lone, Variable):
            return ia.of_shape(self._variable(lone), shape)
        if not _worthwhile(p):
            return natural()
        by_form = self._polynomial(p, dtype)
        interval = ia.of_shape(by_form.interval, shape)
        return interval if by_form.exact else _both(interval, natural())

    def _polynomial(self, p: Polynomial, dtype: Any) -> Enclosure:
        if p.value is not None:
            return Enclosure(ia.constant(p.value, dtype), True)
        key = (p, dtype)
        if key not in self._known:
            self._known[key] = self._sorted(p, dtype)
        return self._known[key]

    def _sorted(self, p: Polynomial, dtype: Any) -> Enclosure:
        nonlinear = {variable_of(a) for a in p.atoms if not isinstance(a, Variable)} or _repeated(p)
        if not nonlinear:
            return self._plain(p, dtype)
        x = min(nonlinear)
        groups = by_variable(p, x)
        total: Interval | None = None
        exact = len(groups) == 1
        for q, factor in groups.items():
            cofactor = self._polynomial(factor, dtype)
            if q == ONE:
                term = cofactor.interval
            else:
                mine = self.univariate(q, x)
                exact = exact and mine.exact
                term = (
                    ia.scale(mine.interval, factor.value)
                    if factor.value is not None
                    else ia.mul(cofactor.interval, mine.interval)
                )
            exact = exact and cofactor.exact
            total = term if total is None else ia.add(total, term)
        assert total is not None
        return Enclosure(total, exact)

    def _plain(self, p: Polynomial, dtype: Any) -> Enclosure:
        """A polynomial in variables: monomial by monomial."""
        total: Interval | None = None
        seen: set[Variable] = set()
        exact = True
        for monomial, c in p.terms.items():
            term: Interval | None = None
            for atom, power in monomial:
                assert isinstance(atom, Variable)
                exact = exact and atom not in seen
                seen.add(atom)
                factor = self._power(atom, power)
                term = factor if term is None else ia.mul(term, factor)
            term = ia.constant(c, dtype) if term is None else ia.scale(term, c)
            total = term if total is None else ia.add(total, term)
        assert total is not None
        return Enclosure(total, exact)

    def univariate(self, p: Polynomial, x: Variable) -> Enclosure:
        """The range of a polynomial in one variable and functions of it."""
        key = (p, "univariate")
        if key not in self._known:
            domain = self._variable(x)
            upper = None if ia.is_point(domain) else domain.upper
            interval = _shared_range(domain.lower, upper, p=in_u(p), is_outward=is_outward())
            # The formula for roots ends where q² overflows; the operands may reach farther.
            far = all(not isinstance(a, Function) or a.name != "rsqrt" for a in p.atoms)
            self._known[key] = Enclosure(self.of_atoms(p), False) if interval is None else Enclosure(interval, far)
        return self._known[key]

    def of_atoms(self, p: Polynomial) -> Interval:
        """The enclosure of a polynomial by the ranges of its atoms, when nothing better is known."""
        total: Interval | None = None
        dtype = self._variable(next(iter(p.variables))).dtype
        for monomial, c in p.terms.items():
            term: Interval | None = None
            for atom, power in monomial:
                factor = self._power(atom, power)
                term = factor if term is None else ia.mul(term, factor)
            term = ia.constant(c, dtype) if term is None else ia.scale(term, c)
            total = term if total is None else ia.add(total, term)
        assert total is not None
        return total

    def _power(self, atom: Atom, power: int) -> Interval:
        key = (atom, power)
        if key not in self._powers:
            self._powers[key] = ia.power(self._atom(atom), power)
        return self._powers[key]

    def _atom(self, atom: Atom) -> Interval:
        match atom:
            case Variable():
                return self._variable(atom)
            case Indicator(variable):
                like = self._variable(variable).lower
                return Interval._make(jnp.zeros_like(like), jnp.ones_like(like))
            case Function():
                x = variable_of(atom)
                known = smooth_range(Polynomial.of(atom), self._variable(x))
                if known is None:
                    like = self._variable(x).lower
                    return Interval._make(jnp.full_like(like, -jnp.inf), jnp.full_like(like, jnp.inf))
                return known


@partial(jax.jit, static_argnames=("p", "is_outward"))
def _shared_range(lower: Array, upper: Array | None, *, p: Polynomial, is_outward: bool) -> Interval | None:
    """`univariate_range`, traced once for all variables of one shape; `is_outward` tells the traces apart."""
    return univariate_range(p, Interval._make(lower, lower if upper is None else upper))


def univariate_range(p: Polynomial, domain: Interval) -> Interval | None:
    """The hull of the ranges on the pieces between the thresholds of the indicators, or None if one is not known."""
    parts = _merged(pieces(p, U))
    if len(parts) == 1:
        return smooth_range(parts[0].polynomial, domain)
    lower = jnp.full_like(domain.lower, jnp.inf)
    upper = jnp.full_like(domain.upper, -jnp.inf)
    for first, last, polynomial in parts:
        # The thresholds are not always floats: restrict to a little more, so the range is enclosed.
        low, upp = domain.lower, domain.upper
        reached = jnp.ones_like(low, dtype=bool)
        if first is not None:
            edge, beyond = bracket(first.threshold, domain.dtype)
            # `edge ≤ t ≤ beyond`; x > t needs x > edge, or x ≥ beyond if the threshold is no float.
            reached &= (upp > edge) if first.strict and edge == beyond else (upp >= beyond)
            low = jnp.maximum(low, edge)
        if last is not None:
            edge, beyond = bracket(last.threshold, domain.dtype)
            reached &= (domain.lower < edge) if not last.strict and edge == beyond else (domain.lower <= edge)
            upp = jnp.minimum(upp, beyond)
        low = jnp.where(reached, low, domain.lower)
        upp = jnp.where(reached, upp, domain.upper)
        piece = smooth_range(polynomial, Interval._make(low, upp))
        if piece is None:
            return None
        lower = jnp.where(reached, jnp.minimum(lower, piece.lower), lower)
        upper = jnp.where(reached, jnp.maximum(upper, piece.upper), upper)
    return Interval._make(lower, upper)


def _merged(parts: list[Piece]) -> list[Piece]:
    """The pieces, where neighbours that are the same polynomial are one."""
    result = parts[:1]
    for part in parts[1:]:
        if part.polynomial == result[-1].polynomial:
            result[-1] = result[-1]._replace(last=part.last)
        else:
            result.append(part)
    return result


def _worthwhile(p: Polynomial) -> bool:
    """Whether the form may be tighter than the operands: it has nonlinear atoms, or a variable more than once."""
    if p.value is not None or any(not isinstance(a, Variable) for a in p.atoms):
        return True
    uses = [(atom, power) for monomial in p.terms for atom, power in monomial]
    return len({atom for atom, _ in uses}) < len(uses) or any(power > 1 for _, power in uses)


def _repeated(p: Polynomial) -> set[Variable]:
    """The variables that occur in two different powers."""
    powers: dict[Variable, int] = {}
    repeated = set()
    for monomial in p.terms:
        for atom, power in monomial:
            if isinstance(atom, Variable) and powers.setdefault(atom, power) != power:
                repeated.add(atom)
    return repeated


def _both(first: Interval, second: Interval) -> Interval:
    # Both enclose the same values, so they meet. Rounded to nearest they may miss by a rounding: keep the ends in
    # order.
    lower = jnp.maximum(first.lower, second.lower)
    upper = jnp.minimum(first.upper, second.upper)
    return Interval._make(jnp.minimum(lower, upper), jnp.maximum(lower, upper))
