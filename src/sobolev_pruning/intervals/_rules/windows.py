"""Interval rules for reductions over sliding windows: sums, extremes, products.

A sum over a window is a sum: its ends, widened by the bound `γₙ` of n terms. Maximum and minimum are nondecreasing in
every entry and exact. Other functions are reduced over windows that are laid out along an axis of their own.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError, defrule
from .associative import halves
from .linear import summed
from .piecewise import endwise


def _window_sum(primitive: Primitive, x: Interval, *, window_dimensions: tuple[int, ...], **params: Any) -> Interval:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UnsupportedPrimitiveError("sums integers that are undecided over the box")
    n = max(int(np.prod(window_dimensions)), 1)
    return summed(lambda end: primitive.bind(end, window_dimensions=window_dimensions, **params), n, x)


defrule(lax.reduce_window_sum_p, _window_sum)
defrule(lax.reduce_window_max_p, endwise)
defrule(lax.reduce_window_min_p, endwise)


def windows(
    x: Array,
    fill: Any,
    *,
    window_dimensions: tuple[int, ...],
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    base_dilation: tuple[int, ...] | None = None,
    window_dilation: tuple[int, ...] | None = None,
) -> Array:
    """The entries of every window along a new axis 0, in row-major order; `fill` where a window leaves the array."""
    base = base_dilation or (1,) * x.ndim
    dilation = window_dilation or (1,) * x.ndim
    config = [(low, high, step - 1) for (low, high), step in zip(padding, base, strict=True)]
    x = lax.pad(x, jnp.asarray(fill, x.dtype), config)
    for axis in reversed(range(x.ndim)):
        reach = dilation[axis] * (window_dimensions[axis] - 1) + 1
        starts = np.arange(0, x.shape[axis] - reach + 1, window_strides[axis])
        offsets = dilation[axis] * np.arange(window_dimensions[axis])
        x = jnp.take(x, jnp.asarray(offsets[:, None] + starts[None, :]), axis=axis, mode="clip")
    # Now the axes are offset, start, offset, start, …
    n = x.ndim
    x = x.transpose(*range(0, n, 2), *range(1, n, 2))
    return x.reshape(-1, *x.shape[n // 2 :])


def operation_of(jaxpr: Any) -> Primitive:
    """The only operation of the function that a reduction applies.

    Raises:
        UnsupportedPrimitiveError: it is none, or another than +, ×, maximum and minimum of both operands.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    if len(inner.eqns) == 1:
        (eqn,) = inner.eqns
        if eqn.primitive in MONOIDS and set(eqn.invars) == set(inner.invars) and eqn.outvars == inner.outvars:
            return eqn.primitive
    raise UnsupportedPrimitiveError("reduces by another function than a sum, product, maximum or minimum")


def _extreme(end: Callable[[Array, Array], Array]) -> Callable[[Interval, Interval], Interval]:
    return lambda x, y: Interval._make(end(x.lower, y.lower), end(x.upper, y.upper))


MONOIDS: dict[Primitive, Callable[[Interval, Interval], Interval]] = {
    lax.add_p: ia.add,
    lax.mul_p: ia.mul,
    lax.max_p: _extreme(jnp.maximum),
    lax.min_p: _extreme(jnp.minimum),
}


# What changes nothing, where an operand counts as often as it occurs.
NEUTRAL: dict[Primitive, float] = {lax.add_p: 0.0, lax.mul_p: 1.0}


def _only_floats(operands: tuple[Any, ...]) -> tuple[Interval, Interval]:
    if len(operands) != 2 or not all(
        isinstance(x, Interval) and jnp.issubdtype(x.dtype, jnp.floating) for x in operands
    ):
        raise UnsupportedPrimitiveError("reduces several arrays at once, or others than floats")
    return operands


def _reduce_window(_: Primitive, *operands: Any, jaxpr: Any, consts: Any, **params: Any) -> list[Interval]:
    primitive = operation_of(jaxpr)
    operation = MONOIDS[primitive]
    x, start = _only_floats(operands)

    def padded_with(low: Any, upp: Any) -> Interval:
        entries = Interval._make(windows(x.lower, low, **params), windows(x.upper, upp, **params))
        return operation(_like(start, entries.shape[1:]), halves(operation, entries))

    result = padded_with(start.lower, start.upper)
    # The padding may be taken to hold the initial value; XLA on a CPU leaves it out. Both are enclosed, and alike where
    # the initial value changes nothing.
    if primitive in NEUTRAL and (any(map(any, params["padding"])) or any(d > 1 for d in params["base_dilation"])):
        result = ia.hull(result, padded_with(NEUTRAL[primitive], NEUTRAL[primitive]))
    return [result]


def _like(x: Interval, shape: tuple[int, ...]) -> Interval:
    return ia.each(lambda end: jnp.broadcast_to(end, shape), x)


def _reduce(_: Primitive, *operands: Any, jaxpr: Any, dimensions: tuple[int, ...], **params: Any) -> list[Interval]:
    operation = MONOIDS[operation_of(jaxpr)]
    x, start = _only_floats(operands)
    for axis in sorted(dimensions, reverse=True):
        if x.shape[axis] == 0:
            raise UnsupportedPrimitiveError("reduces along an axis of length zero")
        x = halves(operation, x, axis)
    return [operation(_like(start, x.shape), x)]


defrule(lax.reduce_window_p, _reduce_window)
defrule(lax.reduce_p, _reduce)
