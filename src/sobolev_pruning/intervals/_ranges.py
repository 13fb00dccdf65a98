"""Enclosures of normal forms.

A polynomial over atoms is sorted by one of its nonlinear variables, `P = Σ Cᵢ·pᵢ(x)`, where each `pᵢ` is a function
of x alone and the cofactors `Cᵢ` do not contain x. Each `pᵢ` is replaced by its range, exact where it is known, and
each cofactor by its own enclosure. This holds for any sorting; the better one comes from collecting cofactors of
equal `pᵢ`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax.numpy as jnp

from . import _arithmetic as ia
from ._forms import ONE, Atom, Function, Indicator, Monomial, Polynomial, Variable, variable_of
from ._interval import Interval
from ._rounding import bracket
from ._univariate import normalise, smooth_range


class Enclosure(NamedTuple):
    """An enclosure, and whether it is the range itself up to rounding."""

    interval: Interval
    exact: bool


class Ranges:
    """Enclosures of polynomials, given those of the variables; each is computed once."""

    def __init__(self, variable: Callable[[Variable], Interval]) -> None:
        self._variable = variable
        self._known: dict[Any, Enclosure] = {}
        self._smooth: dict[Any, Interval | None] = {}

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
            return _of_shape(self._variable(lone), shape)
        if not _worthwhile(p):
            return natural()
        by_form = self._polynomial(p, dtype)
        interval = _of_shape(by_form.interval, shape)
        return interval if by_form.exact else _both(interval, natural())

    def _polynomial(self, p: Polynomial, dtype: Any) -> Enclosure:
        if p.value is not None:
            return Enclosure(ia.constant(p.value, dtype), True)
        key = (p, dtype)
        if key not in self._known:
            self._known[key] = self._sorted(p, dtype)
        return self._known[key]

    def _sorted(self, p: Polynomial, dtype: Any) -> Enclosure:
        nonlinear = {variable_of(a) for a in p.atoms if not isinstance(a, Variable)}
        if not nonlinear:
            return self._plain(p, dtype)
        x = min(nonlinear)
        # By cofactor first: C → p(x), then by p up to a factor: p → ΣC.
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
        total: Interval | None = None
        exact = len(groups) == 1
        for q, cofactors in groups.items():
            cofactor = self._polynomial(Polynomial(cofactors), dtype)
            if q is ONE or q == ONE:
                term = cofactor.interval
            else:
                mine = self.univariate(q, x)
                exact = exact and mine.exact
                constant = Polynomial(cofactors).value
                term = (
                    ia.scale(mine.interval, constant)
                    if constant is not None
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
                factor = ia.power(self._variable(atom), power)
                term = factor if term is None else ia.mul(term, factor)
            term = ia.constant(c, dtype) if term is None else ia.scale(term, c)
            total = term if total is None else ia.add(total, term)
        assert total is not None
        return Enclosure(total, exact)

    def univariate(self, p: Polynomial, x: Variable) -> Enclosure:
        """The range of a polynomial in one variable and functions of it."""
        key = (p, "univariate")
        if key not in self._known:
            interval = self._pieces(p, x)
            self._known[key] = Enclosure(self._atoms(p), False) if interval is None else Enclosure(interval, True)
        return self._known[key]

    def _pieces(self, p: Polynomial, x: Variable) -> Interval | None:
        """The hull of the ranges on the pieces between the thresholds of the indicators."""
        domain = self._variable(x)
        indicators = [a for a in p.atoms if isinstance(a, Indicator)]
        if not indicators:
            return smooth_range(p, domain)
        thresholds = sorted({i.threshold for i in indicators})
        if len(thresholds) < len(indicators):
            return None  # x > c and x ≥ c: at c itself, a piece of its own
        strict = {i.threshold: i.strict for i in indicators}
        lower = jnp.full_like(domain.lower, jnp.inf)
        upper = jnp.full_like(domain.upper, -jnp.inf)
        for k in range(len(thresholds) + 1):
            below = thresholds[k - 1] if k else None
            above = thresholds[k] if k < len(thresholds) else None

            def on_piece(atom: Atom, below: Fraction | None = below) -> Polynomial:
                if isinstance(atom, Indicator):
                    on = below is not None and atom.threshold <= below
                    return Polynomial.constant(1 if on else 0)
                return Polynomial.of(atom)

            # The thresholds are not always floats: restrict to a little more, so the range is enclosed.
            low, upp = domain.lower, domain.upper
            reached = jnp.ones_like(low, dtype=bool)
            if below is not None:
                edge, beyond = bracket(below, domain.dtype)
                # `edge ≤ below ≤ beyond`; x > below needs x > edge, or x ≥ beyond if the threshold is no float.
                open_end = strict[below] and edge == beyond
                reached &= (upp > edge) if open_end else (upp >= beyond)
                low = jnp.maximum(low, edge)
            if above is not None:
                edge, beyond = bracket(above, domain.dtype)
                open_end = not strict[above] and edge == beyond
                reached &= (domain.lower < edge) if open_end else (domain.lower <= edge)
                upp = jnp.minimum(upp, beyond)
            low = jnp.where(reached, low, domain.lower)
            upp = jnp.where(reached, upp, domain.upper)
            piece = smooth_range(p.substitute(on_piece), Interval._make(low, upp))
            if piece is None:
                return None
            lower = jnp.where(reached, jnp.minimum(lower, piece.lower), lower)
            upper = jnp.where(reached, jnp.maximum(upper, piece.upper), upper)
        return Interval._make(lower, upper)

    def _atoms(self, p: Polynomial) -> Interval:
        """The enclosure of a polynomial by the ranges of its atoms, when nothing better is known."""
        total: Interval | None = None
        dtype = self._variable(next(iter(p.variables))).dtype
        for monomial, c in p.terms.items():
            term: Interval | None = None
            for atom, power in monomial:
                factor = ia.power(self._atom(atom), power)
                term = factor if term is None else ia.mul(term, factor)
            term = ia.constant(c, dtype) if term is None else ia.scale(term, c)
            total = term if total is None else ia.add(total, term)
        assert total is not None
        return total

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


def _worthwhile(p: Polynomial) -> bool:
    """Whether the form may be tighter than the operands: it has nonlinear atoms, or a variable more than once."""
    if p.value is not None or any(not isinstance(a, Variable) for a in p.atoms):
        return True
    uses = [(atom, power) for monomial in p.terms for atom, power in monomial]
    return len({atom for atom, _ in uses}) < len(uses) or any(power > 1 for _, power in uses)


def _of_shape(x: Interval, shape: tuple[int, ...]) -> Interval:
    if x.shape == shape:
        return x
    lower = jnp.broadcast_to(x.lower, shape)
    return Interval._make(lower, lower if ia.is_point(x) else jnp.broadcast_to(x.upper, shape))


def _both(first: Interval, second: Interval) -> Interval:
    # Both enclose the same values, so they meet. Rounded to nearest they may miss by a rounding: keep the ends in
    # order.
    lower = jnp.maximum(first.lower, second.lower)
    upper = jnp.minimum(first.upper, second.upper)
    return Interval._make(jnp.minimum(lower, upper), jnp.maximum(lower, upper))
