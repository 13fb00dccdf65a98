"""Backward linear bounds: every bound of a value is a linear function of earlier values, and finally of the inputs.

Forwards, each operation is remembered with two lines (or planes) that its result lies between. To bound a value, its
coefficients are carried back through the program: by transposition through linear operations, and through a line by
the sign of the coefficient: a positive one takes the lower line for a lower bound. What remains is linear in the
inputs, whose bounds are known. Unlike affine forms, a bound may use other lines than the opposite bound, and other
lines for each value that is bounded; unlike them, it costs a pass over all that came before for each of these values.

With `steps`, the lines are improved by gradient descent on the width of what is bounded (α-CROWN): several lines with
proof are known for each operation, and any mean of them is one.

Rounding. The coefficients are floats, and any coefficients are valid whose error is charged to the bound: `γₙ` of the
magnitudes that are summed, times the magnitude of the values that they multiply.

Reference: H. Zhang et al., Efficient neural network robustness certification with general activation functions (CROWN),
NeurIPS 2018; K. Xu et al., Fast and complete (α-CROWN), ICLR 2021.
"""

import abc
import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax import Array

from . import _arithmetic as ia
from ._interval import Interval
from ._lines import Lines
from ._once import computed_once, once
from ._relational import AbstractDomain, Linear, coefficient
from ._rounding import around, format_of, gamma, outward

# Values that are bounded by a pass backwards each; an array of more entries keeps its natural enclosure.
MAX_ROWS = 1024


class Planes(NamedTuple):
    """Linear functions of some operands that a value does not cross: `Σ slopeₖ·xₖ + offset`, entry by entry.

    Any mean of planes below a value is one, too, so that several of them are given, each with a weight.

    Attributes:
        slopes: For each operand the slopes of K planes, `(K, *S)`.
        offsets: Of each plane, `(K, *S)`.
    """

    slopes: tuple[Array, ...]
    offsets: Array

    def mean(self, weights: Array) -> tuple[tuple[Array, ...], Array]:
        """The slopes and the offset of the plane that is the mean by weights that sum to 1, `(K, *S)`."""

        def weighted(x: Array) -> Array:
            # A plane that is not used may be infinite.
            return jnp.where(weights == 0, jnp.zeros((), x.dtype), weights * x).sum(0)

        return tuple(map(weighted, self.slopes)), weighted(self.offsets)


Weights = tuple[Array, Array]  # of the planes below and of the planes above


class Step(abc.ABC):
    """A value, and what is known of it by its operands.

    Attributes:
        number: Later values have larger numbers.
        operands: What it was computed from.
        value: Its enclosure.
    """

    def __init__(self, number: int, operands: Sequence["Step"], value: Interval) -> None:
        self.number = number
        self.operands = tuple(operands)
        self.value = value

    @abc.abstractmethod
    def pull(self, rows: Array, weights: Weights | None, *, upper: bool) -> tuple[list[Array], Array, Array]:
        """Carries coefficients of this value back.

        Args:
            rows: Coefficients, `(n, *S)`.
            weights: Of the planes of a step that is bent; None for its own.
            upper: Whether an upper bound is wanted, else a lower one.

        Returns:
            The coefficients of every operand, a constant for every row, and a bound of the rounding error of each.
        """

    def flushed(self, terms: int) -> Array:
        """What is lost if so many products in each coefficient of an operand are flushed to zero."""
        masses = [jnp.sum(x.value.magnitude) for x in self.operands]
        dtype = self.value.dtype
        return 2 * terms * format_of(dtype).tiny * functools.reduce(jnp.add, masses, jnp.zeros((), dtype))


@final
class Leaf(Step):
    """A value of which nothing but its enclosure is known, or a number that is known up to rounding."""

    def __init__(self, number: int, value: Interval, *, is_constant: bool = False) -> None:
        super().__init__(number, (), value)
        self.is_constant = is_constant

    def pull(self, rows: Array, weights: Weights | None, *, upper: bool) -> tuple[list[Array], Array, Array]:
        del weights
        low, upp = self.value.lower, self.value.upper
        end = _by_sign(rows, upp, low) if upper else _by_sign(rows, low, upp)
        size = jnp.where(rows == 0, jnp.zeros((), rows.dtype), jnp.abs(rows) * self.value.magnitude[None])
        return [], _summed(end), _summed(size) * gamma(rows[0].size + 8, rows.dtype)


