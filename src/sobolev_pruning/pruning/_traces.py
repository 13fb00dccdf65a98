"""Every layer of a network over samples, with its Jacobians: what refits and rankings look at."""

from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..surrogate import MLP, Surrogate
from ..surrogate import check_surrogate as check_kind


@final
@dataclass(frozen=True)
class LayerTraces:
    """Pre-activations and nodes over n samples, in double precision on the host.

    Jacobians are with respect to the normalised inputs.

    Attributes:
        x: normalised inputs, `(n, d)`.
        pre: pre-activations of every layer, the output included, each `(n, n_nodes)`.
        pre_jacobians: each `(n, n_nodes, d)`.
        nodes: hidden nodes after their activation, each `(n, n_nodes)`.
        node_jacobians: each `(n, n_nodes, d)`.
    """

    x: np.ndarray
    pre: list[np.ndarray]
    pre_jacobians: list[np.ndarray]
    nodes: list[np.ndarray]
    node_jacobians: list[np.ndarray]


def trace_layers(surrogate: Surrogate, x: Float[Array, "n d"]) -> LayerTraces:
    """Evaluate every layer of a surrogate's network at samples `(n, d)` in physical units.

    Raises:
        ValueError: the samples have another number of inputs than the surrogate, or something is not finite.
    """
    z = normalised(surrogate, x)
    return LayerTraces(*_in_double((z, *_evaluate(surrogate.network, z))))


def trace_values(surrogate: Surrogate, x: Float[Array, "n d"]) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Normalised inputs, pre-activations and hidden nodes alone, as in `LayerTraces`; errors are those above."""
    z = normalised(surrogate, x)
    return _in_double((z, *_evaluate_values(surrogate.network, z)))


def normalised(surrogate: Surrogate, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Samples in the units of the network, unless they are none of its own.

    Raises:
        ValueError: they have another number of inputs than the surrogate, or are not finite, or there are none; or a
            weight is not finite.
    """
    check_finite_inputs(surrogate, x)
    units = surrogate.normalisation
    return (x - units.x_mean[None]) / units.x_scale[None]


def check_surrogate(surrogate: Any) -> None:
    """Refuse what is no surrogate, and one whose weights are not numbers.

    Raises:
        TypeError: it is none.
        ValueError: a weight or bias is not finite.
    """
    check_kind(surrogate)
    for i, layer in enumerate(surrogate.network.layers):
        if not (_known_to_be_finite(layer.weight) and _known_to_be_finite(layer.bias)):
            raise ValueError(
                f"layer {i} of the network has a weight or bias that is not finite, so nothing of it can be compared; "
                "train it again."
            )


def check_finite_inputs(surrogate: Surrogate, x: Float[Array, "n d"]) -> None:
    """Refuse samples that are none of the surrogate's inputs; errors are those of `normalised`."""
    check_surrogate(surrogate)
    check_samples(x, "the network is looked at over samples")
    d = surrogate.network.widths[0]
    if x.shape[1] != d:
        raise ValueError(f"`x` has {x.shape[1]} inputs, the surrogate {d}.")
    if not _known_to_be_finite(x):
        row = int(jnp.argmin(jnp.all(jnp.isfinite(x), axis=1)))
        raise ValueError(f"`x` holds a value that is not finite in row {row}; remove or repair that sample.")


def _known_to_be_finite(array: Array | np.ndarray) -> bool:
    # Under a transformation nothing is known, and nothing is refused.
    return isinstance(array, Tracer) or bool(np.all(np.isfinite(array)))


def check_samples(x: object, needs: str) -> None:
    """Refuse what is no samples, `(n, d)` with n at least 1; `needs` says who needs them for what.

    Raises:
        TypeError: it is no array.
        ValueError: an array of another shape, or without rows.
    """
    if not isinstance(x, jax.Array | np.ndarray):
        raise TypeError(f"`x` is {type(x).__name__}; {needs}, an array (n, d) with n at least 1.")
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(f"`x` has shape {x.shape}; {needs}, (n, d) with n at least 1.")


def _in_double(parts):
    return jax.tree.map(lambda part: np.asarray(part, np.float64), parts)


def _of_one(network: MLP, x: Float[Array, " d"]) -> tuple[list[Float[Array, " _"]], list[Float[Array, " _"]]]:
    _, nodes = network.forward(x)
    pre = [layer(below) for layer, below in zip(network.layers, (x, *nodes), strict=True)]
    return pre, list(nodes)


@eqx.filter_jit
def _evaluate(network: MLP, x: Float[Array, "n d"]):
    pre, nodes = jax.vmap(lambda x: _of_one(network, x))(x)
    pre_jacobians, node_jacobians = jax.vmap(jax.jacfwd(lambda x: _of_one(network, x)))(x)
    return pre, pre_jacobians, nodes, node_jacobians


@eqx.filter_jit
def _evaluate_values(network: MLP, x: Float[Array, "n d"]):
    return jax.vmap(lambda x: _of_one(network, x))(x)
