"""Straight lines beside the graph of a function of one variable, with proof of their distance.

For a slope s, the residual `f(t) − s·t` over `[a, b]` is enclosed from its values at the ends of N equal cells of
length h, and from bounds `m ≤ f'' ≤ M`: on a cell it lies below its chord by at most `h²/8·max(M, 0)` and above it by
at most `h²/8·max(−m, 0)` (the error of linear interpolation). The slope may be anything; of several, the one with the
smallest residual is taken. On a convex function the secant is best: with it the line is the best uniform approximation
(Chebyshev). A function with kinks or jumps is treated piece by piece.

Reference: J. Stolfi, L. de Figueiredo, An introduction to affine arithmetic, TEMA 4(3), 2003, section 4.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import _arithmetic as ia
from ._forms import Polynomial, TooLarge, pieces
from ._interval import Interval
from ._once import computed_once, once
from ._ranges import Ranges
from ._rounding import bracket, format_of, is_outward
from ._slopes import derivatives
from ._univariate import in_u, smooth_range

# The chord of a cell misses a parabola by 1/N² of what the best line misses it by.
CELLS = 16


class Samples(NamedTuple):
    """A smooth piece of a graph over intervals of shape S.

    Attributes:
        points: Ends of the cells, `(CELLS + 1, *S)`.
        values: Enclosures of the function there.
        gap: Upper bound of the length of a cell, S.
        bend: Enclosure of the second derivative, `(CELLS, *S)` or `(1, *S)`.
        reached: Whether the interval reaches the piece, S.
    """

    points: Array
    values: Interval
    gap: Array
    bend: Interval
    reached: Array

    @property
    def middle(self) -> Array:
        """Values near those of the function, without proof."""
        return 0.5 * (self.values.lower + self.values.upper)


class Line(NamedTuple):
    """`f(t) − slope·t` lies in the residual for all t of an interval."""

    slope: Array
    residual: Interval


class Lines:
    """All that is known of a graph over intervals: gives the residual of every slope."""

    def __init__(self, samples: list[Samples]) -> None:
        self._samples = samples

    def residual(self, slope: Array) -> Interval:
        """The enclosure of `f(t) − slope·t`; unbounded where nothing is known."""
        total: Interval | None = None
        for piece in self._samples:
            mine = _residual(piece, slope)
            total = Interval.empty(mine.shape, mine.dtype) if total is None else total
            total = ia.choose(piece.reached, ia.hull(total, mine), total)
        assert total is not None
        lower = jnp.where(jnp.isnan(total.lower), -jnp.inf, total.lower)
        upper = jnp.where(jnp.isnan(total.upper), jnp.inf, total.upper)
        return Interval._make(lower, upper)

    def secant(self) -> Array:
        """The slope between the ends of the interval."""
        start, stop = self._ends(self._samples[0])
        seen = self._samples[0].reached
        for piece in self._samples[1:]:
            first, last = self._ends(piece)
            start = _chosen(seen, start, first)
            stop = _chosen(piece.reached, last, stop)
            seen = seen | piece.reached
        return _quotient(stop[1] - start[1], stop[0] - start[0])

    @staticmethod
    def _ends(piece: Samples) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """The first and the last point of a piece, with the values there."""
        value = piece.middle
        return (piece.points[0], value[0]), (piece.points[-1], value[-1])

    def least_squares(self) -> Array:
        """The slope of the line that fits the samples best."""
        zero = jnp.zeros((), self._samples[0].points.dtype)
        count = total_t = total_f = above = below = zero
        parts = []
        for piece in self._samples:
            weight = piece.reached.astype(piece.points.dtype)
            f = _finite(piece.middle)
            parts.append((weight, piece.points, f))
            count = count + (CELLS + 1) * weight
            total_t, total_f = total_t + weight * piece.points.sum(0), total_f + weight * f.sum(0)
        middle, mean = total_t / count, total_f / count
        for weight, t, f in parts:
            above = above + weight * ((t - middle[None]) * (f - mean[None])).sum(0)
            below = below + weight * ((t - middle[None]) ** 2).sum(0)
        return _quotient(above, below)

    def tangents(self) -> list[Array]:
        """Slopes of the graph near the ends and in the middle, as far as they are known."""
        middle = CELLS // 2
        slopes = []
        for a, b in ((0, 1), (middle - 1, middle + 1), (CELLS - 1, CELLS)):
            slope = _slope_between(self._samples[0], a, b)
            for piece in self._samples[1:]:
                slope = jnp.where(piece.reached, _slope_between(piece, a, b), slope)
            slopes.append(slope)
        return slopes

    def best(self) -> Line:
        """The line of the smallest residual that is known."""
        lines = [Line(s, computed_once(self.residual(s))) for s in (once(self.secant()), once(self.least_squares()))]
        first, second = (line.residual.upper - line.residual.lower for line in lines)
        better = second < first
        slope = jnp.where(better, lines[1].slope, lines[0].slope)
        return Line(slope, ia.choose(better, lines[1].residual, lines[0].residual))


def _finite(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, jnp.zeros((), x.dtype))


def _quotient(x: Array, y: Array) -> Array:
    """`x/y`, or 0 where that is no number, as between equal points; so is its derivative there."""
    known = jnp.isfinite(x) & jnp.isfinite(y) & (y != 0)
    zero, one = jnp.zeros((), x.dtype), jnp.ones((), y.dtype)
    return _finite(jnp.where(known, x, zero) / jnp.where(known, y, one))


def _slope_between(piece: Samples, a: int, b: int) -> Array:
    value = piece.middle
    return _quotient(value[b] - value[a], piece.points[b] - piece.points[a])


def _chosen(condition: Array, x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
    return jnp.where(condition, x[0], y[0]), jnp.where(condition, x[1], y[1])


def _residual(piece: Samples, slope: Array) -> Interval:
    fmt = format_of(slope.dtype)
    s = ia.point(jnp.broadcast_to(slope, piece.points.shape))
    at_points = ia.sub(piece.values, ia.mul(s, ia.point(piece.points)))
    square = piece.gap * piece.gap * ((1 + 8 * fmt.eps) / 8) + fmt.tiny

    def beyond(bend: Array) -> Array:
        error = square[None] * jnp.maximum(bend, 0) * (1 + 4 * fmt.eps) + 4 * fmt.tiny
        # A product with infinity is no number where the cell is a point.
        return jnp.where(piece.gap[None] == 0, jnp.zeros((), bend.dtype), error)

    chords = Interval._make(
        jnp.minimum(at_points.lower[:-1], at_points.lower[1:]), jnp.maximum(at_points.upper[:-1], at_points.upper[1:])
    )
    error = Interval._make(-beyond(piece.bend.upper), beyond(-piece.bend.lower))
    if error.shape[0] == 1:  # one bound for all cells
        chords = Interval._make(chords.lower.min(0, keepdims=True), chords.upper.max(0, keepdims=True))
    cells = ia.add(chords, error)
    return Interval._make(cells.lower.min(0), cells.upper.max(0))


def cells_of(low: Array, upp: Array) -> tuple[Array, Array]:
    """The ends of the cells of an interval, and an upper bound of their length."""
    fmt = format_of(low.dtype)
    shares = (np.arange(1, CELLS) / CELLS).reshape(-1, *(1,) * low.ndim).astype(low.dtype)
    # Halves of huge numbers, so that nothing overflows.
    inner = jnp.clip(low[None] + 2 * (shares * (0.5 * upp - 0.5 * low)[None]), low[None], upp[None])
    points = jnp.concatenate([low[None], inner, upp[None]])
    points = jnp.where(jnp.abs(points) < fmt.tiny, jnp.zeros((), low.dtype), points)
    gap = (points[1:] - points[:-1]).max(0) * (1 + 2 * fmt.eps) + 2 * fmt.tiny
    return points, jnp.where(low == upp, jnp.zeros((), low.dtype), gap)


def lines_of_form(p: Polynomial, x: Interval) -> Lines:
    """The graph of a form of one variable over intervals."""
    upper = None if ia.is_point(x) else x.upper
    return Lines(_shared_samples(x.lower, upper, p=in_u(p), is_outward=is_outward()))


@partial(jax.jit, static_argnames=("p", "is_outward"))
def _shared_samples(lower: Array, upper: Array | None, *, p: Polynomial, is_outward: bool) -> list[Samples]:
    """The samples of every piece, traced once for all variables of one shape."""
    x = Interval._make(lower, lower if upper is None else upper)
    (variable,) = p.variables
    result = []
    for first, last, polynomial in pieces(p, variable):
        low, upp, reached = x.lower, x.upper, jnp.ones_like(x.lower, dtype=bool)
        if first is not None:
            edge, _ = bracket(first.threshold, x.dtype)
            reached &= upp >= edge
            low = jnp.maximum(low, edge)
        if last is not None:
            _, beyond = bracket(last.threshold, x.dtype)
            reached &= x.lower <= beyond
            upp = jnp.minimum(upp, beyond)
        low, upp = jnp.where(reached, low, x.lower), jnp.where(reached, upp, x.upper)
        result.append(_samples(partial(_value, polynomial), partial(_bend, polynomial), low, upp, reached))
    return result


def lines_of_function(
    value: Callable[[Interval], Interval], bend: Callable[[Interval], Interval], x: Interval
) -> Lines:
    """The graph of a smooth function over intervals.

    Args:
        value: Encloses the function; called with intervals of the shape `(n, *x.shape)`.
        bend: Encloses the second derivative; unbounded, or NaN, where there is none.
        x: The intervals.
    """
    return Lines([_samples(value, bend, x.lower, x.upper, jnp.ones_like(x.lower, dtype=bool))])


def _samples(value: Any, bend: Any, low: Array, upp: Array, reached: Array) -> Samples:
    points, gap = cells_of(low, upp)
    cells = Interval._make(points[:-1], points[1:])
    return Samples(points, computed_once(value(ia.point(points))), gap, computed_once(bend(cells)), reached)


def _value(p: Polynomial, x: Interval) -> Interval:
    if p.value is not None:
        return ia.of_shape(ia.constant(p.value, x.dtype), x.shape)
    known = smooth_range(p, x)
    return ia.of_shape(Ranges(lambda _: x).of_atoms(p) if known is None else known, x.shape)


def _bend(p: Polynomial, cells: Interval) -> Interval:
    """The second derivative: by its range over the whole interval if that is known, else cell by cell."""
    try:
        forms = derivatives(p, 2)
    except TooLarge:
        return Interval.entire(cells.shape, cells.dtype)
    whole = Interval._make(cells.lower[:1], cells.upper[-1:])
    total: Interval | None = None
    for form in forms:
        if form.value is not None:
            mine = ia.of_shape(ia.constant(form.value, cells.dtype), whole.shape)
        else:
            mine = smooth_range(form, whole) if len(forms) == 1 else None
            if mine is None:
                mine = _value(form, cells)
        total = mine if total is None else ia.hull(total, mine)
    assert total is not None
    return total
