"""Cases of rules of arrays, and what their enclosures must satisfy against NumPy in extended precision.

Truth is evaluated at members of the box, among them corners; it is wrong by less than a thousandth of the rounding that
the rules must cover.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from interval_checks import as_interval
from jax.extend.core import Primitive

from sobolev_pruning.intervals import Interval, Ternary, inclusion

assert np.finfo(np.longdouble).eps < 1e-18


class Case(NamedTuple):
    """A function of arrays, the same in NumPy, and the width it may have beyond that of its sampled values."""

    primitive: Primitive
    function: Callable[..., Any]
    truth: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] | None = None
    near: tuple[Any, ...] = ()  # arrays to vary, in place of shapes
    growth: float = 3.0


def samples(box: list[tuple[np.ndarray, np.ndarray]], seed: int, count: int) -> list[list[np.ndarray]]:
    """Members of a box: both ends, corners, and points between them."""
    rng = np.random.default_rng(seed)
    points = [[low for low, _ in box], [upp for _, upp in box]]
    for k in range(count):
        mix = [rng.integers(0, 2, low.shape) if k % 2 else rng.random(low.shape) for low, _ in box]
        points.append(
            [np.clip((a * (1 - t) + b * t).astype(a.dtype), a, b) for t, (a, b) in zip(mix, box, strict=True)]
        )
    return points


def bounds(out: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ends of all results; a condition is 0 or 1, an exact result is both of its ends."""
    ends = []
    for x in jax.tree.leaves(out, is_leaf=lambda x: isinstance(x, Interval | Ternary)):
        match x:
            case Interval():
                ends.append((x.lower, x.upper))
            case Ternary():
                ends.append((~np.asarray(x.can_be_false), x.can_be_true))
            case _:
                ends.append((x, x))
    return [(np.asarray(a).astype(np.longdouble), np.asarray(b).astype(np.longdouble)) for a, b in ends]


@cache
def enclosed(function: Callable[..., Any]) -> Callable[..., Any]:
    return inclusion(function)


def check(case: Case, dtype: Any, radius: float, seed: int, *, exact: bool = False, count: int = 40) -> None:
    """Encloses a function over a box of a radius, or at one point, which may be a constant of the function."""
    rng = np.random.default_rng(seed)
    middles = [np.asarray(x) for x in case.near] or [rng.normal(0, 1, shape) for shape in case.shapes or ()]
    box = []
    for x in middles:
        r = np.abs(rng.normal(0, 1, x.shape)) * radius
        box.append(((x - r).astype(dtype), (x + r).astype(dtype)))
    if exact:
        out = inclusion(lambda: case.function(*(jnp.asarray(low) for low, _ in box)))()
    else:
        out = enclosed(case.function)(*(as_interval(low, upp) for low, upp in box))
    values = []
    for point in samples(box, seed, count if radius else 0):
        truth = case.truth(*(x.astype(np.longdouble) for x in point))
        values.append([np.asarray(v, np.longdouble) for v in (truth if isinstance(truth, list) else [truth])])
    eps = np.finfo(dtype).eps
    for (low, upp), *column in zip(bounds(out), *values, strict=True):
        value = np.stack(column)
        slack = 1e-3 * eps * (np.abs(value) + 1e-2)
        assert not np.isnan(low).any()
        assert not np.isnan(upp).any()
        assert np.all(low <= value + slack), "a value lies below its lower bound"
        assert np.all(value - slack <= upp), "a value lies above its upper bound"
        spread = value.max(0) - value.min(0)
        allowed = case.growth * spread.max() + 300 * eps * (1 + np.abs(value).max())
        assert np.all(upp - low <= allowed), f"width {np.max(upp - low)}, values spread by {spread.max()}"
