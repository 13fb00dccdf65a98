"""Likely mistakes are refused with a message that says what to do instead."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sobolev_pruning.pruning import LeastSquares, Ranking
from sobolev_pruning.reference import FunctionReference, Samples
from sobolev_pruning.regions import TrustRegions
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, fit_levenberg_marquardt
from sobolev_pruning.sobolev._checks import check_kinds
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
SAMPLES = Samples(X, jnp.sum(X, axis=1, keepdims=True))
SURROGATE = Surrogate(MLP.create([3, 3, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
KEY, ADAM = jax.random.key(0), optax.adam(1e-3)
RANKING = Ranking((np.arange(3),))


def inputs(key, n):
    return jax.random.normal(key, (n, 3))


CASES = {
    "sample of another size": (lambda: SURROGATE(X[0, :2]), ValueError, r"shape \(2,\)"),
    "scalar function": (lambda: FunctionReference(jnp.sum, inputs).dim_out, ValueError, r"\[None\]"),
    "scalar function, sampled": (
        lambda: FunctionReference(jnp.sum, inputs).sample(jax.random.key(0), 2),
        ValueError,
        r"\[None\]",
    ),
    "flat inputs": (
        lambda: FunctionReference(jnp.sin, lambda key, n: jax.random.normal(key, (n,))).dim_in,
        ValueError,
        r"\(n, d\)",
    ),
    "loss without gradients": (lambda: SobolevLoss()(SURROGATE.network, SAMPLES), ValueError, "dydx"),
    "a seed as key": (lambda: check_kinds(0, ValueLoss(), ADAM), TypeError, "`key` is int"),
    "the class of a loss": (lambda: check_kinds(KEY, ValueLoss, ADAM), TypeError, "`loss` is the class ValueLoss"),
    "the name of an optimizer": (lambda: check_kinds(KEY, ValueLoss(), "adam"), TypeError, "`optimizer` is str"),
    "infinite weight": (lambda: SobolevLoss(float("inf")), ValueError, "finite"),
    "one point": (lambda: TrustRegions.around(X[:1]), ValueError, "one point"),
    "samples that are not finite": (
        lambda: LeastSquares(X.at[2, 0].set(jnp.nan))(SURROGATE, RANKING.keep([2])),
        ValueError,
        "not finite in row 2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused(name):
    call, error, match = CASES[name]
    with pytest.raises(error, match=match):
        call()


def test_a_sobolev_loss_of_weight_zero_is_the_value_loss():
    loss = SobolevLoss(0.0).calibrate(SAMPLES)
    assert float(loss(SURROGATE.network, SAMPLES)) == float(ValueLoss()(SURROGATE.network, SAMPLES))


def test_least_squares_take_the_precision_of_the_network():
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), SURROGATE.network)
    units = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), SURROGATE.normalisation)
    with jax.numpy_dtype_promotion("standard"):
        result = fit_levenberg_marquardt(Surrogate(network, units), SAMPLES, ValueLoss(), max_steps=3)
    assert result.surrogate.network.layers[0].weight.dtype == jnp.float32
    assert result.losses[-1] <= result.losses[0]


# The checks of the annotated shapes come first inside of the tests, so these run as a user runs them.
AS_A_USER = """
import jax, jax.numpy as jnp
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate
s = Surrogate(MLP.create([3, 3, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
x = jnp.ones((3, 3))
for call in (
    lambda: s(x),
    lambda: s.network(x),
    lambda: s.evaluate(x[0]),
    lambda: MLP.create([1, 1], activation="silu", key=jax.random.key(0)),
):
    try:
        call()
        print("accepted")
    except (TypeError, ValueError) as error:
        print(error)
"""


def test_shapes_are_refused_by_name():
    done = subprocess.run([sys.executable, "-c", AS_A_USER], capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 4
    for message, part in zip(messages, ("`evaluate`", "`jax.vmap`", "(n, 3)", "jax.nn.silu"), strict=True):
        assert part in message
