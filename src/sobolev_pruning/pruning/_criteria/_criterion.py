"""What a network could do without: one interface for every criterion."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from ...surrogate import Surrogate
from .._significance import Significance


class AbstractCriterion(eqx.Module):
    """Scores of the inputs, nodes and weights of a surrogate's network; higher is kept first.

    What a criterion needs beside the network, a region, samples, a loss or a key, it holds.
    """

    @abc.abstractmethod
    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores of every input and hidden node, per output; a criterion that knows no outputs has one row."""

    @abc.abstractmethod
    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Scores of every weight of every layer, first to last, each in the shape of its weights, `(n_out, n_in)`."""
