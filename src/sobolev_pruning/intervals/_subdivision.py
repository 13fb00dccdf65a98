"""Ranges by adaptive subdivision: what one box cannot tell, many small ones can.

An anytime search, best first. The range over a box is contained in the hull of the enclosures over its parts. What is
attained at points is a lower bound of the range, so a part whose enclosure reaches nowhere beyond what is attained
needs no further attention, and the parts that reach farthest are cut next. Each is cut along the coordinate that the
function depends on most there, by slope times width. Coordinates are the inputs and, if a few directions explain most
of what the function does, those directions (`_directions.py`).

Reference: R. Moore, R. Kearfott, M. Cloud, Introduction to Interval Analysis, 2009, section 11; R. Kearfott, Rigorous
Global Search: Continuous Problems, 1996, for the smear rule.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import check_arithmetic, check_function
from ._directions import Axes, coordinates
from ._interval import Interval
from ._search import Search


class Subdivision(NamedTuple):
    """What a subdivision has found.

    Attributes:
        range: Guaranteed enclosure of the range, of the shape S that the function returns; empty if the region holds no
            point, and unbounded if the function is found to be nowhere defined on a part of it.
        attained: The least and the largest value found at points of the region, by evaluation in floats, S: it
            guarantees nothing. Infinite, and empty, if no point of the region was found.
        lowest: Points at which the least values were found, `(*S, d)`.
        highest: Points at which the largest values were found, `(*S, d)`.
        boxes: How many boxes were enclosed.
        finished: Whether the tolerance was reached, or nothing was left that cutting could improve.
    """

    range: Interval
    attained: Interval
    lowest: Any
    highest: Any
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
    inside: Callable[[Any], Any] | None = None,
    guide: Callable[[Any], Any] | None = None,
    seconds: float = 10.0,
    tolerance: float = 0.0,
    domain: str = "affine-32",
    rounding: str = "outward",
    boxes_at_once: int = 256,
    progress: Callable[[Subdivision], None] | None = None,
) -> Subdivision:
    """Encloses the range of a function over a box as tightly as the time allows.

    Where JAX sees several devices, each encloses its share of the boxes.

    The function ought to be defined on the whole region. Where it is found not to be, on a box of positive width, the
    search ends, and nothing is said of any of its entries: their ranges are unbounded. `inclusion` gives the range over
    the part on which a function is defined. A derivative may look defined where its function is not (that of `log`):
    enclose both together.

    Args:
        f: A function that JAX can trace and differentiate, of an array of shape `(d,)`; returns an array of floats.
        box: Bounded intervals of shape `(d,)`.
        inside: Tells whether a point of the box belongs to the region, as booleans that must all be true: only parts
            that may hold such points are looked at.
        guide: A function whose derivatives say along which inputs to cut, by default `f`. Of the difference of two
            functions, the pair of both is the better guide: where they cancel, their enclosures do not.
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
    search = _begun(_flat(f), _flat(f if guide is None else guide), box, inside, domain, rounding, boxes_at_once)
    start = time.perf_counter()
    ended = False
    while True:
        finished = ended or search.excess() <= tolerance
        state = _state(search, shape.shape, finished=finished)
        if progress is not None:
            progress(state)
        if finished or time.perf_counter() - start > seconds:
            return state
        ended = not search.cut(tolerance)


def _flat(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """All that f returns as one vector."""
    return lambda x: jnp.concatenate([jnp.ravel(part) for part in jax.tree.leaves(f(x))])


def _begun(f: Any, guide: Any, box: Interval, inside: Any, domain: str, rounding: str, boxes_at_once: int) -> Search:
    """A search in the coordinates that suit f."""
    low, upp = np.asarray(box.lower), np.asarray(box.upper)
    options: dict[str, Any] = {
        "inside": inside,
        "domain": domain,
        "rounding": rounding,
        "cells_at_once": boxes_at_once,
    }
    # Plain intervals would take the directions and the axes for independent within one expression.
    chosen = Axes(low, upp) if domain == "interval" else coordinates(guide, low, upp)
    search = Search(f, guide, chosen, **options)
    if isinstance(chosen, Axes) or np.isfinite(search.bounds()).all():
        return search
    # Along directions a cell reaches beyond the box, maybe to where f is not defined.
    return Search(f, guide, Axes(low, upp), **options)


def _state(search: Search, shape: tuple[int, ...], *, finished: bool) -> Subdivision:
    lower, upper = search.bounds()
    found, attained = (
        Interval._make(*(jnp.asarray(end.reshape(shape)) for end in ends))
        for ends in ((lower, upper), (search.least, search.most))
    )
    lowest, highest = (jnp.asarray(x.reshape(*shape, -1)) for x in (search.at_least, search.at_most))
    return Subdivision(found, attained, lowest, highest, search.count, finished)


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