@final
class Moved(Step):
    """A linear function of its operands."""

    def __init__(self, number: int, operands: Sequence[Step], value: Interval, function: Linear) -> None:
        super().__init__(number, operands, value)
        self.function = function

    def pull(self, rows: Array, weights: Weights | None, *, upper: bool) -> tuple[list[Array], Array, Array]:
        del weights, upper
        shapes = [jax.ShapeDtypeStruct(x.value.shape, x.value.dtype) for x in self.operands]
        transposed = jax.linear_transpose(self.function.apply, *shapes)
        parts = list(jax.vmap(transposed)(rows))
        dtype, size = rows.dtype, rows[0].size
        # Every coefficient of an operand is a sum over the entries of this value.
        error = self.function.magnitude(*(x.value.magnitude for x in self.operands))
        if self.function.absolute:
            largest = jnp.stack([jnp.max(x.value.magnitude, initial=1) for x in self.operands]).max()
            error = error + self.function.absolute * max(self.function.terms, 1) * largest / gamma(size + 4, dtype)
        charge = _summed(jnp.abs(rows) * error[None]) * gamma(size + self.function.terms + 8, dtype)
        return parts, jnp.zeros(rows.shape[0], dtype), charge + self.flushed(size + self.function.terms)


@final
class Combined(Step):
    """`Σ cₖ·xₖ + [constant]`."""

    def __init__(
        self, number: int, terms: Sequence[tuple[Fraction, Step]], value: Interval, constant: Interval
    ) -> None:
        super().__init__(number, [x for _, x in terms], value)
        self.factors = [c for c, _ in terms]
        self.constant = constant

    def pull(self, rows: Array, weights: Weights | None, *, upper: bool) -> tuple[list[Array], Array, Array]:
        del weights
        dtype, eps = rows.dtype, format_of(rows.dtype).eps
        parts, error = [], jnp.zeros(self.value.shape, dtype)
        for factor, x in zip(self.factors, self.operands, strict=True):
            near, distance = coefficient(factor, dtype)
            parts.append(jnp.asarray(near, dtype) * rows)
            error = error + jnp.asarray(3 * eps * abs(near) + distance, dtype) * x.value.magnitude
        low, upp = (jnp.broadcast_to(end, self.value.shape) for end in (self.constant.lower, self.constant.upper))
        end = _by_sign(rows, upp, low) if upper else _by_sign(rows, low, upp)
        size = jnp.abs(rows) * (jnp.maximum(jnp.abs(low), jnp.abs(upp)) * gamma(rows[0].size + 4, dtype) + error)[None]
        return parts, _summed(end), _summed(size) + self.flushed(4)


@final
class Bent(Step):
    """A function of its operands that is not linear, between planes."""

    def __init__(
        self, number: int, operands: Sequence[Step], value: Interval, below: Planes, above: Planes, weights: Weights
    ) -> None:
        super().__init__(number, operands, value)
        self.below = below
        self.above = above
        self.weights = weights

    def pull(self, rows: Array, weights: Weights | None, *, upper: bool) -> tuple[list[Array], Array, Array]:
        below, above = self.weights if weights is None else weights
        first, first_offset = self.below.mean(below)
        second, second_offset = self.above.mean(above)
        if upper:
            first, first_offset, second, second_offset = second, second_offset, first, first_offset
        parts = [_by_sign(rows, a, b) for a, b in zip(first, second, strict=True)]
        constant = _summed(_by_sign(rows, first_offset, second_offset))
        # Weights sum to 1 up to rounding.
        k, fmt = below.shape[0] + above.shape[0], format_of(rows.dtype)
        relative = gamma(rows[0].size + 4 * k + 16, rows.dtype)
        error = relative * (_largest(self.below.offsets, below) + _largest(self.above.offsets, above))
        for a, b, x in zip(self.below.slopes, self.above.slopes, self.operands, strict=True):
            size = _largest(a, below) + _largest(b, above)
            error = error + ((4 * k + 16) * fmt.eps * size + 2 * (k + 4) * fmt.tiny) * x.value.magnitude
        charge = _summed(jnp.where(rows == 0, jnp.zeros((), rows.dtype), jnp.abs(rows) * error[None]))
        return parts, constant, charge + self.flushed(k + 4)


def _is_constant(x: Step) -> bool:
    return isinstance(x, Leaf) and x.is_constant


