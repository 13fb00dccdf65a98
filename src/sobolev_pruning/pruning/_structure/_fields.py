"""Sizes that layers keep beside their arrays, brought up to date when the arrays have shrunk.

A field such as `in_features` is a number that JAX does not see. Of Equinox's own layers it is known what it means.
Elsewhere it can only be guessed: a number that is the length an axis had becomes the length that the axis has, if all
axes of the old length have the same new one. Whether the network then does what it did is checked afterwards.
"""

import copy
import dataclasses
import enum
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax

Sizes = Callable[[Any, Any], dict[str, Any]]
# Where a field stands: the names and numbers that lead to it.
Place = tuple[str, ...]


@final
class Guess(enum.Enum):
    """Which axes tell a module that is not Equinox's own, or holds no arrays, its new sizes."""

    NONE = "none"
    OWN = "those of its own arrays"
    ALL = "those of the whole network"


def with_sizes_of(old: Any, new: Any, guess: Guess, stays: frozenset[Place] = frozenset()) -> tuple[Any, list[Place]]:
    """A copy of `new`, a pytree with the structure of `old` and smaller arrays, whose sizes fit its arrays.

    Args:
        old: the network as it was.
        new: the same with smaller arrays.
        guess: which numbers in fields are taken for sizes.
        stays: fields that are no sizes.

    Returns:
        The copy, and the fields that were guessed.
    """
    everywhere = _lengths(jax.tree.leaves(old), jax.tree.leaves(new)) if guess is Guess.ALL else {}
    renewed: list[Place] = []

    def sizes(place: Place, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        if guess is Guess.NONE:
            return {}
        names = [name for name, value in after.items() if eqx.is_array(value)]
        own = _lengths([before[name] for name in names], [after[name] for name in names])
        values = {
            name: _renewed(value, own or everywhere)
            for name, value in after.items()
            if type(value) in (int, tuple) and (*place, name) not in stays
        }
        values = {name: value for name, value in values.items() if value != after[name]}
        renewed.extend((*place, name) for name in values)
        return values

    def walk(place: Place, old: Any, new: Any) -> Any:
        if isinstance(new, eqx.Module):
            fields = {name: walk((*place, name), getattr(old, name), value) for name, value in _fields(new).items()}
            shrunk = _replaced(new, fields)
            known = next((rule(old, shrunk) for cls, rule in _KNOWN.items() if isinstance(new, cls)), {})
            return _replaced(shrunk, known or sizes(place, _fields(old), _fields(shrunk)))
        # One level of any other container.
        children, tree = jax.tree.flatten(new, is_leaf=lambda node: node is not new)
        if len(children) == 1 and children[0] is new:
            return new
        before = jax.tree.leaves(old, is_leaf=lambda node: node is not old)
        pairs = enumerate(zip(before, children, strict=True))
        return jax.tree.unflatten(tree, [walk((*place, str(i)), a, b) for i, (a, b) in pairs])

    return walk((), old, new), renewed


def _lengths(before: list[Any], after: list[Any]) -> dict[int, set[int]]:
    """For every length of an axis before, those of such axes after."""
    lengths: dict[int, set[int]] = {}
    for old, new in zip(before, after, strict=True):
        if eqx.is_array(old):
            for a, b in zip(old.shape, new.shape, strict=True):
                lengths.setdefault(a, set()).add(b)
    return lengths


def _renewed(size: Any, lengths: dict[int, set[int]]) -> Any:
    if type(size) is tuple:
        return tuple(_renewed(each, lengths) for each in size)
    if type(size) is int and len(lengths.get(size, ())) == 1:
        (size,) = lengths[size]
    return size


def _fields(module: eqx.Module) -> dict[str, Any]:
    return {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name in vars(module)}


def _replaced(module: eqx.Module, values: dict[str, Any]) -> Any:
    """A copy with other values of some fields, static ones included, which `eqx.tree_at` does not reach."""
    changed = copy.copy(module)
    for name, value in values.items():
        # Modules are frozen once they are made; this one is still being made.
        object.__setattr__(changed, name, value)
    return changed


def _linear(old: eqx.nn.Linear, new: eqx.nn.Linear) -> dict[str, Any]:
    n_out, n_in = new.weight.shape
    sizes = {"in_features": n_in, "out_features": n_out}
    return {name: size for name, size in sizes.items() if getattr(old, name) != "scalar"}


def _convolution(old: Any, new: Any) -> dict[str, Any]:
    # Where there are several groups, only whole groups are removed.
    n_groups = old.groups * new.weight.shape[0] // old.weight.shape[0] if old.groups > 1 else 1
    return {
        "groups": n_groups,
        "in_channels": new.weight.shape[1] * n_groups,
        "out_channels": new.weight.shape[0],
    }


def _shape(old: Any, new: Any) -> dict[str, Any]:
    affine = new.bias if new.weight is None else new.weight
    return {} if affine is None else {"shape": affine.shape}


def _group_norm(old: eqx.nn.GroupNorm, new: eqx.nn.GroupNorm) -> dict[str, Any]:
    if old.weight is None or new.weight is None:
        return {}
    (before,), (after,) = old.weight.shape, new.weight.shape
    # Where there are several groups, only whole groups are removed.
    return {"channels": after, "groups": old.groups * after // before if old.groups > 1 else 1}


def _batch_norm(old: eqx.nn.BatchNorm, new: eqx.nn.BatchNorm) -> dict[str, Any]:
    return {} if new.weight is None else {"input_size": new.weight.shape[0]}


def _cell(old: Any, new: Any) -> dict[str, Any]:
    return {"input_size": new.weight_ih.shape[1], "hidden_size": new.weight_hh.shape[1]}


def _attention(old: eqx.nn.MultiheadAttention, new: eqx.nn.MultiheadAttention) -> dict[str, Any]:
    before, after = old.query_proj.weight.shape[0], new.query_proj.weight.shape[0]
    # Where there are several heads, only whole heads are removed.
    n_heads = old.num_heads * after // before if old.num_heads > 1 else 1
    return {
        "num_heads": n_heads,
        "query_size": new.query_proj.weight.shape[1],
        "key_size": new.key_proj.weight.shape[1],
        "value_size": new.value_proj.weight.shape[1],
        "output_size": new.output_proj.weight.shape[0],
        "qk_size": after // n_heads,
        "vo_size": new.value_proj.weight.shape[0] // n_heads,
    }


def _perceptron(old: eqx.nn.MLP, new: eqx.nn.MLP) -> dict[str, Any]:
    # One width for all hidden layers is documentation alone; where they differ by now, the widest is told.
    widths = [layer.weight.shape[0] for layer in new.layers[:-1]]
    return {"width_size": max(widths)} if widths else {}


def _embedding(old: eqx.nn.Embedding, new: eqx.nn.Embedding) -> dict[str, Any]:
    return {"num_embeddings": new.weight.shape[0], "embedding_size": new.weight.shape[1]}


_KNOWN: dict[type, Sizes] = {
    eqx.nn.Linear: _linear,
    eqx.nn.Conv: _convolution,
    eqx.nn.ConvTranspose: _convolution,
    eqx.nn.LayerNorm: _shape,
    eqx.nn.RMSNorm: _shape,
    eqx.nn.GroupNorm: _group_norm,
    eqx.nn.BatchNorm: _batch_norm,
    eqx.nn.GRUCell: _cell,
    eqx.nn.LSTMCell: _cell,
    eqx.nn.MultiheadAttention: _attention,
    eqx.nn.MLP: _perceptron,
    eqx.nn.Embedding: _embedding,
}
