"""The normal increments that drive a simulation."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


class AbstractNoise(eqx.Module):
    """Independent standard normals for every step of many paths.

    Paths of a batch may depend on one another; each alone has the right law under a random key, so a label is unbiased.
    """

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, n: int, n_steps: int, n_noise: int, dtype: jnp.dtype) -> PyTree:
        """What decides the noise of `n` paths: a pytree whose leaves have the paths on their first axis."""

    @abc.abstractmethod
    def block(
        self, draw: PyTree, begin: Int[Array, ""] | int, size: int, n_noise: int, dtype: jnp.dtype
    ) -> Float[Array, "size n_noise"]:
        """The normals of one path in the `size` steps from number `begin` on.

        A simulation asks for the same blocks in every pass over the path.
        """


@final
class PseudoRandom(AbstractNoise):
    """Independent normals of JAX's counter-based generator, made block by block and never stored."""

    def draw(self, key: PRNGKeyArray, n: int, n_steps: int, n_noise: int, dtype: jnp.dtype) -> PyTree:
        """One key a path."""
        return jax.random.split(key, n)

    def block(
        self, draw: PyTree, begin: Int[Array, ""] | int, size: int, n_noise: int, dtype: jnp.dtype
    ) -> Float[Array, "size n_noise"]:
        """Normals of the key of this block."""
        return jax.random.normal(jax.random.fold_in(draw, begin), (size, n_noise), dtype)
