"""Magnitude: what has small weights goes."""

from typing import Literal, final, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...surrogate import Surrogate
from .._significance import Significance
from ._criterion import AbstractCriterion

Side = Literal["incoming", "outgoing"]


@final
class Magnitude(AbstractCriterion):
    """Euclidean norms of the weights of a node, and absolute values of weights.

    Inputs have no weights on the other side, and are scored by their outgoing ones. Weights of layers of different
    widths are of different sizes, so that this ranks within a layer rather than across layers.

    Attributes:
        side: whether the `"incoming"` weights of a node count, without its bias, or the `"outgoing"` ones.

    Raises:
        ValueError: `side` is unknown.

    References: S. Han et al., *Learning both Weights and Connections for Efficient Neural Networks*, NeurIPS 2015, for
    weights; H. Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017, for nodes, with the sum of absolute
    values in place of the norm.
    """

    side: Side = eqx.field(static=True, default="incoming")

    def __check_init__(self) -> None:
        if self.side not in get_args(Side):
            raise ValueError(f"`side` is {self.side!r}; it must be one of {get_args(Side)}.")

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Norms, in one row."""
        layers = surrogate.network.layers
        outgoing = [jnp.linalg.norm(layer.weight, axis=0)[None] for layer in layers]
        incoming = [jnp.linalg.norm(layer.weight, axis=1)[None] for layer in layers]
        hidden = incoming[:-1] if self.side == "incoming" else outgoing[1:]
        return Significance(outgoing[0], tuple(hidden))

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Absolute values."""
        return tuple(jnp.abs(layer.weight) for layer in surrogate.network.layers)
