"""Labels that err together are weighed by their covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sobolev_pruning.reference import BachelierBasket, DataSet, LabelWeights, Samples
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss, Whitened, fit, fit_levenberg_marquardt
from sobolev_pruning.study import errors_between
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

N, D = 400, 2


def linear(key):
    """Samples of a linear function whose value and slopes err together, and a network that is right on average."""
    x_key, noise_key = jax.random.split(key)
    x = jax.random.normal(x_key, (N, D))
    mixing = jnp.array([[1.0, 0.0, 0.0], [0.5, 0.2, 0.0], [-0.3, 0.1, 0.4]])
    noise = jax.random.normal(noise_key, (N, 3)) @ mixing.T
    slope = jnp.array([1.0, -2.0])
    samples = Samples(x, (x @ slope + noise[:, 0])[:, None], (slope[None] + noise[:, 1:])[:, None])
    # relu(u) − relu(−u) = u, so this network is the linear function itself.
    network = MLP.create([D, 2, 1], activation=jax.nn.relu, key=jax.random.key(0))
    parts = [jnp.stack([slope, -slope]), jnp.zeros(2), jnp.array([[1.0, -1.0]]), jnp.zeros(1)]
    leaves = jax.tree.leaves(network)
    assert [leaf.shape for leaf in leaves] == [part.shape for part in parts]
    return samples, Surrogate(jax.tree.unflatten(jax.tree.structure(network), parts), Normalisation.identity(D, 1))


def test_residuals_are_uncorrelated_and_of_unit_variance(getkey):
    samples, exact = linear(getkey())
    weighed = Whitened.from_residuals(SobolevLoss(), exact, samples)
    residuals = weighed.residuals(exact.network, samples)
    np.testing.assert_allclose(residuals.T @ residuals / N, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(weighed(exact.network, samples), 3.0, rtol=1e-9)


def test_a_floor_raises_what_is_below_it(getkey):
    samples, exact = linear(getkey())
    plain = SobolevLoss().calibrate(samples).residuals(exact.network, samples)
    alike = Whitened.from_residuals(SobolevLoss(), exact, samples, floor=1.0)
    largest = np.linalg.eigvalsh(np.cov(plain.T, bias=True) + np.outer(plain.mean(axis=0), plain.mean(axis=0)))[-1]
    np.testing.assert_allclose(alike.residuals(exact.network, samples), plain / np.sqrt(largest), rtol=1e-9)


def test_one_path_labels_lose_most_of_their_noise():
    """What makes it worth having: on the basket, plain least squares leave several times the error."""
    key = jax.random.key(3)
    basket = BachelierBasket.random(key, 3)
    truth = basket.truth(basket.spots(jax.random.key(4), 1000))
    samples = basket.sample(jax.random.key(1), 2048)
    start = Surrogate(MLP.create([3, 3, 3, 1], key=key), Normalisation.from_samples(samples))
    plain = fit_levenberg_marquardt(start, samples, SobolevLoss(), key=key, starts=2, max_steps=40)
    weighed = Whitened.from_residuals(SobolevLoss(), plain.surrogate, samples)
    found = fit_levenberg_marquardt(start, samples, weighed, key=key, starts=2, max_steps=40, ridge=1.0)
    before, after = (errors_between(s.evaluate(truth.x), truth) for s in (plain.surrogate, found.surrogate))
    assert 1 - before.values.r2 > 3 * (1 - after.values.r2)
    assert 1 - before.deltas.r2 > 3 * (1 - after.deltas.r2)


def test_it_is_a_loss_like_any_other_for_fit(getkey):
    samples, exact = linear(getkey())
    weighed = Whitened.from_residuals(SobolevLoss(), exact, samples)
    start = Surrogate(MLP.create([D, 8, 1], key=getkey()), Normalisation.identity(D, 1))
    result = fit(start, DataSet(samples), weighed, key=getkey(), steps=80, batch_size=32, optimizer=optax.adam(1e-2))
    assert result.losses[-1] < result.losses[0]


def test_a_ridge_is_part_of_loss_and_step(getkey):
    """With a ridge that outweighs the samples, the least squares are no parameters at all."""
    samples, _ = linear(getkey())
    start = Surrogate(MLP.create([D, 2, 1], key=getkey()), Normalisation.from_samples(samples))
    result = fit_levenberg_marquardt(start, samples, SobolevLoss(), ridge=1e6 * N, max_steps=60, tolerance=1e-10)
    for leaf in jax.tree.leaves(result.surrogate.network):
        np.testing.assert_allclose(leaf, 0.0, atol=1e-4)
    np.testing.assert_allclose(result.losses[-1], 2.0, rtol=1e-2)  # normalised values and slopes, none explained
    free = fit_levenberg_marquardt(start, samples, SobolevLoss(), max_steps=60)
    held = fit_levenberg_marquardt(start, samples, SobolevLoss(), max_steps=60, ridge=0.1 * N)
    size = [sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(r.surrogate.network)) for r in (free, held)]
    assert size[1] < size[0]


def test_what_cannot_be_weighed_is_refused(getkey):
    samples, exact = linear(getkey())
    few = jax.tree.map(lambda part: part[:3], samples)
    masked = Samples(samples.x, samples.y, samples.dydx, weights=LabelWeights(y=jnp.ones((N, 1))))
    quiet = Samples(samples.x, jax.vmap(exact)(samples.x))
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, exact)
    for message, loss, surrogate, data, floor in (
        ("`floor` is 0\\.0", SobolevLoss(), exact, samples, 0.0),
        ("`floor` is 2", SobolevLoss(), exact, samples, 2.0),
        ("carries weights", SobolevLoss(), exact, masked, 0.1),
        ("give more samples", SobolevLoss(), exact, few, 0.1),
        ("no noise", ValueLoss(), exact, quiet, 0.1),
        ("sample 0 is not finite", SobolevLoss(), broken, samples, 0.1),
    ):
        with pytest.raises(ValueError, match=message):
            Whitened.from_residuals(loss, surrogate, data, floor=floor)
    with pytest.raises(ValueError, match="`ridge` is -1"):
        fit_levenberg_marquardt(exact, samples, SobolevLoss(), ridge=-1.0)
