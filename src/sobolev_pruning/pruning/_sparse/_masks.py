"""Which weights of a network are kept."""

from typing import TypeVar, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ...surrogate import MLP, Surrogate

Network = TypeVar("Network", MLP, Surrogate)


@final
class Masks(eqx.Module):
    """For every weight of a network, whether it is kept. Biases are always kept.

    A pytree of boolean arrays, so that it goes through `jit`, `scan` and the checkpoints of a fit.

    Attributes:
        weights: for each layer an array of the shape of its weight, `(n_out, n_in)`; true where it is kept.
    """

    weights: tuple[Bool[Array, "_ _"], ...]

    @classmethod
    def of(cls, network: MLP | Surrogate) -> "Masks":
        """The weights of a network that are not zero; of a trained sparse network these are its masks.

        A weight that `rigl` or `sparse_evolution` made and that has not moved since is zero, and counts as removed: one
        made in the very last step, or into a node that nothing reads. The state of the optimizer has it in its masks.
        """
        return cls(tuple(layer.weight != 0 for layer in _mlp(network).layers))

    @property
    def n_kept(self) -> tuple[int, ...]:
        """Weights that are kept, layer by layer."""
        return tuple(int(jnp.sum(mask)) for mask in self.weights)

    @property
    def sparsity(self) -> float:
        """Share of all weights that is removed."""
        return 1 - sum(self.n_kept) / sum(mask.size for mask in self.weights)

    def apply(self, network: Network) -> Network:
        """The same network, or surrogate, with exact zeros in place of the weights that are not kept.

        Raises:
            ValueError: the masks belong to a network of other widths.
        """
        self.check_fits(network)
        layers = _mlp(network).layers
        # Selected, not multiplied: the product of a negative weight and a mask would be -0.
        weights = [
            jnp.where(mask, layer.weight, jnp.zeros((), layer.weight.dtype))
            for mask, layer in zip(self.weights, layers, strict=True)
        ]
        return eqx.tree_at(lambda n: [layer.weight for layer in _mlp(n).layers], network, weights)

    def check_fits(self, network: MLP | Surrogate) -> None:
        """Refuse a network of other widths.

        Raises:
            ValueError: the masks belong to a network of other widths.
        """
        wanted = [layer.weight.shape for layer in _mlp(network).layers]
        found = [mask.shape for mask in self.weights]
        if wanted != found:
            raise ValueError(
                f"`masks` are of the shapes {found}, the weights of the network {wanted}; make the masks from this "
                "network, or from scores of its weights."
            )

    def check_none_empty(self) -> None:
        """Refuse a layer without any weight, behind which nothing depends on the inputs.

        Raises:
            ValueError: a layer keeps nothing.
        """
        for i, n in enumerate(self.n_kept):
            if n == 0:
                raise ValueError(
                    f"`masks` keep nothing in layer {i}, so that the output would be constant; keep at least one "
                    "weight in every layer."
                )


def _mlp(network: MLP | Surrogate) -> MLP:
    return network.network if isinstance(network, Surrogate) else network
