"""Dynamic sparse training: from time to time some weights are removed and as many made elsewhere.

At an update that rewires, every layer loses the smallest of its weights and gains as many; how those are chosen is all
that distinguishes the methods. As in Algorithm 1 of Evci et al. (2020),

- the number that is dropped is a share of the weights of the layer, rounded down;
- all weights that do not survive may grow, those that have just been dropped included. One that is dropped and grown at
  once stays as it was;
- the others grow at zero, so that the network computes what it did. The optimizer's moments of them begin anew: the
  paper does not mention moments, but its authors' code sets them to zero;
- an update that rewires takes no step along the gradient, and the optimizer inside does not see it.

The methods are local to a layer: how many weights it has does not change.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ...surrogate import MLP
from ._masked import SparseState, given, masked_update, pinned, start, with_weights
from ._masks import Masks
from ._selection import highest
from ._sparsity import check_share

# From the gradient and the number of updates so far, what grows first, layer by layer; no score is negative.
_Growth = Callable[[MLP, Int[Array, ""]], Sequence[Float[Array, "_ _"]]]


def sparse_evolution(
    inner: optax.GradientTransformation,
    masks: Masks,
    *,
    every: int = 100,
    drop_fraction: float = 0.3,
    until: int | None = None,
    key: PRNGKeyArray,
) -> optax.GradientTransformationExtraArgs:
    """SET: the smallest weights are replaced by random ones.

    Departures from Mocanu et al.: they rewire after each epoch, rank positive and negative weights apart, and draw the
    new ones from a normal law; here they are ranked by magnitude and grow at zero, as Evci et al. do it.

    Args:
        inner: any optimizer; it sees gradients that are zero where the masks are false.
        masks: where to begin, such as `random_masks(network, ErdosRenyiSparsity(0.9), key=key)`. Begin with
            `masks.apply(network)`, or the first gradient is that of the dense network.
        every: updates from one rewiring to the next.
        drop_fraction: share of the weights of each layer that is replaced.
        until: update from which on nothing is rewired any more; None for no end.
        key: random key of all that grows.

    Raises:
        ValueError: a number out of range, or masks that keep nothing in a layer; from `init`, masks of another network.

    Reference: D. Mocanu et al., Nature Communications 9, 2383 (2018).
    """
    check_share(drop_fraction=drop_fraction)
    n = _number_of_rewirings(every, until)

    def growth(gradient: MLP, count: Int[Array, ""]) -> Sequence[Float[Array, "_ _"]]:
        keys = jax.random.split(jax.random.fold_in(key, count), len(gradient.layers))
        return [jax.random.uniform(k, layer.weight.shape) for k, layer in zip(keys, gradient.layers, strict=True)]

    # A single row says the same of all rewirings.
    return _rewiring(inner, masks, [drop_fraction] if n is None or n > 0 else [], every, until, growth)


def rigl(
    inner: optax.GradientTransformation,
    masks: Masks,
    *,
    every: int = 100,
    drop_fraction: float = 0.3,
    until: int,
) -> optax.GradientTransformationExtraArgs:
    """RigL: the smallest weights are replaced by those whose gradients are the largest.

    The gradients must be those of all weights, kept or not: those that `fit` and `jax.grad` give. The share that is
    replaced decays, at update t it is `drop_fraction / 2 (1 + cos(π t / until))`.

    Args:
        inner: any optimizer; it sees gradients that are zero where the masks are false.
        masks: where to begin, such as `random_masks(network, ErdosRenyiSparsity(0.9), key=key)`. Begin with
            `masks.apply(network)`, or the first gradient is that of the dense network.
        every: updates from one rewiring to the next.
        drop_fraction: share of the weights of each layer that is replaced at the beginning.
        until: update from which on nothing is rewired any more; Evci et al. take three quarters of all updates.

    Raises:
        ValueError: a number out of range, or masks that keep nothing in a layer; from `init`, masks of another network.

    Reference: U. Evci et al., *Rigging the Lottery: Making All Tickets Winners*, ICML 2020, Algorithm 1.
    """
    check_share(drop_fraction=drop_fraction)
    n = _number_of_rewirings(every, until)
    shares = [drop_fraction / 2 * (1 + math.cos(math.pi * (i + 1) * every / until)) for i in range(n or 0)]

    def growth(gradient: MLP, count: Int[Array, ""]) -> Sequence[Float[Array, "_ _"]]:
        return [jnp.abs(layer.weight) for layer in gradient.layers]

    return _rewiring(inner, masks, shares, every, until, growth)


def _number_of_rewirings(every: int, until: int | None) -> int | None:
    """At updates `every`, `2 every`, … below `until`; None if there is no end.

    Raises:
        ValueError: a number below 1.
    """
    for name, value in (("every", every), ("until", until)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` is {value}; it must be at least 1.")
    return None if until is None else (until - 1) // every


def _rewiring(
    inner: optax.GradientTransformation,
    masks: Masks,
    shares: Sequence[float],
    every: int,
    until: int | None,
    growth: _Growth,
) -> optax.GradientTransformationExtraArgs:
    """What both methods share; `shares` are dropped at the first rewiring, the second, …, the last of them ever after.

    Numbers are counted here, on the host: of masks that keep their numbers they are known beforehand, and exact.
    """
    masks.check_none_empty()
    dropped = np.asarray([[int(share * n) for n in masks.n_kept] for share in shares], np.int32)
    optimizer = optax.with_extra_args_support(inner)

    def init(params: PyTree) -> PyTree:
        return start(optimizer, masks, params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        params = given(params)
        if not len(dropped):
            return masked_update(optimizer, updates, state, state.masks, params, extra)
        now = (state.step > 0) & (state.step % every == 0)
        if until is not None:
            now &= state.step < until
        index = jnp.clip(state.step // every - 1, 0, len(dropped) - 1)

        def rewire() -> tuple[PyTree, SparseState]:
            scores, numbers = growth(updates, state.step), jnp.asarray(dropped)[index]
            after = Masks(
                tuple(
                    _rewired(mask, layer.weight, score, numbers[i])
                    for i, (mask, layer, score) in enumerate(
                        zip(state.masks.weights, params.layers, scores, strict=True)
                    )
                )
            )
            made = tuple(new & ~old for new, old in zip(after.weights, state.masks.weights, strict=True))
            stay = Masks(tuple(new & old for new, old in zip(after.weights, state.masks.weights, strict=True)))
            no_step = pinned(stay, jax.tree.map(jnp.zeros_like, updates), params)
            begun_anew = _begun_anew(state.inner, optimizer.init(params), params, made)
            return no_step, SparseState(state.step + 1, after, begun_anew)

        # A branch, not a selection: sorting all weights at every update would cost more than the update.
        return jax.lax.cond(now, rewire, lambda: masked_update(optimizer, updates, state, state.masks, params, extra))

    return optax.GradientTransformationExtraArgs(init, update)


def _rewired(mask: Array, weight: Array, score: Array, n: Int[Array, ""]) -> Array:
    """One layer: its n smallest weights go, and of all that are not left the n with the highest scores come."""
    left = highest(jnp.where(mask, jnp.abs(weight), -1), jnp.sum(mask, dtype=jnp.int32) - n)
    return left | highest(jnp.where(left, -1, score), n)


def _begun_anew(state: PyTree, fresh: PyTree, params: MLP, made: Sequence[Array]) -> PyTree:
    """The state of an optimizer, with the moments of new weights as they are before the first update.

    Moments are recognised by their form: parts of the state that look like the parameters, array by array.
    """
    form = jax.tree.structure(params)
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]

    def is_moment(part: PyTree) -> bool:
        return jax.tree.structure(part) == form and [jnp.shape(leaf) for leaf in jax.tree.leaves(part)] == shapes

    def anew(part: PyTree, fresh: PyTree) -> PyTree:
        if not is_moment(part):
            return part
        pairs = zip(made, part.layers, fresh.layers, strict=True)
        return with_weights(part, [jnp.where(new, after.weight, before.weight) for new, before, after in pairs])

    return jax.tree.map(anew, state, fresh, is_leaf=is_moment)
