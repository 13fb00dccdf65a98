"""Chance: the criterion that every other one has to beat."""

from typing import final

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ...surrogate import Surrogate
from .._significance import Significance
from ._criterion import AbstractCriterion


@final
class Random(AbstractCriterion):
    """Uniform scores in [0, 1). The same key gives the same scores.

    Attributes:
        key: random key.
    """

    key: PRNGKeyArray

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores in one row."""
        widths = surrogate.network.widths[:-1]
        dtype = surrogate.network.layers[0].weight.dtype
        keys = jax.random.split(jax.random.fold_in(self.key, 0), len(widths))
        inputs, *hidden = (jax.random.uniform(k, (1, n), dtype) for k, n in zip(keys, widths, strict=True))
        return Significance(inputs, tuple(hidden))

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Scores that are independent of those of the nodes."""
        layers = surrogate.network.layers
        keys = jax.random.split(jax.random.fold_in(self.key, 1), len(layers))
        return tuple(
            jax.random.uniform(k, layer.weight.shape, layer.weight.dtype) for k, layer in zip(keys, layers, strict=True)
        )
