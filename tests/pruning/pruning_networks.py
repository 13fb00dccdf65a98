"""Networks that the tests of pruning share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sobolev_pruning.surrogate import MLP, Dense, Normalisation, Surrogate


def units(d, m):
    """None of them zero or one, or a lost factor would not be seen."""
    return Normalisation(
        jnp.linspace(-0.5, 0.7, d), jnp.linspace(0.5, 2.0, d), jnp.linspace(1.0, 4.0, m), jnp.linspace(3.0, 0.4, m)
    )


def surrogate(widths=(2, 4, 3, 1), activation=jax.nn.silu, seed=0):
    """Random weights, and biases that are not zero."""
    network = MLP.create(widths, activation=activation, key=jax.random.key(seed))
    keys = jax.random.split(jax.random.key(seed + 1), len(network.layers))
    biases = [0.3 * jax.random.normal(k, layer.bias.shape) for k, layer in zip(keys, network.layers, strict=True)]
    network = eqx.tree_at(lambda n: [layer.bias for layer in n.layers], network, biases)
    return Surrogate(network, units(widths[0], widths[-1]))


def with_layers(*layers, activation=jnp.tanh):
    """A surrogate with these (weight, bias) pairs and units as they are."""
    dense = tuple(Dense(jnp.asarray(w, dtype=float), jnp.asarray(b, dtype=float)) for w, b in layers)
    network = MLP(dense, activation)
    return Surrogate(network, Normalisation.identity(network.widths[0], network.widths[-1]))


def points(n, d, seed=0, scale=1.5):
    return scale * jax.random.normal(jax.random.key(100 + seed), (n, d))


def errors(found, truth, x):
    """Largest errors of values and of gradients."""
    a, b = found.evaluate(x), truth.evaluate(x)
    return float(np.max(np.abs(a.y - b.y))), float(np.max(np.abs(a.dydx - b.dydx)))
