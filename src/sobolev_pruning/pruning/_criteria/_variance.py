"""Variance of activations: what hardly varies over data is nearly a constant."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...surrogate import Surrogate
from .._significance import Significance
from .._traces import check_samples, trace_values
from ._criterion import AbstractCriterion


@final
class ActivationVariance(AbstractCriterion):
    """Variance of every node over data, and of the term that every weight adds to a pre-activation, `w² var(n)`.

    It looks at a node alone, and not at what the rest of the network makes of it. Inputs are those of the network,
    normalised.

    Attributes:
        x: samples, `(n, d)`, in physical units.

    Raises:
        ValueError: no samples; when called, samples of another number of inputs, or that are not finite.
    """

    x: Float[Array, "n d"]

    def __check_init__(self) -> None:
        check_samples(self.x, "`ActivationVariance` needs data")

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Variances, in one row."""
        inputs, *hidden = self._variances(surrogate)
        return Significance(inputs[None], tuple(row[None] for row in hidden))

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Variances of the terms."""
        layers = surrogate.network.layers
        return tuple(layer.weight**2 * row[None] for layer, row in zip(layers, self._variances(surrogate), strict=True))

    def _variances(self, surrogate: Surrogate) -> list[Float[Array, " _"]]:
        inputs, _, nodes = trace_values(surrogate, self.x)
        dtype = surrogate.network.layers[0].weight.dtype
        return [jnp.asarray(np.var(part, axis=0), dtype) for part in (inputs, *nodes)]
