"""Directions along which second derivatives are asked for, in place of whole Hessians."""

import abc
from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

HessianProduct = Callable[[Float[Array, "n k d"]], Float[Array, "n m k d"]]


class AbstractDirections(eqx.Module):
    """Chooses k directions for every sample, anew for every batch.

    Random directions with `E[v vᵀ] = I` make the mean of `‖(∇²y − ∇²f) v‖²` an unbiased estimate of the squared
    Frobenius norm of the difference of the Hessians (M. Hutchinson, 1990).
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
        _check_count(self.count)

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Signs, `(n, k, d)`."""
        n, _, d = gradients.shape
        return jax.random.rademacher(key, (n, self.count, d), gradients.dtype)


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"`count` is {count}; ask for at least one direction.")
