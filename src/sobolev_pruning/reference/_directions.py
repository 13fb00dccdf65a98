"""Directions along which second derivatives are asked for, in place of whole Hessians."""

import abc
import math
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

HessianProduct = Callable[[Float[Array, "n k d"]], Float[Array, "n m k d"]]


class AbstractDirections(eqx.Module):
    """Chooses k directions for every sample, anew for every batch.

    Random directions with `E[v vᵀ] = I` make the mean of `‖(∇²y − ∇²f) v‖²` an unbiased estimate of the squared
    Frobenius norm of the difference of the Hessians (M. Hutchinson, 1990). Directions that are chosen are scaled so
    that the mean over all k is the squared Frobenius norm on the space that they span. Either way the mean means the
    same at any number of directions and of inputs.
    """

    @abc.abstractmethod
    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Directions of every sample of a batch.

        Args:
            key: random key of this batch.
            gradients: of the reference at the samples, in the units in which directions are wanted.
            products: the Hessians of the reference at the samples, times directions.

        Raises:
            ValueError: more directions than dimensions, where they have to differ.
        """


@final
class Rademacher(AbstractDirections):
    """Independent signs; of all directions with `E[v vᵀ] = I` these have the least variance of `vᵀ H v`.

    Attributes:
        count: k, directions of every sample.

    Raises:
        ValueError: the count is below 1.
    """

    count: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count(self.count)

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Signs, `(n, k, d)`."""
        n, _, d = gradients.shape
        return jax.random.rademacher(key, (n, self.count, d), gradients.dtype)


@final
class Gaussian(AbstractDirections):
    """Independent standard normal numbers, whose law does not depend on the choice of the axes.

    Attributes:
        count: k, directions of every sample.

    Raises:
        ValueError: the count is below 1.
    """

    count: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count(self.count)

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Normal numbers, `(n, k, d)`."""
        n, _, d = gradients.shape
        return jax.random.normal(key, (n, self.count, d), gradients.dtype)


@final
class Orthonormal(AbstractDirections):
    """Random directions at right angles, all of length `sqrt(d)`, so that `E[v vᵀ] = I`.

    No two of a sample tell the same, so their mean varies less than that of independent ones; with k = d it is the
    whole Hessian's norm and does not vary at all.

    Attributes:
        count: k, directions of every sample, at most d.

    Raises:
        ValueError: the count is below 1, or (by `draw`) above the number of inputs.
    """

    count: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count(self.count)

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """A random frame of every sample, `(n, k, d)`.

        The factor Q of a Gaussian matrix is uniformly distributed but for the signs of its columns (F. Mezzadri,
        2007), and those cancel wherever a direction is used, since it enters twice.
        """
        n, _, d = gradients.shape
        check_fits(self.count, d)
        frames, _ = jnp.linalg.qr(jax.random.normal(key, (n, d, self.count), gradients.dtype))
        return math.sqrt(d) * jnp.swapaxes(frames, 1, 2)


@final
class Axes(AbstractDirections):
    """All d axes, of length `sqrt(d)`: the whole Hessian, where d is small.

    There are as many as inputs, and nothing is left to chance.
    """

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """The same axes at every sample, `(n, d, d)`; the key plays no part."""
        n, _, d = gradients.shape
        return jnp.broadcast_to(math.sqrt(d) * jnp.eye(d, dtype=gradients.dtype)[None], (n, d, d))


@final
class InUnits(AbstractDirections):
    """Directions that are drawn in other units than those of the reference.

    A loss that compares in normalised units wants `E[v vᵀ] = I` and leading directions there; the reference takes
    physical directions. With `z = x / x_scale`, derivatives by z are those by x times `x_scale`, and a direction `v`
    of z is the direction `x_scale v` of x.

    Attributes:
        directions: what draws, in the units of z.
        x_scale: one unit of every input, `(d,)`, in physical units.
        y_scale: one unit of every output, `(m,)`, in physical units; `None` leaves the outputs as they are. It decides
            how much the gradients and Hessians of each output count.
    """

    directions: AbstractDirections
    x_scale: Float[Array, " d"]
    y_scale: Float[Array, " m"] | None = None

    def __check_init__(self) -> None:
        for name, scale in (("x_scale", self.x_scale), ("y_scale", self.y_scale)):
            if scale is None or isinstance(scale, Tracer):
                continue
            if scale.ndim != 1 or not np.all(np.isfinite(scale) & (np.asarray(scale) > 0)):
                raise ValueError(f"`{name}` is {scale.tolist()}; give one finite, positive number for each column.")

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Directions in physical units, `(n, k, d)`."""
        scale = self.x_scale[None, None]

        def of_outputs(part: Float[Array, "n m *rest"]) -> Float[Array, "n m *rest"]:
            return part if self.y_scale is None else part / self.y_scale.reshape((1, -1) + (1,) * (part.ndim - 2))

        def scaled_products(v: Float[Array, "n k d"]) -> Float[Array, "n m k d"]:
            return of_outputs(products(scale * v) * scale[None])

        return scale * self.directions.draw(key, of_outputs(gradients * scale), scaled_products)


def check_count(count: int) -> None:
    """Refuse a number of directions below 1.

    Raises:
        ValueError: that it is.
    """
    if count < 1:
        raise ValueError(f"`count` is {count}; ask for at least one direction.")


def check_fits(count: int, dim: int) -> None:
    """Refuse more directions than there are dimensions.

    Raises:
        ValueError: that there are.
    """
    if count > dim:
        raise ValueError(
            f"`count` is {count}, more directions than dimensions: the reference has {dim} inputs. Ask for at most "
            f"{dim}, or for `Axes()`, which are all of them."
        )
