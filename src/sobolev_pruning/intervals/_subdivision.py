"""The range of a function over a box by adaptive subdivision: an anytime branch and bound.

The box is cut into smaller ones, whose enclosures are tighter; their hull is an enclosure of the range at any time. Of
all boxes, those are cut next whose bounds reach farthest beyond what the function is known to attain at points, many of
them in one compiled call, along the input in which the function varies most over the box. A box whose bounds lie within
what is attained cannot widen the hull, and is put aside.

Reference: R. Moore, R. Kearfott, M. Cloud, Introduction to Interval Analysis, 2009, chapter 11; the choice of the input
is the smear rule of R. Kearfott, M. Novoa, INTBIS, ACM TOMS 16, 1990, with slopes at the midpoint.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import check_arithmetic, check_function
from ._inclusion import inclusion
from ._interval import Interval


class Subdivision(NamedTuple):
    """What a subdivision has found.

    Attributes:
        range: Guaranteed enclosure of the range, of the shape that the function returns.
        attained: The least and the largest value at points of the box, by evaluation in floats: guarantees nothing.
        boxes: How many boxes were enclosed.
        finished: Whether the tolerance was reached, or there was nothing left to cut.
    """

    range: Interval
    attained: Interval
    boxes: int
    finished: bool

    @property
    def excess(self) -> Any:
        """Width of the enclosure as a multiple of the attained range, at least about 1; of the shape of the range."""
        return self.range.width / self.attained.width


def enclose_range(
    f: Callable[[Any], Any],
    box: Interval,
    *,
    seconds: float = 10.0,
    tolerance: float = 0.0,
    domain: str = "affine",
    rounding: str = "outward",
    boxes_at_once: int = 64,
    progress: Callable[[Subdivision], None] | None = None,
) -> Subdivision:
    """Encloses the range of a function over a box as tightly as the time allows.

    Args:
        f: A function that JAX can trace and differentiate, of an array of shape `(d,)`; returns an array of floats.
        box: Bounded intervals of shape `(d,)`.
        seconds: Time to spend, not counting compilation: positive. The call that is running is finished.
        tolerance: Stop when no bound is farther from what is attained than this share of the attained range.
        domain: As in `inclusion`.
        rounding: As in `inclusion`.
        boxes_at_once: Boxes that one compiled call encloses.
        progress: Called with the state after every round.

    Returns:
        A `Subdivision`.

    Raises:
        TypeError: `f` is not callable, `box` is no interval, or `f` returns no floats.
        ValueError: the box is empty, unbounded or of another shape, a budget is not positive, or `domain` or
            `rounding` is unknown.
        UnsupportedPrimitiveError: `f` uses an operation that has no interval rule.

    >>> import jax.numpy as jnp
    >>> found = enclose_range(lambda x: x[0] * x[0] - x[0] * x[1], Interval([0.0, 0.0], [1.0, 1.0]), tolerance=0.01)
    >>> bool(found.range.width < 1.3)  # the range is [-0.25, 1]
    True
    """
    caller = "enclose_range"
    check_function(caller, f)
    check_arithmetic(caller, rounding, domain)
    _check(caller, box, seconds, tolerance, boxes_at_once)
    shape = jax.eval_shape(f, box.lower)
    if not hasattr(shape, "dtype") or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise TypeError(f"{caller}: `f` must return one array of floats, got {shape}.")
    search = _Search(f, box, domain, rounding, boxes_at_once)
    start = time.perf_counter()
    while True:
        state = search.state(shape.shape, tolerance)
        if progress is not None:
            progress(state)
        if state.finished or time.perf_counter() - start > seconds:
            return state
        search.cut(tolerance)


def _check(caller: str, box: Any, seconds: float, tolerance: float, boxes_at_once: int) -> None:
    if not isinstance(box, Interval):
        raise TypeError(
            f"{caller}: `box` must be an Interval, got {type(box).__name__}. Make one: `Interval(low, upp)`."
        )
    if box.lower.ndim != 1 or box.lower.size == 0:
        raise ValueError(f"{caller}: `box` has shape {box.shape}; it must be (d,), one interval for each input.")
    if bool(np.any(np.asarray(box.lower > box.upper))):
        raise ValueError(f"{caller}: `box` is empty, so there is no range to enclose.")
    if not np.all(np.isfinite(box.lower) & np.isfinite(box.upper)):
        raise ValueError(f"{caller}: `box` is unbounded; subdivision needs finite bounds. Use `inclusion` instead.")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"{caller}: `seconds` is {seconds}; it must be positive.")
    if not tolerance >= 0:
        raise ValueError(f"{caller}: `tolerance` is {tolerance}; it must be zero or positive.")
    if boxes_at_once < 1:
        raise ValueError(f"{caller}: `boxes_at_once` is {boxes_at_once}; it must be at least 1.")


class _Search:
    """The boxes that are still of interest, on the host; enclosures are computed in batches of one size."""

    def __init__(self, f: Callable[[Any], Any], box: Interval, domain: str, rounding: str, boxes_at_once: int) -> None:
        enclosed = inclusion(lambda x: jnp.ravel(f(x)), rounding=rounding, domain=domain)

        def at_point(x: Any) -> tuple[Any, Any]:
            return jnp.ravel(f(x)), jax.jacobian(lambda t: jnp.ravel(f(t)))(x)

        self._enclosed = jax.jit(jax.vmap(enclosed))
        self._at_points = jax.jit(jax.vmap(at_point))
        self._size = boxes_at_once
        self._count = 0
        self._whole = np.maximum(np.asarray(box.upper - box.lower), np.finfo(box.dtype).tiny)
        # Bounds of what has been put aside.
        self._least: Any = np.inf
        self._most: Any = -np.inf
        self._low, self._upp = np.asarray(box.lower)[None], np.asarray(box.upper)[None]
        self._bounds(self._low, self._upp)

    def _bounds(self, low: np.ndarray, upp: np.ndarray) -> None:
        """Encloses new boxes, the only ones, and takes their midpoints into account."""
        found = [self._batch(low[k : k + self._size], upp[k : k + self._size]) for k in range(0, len(low), self._size)]
        self._lower, self._upper, values, self._smear = (np.concatenate(parts) for parts in zip(*found, strict=True))
        attained = np.where(np.isfinite(values), values, np.nan)
        first = self._count == 0
        least, most = np.fmin.reduce(attained, 0), np.fmax.reduce(attained, 0)
        self._attained_least = least if first else np.fmin(self._attained_least, least)
        self._attained_most = most if first else np.fmax(self._attained_most, most)
        self._count += len(low)

    def _batch(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, ...]:
        n = len(low)
        filled = [np.concatenate([x, np.repeat(x[:1], self._size - n, axis=0)]) for x in (low, upp)]
        enclosure = self._enclosed(Interval._make(*map(jnp.asarray, filled)))
        middle = np.clip(0.5 * filled[0] + 0.5 * filled[1], *filled)
        values, slopes = self._at_points(jnp.asarray(middle))
        lower, upper = np.asarray(enclosure.lower), np.asarray(enclosure.upper)
        width = filled[1] - filled[0]
        effect = np.where(np.isfinite(slopes), np.abs(slopes), 0).max(axis=1) * width
        # A little for the width itself, since a slope may vanish at the midpoint.
        smear = effect + (1e-3 * effect.max() or 1) * (width / self._whole)
        return lower[:n], upper[:n], np.asarray(values)[:n], smear[:n]

    def _beyond(self) -> np.ndarray:
        """How far the bounds of each box reach beyond what is attained, as a share of the attained range."""
        unit = np.maximum(self._attained_most - self._attained_least, np.finfo(self._lower.dtype).tiny)
        reach = np.maximum(self._attained_least - self._lower, self._upper - self._attained_most) / unit
        return np.where(np.isnan(reach), np.inf, reach).max(1)

    def state(self, shape: tuple[int, ...], tolerance: float) -> Subdivision:
        lower = np.minimum(self._lower.min(0, initial=np.inf), self._least)
        upper = np.maximum(self._upper.max(0, initial=-np.inf), self._most)
        finished = not np.any(self._beyond() > tolerance)
        whole = Interval._make(jnp.asarray(lower.reshape(shape)), jnp.asarray(upper.reshape(shape)))
        attained = (self._attained_least.reshape(shape), self._attained_most.reshape(shape))
        return Subdivision(whole, Interval._make(*map(jnp.asarray, attained)), self._count, finished)

    def cut(self, tolerance: float) -> None:
        """Cuts the boxes that reach farthest, and puts aside those that reach nowhere."""
        beyond = self._beyond()
        order = np.argsort(-beyond, kind="stable")
        chosen = order[: max(self._size // 2, 1)]
        chosen = chosen[~(beyond[chosen] <= tolerance)]
        rest = np.setdiff1d(order, chosen)
        aside = rest[beyond[rest] <= 0]
        kept = np.setdiff1d(rest, aside)
        self._least = np.minimum(self._least, self._lower[aside].min(0, initial=np.inf))
        self._most = np.maximum(self._most, self._upper[aside].max(0, initial=-np.inf))
        low, upp = self._low[chosen], self._upp[chosen]
        axis = self._smear[chosen].argmax(1)
        rows = np.arange(len(chosen))
        middle = np.clip(0.5 * low + 0.5 * upp, low, upp)[rows, axis]
        left, right = upp.copy(), low.copy()
        left[rows, axis] = right[rows, axis] = middle
        old = [x[kept] for x in (self._low, self._upp, self._lower, self._upper, self._smear)]
        new_low, new_upp = np.concatenate([low, right]), np.concatenate([left, upp])
        parents = [np.tile(x[chosen], (2, 1)) for x in (self._lower, self._upper)]
        self._bounds(new_low, new_upp)
        # What holds for a box holds for its parts.
        lower, upper = np.maximum(self._lower, parents[0]), np.minimum(self._upper, parents[1])
        new = (new_low, new_upp, lower, upper, self._smear)
        self._low, self._upp, self._lower, self._upper, self._smear = (
            np.concatenate(pair) for pair in zip(old, new, strict=True)
        )
