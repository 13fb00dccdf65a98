"""Interval rules for reductions and scans by an associative operation: products and logarithms of sums of exponentials.

The product of intervals is associative, and for independent factors it is the range, so a tree of interval products
gives the range, widened by the roundings of its depth only. `log(eˣ + eʸ)` is nondecreasing in both, so a tree of its
enclosures at the ends is one as well: `max(x, y) + log(1 + e^−|x−y|)`, where the logarithm is in [0, log 2].
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._elementary import evaluate, margin
from .._interval import Interval
from .._registry import defrule
from .._rounding import format_of, outward


def halves(operation: Callable[[Interval, Interval], Interval], x: Interval, axis: int = 0) -> Interval:
    """The reduction along an axis of positive length by an associative operation, as a tree."""

    def cut(x: Interval, first: int, last: int) -> Interval:
        return ia.each(lambda end: lax.slice_in_dim(end, first, last, axis=axis), x)

    while (n := x.shape[axis]) > 1:
        half = n // 2
        pairs = operation(cut(x, 0, half), cut(x, half, 2 * half))
        if n % 2:
            rest = cut(x, 2 * half, n)
            pairs = Interval._make(
                lax.concatenate([pairs.lower, rest.lower], axis), lax.concatenate([pairs.upper, rest.upper], axis)
            )
        x = pairs
    return ia.each(lambda end: lax.squeeze(end, (axis,)), x)


def product(x: Interval, axes: tuple[int, ...]) -> Interval:
    """The product along axes."""
    for axis in sorted(axes, reverse=True):
        if x.shape[axis] == 0:
            one = jnp.ones((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
            x = Interval._make(one, one)
        else:
            x = halves(ia.mul, x, axis)
    return x


def _reduce_prod(primitive: Primitive, x: Interval, *, axes: tuple[int, ...], **params: Any) -> Interval:
    return product(x, axes)


def _cumprod(primitive: Primitive, x: Interval, *, axis: int, reverse: bool, **params: Any) -> Interval:
    return lax.associative_scan(ia.mul, x, axis=axis, reverse=reverse)


def _log_add_exp(x: Interval, y: Interval) -> Interval:
    def bound(a: Array, b: Array) -> Array:
        largest, distance = jnp.maximum(a, b), jnp.abs(a - b)
        # Equal infinities have no distance: nothing is added to them.
        smaller = jnp.where(jnp.isnan(distance), 0, evaluate(lax.exp_p, -distance))
        return largest + evaluate(lax.log_p, 1 + smaller)

    # Of the exponential, at most 1, its margin and, from its argument, ½ eps·d·e⁻ᵈ; of 1 + e⁻ᵈ one eps; the logarithm,
    # at most 1 as its derivative is, hands them on and has a margin of its own.
    of_both = margin(lax.exp_p, x.dtype) + margin(lax.log_p, x.dtype)
    absolute = (of_both + 2) * format_of(x.dtype).eps
    lower, upper = outward(bound(x.lower, y.lower), bound(x.upper, y.upper), absolute=absolute)
    # The function exceeds the larger of its arguments.
    return Interval._make(jnp.maximum(lower, jnp.maximum(x.lower, y.lower)), upper)


def _cumlogsumexp(_: Primitive, x: Interval, *, axis: int, reverse: bool, **params: Any) -> Interval:
    return lax.associative_scan(_log_add_exp, x, axis=axis, reverse=reverse)


defrule(lax.reduce_prod_p, _reduce_prod)
defrule(lax.cumprod_p, _cumprod)
defrule(lax.cumlogsumexp_p, _cumlogsumexp)
