"""Digests of arrays and of functions, by which what lies on the disk is known again.

A function has no value that could be compared: two learning rates hide in closures of the same name. What it computes
can be: the program that JAX traces, numbers included, is written down and hashed with the arrays that go in.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

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


def program_digest(function: Callable[..., Any], *arguments: Any) -> tuple[str, bool]:
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
