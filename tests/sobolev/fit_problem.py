"""One small problem that the tests of `fit` share, so that its steps are compiled once for many of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sobolev_pruning.reference import DataSet, FunctionReference, Samples
from sobolev_pruning.sobolev import ValueLoss, fit
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def function(x):
    return jnp.stack([jnp.sin(3 * x[0]) + x[1] ** 2])


def inputs(key, n):
    return jax.random.uniform(key, (n, 2), minval=-1.0, maxval=1.0)


TEACHER = FunctionReference(function, inputs)
ADAM = optax.adam(1e-2)
OPTIONS = {"steps": 20, "batch_size": 4, "optimizer": ADAM, "steps_per_chunk": 5}


def points(seed=5, n=12):
    """Samples free of noise."""
    x = inputs(jax.random.key(seed), n)
    return Samples(x, jax.vmap(function)(x), jax.vmap(jax.jacrev(function))(x))


def start(activation=jnp.tanh, widths=(2, 8, 1)):
    network = MLP.create(widths, activation=activation, key=jax.random.key(0))
    return Surrogate(network, Normalisation.from_samples(points()), (("from", "here"),))


def train(reference=None, loss=None, *, surrogate=None, key=1, **options):
    reference = DataSet(points()) if reference is None else reference
    loss = ValueLoss() if loss is None else loss
    surrogate = start() if surrogate is None else surrogate
    return fit(surrogate, reference, loss, key=jax.random.key(key), **OPTIONS | options)


def parameters(surrogate):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(surrogate.network, eqx.is_array))]


def same_bits(a, b):
    return all(np.array_equal(p, q) for p, q in zip(parameters(a), parameters(b), strict=True))


def close(a, b, rtol=1e-10):
    for p, q in zip(parameters(a), parameters(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-12)
