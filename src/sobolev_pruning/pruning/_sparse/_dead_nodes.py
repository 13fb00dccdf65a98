"""Nodes that a sparse network can do without: what single weights leave behind for dense pruning."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...surrogate import MLP, Dense, Surrogate


def remove_dead_nodes(surrogate: Surrogate) -> Surrogate:
    """The same function with fewer nodes: without those that nothing reads and those that are constant.

    A node all of whose weights onwards are zero is left out; one that has no weight other than zero from the layer
    below is `φ(bias)`, and is folded into the biases that it feeds. Both may set off others, so this is repeated until
    nothing changes. No tolerance is involved: values and derivatives are the same to rounding, and the result is a
    smaller network whose dense matrices are still sparse. One node is left in each hidden layer in any case.

    Args:
        surrogate: with weights that are exactly zero.
    """
    network = surrogate.network
    weights, biases = [list(parts) for parts in zip(*((lay.weight, lay.bias) for lay in network.layers), strict=True)]
    changed = True
    while changed:
        changed = False
        for i in range(len(weights) - 1):
            below, above = np.asarray(weights[i]) != 0, np.asarray(weights[i + 1]) != 0
            alive = below.any(axis=1) & above.any(axis=0)
            if alive.all() or len(alive) == 1:
                continue
            # Of a layer without any live node the first one stays, whatever it is.
            alive[0] |= not alive.any()
            dead = np.flatnonzero(~alive)
            # Of a dead node that something reads nothing but the bias is left.
            biases[i + 1] = biases[i + 1] + weights[i + 1][:, dead] @ network.activation(biases[i][dead])
            weights[i], biases[i] = weights[i][alive], biases[i][alive]
            weights[i + 1], changed = weights[i + 1][:, alive], True
    layers = tuple(Dense(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True))
    return eqx.tree_at(lambda s: s.network, surrogate, MLP(layers, network.activation))