def _largest(x: Array, weights: Array) -> Array:
    """The largest magnitude among the planes that are used."""
    return jnp.where(weights == 0, jnp.zeros((), x.dtype), jnp.abs(x)).max(0)


def _by_sign(rows: Array, positive: Array, negative: Array) -> Array:
    """Each coefficient times what its sign asks for; nothing for zero, whatever that is."""
    chosen = jnp.where(rows > 0, positive[None], negative[None])
    return jnp.where(rows == 0, jnp.zeros((), rows.dtype), rows * chosen)


def _summed(x: Array) -> Array:
    return x.reshape(x.shape[0], -1).sum(1)


@final
class BackwardBounds(AbstractDomain[Step]):
    """The domain of backward linear bounds.

    Args:
        steps: How often the slopes are improved for each array that is bounded; 0 keeps the first choice.
    """

    def __init__(self, steps: int = 0) -> None:
        self._steps = steps
        self._count = 0

    def _number(self) -> int:
        self._count += 1
        return self._count

    def constant(self, value: Interval) -> Step:
        """A number that is known up to rounding."""
        return Leaf(self._number(), value, is_constant=True)

    def unrelated(self, value: Interval) -> Step:
        """A value of which only the enclosure is known."""
        return Leaf(self._number(), value)

    def shared(self, relation: Step) -> Step:
        """The same value: every step is shared."""
        return relation

    def linear(self, function: Linear, operands: Sequence[Step]) -> Step:
        """A linear function of several values."""
        if not function.terms:
            ends = (function.apply(*(getattr(x.value, end) for x in operands)) for end in ("lower", "upper"))
            return Moved(self._number(), operands, Interval._make(*ends), function)
        middle = function.apply(*(x.value.midpoint for x in operands))
        relative = gamma(function.terms + 8, middle.dtype)
        tiny = format_of(middle.dtype).tiny
        spread = function.magnitude(
            *(x.value.radius + jnp.maximum(relative * x.value.magnitude, tiny) for x in operands)
        )
        radius = spread * (1 + 4 * relative) + 8 * function.terms * tiny
        if function.absolute:
            largest = jnp.stack([jnp.max(x.value.magnitude, initial=1) for x in operands]).max()
            radius = radius + 2 * function.absolute * function.terms * largest
        return Moved(self._number(), operands, Interval._make(*around(middle, radius)), function)

    def combination(self, terms: Sequence[tuple[Fraction, Step]], constant: Interval) -> Step:
        """`Σ cₖ·xₖ + constant`, entry by entry."""
        value = constant
        for factor, x in terms:
            value = ia.add(ia.scale(x.value, factor), value)
        return Combined(self._number(), terms, value, constant)

    def product(self, x: Step, y: Step) -> Step:
        """The product between planes through opposite corners of the box of both factors (McCormick).

        Of the two planes below, and of the two above, each weighted by a half, unless a factor is known.
        """
        a, b = x.value, y.value
        if _is_constant(x) and ia.is_point(a):
            return self._scaled(y, a.lower)
        if _is_constant(y) and ia.is_point(b):
            return self._scaled(x, b.lower)
        below = _corner_planes(a, b, ((a.lower, b.lower), (a.upper, b.upper)), upper=False)
        above = _corner_planes(a, b, ((a.lower, b.upper), (a.upper, b.lower)), upper=True)
        half = jnp.full((2, *a.shape), 0.5, a.dtype)
        return Bent(self._number(), (x, y), ia.mul(a, b), below, above, (half, half))

    def _scaled(self, x: Step, factor: Array) -> Step:
        factor = jnp.broadcast_to(factor, x.value.shape)
        planes = Planes((factor[None],), jnp.zeros((1, *x.value.shape), x.value.dtype))
        one = jnp.ones_like(planes.offsets)
        return Bent(self._number(), (x,), ia.mul(x.value, ia.point(factor)), planes, planes, (one, one))

    def bilinear(self, function: Callable[[Array, Array], Array], terms: int, x: Step, y: Step) -> Step:
        """A sum of products: linear part at the midpoints, and a bound of the rest."""
        cx, cy = x.value.midpoint, y.value.midpoint
        rx, ry = x.value.radius, y.value.radius
        dtype = cx.dtype
        relative, tiny = gamma(terms + 8, dtype), format_of(dtype).tiny

        def apply(a: Array, b: Array) -> Array:
            return function(a, cy) + function(cx, b)

        def magnitude(a: Array, b: Array) -> Array:
            return function(a, jnp.abs(cy)) + function(jnp.abs(cx), b)

        linear = self.linear(Linear(apply, magnitude, 2 * terms), (x, y))
        rest = function(rx, ry) * (1 + 4 * relative)
        centre = function(cx, cy)
        share = jnp.maximum(jnp.abs(cx), tiny), jnp.maximum(jnp.abs(cy), tiny)
        error = rest + 2 * relative * function(*share) + 8 * terms * tiny
        return self.combination([(Fraction(1), linear)], Interval._make(*outward(-centre - error, error - centre)))

    def univariate(self, lines: Lines, x: Step) -> Step:
        """Two lines: of those known, the ones that are nearest in the middle of the interval."""
        middle = x.value.midpoint
        slopes = jnp.stack([lines.secant(), lines.least_squares(), *lines.tangents()])
        residuals = [lines.residual(slope) for slope in slopes]
        lower = jnp.stack([r.lower for r in residuals])
        upper = jnp.stack([r.upper for r in residuals])
        slopes, lower, upper = once(slopes), once(lower), once(upper)
        heights = slopes * middle[None]
        nearest = [jnp.argmax(heights + lower, axis=0), jnp.argmin(heights + upper, axis=0)]
        below, above = (
            (jnp.expand_dims(jnp.arange(len(residuals)), tuple(range(1, slopes.ndim))) == best[None]).astype(
                slopes.dtype
            )
            for best in nearest
        )
        value = lines.residual(jnp.zeros_like(middle))
        return Bent(self._number(), (x,), value, Planes((slopes,), lower), Planes((slopes,), upper), (below, above))

    def choice(self, second: Array, undecided: Array, cases: tuple[Step, Step], hull: Interval) -> Step:
        """The first case, or the second where that is chosen; only the hull is known where it is undecided."""
        dtype, shape = hull.dtype, hull.shape
        slopes = tuple(
            jnp.broadcast_to((chosen & ~undecided).astype(dtype), (1, *shape)) for chosen in (~second, second)
        )
        ends = [jnp.where(undecided, end, jnp.zeros((), dtype))[None] for end in (hull.lower, hull.upper)]
        one = jnp.ones((1, *shape), dtype)
        return Bent(self._number(), cases, hull, Planes(slopes, ends[0]), Planes(slopes, ends[1]), (one, one))

    def enclosure(self, relation: Step) -> Interval:
        """Both bounds of every entry, by a pass backwards.

        Entry by entry a function of one variable is enclosed by its range already, and moved entries are what they
        were: there, and in arrays of too many entries, nothing is said.
        """
        shape, dtype = relation.value.shape, relation.value.dtype
        size = relation.value.lower.size
        mixes = isinstance(relation, Moved) and relation.function.terms > 0
        mixes |= isinstance(relation, Combined) and sum(not _is_constant(x) for x in relation.operands) > 1
        if not mixes or not 0 < size <= MAX_ROWS:
            return Interval.entire(shape, dtype)
        order = _history(relation)
        bounds = functools.partial(_bounds, relation, order)
        choices = {x.number: x.weights for x in order if isinstance(x, Bent) and x.weights[0].shape[0] > 1}
        if not self._steps or not choices:
            return computed_once(bounds({}))
        return computed_once(_improved(bounds, choices, self._steps))

    def confined(self, relation: Step, value: Interval) -> Step:
        """The step, with what is known of its value."""
        relation.value = value
        return relation


