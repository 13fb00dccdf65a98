"""What makes one fit another one: digests by which a checkpoint knows the fit that it belongs to.

A function has no value that could be compared: two learning rates hide in closures of the same name. What it computes
can be: the program that JAX traces, numbers included, is written down and hashed with the arrays that go in.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PRNGKeyArray, PyTree

from ..surrogate import MLP
from ._steps import Task, batch, draw_batch, lenient

# Functions inside a program are written with where they lie in memory.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def digest(tree: PyTree, text: str = "") -> str:
    """Of every array in a tree, with shapes, types and bits, and of a text."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
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
    params = eqx.filter(network, eqx.is_inexact_array)

    def loss(params: MLP, samples: Any):
        return task.loss(eqx.combine(params, task.static), samples, key=key)

    drawn, calls_host = _program(_samples(task), task.reference, key)
    reference = drawn + digest(task.reference)
    if calls_host:
        # What runs outside of JAX cannot be read, but it can be asked.
        reference += digest(draw_batch(task.reference, task.loss, task.units, key, task.batch_size))
    return {
        "network": f"{'-'.join(map(str, network.widths))} {digest((network, task.units))}",
        "reference": reference,
        "loss": _program(loss, params, samples)[0] + digest(task.loss),
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

    return _program(update, params)


def _samples(task: Task) -> Callable[..., Any]:
    return lambda reference, key: batch(reference, task.loss, task.units, key, task.batch_size)


def _program(function: Callable[..., Any], *arguments: Any) -> tuple[str, bool]:
    """Digest of the program that JAX traces, and whether it calls back to the host."""
    dynamic, static = eqx.partition(
        arguments, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
    )
    traced = jax.make_jaxpr(lambda dynamic: eqx.filter(function(*eqx.combine(dynamic, static)), eqx.is_array))(dynamic)
    written = _ADDRESS.sub("", str(traced))
    return digest(list(_constants(traced)), written), "callback" in written


def _constants(program: Any) -> Iterator[Any]:
    """Every array inside a program, at any depth; written down, a long one is shortened to its ends."""
    if isinstance(program, ClosedJaxpr):
        # Some are of a type of JAX's own that is no array, only read as one.
        yield from (part if isinstance(part, jax.Array) else np.asarray(part) for part in program.consts)
        program = program.jaxpr
    if isinstance(program, Jaxpr):
        for equation in program.eqns:
            yield from (np.asarray(atom.val) for atom in equation.invars if isinstance(atom, Literal))
            yield from _constants(list(equation.params.values()))
    elif isinstance(program, list | tuple):
        for part in program:
            yield from _constants(part)
    elif isinstance(program, jax.Array | np.ndarray):
        yield program
