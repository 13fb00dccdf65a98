"""Sums at indices that are undecided over the box, as in the derivative of a sort.

An update goes to one of the places between the ends of its index. A place receives all of it if no other is possible,
anything between nothing and all of it if others are, and nothing if it is not among them.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import UnsupportedPrimitiveError


def scattered_anywhere(
    add: Callable[[Interval, Array, Interval], Interval],
    x: Interval,
    indices: Interval,
    updates: Interval,
    *,
    dimension_numbers: Any,
    mode: Any,
) -> Interval:
    """Adds updates at one place after the other, each with what it can receive.

    Args:
        add: The rule for exact indices.
        x: What is added to.
        indices: The first and the last place of each update, `(..., 1)`.
        updates: What is added.
        dimension_numbers: Of the scatter.
        mode: What happens to indices out of bounds.

    Raises:
        UnsupportedPrimitiveError: an index has several components, or an update more than one entry along its axis.
    """
    axes = dimension_numbers.scatter_dims_to_operand_dims
    if len(axes) != 1 or axes[0] not in dimension_numbers.inserted_window_dims:
        raise UnsupportedPrimitiveError("adds at an index of several components that is undecided over the box")
    size = x.shape[axes[0]]
    low, upp = indices.lower[..., 0], indices.upper[..., 0]
    if mode == lax.GatherScatterMode.CLIP:
        low, upp = jnp.clip(low, 0, size - 1), jnp.clip(upp, 0, size - 1)
    window = tuple(dimension_numbers.update_window_dims)
    low, upp = (jnp.broadcast_to(jnp.expand_dims(end, window), updates.shape) for end in (low, upp))
    zero = jnp.zeros((), x.dtype)

    def step(total: Interval, place: Array) -> tuple[Interval, None]:
        can, must = (low <= place) & (place <= upp), (low == place) & (place == upp)
        given = Interval._make(
            jnp.where(must, updates.lower, jnp.where(can, jnp.minimum(updates.lower, zero), zero)),
            jnp.where(must, updates.upper, jnp.where(can, jnp.maximum(updates.upper, zero), zero)),
        )
        received = add(ia.point(jnp.zeros(x.shape, x.dtype)), jnp.full_like(indices.lower, place), given)
        sums = ia.add(total, received)
        # Elsewhere nothing was added, and nothing rounded.
        here = lax.broadcasted_iota(place.dtype, x.shape, axes[0]) == place
        return ia.choose(here, sums, total), None

    return lax.scan(step, x, jnp.arange(size, dtype=indices.lower.dtype))[0]
