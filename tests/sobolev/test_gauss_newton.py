"""Recursive Gauss–Newton on fresh samples is as efficient as least squares of all of them."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import AbstractReferenceModel, DataSet, FunctionReference, Samples
from sobolev_pruning.sobolev import NotFiniteError, SobolevLoss, ValueLoss, fit_gauss_newton
from sobolev_pruning.sobolev._start import as_surrogate
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def inputs(key, n):
    return jax.random.normal(key, (n, 2))


def network(seed, widths=(2, 3, 1)):
    return MLP.create(widths, activation=jnp.tanh, key=jax.random.key(seed))


UNITS = Normalisation.identity(2, 1)
NEAR = Surrogate(jax.tree.map(lambda p, q: p + 0.05 * q, network(7), network(1)), UNITS, (("from", "here"),))


@final
class NoisyTeacher(AbstractReferenceModel):
    """Labels of a network with noise of deviation one tenth on values and derivatives."""

    teacher: FunctionReference
    noise: float

    @property
    def dim_in(self):
        return 2

    @property
    def dim_out(self):
        return 1

    def sample(self, key, n, *, directions=None):
        keys = jax.random.split(key, 3)
        exact = self.teacher.sample(keys[0], n)
        y, dydx = (jax.random.normal(k, part.shape) for k, part in zip(keys[1:], (exact.y, exact.dydx), strict=True))
        return Samples(exact.x, exact.y + self.noise * y, exact.dydx + self.noise * dydx)


NOISY = NoisyTeacher(FunctionReference(network(7), inputs), 0.1)


def test_a_linear_model_is_that_of_weighted_least_squares_of_all_steps():
    """Without hidden layers residuals are linear in the parameters, so every sample can be followed."""
    model = NoisyTeacher(FunctionReference(network(3, (2, 1)), inputs), 0.5)
    start = Surrogate(network(5, (2, 1)), UNITS)
    result = fit_gauss_newton(
        start, model, ValueLoss(), key=jax.random.key(0), steps=30, samples_per_step=2000, damping=1e-12
    )
    layer, truth = result.surrogate.network.layers[0], network(3, (2, 1)).layers[0]
    errors = np.concatenate([np.ravel(layer.weight - truth.weight), np.asarray(layer.bias - truth.bias)])
    # Deviation of each parameter: 0.5 / √N, times √(4/3) for the weights; 4.5 of them.
    limit = 4.5 * 0.5 * np.sqrt(4 / 3 / 60_000)
    assert np.all(np.abs(errors) < limit)
    # One step alone is far less certain, so that the steps are seen to add up.
    assert limit < 4.5 * 0.5 / np.sqrt(2000) / 4


def test_the_teacher_is_found_behind_the_noise():
    result = fit_gauss_newton(NEAR, NOISY, SobolevLoss(), key=jax.random.key(1), steps=40, samples_per_step=4096)
    again = fit_gauss_newton(NEAR, NOISY, SobolevLoss(), key=jax.random.key(1), steps=40, samples_per_step=4096)
    assert eqx.tree_equal(result.surrogate, again.surrogate)
    assert result.surrogate.provenance == NEAR.provenance
    x = inputs(jax.random.key(9), 500)

    def mean_square(surrogate):
        return float(jnp.mean((jax.vmap(surrogate)(x) - jax.vmap(network(7))(x)) ** 2))

    # p σ² / N with 13 parameters is 10⁻⁶; derivatives make it less.
    assert mean_square(result.surrogate) < 3e-6 < 0.02 * mean_square(NEAR)


def test_a_step_that_made_it_worse_is_taken_back():
    """Few samples leave weak directions to noise, and the first step leads astray: the fit goes back and damps more."""
    result = fit_gauss_newton(NEAR, NOISY, SobolevLoss(), key=jax.random.key(2), steps=12, samples_per_step=512)
    assert result.losses[1] > 5 * result.losses[0]
    assert np.all(result.losses[2:] < 1.5 * result.losses[0])


def test_labels_that_are_nan_stop_the_fit():
    x = inputs(jax.random.key(0), 50)
    # Behind the back of the data set, which would refuse them.
    poisoned = eqx.tree_at(lambda d: d.samples.y, DataSet(Samples(x, jnp.zeros((50, 1)))), jnp.full((50, 1), jnp.nan))
    with pytest.raises(NotFiniteError, match=r"^64 of 64 samples .*value of output 0 is nan") as caught:
        fit_gauss_newton(NEAR, poisoned, ValueLoss(), key=jax.random.key(0), steps=3, samples_per_step=64)
    assert eqx.tree_equal(caught.value.surrogate.network, NEAR.network)


def test_bad_arguments_are_named():
    given = {"key": jax.random.key(0), "steps": 2, "samples_per_step": 64}
    for name, value in (("steps", 0), ("samples_per_step", 0), ("damping", 0.0)):
        with pytest.raises(ValueError, match=f"`{name}` is {value}"):
            fit_gauss_newton(NEAR, NOISY, ValueLoss(), **(given | {name: value}))
    three = Surrogate(network(0, (3, 2, 1)), Normalisation.identity(3, 1))
    with pytest.raises(ValueError, match="the reference maps 2 inputs to 1 outputs, the network 3 to 1"):
        fit_gauss_newton(three, NOISY, ValueLoss(), **given)


def test_a_bare_network_learns_its_units():
    samples = NOISY.sample(jax.random.key(4), 100)
    assert as_surrogate(NEAR, samples, jax.random.key(0)) is NEAR
    learned = as_surrogate(network(1), samples, jax.random.key(0))
    assert eqx.tree_equal(learned, Surrogate(network(1), Normalisation.from_samples(samples)))
    drawn = as_surrogate(network(1), NOISY, jax.random.key(0))
    # Inputs are standard normal: means and deviations of 16 384 of them, at 4.5 deviations.
    np.testing.assert_allclose(drawn.normalisation.x_mean, 0, atol=4.5 / 128)
    np.testing.assert_allclose(drawn.normalisation.x_scale, 1, atol=4.5 / 181)


@pytest.mark.usefixtures("unchecked_shapes")
def test_other_things_are_no_start():
    with pytest.raises(TypeError, match="`reference` is list"):
        as_surrogate(network(1), [1.0], jax.random.key(0))
    with pytest.raises(TypeError, match="`network` is list"):
        as_surrogate([1.0], NOISY, jax.random.key(0))
