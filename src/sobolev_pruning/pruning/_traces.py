"""Every layer of a network over samples, with its Jacobians: what refits and rankings look at."""

from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..surrogate import MLP, Surrogate


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
        ValueError: the samples have another number of inputs than the surrogate.
    """
    d = surrogate.network.widths[0]
    if x.shape[1] != d:
        raise ValueError(f"`x` has {x.shape[1]} inputs, the surrogate {d}.")
    if not bool(jnp.all(jnp.isfinite(x))):
        row = int(jnp.argmin(jnp.all(jnp.isfinite(x), axis=1)))
        raise ValueError(f"`x` holds a value that is not finite in row {row}; remove or repair that sample.")
    units = surrogate.normalisation
    x = (x - units.x_mean[None]) / units.x_scale[None]
    return LayerTraces(*jax.tree.map(lambda part: np.asarray(part, np.float64), (x, *_evaluate(surrogate.network, x))))


@eqx.filter_jit
def _evaluate(network: MLP, x: Float[Array, "n d"]):
    def one(x: Float[Array, " d"]) -> tuple[list[Float[Array, " _"]], list[Float[Array, " _"]]]:
        _, nodes = network.forward(x)
        pre = [layer(below) for layer, below in zip(network.layers, (x, *nodes), strict=True)]
        return pre, list(nodes)

    pre, nodes = jax.vmap(one)(x)
    pre_jacobians, node_jacobians = jax.vmap(jax.jacfwd(one))(x)
    return pre, pre_jacobians, nodes, node_jacobians