def _corner_planes(a: Interval, b: Interval, corners: Sequence[tuple[Array, Array]], *, upper: bool) -> Planes:
    """`(x − x₀)(y − y₀)` has one sign at a corner `(x₀, y₀)` of a box: planes `y₀·x + x₀·y + offset`."""
    slopes_x, slopes_y = (jnp.stack([corner[k] for corner in corners]) for k in (1, 0))
    rests = []
    for x in (a.lower, a.upper):
        for y in (b.lower, b.upper):
            p, q = ia.point(jnp.broadcast_to(x, slopes_x.shape)), ia.point(jnp.broadcast_to(y, slopes_y.shape))
            plane = ia.add(ia.mul(ia.point(slopes_x), p), ia.mul(ia.point(slopes_y), q))
            rest = ia.sub(ia.mul(p, q), plane)
            rests.append(rest.upper if upper else rest.lower)
    # The difference is bilinear, so it has its extremes at the corners of the box.
    return Planes((slopes_x, slopes_y), once(functools.reduce(jnp.maximum if upper else jnp.minimum, rests)))


def _history(last: Step) -> list[Step]:
    """A step and all that it was computed from, the latest first."""
    found: dict[int, Step] = {}
    waiting = [last]
    while waiting:
        step = waiting.pop()
        if step.number not in found:
            found[step.number] = step
            waiting.extend(step.operands)
    return [found[number] for number in sorted(found, reverse=True)]


