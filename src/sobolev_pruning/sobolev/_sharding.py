"""One batch on many devices: the samples are shared out, the parameters are everywhere.

Every device draws and differentiates its own share, and XLA adds up the gradients. Random numbers depend on the key and
on the position in the batch alone (`jax_threefry_partitionable`), so the samples are the same on any number of devices
and results differ by the order of a sum.
"""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

_T = TypeVar("_T")


def checked_mesh(mesh: Mesh | None, batch_size: int) -> Mesh | None:
    """A mesh over the same devices whose shardings are XLA's to propagate.

    Raises:
        ValueError: the batch cannot be shared out evenly, or random numbers would depend on the devices.
    """
    if mesh is None:
        return None
    if batch_size % mesh.size:
        raise ValueError(
            f"`batch_size` is {batch_size}, which the {mesh.size} devices of `mesh` cannot share evenly; make it a "
            f"multiple of {mesh.size}."
        )
    if not jax.threefry_partitionable.value:
        raise ValueError(
            "`mesh` needs random numbers that do not depend on the devices: set `jax_threefry_partitionable` to True."
        )
    # A mesh of explicit axes would ask every model and loss to name the sharding of its results.
    return Mesh(mesh.devices, mesh.axis_names)


def shared_out(tree: _T, mesh: Mesh | None) -> _T:
    """Within compiled code: the leading axis of every array shared by all devices of the mesh."""
    return tree if mesh is None else _constrained(tree, NamedSharding(mesh, PartitionSpec(mesh.axis_names)))


def one_copy(tree: _T, mesh: Mesh | None) -> _T:
    """Within compiled code: every array whole on every device of the mesh."""
    return tree if mesh is None else _constrained(tree, NamedSharding(mesh, PartitionSpec()))


def _constrained(tree: _T, sharding: NamedSharding) -> _T:
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree)


def everywhere(tree: _T, mesh: Mesh | None) -> _T:
    """Arrays of this process, the same in all, as arrays that lie whole on every device of the mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def placed(leaf: Array) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = placed(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        # No process can write to the devices of another, so each places its own copies.
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(lambda leaf: placed(leaf) if eqx.is_array(leaf) else leaf, tree)


def here(tree: _T, mesh: Mesh | None) -> _T:
    """The reverse of `everywhere`: arrays on this process's first device."""
    if mesh is None:
        return tree

    def copied(leaf: Array) -> Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(copied(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(lambda leaf: copied(leaf) if eqx.is_array(leaf) else leaf, tree)
