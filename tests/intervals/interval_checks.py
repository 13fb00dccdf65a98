"""What enclosures must satisfy; used by tests of rules, of activations, of networks, and by the mutation tests."""

from collections.abc import Callable

import flint
import jax
import jax.numpy as jnp
import numpy as np
from flint import arb

from sobolev_pruning.intervals import Interval

flint.ctx.prec = 300

DTYPES = (np.float32, np.float64)


def ends(dtype, seed: int, n: int, low: float = -np.inf, high: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Random intervals: points, narrow, wide, through zero, subnormal, huge, unbounded, outside the domain."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    with np.errstate(over="ignore"):
        scale = np.exp(rng.normal(0, 3, n))
        middle = (rng.normal(0, 1, n) * scale).astype(dtype)
        radius = np.abs(rng.normal(0, 1, n) * np.exp(rng.normal(-1, 4, n))).astype(dtype)
        kind = rng.integers(0, 12, n)
        radius[kind == 0] = 0
        middle[kind == 1] *= dtype(info.tiny)
        radius[kind == 1] *= dtype(info.tiny)
        middle[kind == 2] = 0
        a, b = middle - radius, middle + radius
    a[kind == 3] = -np.inf
    b[kind == 4] = np.inf
    huge = kind == 5
    b[huge] = dtype(info.max) * dtype(rng.random())
    a[huge] = np.minimum(a[huge], b[huge])
    zero = kind == 6
    a[zero] = 0
    b[zero] = np.abs(b[zero])
    inside = kind > 2
    if np.isfinite(low):
        a[inside] = np.maximum(a[inside], dtype(low))
    if np.isfinite(high):
        b[inside] = np.minimum(b[inside], dtype(high))
    return np.minimum(a, b), np.maximum(a, b)


def members(low: np.ndarray, upp: np.ndarray, seed: int, count: int = 5) -> list[np.ndarray]:
    """Points of the intervals: both ends, and others between them, all finite."""
    rng = np.random.default_rng(seed)
    info = np.finfo(low.dtype)
    a, b = (np.clip(e.astype(np.float64), -float(info.max), float(info.max)) for e in (low, upp))
    points = [a, b]
    for k in range(count):
        t = rng.random(low.shape)
        points.append(np.clip(a * (1 - t) + b * t, a, b))
        if k % 2:  # near zero, where wide intervals are never sampled
            points[-1] = np.clip(rng.normal(0, 2, low.shape), a, b)
    return [np.clip(p.astype(low.dtype), low, upp) for p in points]


def assert_encloses(out: Interval, truth: Callable[..., arb | None], points: list[tuple[np.ndarray, ...]]) -> None:
    """No true value at a member lies outside of the bounds.

    The truth is a ball of 300 bits: a value that is not certainly outside is inside, or nearer to the bound than 10⁻⁸⁰.
    """
    low, upp = np.asarray(out.lower, np.float64), np.asarray(out.upper, np.float64)
    assert not np.isnan(low).any()
    assert not np.isnan(upp).any()
    for arguments in points:
        for i in range(low.size):
            value = truth(*(arb(float(x.ravel()[i])) for x in arguments))
            if value is None or not value.is_finite():
                continue
            below = low.ravel()[i] == -np.inf or not arb(float(low.ravel()[i])) > value
            above = upp.ravel()[i] == np.inf or not value > arb(float(upp.ravel()[i]))
            at = [float(x.ravel()[i]) for x in arguments]
            assert below, f"lower bound {low.ravel()[i]!r} exceeds the value {value} at {at}"
            assert above, f"upper bound {upp.ravel()[i]!r} is below the value {value} at {at}"


def assert_tight(out: Interval, truth: Callable[..., arb | None], points: list[tuple[np.ndarray, ...]], ulps: float):
    """At points of moderate size an enclosure is as narrow as rounding allows."""
    low, upp = np.asarray(out.lower, np.float64), np.asarray(out.upper, np.float64)
    info = np.finfo(np.asarray(out.lower).dtype)
    for arguments in points:
        for i in range(low.size):
            value = truth(*(arb(float(x.ravel()[i])) for x in arguments))
            if value is None:
                continue
            size = float(abs(value)) + 1
            width = upp.ravel()[i] - low.ravel()[i]
            at = [float(x.ravel()[i]) for x in arguments]
            assert width <= ulps * float(info.eps) * size, f"width {width} at {at}"


def sigmoid(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


def cast(value: float, dtype) -> arb:
    return arb(float(dtype(value)))


def as_interval(low: np.ndarray, upp: np.ndarray) -> Interval:
    return Interval(jnp.asarray(low), jnp.asarray(upp))


def block(x):
    return jax.block_until_ready(x)
