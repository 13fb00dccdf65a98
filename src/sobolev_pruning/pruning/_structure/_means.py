"""What removed channels contributed on average goes into the biases that follow."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array, PyTree

from ._groups import Analysis
from ._program import Program, Step, apply, is_argument

# What only moves entries, so that a bias is still a bias behind it.
_MOVES: frozenset[Primitive] = frozenset(
    {lax.broadcast_in_dim_p, lax.reshape_p, lax.squeeze_p, lax.transpose_p, lax.convert_element_type_p}
)
_PRODUCTS: frozenset[Primitive] = frozenset({lax.dot_general_p, lax.conv_general_dilated_p})


def fold_means(
    network: PyTree, analysis: Analysis, removed: Mapping[tuple[str, int], np.ndarray], samples: PyTree
) -> PyTree:
    """Add to each bias the mean of what the removed channels contribute to the values it is added to.

    Products are linear in the channels, so the mean of the contribution is the contribution of the mean.
    """
    traced, program = analysis.traced, analysis.traced.program
    gone = np.zeros(analysis.channels.is_fixed.size, bool)
    for path, value in zip(traced.paths, traced.parameter_values, strict=True):
        for axis, of in enumerate(analysis.channels_of(value)):
            gone[of[removed.get((path, axis), np.empty(0, int))]] = True
    batch = [leaf for leaf in jax.tree.leaves(samples) if is_argument(leaf)]
    wanted = [tuple(program.shapes[i]) for i in program.inputs[len(traced.paths) :]]
    found = [tuple(leaf.shape[1:]) for leaf in batch]
    if found != wanted or any(leaf.ndim == 0 or leaf.shape[0] == 0 for leaf in batch):
        raise ValueError(
            f"`samples` has shapes {[leaf.shape for leaf in batch]}; it must be like `x`, shapes {wanted}, with at "
            "least one sample along an axis in front."
        )
    origins = _bias_origins(program, set(traced.parameter_values))

    def one(arguments: list[Array]) -> dict[int, Array]:
        return _contributions(analysis, gone, origins, arguments)

    means = jax.tree.map(lambda each: jnp.mean(each, axis=0), jax.jit(jax.vmap(one))(batch))
    arrays, static = eqx.partition(network, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)
    places = {value: i for i, value in enumerate(traced.parameter_values)}
    for value, mean in means.items():
        leaf = leaves[places[value]]
        leaves[places[value]] = leaf + mean.astype(leaf.dtype)
    return eqx.combine(jax.tree.unflatten(tree, leaves), static)


def _bias_origins(program: Program, parameters: set[int]) -> dict[int, tuple[int, tuple[Step, ...]]]:
    """For every value that is a parameter moved about, the parameter and the steps that moved it."""
    origins: dict[int, tuple[int, tuple[Step, ...]]] = {p: (p, ()) for p in parameters}
    for step in program.steps:
        if step.primitive in _MOVES and len(step.inputs) == 1 and step.inputs[0] in origins:
            parameter, steps = origins[step.inputs[0]]
            origins[step.outputs[0]] = parameter, (*steps, step)
    return origins


def _contributions(
    analysis: Analysis, gone: np.ndarray, origins: dict[int, tuple[int, tuple[Step, ...]]], arguments: list[Array]
) -> dict[int, Array]:
    program = analysis.traced.program
    env: dict[int, Any] = dict(program.constants)
    env.update(zip(program.inputs, [*analysis.traced.parameters, *arguments], strict=True))
    # What the removed channels contribute to a value. It is followed through values that are used once, or another use
    # would miss what the bias makes up for; and a bias that is used twice would make up for it twice.
    lost: dict[int, Any] = {}
    found: dict[int, Array] = {}
    uses = Counter([*(i for step in program.steps for i in step.inputs), *program.outputs])
    for step in program.steps:
        env.update(zip(step.outputs, apply(step, [env[i] for i in step.inputs]), strict=True))
        followed = [i for i in step.inputs if i in lost and uses[i] == 1]
        if step.primitive in _PRODUCTS:
            mask = _summed_mask(analysis, gone, step)
            if mask is not None:
                first, second = (env[i] for i in step.inputs)
                (lost[step.outputs[0]],) = apply(step, [jnp.where(mask, first, 0), second])
        elif step.primitive in _MOVES and followed:
            (lost[step.outputs[0]],) = apply(step, [lost[followed[0]]])
        elif step.primitive is lax.add_p and followed:
            like = env[step.outputs[0]]
            total = sum((jnp.broadcast_to(lost[i], like.shape) for i in followed), start=jnp.zeros_like(like))
            biases = [origins[i] for i in step.inputs if i in origins and uses[origins[i][0]] == 1]
            if biases:
                ((parameter, steps),) = biases
                found[parameter] = _averaged(steps, env[parameter], total)
            else:
                lost[step.outputs[0]] = total
    return found


def _summed_mask(analysis: Analysis, gone: np.ndarray, step: Step) -> np.ndarray | None:
    """Of the first operand of a product, the entries of removed channels along the axes that are summed."""
    value = step.inputs[0]
    if step.primitive is lax.dot_general_p:
        axes = step.params["dimension_numbers"][0][0]
    else:
        axes = (step.params["dimension_numbers"].lhs_spec[1],)
        if step.params["feature_group_count"] > 1:
            # A group that is removed takes its own outputs with it.
            return None
    shape = analysis.traced.program.shapes[value]
    mask = np.zeros(shape, bool)
    for axis in axes:
        along = gone[analysis.channels_of(value)[axis]]
        mask |= np.expand_dims(along, [i for i in range(len(shape)) if i != axis])
    return mask if mask.any() else None


def _averaged(steps: tuple[Step, ...], bias: Array, values: Array) -> Array:
    """The change of a bias that, moved as the bias is, comes nearest to some values: their mean over its copies."""

    def moved(b: Array) -> Array:
        for step in steps:
            (b,) = apply(step, [b])
        return jnp.broadcast_to(b, values.shape).astype(values.dtype)

    _, pull = jax.vjp(moved, bias)
    (total,), (count,) = pull(values), pull(jnp.ones_like(values))
    return total / count
