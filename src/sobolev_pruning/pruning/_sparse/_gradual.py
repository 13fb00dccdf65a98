"""Weights are removed little by little while the others are trained."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ...surrogate import MLP
from ._masked import given, masked_update, start
from ._masks import Masks
from ._selection import best
from ._sparsity import AbstractSparsity, check_share


def cubic_pruning(
    inner: optax.GradientTransformation,
    sparsity: AbstractSparsity,
    *,
    begin: int = 0,
    end: int,
    every: int = 100,
    initial: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Remove the smallest weights during the training, many at first and few towards the end.

    At update t the sparsity is `s_f + (s_i - s_f) (1 - (t - begin) / (end - begin))³`, between `begin` and `end`, once
    in `every` updates and at `end` itself. The number of weights that each layer keeps (of a `GlobalSparsity`, all
    layers) follows that curve to the nearest weight and ends where `sparsity` puts it, exactly. What has been removed
    does not come back; after `end` the rest goes on training.

    Args:
        inner: any optimizer.
        sparsity: at the end, and how it is shared out among the layers.
        begin: update, counted from zero, at which the sparsity becomes `initial`.
        end: update at which it is reached. Leave updates after it, in which the network recovers.
        every: updates between two prunings.
        initial: sparsity at the beginning, shared out in the same way.

    Raises:
        ValueError: a schedule that begins before zero or ends before it begins, `every` below 1, or an `initial`
            outside of [0, 1) or above the sparsity at the end; from `init`, a sparsity that keeps nothing in a layer.

    Reference: M. Zhu, S. Gupta, *To prune, or not to prune*, arXiv:1710.01878, eq. (1).
    """
    check_share(initial=initial)
    if initial > sparsity.sparsity:
        raise ValueError(f"`initial` is {initial}, and the sparsity at the end {sparsity.sparsity}; it can only grow.")
    if not 0 <= begin <= end:
        raise ValueError(
            f"the schedule begins at update {begin} and ends at {end}; `begin` must be at least 0, `end` not before it."
        )
    if every < 1:
        raise ValueError(f"`every` is {every}; it must be at least 1.")
    optimizer = optax.with_extra_args_support(inner)

    def numbers_of(params: MLP) -> np.ndarray:
        """What is kept after each pruning, `(n_prunings, groups)`."""
        shapes = [layer.weight.shape for layer in params.layers]
        last = np.asarray(sparsity.kept(shapes))
        first = np.maximum(dataclasses.replace(sparsity, sparsity=initial).kept(shapes), last)
        times = [*range(begin, end, every), end]
        return np.asarray([np.rint(last + (first - last) * _left(t, begin, end)) for t in times], np.int32)

    def init(params: PyTree) -> PyTree:
        # Before the first update: there may be no way to share out this sparsity.
        numbers_of(params)
        everything = Masks(tuple(jnp.ones(layer.weight.shape, bool) for layer in params.layers))
        return start(optimizer, everything, params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        params = given(params)
        numbers, since = jnp.asarray(numbers_of(params)), state.step - begin
        now = (since >= 0) & (state.step <= end) & ((since % every == 0) | (state.step == end))
        index = jnp.clip((since + every - 1) // every, 0, len(numbers) - 1)
        # A branch, not a selection: sorting all weights at every update would cost more than the update.
        masks = jax.lax.cond(now, lambda: best(_sizes(state.masks, params), numbers[index]), lambda: state.masks)
        return masked_update(optimizer, updates, state, masks, params, extra)

    return optax.GradientTransformationExtraArgs(init, update)


def _left(t: int, begin: int, end: int) -> float:
    """Share of the way that is still to go."""
    return (1 - (t - begin) / (end - begin)) ** 3 if end > begin else 0.0


def _sizes(masks: Masks, params: MLP) -> Sequence[jax.Array]:
    """Magnitudes; what has been removed comes after every weight that is left, zeros included."""
    return [
        jnp.where(mask, jnp.abs(layer.weight), -1) for mask, layer in zip(masks.weights, params.layers, strict=True)
    ]
