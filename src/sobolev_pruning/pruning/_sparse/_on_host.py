"""A sparse network evaluated as such, on the host."""

from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float

from ...surrogate import Surrogate


def _silu(x: np.ndarray) -> np.ndarray:
    # Where exp overflows the quotient is the limit, zero.
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


# NumPy's own; a call of a compiled JAX function costs more than a sparse layer of a small batch.
_ACTIVATIONS: dict[Any, Callable[[np.ndarray], np.ndarray]] = {
    jax.nn.silu: _silu,
    jax.nn.relu: lambda x: np.maximum(x, 0),
    jnp.tanh: np.tanh,
    jax.nn.tanh: np.tanh,
}


@final
class SparseEvaluator:
    """Values, and those alone, of a surrogate of whose weights only those that are not zero are stored and multiplied.

    A function of a batch of NumPy arrays, in compressed sparse rows, single-threaded and without JAX: it cannot be
    traced or differentiated. It agrees with the surrogate to rounding.

    It pays for batches of very sparse networks alone: of 7-128×6-1 it is about 1.5 times as fast as the surrogate with
    95 % of the weights removed and batches of 256 or more, no faster at 90 %, and half as fast for single samples. A
    dense network of as many parameters is several times as fast (`benchmarks/results/sparse.md`).

    Args:
        surrogate: with weights that are exactly zero.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        network, units = surrogate.network, surrogate.normalisation
        self._layers = [
            (scipy.sparse.csr_array(np.asarray(layer.weight)), np.asarray(layer.bias)[:, None])
            for layer in network.layers
        ]
        activation = network.activation
        compiled = jax.jit(activation)
        self._activate = _ACTIVATIONS.get(activation, lambda x: np.asarray(compiled(x)))
        self._units = [np.asarray(part)[:, None] for part in (units.x_mean, units.x_scale, units.y_mean, units.y_scale)]

    @property
    def n_bytes(self) -> int:
        """Of all weights, their positions and all biases."""
        parts = [part for weight, bias in self._layers for part in (weight.data, weight.indices, weight.indptr, bias)]
        return sum(part.nbytes for part in parts)

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n m"]:
        """Values of a batch, in physical units.

        Raises:
            ValueError: another number of inputs than the surrogate has.
        """
        x_mean, x_scale, y_mean, y_scale = self._units
        if x.ndim != 2 or x.shape[1] != len(x_mean):
            raise ValueError(f"`x` has shape {x.shape}; a batch of this surrogate has shape (n, {len(x_mean)}).")
        nodes = (np.ascontiguousarray(x.T, x_mean.dtype) - x_mean) / x_scale
        for i, (weight, bias) in enumerate(self._layers):
            nodes = weight @ nodes
            nodes += bias
            if i < len(self._layers) - 1:
                nodes = self._activate(nodes)
        return (y_mean + y_scale * nodes).T
