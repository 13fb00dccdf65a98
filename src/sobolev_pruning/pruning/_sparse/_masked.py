"""Optimizers that keep weights at zero."""

from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from ...surrogate import Surrogate
from ._masks import Masks


@final
class SparseState(eqx.Module):
    """State of every optimizer of this room; all of it is arrays, so that checkpoints hold it.

    Attributes:
        step: updates so far.
        masks: which weights are kept now.
        inner: state of the optimizer inside.
    """

    step: Int[Array, ""]
    masks: Masks
    inner: PyTree


def fixed_masks(inner: optax.GradientTransformation, masks: Masks) -> optax.GradientTransformationExtraArgs:
    """Train the weights that are kept, with any optimizer, and none of the others.

    Those are exactly zero after every update, whatever the optimizer adds to them (momentum, weight decay) and wherever
    they were before the first one. So that the first gradient is that of the sparse network already, begin with
    `masks.apply(network)`.

    Args:
        inner: any optimizer; it sees gradients that are zero where the masks are false.
        masks: of the network that is trained.

    Raises:
        ValueError: masks that keep nothing in a layer; from `init`, masks of another network.
    """
    masks.check_none_empty()
    optimizer = optax.with_extra_args_support(inner)

    def init(params: PyTree) -> PyTree:
        return start(optimizer, masks, params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        return masked_update(optimizer, updates, state, state.masks, given(params), extra)

    return optax.GradientTransformationExtraArgs(init, update)


def start(inner: optax.GradientTransformation, masks: Masks, params: PyTree) -> SparseState:
    """Before the first update.

    Raises:
        ValueError: the masks belong to a network of other widths.
        TypeError: the parameters are a surrogate, whose units are not trained.
    """
    if isinstance(params, Surrogate):
        raise TypeError("`params` is a `Surrogate`; a sparse optimizer trains its network: `init(surrogate.network)`.")
    masks.check_fits(params)
    return SparseState(jnp.zeros((), jnp.int32), masks, inner.init(params))


def given(params: PyTree) -> PyTree:
    """The parameters, which Optax leaves optional.

    Raises:
        ValueError: there are none.
    """
    if params is None:
        raise ValueError(
            "`params` is None; a sparse optimizer needs the parameters: `update(gradient, state, params)`."
        )
    return params


def masked_update(
    inner: optax.GradientTransformationExtraArgs,
    gradient: PyTree,
    state: SparseState,
    masks: Masks,
    params: PyTree,
    extra: dict[str, Any],
) -> tuple[PyTree, SparseState]:
    """One update of the optimizer inside, for the weights that `masks` keep; the others become zero."""
    updates, inner_state = inner.update(masks.apply(gradient), state.inner, params, **extra)
    return pinned(masks, updates, params), SparseState(state.step + 1, masks, inner_state)


def pinned(masks: Masks, updates: PyTree, params: PyTree) -> PyTree:
    """The updates, but -w where a weight w is not kept: the sum of both is zero without any rounding."""
    return with_weights(
        updates,
        [
            jnp.where(mask, update.weight.astype(layer.weight.dtype), -layer.weight)
            for mask, update, layer in zip(masks.weights, updates.layers, params.layers, strict=True)
        ],
    )


def with_weights(tree: PyTree, weights: Sequence[Array]) -> PyTree:
    """A network, or a gradient, update or moment of one, with other weights and the same biases."""
    return eqx.tree_at(lambda n: [layer.weight for layer in n.layers], tree, list(weights))
