"""Losses agree with a slow, obvious loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import Samples
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss
from sobolev_pruning.surrogate import MLP


def problem(n=5, d=3, m=2, derivatives=True):
    keys = jax.random.split(jax.random.key(1), 3)
    network = MLP.create([d, 4, m], activation=jnp.tanh, key=jax.random.key(0))
    x, y = jax.random.normal(keys[0], (n, d)), jax.random.normal(keys[1], (n, m))
    return network, Samples(x, y, jax.random.normal(keys[2], (n, m, d)) if derivatives else None)


def by_hand(network, samples, gradient_weight, gradient_scale):
    """Sample by sample, number by number; the Jacobian of one hidden layer of tanh by its formula."""
    first, last = ((np.asarray(layer.weight), np.asarray(layer.bias)) for layer in network.layers)
    total = 0.0
    for i, x in enumerate(np.asarray(samples.x)):
        nodes = np.tanh(first[0] @ x + first[1])
        y = last[0] @ nodes + last[1]
        for j in range(len(y)):
            total += (y[j] - float(samples.y[i, j])) ** 2
            for k in range(len(x)):
                slope = sum(last[0][j, n] * (1 - nodes[n] ** 2) * first[0][n, k] for n in range(len(nodes)))
                if gradient_weight:
                    total += gradient_weight / gradient_scale * (slope - float(samples.dydx[i, j, k])) ** 2
    return total / samples.n


@pytest.mark.parametrize("m", [1, 2])
def test_value_loss(m):
    network, samples = problem(m=m, derivatives=False)
    loss = ValueLoss().calibrate(samples)
    np.testing.assert_allclose(loss(network, samples), by_hand(network, samples, 0.0, 1.0), rtol=1e-12)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize(("weight", "scale"), [(1.0, 1.0), (0.3, 2.5)])
def test_sobolev_loss(m, weight, scale):
    network, samples = problem(m=m)
    loss = SobolevLoss(weight, gradient_scale=jnp.asarray(scale))
    np.testing.assert_allclose(
        eqx.filter_jit(loss)(network, samples), by_hand(network, samples, weight, scale), rtol=1e-12
    )


def test_without_weight_it_is_the_value_loss_with_its_derivative():
    network, samples = problem()
    losses = SobolevLoss(0.0).calibrate(samples), ValueLoss()
    (a, da), (b, db) = (
        eqx.filter_jit(eqx.filter_value_and_grad(lambda n, loss: loss(n, samples)))(network, loss) for loss in losses
    )
    np.testing.assert_allclose(a, b, rtol=1e-14)
    for x, y in zip(jax.tree.leaves(da), jax.tree.leaves(db), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-15)


def test_calibration_learns_the_mean_squared_norm_of_the_gradients():
    _, samples = problem()
    loss = SobolevLoss(0.7).calibrate(samples)
    np.testing.assert_allclose(loss.gradient_scale, np.mean(np.sum(np.asarray(samples.dydx) ** 2, (1, 2))), rtol=1e-13)
    assert loss.gradient_weight == 0.7


def test_gradients_that_vanish_leave_the_scale_at_one():
    _, samples = problem()
    flat = Samples(samples.x, samples.y, jnp.zeros_like(samples.dydx))
    assert float(SobolevLoss().calibrate(flat).gradient_scale) == 1.0


def test_the_loss_is_zero_at_the_truth_and_nowhere_else():
    network, samples = problem()
    y, dydx = jax.vmap(network)(samples.x), jax.vmap(jax.jacfwd(network))(samples.x)
    exact = Samples(samples.x, y, dydx)
    assert float(SobolevLoss()(network, exact)) < 1e-28
    # A wrong derivative alone is seen, by the Sobolev loss only.
    wrong = Samples(samples.x, y, dydx + 0.1)
    assert float(SobolevLoss()(network, wrong)) == pytest.approx(0.01 * 6)
    assert float(ValueLoss()(network, wrong)) < 1e-28


def test_missing_derivatives_are_named():
    _, samples = problem(derivatives=False)
    with pytest.raises(ValueError, match=r"`samples\.dydx` is None"):
        SobolevLoss().calibrate(samples)


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_bad_weight_is_named(weight):
    with pytest.raises(ValueError, match="`gradient_weight`"):
        SobolevLoss(weight)
