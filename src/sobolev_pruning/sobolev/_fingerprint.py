"""What makes one fit another one: digests by which a checkpoint knows the fit that it belongs to.

A function has no value that could be compared: two learning rates hide in closures of the same name. What it computes
can be: the program that JAX traces, numbers included, is written down and hashed with the arrays that go in.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from .._digest import digest, program_digest
from ..surrogate import MLP
from ._steps import Task, batch, draw_batch, lenient


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
    params = eqx.filter(network, eqx.is_inexact_array)

    def loss(params: MLP, samples: Any):
        return task.loss(eqx.combine(params, task.static), samples, key=key)

    drawn, calls_host = program_digest(_samples(task), task.reference, key)
    reference = drawn + digest(task.reference)
    if calls_host:
        # What runs outside of JAX cannot be read, but it can be asked.
        reference += digest(draw_batch(task.reference, task.loss, task.units, key, task.batch_size))
    return {
        "network": f"{'-'.join(map(str, network.widths))} {digest((network, task.units))}",
        "reference": reference,
        "loss": program_digest(loss, params, samples)[0] + digest(task.loss),
        "optimizer": _program_of(task.optimizer, params)[0],
        "key": digest(key),
        "steps": steps,
        "batch_size": task.batch_size,
        "steps_per_chunk": steps_per_chunk,
        "clip_norm": task.clip_norm if task.clip_norm is None else repr(task.clip_norm),
        "restarts": restarts,
        "patience": patience,
        "evaluation": None if evaluation is None else digest(evaluation),
    }


def shared(optimizer: optax.GradientTransformation, network: MLP) -> optax.GradientTransformation:
    """An optimizer of an earlier fit that does the same to such a network, if there was one.

    Compiled steps are found again by the functions that they call, and every `optax.adam(0.01)` makes new ones. So a
    process that trains again and again would compile each fit, and keep it.
    """
    shapes = eqx.filter_eval_shape(lambda n: eqx.filter(n, eqx.is_inexact_array), network)
    leaves, structure = jax.tree.flatten(shapes)
    # Numbers that agree in single precision may differ in double.
    return _shared(optimizer, structure, tuple(leaves), jax.dtypes.canonicalize_dtype(float) == np.float64)


@functools.lru_cache(maxsize=64)
def _shared(
    optimizer: optax.GradientTransformation, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...], in_double: bool
) -> optax.GradientTransformation:
    program, calls_host = _program_of(optimizer, structure.unflatten(leaves))
    if calls_host:
        return optimizer
    first = _first_of(program, in_double)
    if not first:
        first.append(optimizer)
    return first[0]


@functools.lru_cache(maxsize=64)
def _first_of(program: str, in_double: bool) -> list[optax.GradientTransformation]:
    """A place for the optimizers of one program, the first of which is taken."""
    return []


def _program_of(optimizer: optax.GradientTransformation, params: Any) -> tuple[str, bool]:
    def update(params: Any):
        with lenient():
            opt_state = optimizer.init(params)
            return opt_state, optimizer.update(params, opt_state, params)

    return program_digest(update, params)


def _samples(task: Task) -> Callable[..., Any]:
    return lambda reference, key: batch(reference, task.loss, task.units, key, task.batch_size)