def _bounds(last: Step, order: Sequence[Step], weights: dict[int, Weights], *, proved: bool = True) -> Interval:
    """Both bounds of every entry of a value; unless `proved`, without their rounding errors."""
    low, upp = (_bound(last, order, weights, upper=upper, proved=proved) for upper in (False, True))
    shape = last.value.shape
    return Interval._make(low.reshape(shape), upp.reshape(shape))


def _bound(last: Step, order: Sequence[Step], weights: dict[int, Weights], *, upper: bool, proved: bool) -> Array:
    dtype, size = last.value.dtype, last.value.lower.size
    fmt = format_of(dtype)
    rows: dict[int, Array] = {last.number: jnp.eye(size, dtype=dtype).reshape((size, *last.value.shape))}
    constant = error = magnitude = jnp.zeros(size, dtype)
    n, entries = len(order) + 4, size
    for step in order:
        mine = rows.pop(step.number)
        entries += mine[0].size
        parts, end, charge = step.pull(mine, weights.get(step.number), upper=upper)
        constant, error, magnitude = constant + end, error + charge, magnitude + jnp.abs(end)
        for x, part in zip(step.operands, parts, strict=True):
            if x.number not in rows:
                rows[x.number] = part
                continue
            rows[x.number] = rows[x.number] + part
            # The sum of two coefficients is rounded.
            size_of = jnp.abs(rows[x.number]) * x.value.magnitude[None]
            error = error + 2 * fmt.eps * _summed(size_of) + 2 * fmt.tiny * jnp.sum(x.value.magnitude)
    if not proved:
        return constant
    total = error * (1 + 4 * gamma(size + n, dtype)) + gamma(n, dtype) * magnitude * 2 + 64 * n * entries * fmt.tiny
    low, upp = outward(constant, constant, absolute=total)
    bound = upp if upper else low
    return jnp.where(jnp.isnan(bound) | jnp.isnan(total), jnp.inf if upper else -jnp.inf, bound)


def _improved(bounds: Callable[..., Interval], choices: dict[int, Weights], steps: int) -> Interval:
    """The bounds by the weights of the planes that gradient descent finds best, intersected with the first ones."""
    first = bounds({})
    unit = jnp.maximum(first.upper - first.lower, format_of(first.dtype).tiny)

    def softmax(logits: Any) -> Any:
        return jax.tree.map(lambda x: jax.nn.softmax(x, axis=0), logits)

    def width(logits: Any) -> Array:
        found = bounds(softmax(logits), proved=False)
        # Every entry counts by how much wider it is than at first.
        relative = (found.upper - found.lower) / unit
        return jnp.where(jnp.isfinite(relative), relative, 0).mean()

    def improve(k: Array, state: Any) -> Any:
        logits, least, best = state
        rate = jnp.exp(-0.07 * k.astype(first.dtype))
        mean, slope = jax.value_and_grad(width)(logits)
        best = jax.tree.map(lambda new, old: jnp.where(mean < least, new, old), logits, best)

        def moved(value: Array, gradient: Array) -> Array:
            scale = jnp.sqrt(jnp.mean(jnp.square(gradient))) + format_of(value.dtype).tiny
            step = rate * jnp.clip(gradient / scale, -1, 1)
            return jnp.where(jnp.isfinite(step), value - step.astype(value.dtype), value)

        return jax.tree.map(moved, logits, slope), jnp.minimum(mean, least), best

    start = jax.tree.map(lambda w: 3 * w, choices)
    _, _, best = jax.lax.fori_loop(0, steps, improve, (start, jnp.asarray(jnp.inf, first.dtype), start))
    last = bounds(softmax(best))
    return Interval._make(jnp.maximum(first.lower, last.lower), jnp.minimum(first.upper, last.upper))
