"""What makes one fit another one: digests by which a checkpoint knows the fit that it belongs to.

A function has no value that could be compared: two learning rates hide in closures of the same name. What it computes
can be: the program that JAX traces, numbers included, is written down and hashed with the arrays that go in.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..surrogate import MLP
from ._steps import Task, Weights, batch, lenient

# Functions inside a program are written with where they lie in memory.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def digest(tree: PyTree) -> str:
    """Of every array in a tree, with shapes, types and bits."""
    found = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(tree):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            continue
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def fingerprint(
    task: Task,
    network: MLP,
    key: PRNGKeyArray,
    *,
    steps: int,
    steps_per_chunk: int,
    restarts: int,
    patience: int | None,
    evaluation: Any,
) -> dict[str, str | int | None]:
    """Digests of all that decides the bits of a fit, each under the name that a user knows it by.

    Args:
        task: what the steps do, with the calibrated loss; its mesh does not count.
        network: where to start.
        key: that was passed to the fit.
        steps: number of updates.
        steps_per_chunk: updates that are compiled together.
        restarts: further attempts.
        patience: of early stopping.
        evaluation: samples count by their values, functions by there being one.
    """
    samples = eqx.filter_eval_shape(_samples(task), task.reference, key)
    weights = eqx.filter_eval_shape(lambda n: Weights.start(n, task.optimizer), network)

    def optimizer(weights: Weights):
        with lenient():
            updates, opt_state = task.optimizer.update(weights.params, weights.opt_state, weights.params)
            return task.optimizer.init(weights.params), updates, opt_state

    def loss(params: MLP, samples: Any):
        return task.loss(eqx.combine(params, task.static), samples, key=key)

    return {
        "network": f"{'-'.join(map(str, network.widths))} {digest((network, task.units))}",
        "reference": _program(_samples(task), task.reference, key) + digest(task.reference),
        "loss": _program(loss, weights.params, samples) + digest(task.loss),
        "optimizer": _program(optimizer, weights),
        "key": digest(key),
        "steps": steps,
        "batch_size": task.batch_size,
        "steps_per_chunk": steps_per_chunk,
        "clip_norm": task.clip_norm if task.clip_norm is None else repr(task.clip_norm),
        "restarts": restarts,
        "patience": patience,
        "evaluation": None if evaluation is None else digest(evaluation),
    }


def _samples(task: Task) -> Callable[..., Any]:
    return lambda reference, key: batch(reference, task.loss, task.units, key, task.batch_size)


def _program(function: Callable[..., Any], *arguments: Any) -> str:
    dynamic, static = eqx.partition(
        arguments, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
    )
    traced = jax.make_jaxpr(lambda dynamic: eqx.filter(function(*eqx.combine(dynamic, static)), eqx.is_array))(dynamic)
    written = _ADDRESS.sub("", str(traced))
    return hashlib.blake2b((written + digest(traced.consts)).encode(), digest_size=16).hexdigest()
