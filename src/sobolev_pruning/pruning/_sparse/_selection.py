"""Which weights are kept, by scores: those of any criterion, or random ones."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ...surrogate import MLP, Surrogate
from ._masks import Masks
from ._sparsity import AbstractSparsity

Scores = Sequence[Float[Array, "_ _"]]


def choose_weights(scores: Scores, sparsity: AbstractSparsity) -> Masks:
    """Keep the weights of the highest scores; `Masks.apply` then makes the sparse network.

    Of equal scores the first are kept, row by row.

    Args:
        scores: for each layer an array of the shape of its weight, `(n_out, n_in)`; any criterion, such as
            `[jnp.abs(layer.weight) for layer in network.layers]`.
        sparsity: how many are kept, and whether each layer is ranked by itself (`UniformSparsity`,
            `ErdosRenyiSparsity`) or all of them together (`GlobalSparsity`).

    Raises:
        ValueError: scores that are not finite, or a sparsity that keeps nothing in a layer.
    """
    if not scores:
        raise ValueError("`scores` is empty; give one array for each layer of the network.")
    for i, score in enumerate(scores):
        if not bool(jnp.all(jnp.isfinite(score))):
            raise ValueError(f"`scores[{i}]` holds a value that is not finite, which has no rank; replace it.")
    return _best_compiled(scores, _numbers(scores, sparsity))


def random_masks(network: MLP | Surrogate, sparsity: AbstractSparsity, *, key: PRNGKeyArray) -> Masks:
    """Keep random weights: where `sparse_evolution` and `rigl` begin.

    Args:
        network: for which they are.
        sparsity: how many are kept; the numbers are exact, not right on average.
        key: random key.

    Raises:
        ValueError: a sparsity that keeps nothing in a layer.
    """
    layers = (network.network if isinstance(network, Surrogate) else network).layers
    keys = jax.random.split(key, len(layers))
    scores = [jax.random.uniform(k, layer.weight.shape) for k, layer in zip(keys, layers, strict=True)]
    return _best_compiled(scores, _numbers(scores, sparsity))


def _numbers(scores: Scores, sparsity: AbstractSparsity) -> Int[Array, " groups"]:
    return jnp.asarray(sparsity.kept([score.shape for score in scores]), jnp.int32)


def best(scores: Scores, kept: Sequence[int] | Int[Array, " groups"]) -> Masks:
    """The highest scores of each layer, or, where `kept` is a single number, of all layers; may be traced."""
    if len(kept) == len(scores):
        return Masks(tuple(highest(score, n) for score, n in zip(scores, kept, strict=True)))
    flat = [score.ravel() for score in scores]
    # The best of each layer comes before all others.
    flat = [score.at[jnp.argmax(score)].set(jnp.inf) for score in flat]
    chosen = highest(jnp.concatenate(flat), kept[0])
    parts = jnp.split(chosen, [sum(score.size for score in flat[: i + 1]) for i in range(len(flat) - 1)])
    return Masks(tuple(part.reshape(score.shape) for part, score in zip(parts, scores, strict=True)))


def highest(scores: Float[Array, "*shape"], n: int | Int[Array, ""]) -> Bool[Array, "*shape"]:
    """Where the n highest scores are. They are sorted whole, since n may be traced, and ties must not make it more."""
    order = jnp.argsort(-scores.ravel(), stable=True)
    rank = jnp.zeros(scores.size, jnp.int32).at[order].set(jnp.arange(scores.size, dtype=jnp.int32))
    return (rank < n).reshape(scores.shape)


# One program for all numbers; operation by operation there would be a dozen for each shape.
_best_compiled = eqx.filter_jit(best)
