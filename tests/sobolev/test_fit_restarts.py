"""Networks that diverge or collapse are noticed, replaced a bounded number of times, and reported."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fit_problem import ADAM, close, function, inputs, parameters, points, same_bits, start, train

from sobolev_pruning.reference import AbstractReferenceModel, DataSet, LabelWeights, Samples
from sobolev_pruning.sobolev import AbstractLoss, CollapsedWarning, DivergedError, Failure, ValueLoss, fit, redrawn
from sobolev_pruning.sobolev._restarts import Vitality
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def dead(surrogate):
    """The same network with an output that its hidden layer has no part in, and a bias that hides the layer."""
    layers = surrogate.network.layers
    hidden = jax.tree.map(lambda leaf: jnp.full_like(leaf, -1e3) if leaf.ndim == 1 else leaf, layers[0])
    return Surrogate(MLP((hidden, layers[1]), jax.nn.relu), surrogate.normalisation, surrogate.provenance)


def test_a_dead_network_is_noticed_and_reported():
    with pytest.warns(CollapsedWarning, match="after 20 steps an output is constant"):
        result = train(points(n=200), surrogate=dead(start()))
    assert result.failure == Failure(0, 20, "collapsed")
    assert result.score == np.inf
    # The bias of the output learns the mean; nothing else moves.
    assert np.array_equal(parameters(result.surrogate)[0], parameters(dead(start()))[0])


def test_a_dead_network_is_replaced():
    result = train(points(n=200), surrogate=dead(start()), restarts=3)
    assert result.failure is None
    # Given up after half of the steps, since waiting would not help.
    assert result.restarts == (Failure(0, 10, "collapsed"),)
    assert result.losses.shape == (20,)
    # The second attempt is a fit like any other.
    network_key, batch_key = jax.random.split(jax.random.fold_in(jax.random.key(1), 1))
    again = redrawn(dead(start()), network_key)
    alone = fit(
        again, points(n=200), ValueLoss(), key=batch_key, steps=20, batch_size=4, optimizer=ADAM, steps_per_chunk=5
    )
    assert same_bits(alone.surrogate, result.surrogate)
    assert result.surrogate.provenance == start().provenance


class BadOnce(AbstractReferenceModel):
    """Labels that weigh twice wherever an input of the batch lies above a threshold, which `Fragile` cannot bear."""

    threshold: float

    @property
    def dim_in(self):
        return 2

    @property
    def dim_out(self):
        return 1

    def sample(self, key, n):
        x = inputs(key, n)
        weights = jnp.where(jnp.max(x) > self.threshold, 2.0, 1.0) * jnp.ones((n, 1))
        return Samples(x, jax.vmap(function)(x), weights=LabelWeights(weights))


class Fragile(AbstractLoss):
    """Diverges where `BadOnce` says so, although all labels are finite."""

    def calibrate(self, samples):
        return self

    def directions(self, units):
        return None

    def residuals(self, network, samples, *, key=None):
        return ValueLoss().residuals(network, samples, key=key)

    def __call__(self, network, samples, *, key=None):
        return ValueLoss()(network, samples, key=key) + jnp.where(jnp.any(samples.weights.y > 1), jnp.inf, 0.0)


def test_a_diverged_network_is_replaced():
    """The first inputs above 0.75 are in step 1 of the first attempt and in step 0 of the second."""
    result = train(BadOnce(0.75), Fragile(), restarts=4, batch_size=2, steps=5)
    assert result.restarts == (Failure(0, 1, "diverged"), Failure(1, 0, "diverged"))
    assert result.failure is None
    assert np.all(np.isfinite(result.losses))
    assert result.losses.shape == (5,)


def test_restarts_are_bounded_and_the_last_failure_is_raised():
    titles = []

    class Titles:
        def start(self, title, n_steps):
            titles.append(title)

        def update(self, n_done, losses):
            pass

        def stop(self):
            pass

    with pytest.raises(DivergedError, match=r"at step 0.*the last of 3 attempts") as caught:
        train(BadOnce(-2.0), Fragile(), restarts=2, progress=Titles())
    assert titles == ["fit", "fit, attempt 2", "fit, attempt 3"]
    assert caught.value.failures == tuple(Failure(i, 0, "diverged") for i in range(3))
    assert all(np.all(np.isfinite(leaf)) for leaf in parameters(caught.value.surrogate))


@pytest.mark.parametrize("number", [-1, 1000])
def test_a_bad_number_of_restarts_is_named(number):
    with pytest.raises(ValueError, match=f"`restarts` is {number}"):
        train(restarts=number)


def test_redrawn_networks_have_the_same_shape_and_other_numbers():
    old = start()
    new, other = redrawn(old, jax.random.key(1)), redrawn(old, jax.random.key(2))
    assert new.network.widths == old.network.widths
    assert new.network.activation is old.network.activation
    assert new.normalisation is old.normalisation
    assert not any(np.array_equal(a, b) for a, b in zip(parameters(new)[::2], parameters(other)[::2], strict=True))
    assert same_bits(new, redrawn(old, jax.random.key(1)))


def test_redrawn_networks_keep_their_precision():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start())
    assert {leaf.dtype for leaf in parameters(redrawn(single, jax.random.key(1)))} == {np.dtype(np.float32)}


def vitality(y, x=None, **options):
    x = jax.random.normal(jax.random.key(3), (len(y), 2)) if x is None else x
    return Vitality.of_samples(Samples(x, y, **options))


def labels(signal, noise, n=1000):
    """A line in the first input under noise, with variances `signal` and `noise`."""
    x = jax.random.normal(jax.random.key(3), (n, 2))
    return (jnp.sqrt(signal) * x[:, 0] + jnp.sqrt(noise) * jax.random.normal(jax.random.key(4), (n,)))[:, None]


@pytest.mark.parametrize("noise", [0.0, 1.0, 9.0])
def test_the_explained_part_of_noisy_labels_is_found(noise):
    """To three of its standard errors, about `sqrt((2 + 4 noise) / n)`."""
    found = vitality(labels(1.0, noise)).explained[0]
    assert abs(found - 1.0) < 3 * np.sqrt((2 + 4 * noise) / 1000)


def test_what_is_noise_alone_explains_nothing():
    assert vitality(labels(0.0, 1.0)).explained[0] == 0.0
    assert vitality(jnp.ones((1000, 1))).explained[0] == 0.0


def test_a_parabola_is_enough_to_be_found():
    x = jax.random.normal(jax.random.key(3), (1000, 2))
    np.testing.assert_allclose(vitality(x[:, :1] ** 2, x).explained, np.var(x[:, 0] ** 2), rtol=1e-6)


def test_each_output_counts_for_itself():
    y = jnp.concatenate([labels(1.0, 0.0), labels(0.0, 1.0)], axis=1)
    found = vitality(y)
    alive = MLP.create([2, 2], key=jax.random.key(0))
    weight, bias = alive.layers[0].weight, alive.layers[0].bias
    for row, collapsed in ((0, True), (1, False)):
        layer = type(alive.layers[0])(weight.at[row].set(0.0), bias)
        assert found.is_collapsed(MLP((layer,), jnp.tanh)) is collapsed


def test_labels_that_are_not_known_do_not_count():
    y = labels(1.0, 0.0)
    spoiled = y.at[::2].set(1e6 * y[::2])
    known = jnp.ones_like(y).at[::2].set(0.0)
    x = jax.random.normal(jax.random.key(3), (1000, 2))
    found = vitality(spoiled, x, weights=LabelWeights(y=known)).explained
    np.testing.assert_allclose(found, vitality(y[1::2], x[1::2]).explained, rtol=1e-9)
    poisoned = vitality(y.at[::2].set(jnp.nan), x).explained
    np.testing.assert_allclose(poisoned, found, rtol=1e-9)


def test_rows_that_come_again_count_once():
    """Eight rows of noise, a hundred times each, would otherwise pass for a relation."""
    rows = jnp.tile(jnp.arange(8), 100)
    x = jax.random.normal(jax.random.key(3), (8, 2))[rows]
    y = jax.random.normal(jax.random.key(4), (8, 1))[rows]
    assert vitality(y, x).explained[0] == 0.0


def test_networks_that_only_lag_behind_have_not_collapsed():
    """After no step at all a drawn network varies enough, over many draws."""
    found = vitality(labels(1.0, 0.0))
    for key in jax.random.split(jax.random.key(0), 20):
        assert not found.is_collapsed(MLP.create([2, 8, 8, 1], activation=jnp.tanh, key=key))


def test_constant_labels_raise_no_alarm():
    x = inputs(jax.random.key(0), 50)
    surrogate = Surrogate(dead(start()).network, Normalisation.identity(2, 1))
    result = train(DataSet(Samples(x, jnp.ones((50, 1)))), surrogate=surrogate)
    assert result.failure is None


def test_both_reasons_end_alike_with_a_large_rate():
    with pytest.raises(DivergedError) as caught:
        train(restarts=1, optimizer=optax.sgd(1e200))
    assert len(caught.value.failures) == 2


def test_an_alarm_changes_no_bits():
    close(train(restarts=2).surrogate, train().surrogate, rtol=1e-14)
