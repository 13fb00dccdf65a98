"""The interface of everything that can be sampled."""

import abc

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from ._directions import AbstractDirections
from ._samples import Samples


class AbstractReferenceModel(eqx.Module):
    """A model that is too slow, too noisy or too large to be used itself, and can be sampled.

    Implementations are pure: the same key gives the same samples. `sample` is traceable with a static `n`, so that a
    compiled training step can draw its own.
    """

    @property
    @abc.abstractmethod
    def dim_in(self) -> int:
        """Number of inputs, d."""

    @property
    @abc.abstractmethod
    def dim_out(self) -> int:
        """Number of outputs, m."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Draw `n` inputs and label them with values and, where they are known, derivatives.

        Args:
            key: random key; it decides inputs and labels.
            n: number of samples; static under `jit`.
            directions: asks for second derivatives along these; a model that has whole Hessians may give them instead.

        Raises:
            ValueError: second derivatives are asked for and would be useless or are not known; the message says why.
        """


class AbstractReferenceWithTruth(AbstractReferenceModel):
    """A reference model whose expectation, and its derivatives, are known without noise."""

    @abc.abstractmethod
    def truth(self, x: Float[Array, "n d"]) -> Samples:
        """Exact values, Jacobians and Hessians at the given inputs."""
