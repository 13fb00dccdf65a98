"""Affine forms: `centre + Σ generatorₖ·εₖ ± radius`, with noise symbols `εₖ ∈ [−1, 1]` that values share.

Linear functions are exact up to rounding. A function of one variable becomes the line that is nearest to its graph
(`_lines.py`), a product its linear part at the centres; what they miss goes to the radius. A radius that is more than
rounding becomes symbols of its own before it is mixed with others, so that later operations do not lose it.

Rounding. All coefficients are floats and every operation is charged to the radius: `γₙ` of what a sum of n terms adds
up in magnitude, half an ulp for each rounded coefficient, and the smallest normal number for each that may be flushed.

Reference: J. Comba, J. Stolfi, Affine arithmetic and its applications to computer graphics, SIBGRAPI 1993; S. Rump,
M. Kashiwagi, Implementation and improvements of affine arithmetic, NOLTA 6(3), 2015.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._interval import Interval
from ._lines import Lines
from ._once import once
from ._products import factor_of
from ._relational import AbstractDomain, Linear, coefficient
from ._rounding import around, format_of, gamma

# The noise symbols of a value: groups of symbols that were made together, by number, with their sizes.
Layout = tuple[tuple[int, int], ...]

# Symbols of a value; what would exceed them is kept in the radius.
MAX_SYMBOLS = 4096


@final
class Affine:
    """An affine form for every entry of an array of shape S.

    Attributes:
        centre: S.
        generators: The coefficients of the noise symbols, `(symbols, *S)`.
        layout: Which symbols these are.
        radius: Bound of what is left, S; not negative.
        rounded: Whether that is nothing but rounding errors.
    """

    __slots__ = ("_shared", "centre", "generators", "layout", "radius", "rounded")

    def __init__(
        self, centre: Array, generators: Array, layout: Layout, radius: Array, *, rounded: bool = False
    ) -> None:
        self.centre = centre
        self.generators = generators
        self.layout = layout
        self.radius = radius
        self.rounded = rounded
        self._shared: Affine | None = None

    def deviation(self) -> Array:
        """Bound of the distance to the centre."""
        return self.spread() + self.radius

    def spread(self) -> Array:
        """`Σ|generatorₖ|`, without the error of summing."""
        return jnp.abs(self.generators).sum(0)

    def symbols(self) -> int:
        """How many noise symbols it has."""
        return sum(size for _, size in self.layout)


@final
class AffineForms(AbstractDomain[Affine]):
    """The domain of affine forms.

    Args:
        max_symbols: Noise symbols of a value, at most.
    """

    def __init__(self, max_symbols: int = MAX_SYMBOLS) -> None:
        self._max_symbols = max_symbols
        self._groups = 0

    def constant(self, value: Interval) -> Affine:
        """A number that is known up to rounding."""
        return _without_symbols(*_middle_and_radius(value), rounded=True)

    def unrelated(self, value: Interval) -> Affine:
        """A value of which only the enclosure is known."""
        return _without_symbols(*_middle_and_radius(value), rounded=value.lower is value.upper)

    def shared(self, relation: Affine) -> Affine:
        """The same value, with the radius of each entry a noise symbol of its own, as far as there is room for them."""
        if relation.rounded:
            return relation
        if relation._shared is None:
            relation._shared = self._with_symbols(relation)
        return relation._shared

    def _with_symbols(self, x: Affine) -> Affine:
        size, room = x.centre.size, self._max_symbols - x.symbols()
        count = min(size, room)
        if count <= 0:
            return x
        self._groups += 1
        flat = x.radius.reshape(-1)
        if count == size:
            new, left = jnp.diag(flat), jnp.zeros_like(x.radius)
        else:  # the largest get symbols
            _, where = jax.lax.top_k(flat, count)
            new = jnp.zeros((count, size), flat.dtype).at[jnp.arange(count), where].set(flat[where])
            left = flat.at[where].set(0).reshape(x.radius.shape)
        new = new.reshape((count, *x.centre.shape))
        generators = jnp.concatenate([x.generators, new])
        return Affine(x.centre, generators, (*x.layout, (self._groups, count)), left, rounded=count == size)

    def linear(self, function: Linear, operands: Sequence[Affine]) -> Affine:
        """A linear function of several values, applied to the centres and to every generator."""
        apply, magnitude, terms, absolute = function
        if terms:
            operands = [self.shared(x) for x in operands]
        layout, aligned = _aligned(operands)
        centre = apply(*(x.centre for x in operands))
        generators = _each(apply, layout, aligned, centre)
        if not terms:
            return Affine(centre, generators, layout, apply(*(x.radius for x in operands)), rounded=_rounded(operands))
        fmt = format_of(centre.dtype)
        symbols = _size(layout)
        relative = gamma(terms + 2, centre.dtype)

        def charged(x: Affine) -> Array:
            size = jnp.abs(x.centre) + x.spread() * _sum_error(symbols, centre.dtype) + x.radius
            share = jnp.where(size == 0, jnp.zeros((), centre.dtype), jnp.maximum(relative * size, fmt.tiny))
            return x.radius + share * (1 + 4 * fmt.eps)

        radius = magnitude(*map(charged, operands))
        if absolute:
            largest = jnp.stack([jnp.max(jnp.abs(x.centre) + x.deviation(), initial=1) for x in operands]).max()
            radius = radius + 2 * absolute * terms * largest
        radius = radius * (1 + 2 * gamma(terms + 8, centre.dtype)) + 8 * terms * (symbols + 2) * fmt.tiny
        return Affine(centre, generators, layout, radius, rounded=_rounded(operands))

    def combination(self, terms: Sequence[tuple[Fraction, Affine]], constant: Interval) -> Affine:
        """`Σ cₖ·xₖ + constant`, entry by entry."""
        operands = [x for _, x in terms]
        layout, aligned = _aligned(operands)
        middle, radius = _middle_and_radius(constant)
        dtype, shape = operands[0].centre.dtype, operands[0].centre.shape
        fmt = format_of(dtype)
        centre, radius = jnp.broadcast_to(middle, shape), jnp.broadcast_to(radius, shape)
        size, generators = jnp.abs(centre), jnp.zeros((_size(layout), *shape), dtype)
        for (factor, x), part in zip(terms, aligned, strict=True):
            near, error = coefficient(factor, dtype)
            c = jnp.asarray(near, dtype)
            centre, generators = centre + c * x.centre, generators + c * part
            own = jnp.abs(x.centre) + x.deviation() * _sum_error(_size(layout), dtype)
            size = size + jnp.abs(c) * own
            radius = radius + jnp.abs(c) * x.radius
            if error:
                radius = radius + jnp.asarray(error, dtype) * own
        # Each of the terms is rounded by its product and by the sums that follow.
        n = 2 * len(terms) + 4
        radius = (radius + gamma(n, dtype) * size) * (1 + 2 * gamma(n, dtype)) + n * (_size(layout) + 4) * fmt.tiny
        return Affine(centre, generators, layout, radius, rounded=_rounded(operands))

    def product(self, x: Affine, y: Affine) -> Affine:
        """The product: linear part at the centres; of the quadratic part, squares of symbols lie in [0, 1]."""
        layout, (gx, gy) = _aligned([x, y])
        dtype, symbols = x.centre.dtype, _size(layout)
        fmt, more = format_of(dtype), _sum_error(symbols, dtype)
        squares = gx * gy
        half = 0.5 * squares.sum(0)
        centre = x.centre * y.centre + half
        generators = x.centre[None] * gy + y.centre[None] * gx
        sx, sy = x.spread() * more, y.spread() * more
        cx, cy = jnp.abs(x.centre), jnp.abs(y.centre)
        # Σ_{i≠j} |gᵢ hⱼ| + ½ Σ |gᵢ hᵢ|, and everything that meets a radius.
        quadratic = jnp.maximum(sx * sy - 0.5 * jnp.abs(squares).sum(0) / more, 0)
        left = x.radius * (cy + sy) + y.radius * (cx + sx) + x.radius * y.radius
        size = (cx + sx) * (cy + sy)
        radius = (quadratic + left + (symbols + 12) * fmt.eps * size) * (1 + 16 * fmt.eps)
        radius = radius + 8 * (symbols + 4) * fmt.tiny
        exact = not layout and _rounded([x, y])
        return Affine(centre, generators, layout, radius, rounded=exact or _is_scaling(x, y))

    def bilinear(self, function: Callable[[Array, Array], Array], terms: int, x: Affine, y: Affine) -> Affine:
        """The same for a sum of products."""
        x, y = self.shared(x), self.shared(y)
        layout, aligned = _aligned([x, y])
        centre = function(x.centre, y.centre)
        dtype, symbols = centre.dtype, _size(layout)
        fmt, more = format_of(dtype), _sum_error(symbols, dtype)

        def both(gx: Array, gy: Array) -> Array:
            return function(x.centre, gy) + function(gx, y.centre)

        generators = _each(both, layout, aligned, centre)
        relative = gamma(terms + 8, dtype)
        dx, dy = x.spread() * more, y.spread() * more
        cx, cy = jnp.abs(x.centre), jnp.abs(y.centre)
        # What is rounded is charged to the second factor; flushed to zero, it would be lost.
        share = jnp.where(cy + dy == 0, jnp.zeros((), dtype), jnp.maximum(3 * relative * (cy + dy), fmt.tiny))
        radius = function(cx + dx, y.radius + share) + function(x.radius, cy + dy + y.radius)
        radius = radius + function(dx, dy)
        radius = radius * (1 + 4 * relative) + 16 * terms * (symbols + 4) * fmt.tiny
        return Affine(centre, generators, layout, radius, rounded=_is_scaling(x, y))

    def univariate(self, lines: Lines, x: Affine) -> Affine:
        """The nearest line, and the distance from it."""
        line = lines.best()
        middle, distance = _middle_and_radius(line.residual)
        dtype = x.centre.dtype
        fmt, slope = format_of(dtype), once(line.slope)
        middle, distance = once(middle), once(distance)
        centre, generators = slope * x.centre + middle, slope[None] * x.generators
        size = jnp.abs(slope) * (jnp.abs(x.centre) + x.spread() * _sum_error(x.symbols(), dtype)) + jnp.abs(middle)
        radius = (distance + jnp.abs(slope) * x.radius + 3 * fmt.eps * size) * (1 + 8 * fmt.eps)
        return Affine(centre, generators, x.layout, radius + 2 * (x.symbols() + 4) * fmt.tiny)

    def choice(self, second: Array, undecided: Array, cases: tuple[Affine, Affine], hull: Interval) -> Affine:
        """The first case, or the second where that is chosen; only the hull is known where it is undecided."""
        layout, (first, other) = _aligned(cases)
        middle, radius = _middle_and_radius(hull)
        x, y = cases
        return Affine(
            jnp.where(undecided, middle, jnp.where(second, y.centre, x.centre)),
            jnp.where(undecided[None], jnp.zeros((), middle.dtype), jnp.where(second[None], other, first)),
            layout,
            jnp.where(undecided, radius, jnp.where(second, y.radius, x.radius)),
        )

    def enclosure(self, relation: Affine) -> Interval:
        """The interval that the form implies."""
        more = _sum_error(relation.symbols(), relation.centre.dtype)
        return Interval._make(*around(relation.centre, relation.spread() * more + relation.radius))

    def confined(self, relation: Affine, value: Interval) -> Affine:
        """The form, or the interval alone where the form is unbounded."""
        known = jnp.isfinite(relation.centre) & jnp.isfinite(relation.deviation())
        middle, radius = _middle_and_radius(value)
        return Affine(
            once(jnp.where(known, relation.centre, middle)),
            once(jnp.where(known[None], relation.generators, jnp.zeros((), middle.dtype))),
            relation.layout,
            once(jnp.where(known, relation.radius, radius)),
            rounded=relation.rounded,
        )


def _without_symbols(centre: Array, radius: Array, *, rounded: bool = False) -> Affine:
    return Affine(centre, jnp.zeros((0, *centre.shape), centre.dtype), (), radius, rounded=rounded)


def _middle_and_radius(x: Interval) -> tuple[Array, Array]:
    """A float between the ends, and a bound of the distance to both; 0 and ∞ for unbounded ones."""
    middle, radius, _ = factor_of(x)
    return middle, jnp.zeros_like(middle) if radius is None else radius


def _rounded(operands: Sequence[Affine]) -> bool:
    return all(x.rounded for x in operands)


def _is_scaling(x: Affine, y: Affine) -> bool:
    """Whether a product has one exact factor, so that nothing but rounding is lost."""
    return _rounded([x, y]) and not (x.layout and y.layout)


def _size(layout: Layout) -> int:
    return sum(size for _, size in layout)


def _sum_error(symbols: int, dtype: np.dtype) -> float:
    """A factor that makes a float sum of so many magnitudes an upper bound."""
    return 1 + 2 * gamma(symbols + 2, dtype)


def _aligned(operands: Sequence[Affine]) -> tuple[Layout, list[Array]]:
    """The symbols of all operands, and the generators of each for all of these."""
    layout: dict[int, int] = {}
    for x in operands:
        layout.update(x.layout)
    common = tuple(layout.items())
    return common, [_extended(x, common) for x in operands]


def _extended(x: Affine, layout: Layout) -> Array:
    if x.layout == layout:
        return x.generators
    ends = np.cumsum([0, *(size for _, size in x.layout)])
    mine = {group: (start, stop) for (group, _), start, stop in zip(x.layout, ends[:-1], ends[1:], strict=True)}
    parts: list[Array] = []
    missing = 0
    for group, size in layout:
        if group not in mine:
            missing += size
            continue
        if missing:
            parts.append(jnp.zeros((missing, *x.centre.shape), x.centre.dtype))
            missing = 0
        start, stop = mine[group]
        parts.append(x.generators[start:stop])
    if missing:
        parts.append(jnp.zeros((missing, *x.centre.shape), x.centre.dtype))
    return jnp.concatenate(parts) if parts else x.generators


def _each(function: Callable[..., Array], layout: Layout, operands: Sequence[Array], like: Array) -> Array:
    """A function of every generator."""
    if not _size(layout):
        return jnp.zeros((0, *like.shape), like.dtype)
    return jax.vmap(function)(*operands)
