"""Laws of the inputs at which a basket model is sampled: where a surrogate learns, and where it is judged."""

import math
from typing import Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


@runtime_checkable
class SpotLaw(Protocol):
    """Draws spots at the exposure date from the scaled Brownian factor of a model.

    `factor` is `(d, d)`: the spots of the model's own law are `initial + factor @ z` with standard normal `z`.
    """

    def draw(
        self,
        key: PRNGKeyArray,
        n: int,
        initial: Float[Array, " d"],
        factor: Float[Array, "d d"],
    ) -> Float[Array, "n d"]:
        """Draw `n` spots."""
        ...


@final
class ModelLaw(eqx.Module):
    """The model's own, correlated law of the spots at the exposure date: normal, wings included.

    This is the training law of the published case study.
    """

    def draw(
        self,
        key: PRNGKeyArray,
        n: int,
        initial: Float[Array, " d"],
        factor: Float[Array, "d d"],
    ) -> Float[Array, "n d"]:
        """Draw `n` spots `initial + factor @ z`."""
        z = jax.random.normal(key, (n, initial.shape[0]), initial.dtype)
        return initial[None] + z @ factor.T


def published_cube_width(dim: int) -> float:
    """Side `a = 1 + sqrt((d - 1) / 12) / 2` of the cube of the published evaluation set, in units of the spot."""
    return 1.0 + 0.5 * math.sqrt((dim - 1) / 12.0)


@final
class UniformCube(eqx.Module):
    """Independent spots, uniform over `[s - a/2, s + a/2]^d` around the initial spots `s`.

    For correlated assets the cube reaches far outside their joint law. With the default side this is the law of the
    published evaluation set.

    Attributes:
        width: side a of the cube in units of the spot; `None` takes `published_cube_width(d)`.

    Raises:
        ValueError: the width is not positive.
    """

    width: float | None = None

    def __check_init__(self) -> None:
        if self.width is not None and not self.width > 0:
            raise ValueError(f"`width` of the cube is {self.width}; it must be positive.")

    def draw(
        self,
        key: PRNGKeyArray,
        n: int,
        initial: Float[Array, " d"],
        factor: Float[Array, "d d"],
    ) -> Float[Array, "n d"]:
        """Draw `n` spots; the `factor` plays no part."""
        (d,) = initial.shape
        width = published_cube_width(d) if self.width is None else self.width
        return initial[None] + width * jax.random.uniform(key, (n, d), initial.dtype, minval=-0.5, maxval=0.5)


@final
class Mixture(eqx.Module):
    """A fixed share of every batch from one law and the rest from another.

    The share is met exactly (stratified) in every batch, so it adds no noise of its own.

    Attributes:
        first, second: the two laws.
        share: part of the samples that comes from `first`, in [0, 1]. Of n samples, `round(share * n)`.

    Raises:
        ValueError: the share is outside [0, 1].
    """

    first: SpotLaw
    second: SpotLaw
    share: float = 0.5

    def __check_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"`share` of the first law is {self.share}; it must lie in [0, 1].")

    def draw(
        self,
        key: PRNGKeyArray,
        n: int,
        initial: Float[Array, " d"],
        factor: Float[Array, "d d"],
    ) -> Float[Array, "n d"]:
        """Draw `round(share * n)` spots from the first law, then the others from the second."""
        first_key, second_key = jax.random.split(key)
        n_first = round(self.share * n)
        return jnp.concatenate(
            [
                self.first.draw(first_key, n_first, initial, factor),
                self.second.draw(second_key, n - n_first, initial, factor),
            ]
        )
