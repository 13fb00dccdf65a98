"""Sizes that layers keep beside their arrays, brought up to date when the arrays have shrunk.

A field such as `in_features` is a number that JAX does not see. Of Equinox's own layers it is known what it means; in
any other module a number changes if it is the old length of an axis of an array of that module, and all such axes have
the same new length. Whether the network then runs, and does what it did, is checked afterwards.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

Sizes = Callable[[Any, Any], dict[str, Any]]


def with_sizes_of(old: Any, new: Any, *, by_length: bool) -> Any:
    """A copy of `new`, a pytree with the structure of `old` and smaller arrays, whose sizes fit its arrays.

    Args:
        old: the network before.
        new: the network with smaller arrays and the sizes of before.
        by_length: also of modules that are not Equinox's own.
    """
    if isinstance(new, eqx.Module):
        values = {
            name: with_sizes_of(getattr(old, name), value, by_length=by_length) for name, value in _fields(new).items()
        }
        shrunk = _replaced(new, values)
        return _replaced(shrunk, _sizes(old, shrunk, by_length))
    # One level of any other container.
    children, tree = jax.tree.flatten(new, is_leaf=lambda node: node is not new)
    if len(children) == 1 and children[0] is new:
        return new
    before = jax.tree.leaves(old, is_leaf=lambda node: node is not old)
    return jax.tree.unflatten(
        tree, [with_sizes_of(a, b, by_length=by_length) for a, b in zip(before, children, strict=True)]
    )


def _fields(module: eqx.Module) -> dict[str, Any]:
    return {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name in vars(module)}


def _replaced(module: eqx.Module, values: dict[str, Any]) -> Any:
    """A copy with other values of some fields, static ones included, which `eqx.tree_at` does not reach."""
    changed = copy.copy(module)
    for name, value in values.items():
        # Modules are frozen once they are made; this one is still being made.
        object.__setattr__(changed, name, value)
    return changed


def _sizes(old: Any, new: Any, by_length: bool) -> dict[str, Any]:
    for cls, sizes in _KNOWN.items():
        if isinstance(new, cls):
            return sizes(old, new)
    return _by_length(_fields(old), _fields(new)) if by_length else {}


def _by_length(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    lengths: dict[int, set[int]] = {}
    for name, after in new.items():
        if eqx.is_array(after):
            for a, b in zip(old[name].shape, after.shape, strict=True):
                lengths.setdefault(a, set()).add(b)

    def renewed(size: Any) -> Any:
        if type(size) is tuple:
            return tuple(map(renewed, size))
        if type(size) is int and len(lengths.get(size, ())) == 1:
            (size,) = lengths[size]
        return size

    return {name: renewed(value) for name, value in new.items() if type(value) in (int, tuple)}


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
    return {"channels": after, "groups": old.groups * after // before}


def _batch_norm(old: eqx.nn.BatchNorm, new: eqx.nn.BatchNorm) -> dict[str, Any]:
    return {} if new.weight is None else {"input_size": new.weight.shape[0]}


def _cell(old: Any, new: Any) -> dict[str, Any]:
    return {"input_size": new.weight_ih.shape[1], "hidden_size": new.weight_hh.shape[1]}


def _attention(old: eqx.nn.MultiheadAttention, new: eqx.nn.MultiheadAttention) -> dict[str, Any]:
    before, after = old.query_proj.weight.shape[0], new.query_proj.weight.shape[0]
    return {
        "num_heads": old.num_heads * after // before,
        "query_size": new.query_proj.weight.shape[1],
        "key_size": new.key_proj.weight.shape[1],
        "value_size": new.value_proj.weight.shape[1],
        "output_size": new.output_proj.weight.shape[0],
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
