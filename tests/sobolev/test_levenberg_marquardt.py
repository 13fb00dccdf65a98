"""Levenberg–Marquardt finds the least squares of a loss, and says what it does."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

from sobolev_pruning.reference import FunctionReference, Samples
from sobolev_pruning.sobolev import AbstractLoss, NotFiniteError, SobolevLoss, ValueLoss, fit_levenberg_marquardt
from sobolev_pruning.sobolev._normal_equations import LeastSquares, cut
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

WIDTHS = (2, 3, 1)


def inputs(key, n):
    return jax.random.normal(key, (n, 2))


def network(seed, widths=WIDTHS):
    return MLP.create(widths, activation=jnp.tanh, key=jax.random.key(seed))


TEACHER = FunctionReference(Surrogate(network(7), Normalisation.identity(2, 1)), inputs)
LOSSES = {"values": ValueLoss(), "values and gradients": SobolevLoss()}


@pytest.fixture(scope="module")
def data():
    return eqx.filter_jit(TEACHER.sample)(jax.random.key(5), 60)


@pytest.fixture(scope="module")
def start(data):
    """Near the teacher, so that it is its own minimum that is found."""
    near = jax.tree.map(lambda p, q: p + 0.1 * q, network(7), network(1))
    return Surrogate(near, Normalisation.from_samples(data), (("from", "here"),))


def as_physical(surrogate):
    """The parameters of the network with its units folded in: a network in units as they are."""
    first, last = surrogate.network.layers
    units = surrogate.normalisation
    weight = first.weight / units.x_scale[None]
    folded = units.y_scale[:, None] * last.weight
    bias = units.y_scale * last.bias + units.y_mean
    return [weight, first.bias - weight @ units.x_mean, folded, bias]


class Recorder:
    """A progress reporter that remembers what it was told."""

    def __init__(self):
        self.told = []

    def start(self, title, n_steps):
        self.told.append((title, n_steps))

    def update(self, n_done, losses):
        self.told.append((n_done, losses.tolist()))

    def stop(self):
        self.told.append("stop")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_a_network_is_recovered_from_its_own_samples(start, data, loss):
    result = fit_levenberg_marquardt(start, data, loss, max_steps=100, tolerance=1e-12)
    assert result.losses[-1] < 1e-20
    assert result.losses[-1] < 1e-10 * result.losses[0]
    for a, b in zip(as_physical(result.surrogate), jax.tree.leaves(network(7)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    assert eqx.tree_equal(result.surrogate.normalisation, start.normalisation)
    assert result.surrogate.provenance == start.provenance
    # The start is left alone.
    assert float(jnp.max(jnp.abs(start.network.layers[0].weight - network(7).layers[0].weight))) > 0.01


def test_the_minimum_of_noisy_samples_is_that_of_a_slow_route(start, data):
    """By BFGS on the loss itself, without residuals, Jacobians or normal equations."""
    noise = 0.1 * jax.random.normal(jax.random.key(3), data.y.shape)
    noisy = Samples(data.x, data.y + noise, data.dydx)
    found = fit_levenberg_marquardt(start, noisy, SobolevLoss(0.5), max_steps=200, tolerance=1e-12)
    batch = start.normalisation.normalise(noisy)
    loss = SobolevLoss(0.5).calibrate(batch)
    params, static = eqx.partition(start.network, eqx.is_inexact_array)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        slow = optx.minimise(
            lambda p, _: loss(eqx.combine(p, static), batch), optx.BFGS(1e-10, 1e-12), params, max_steps=2000
        ).value
    np.testing.assert_allclose(found.losses[-1], loss(eqx.combine(slow, static), batch), rtol=1e-8)
    for a, b in zip(jax.tree.leaves(found.surrogate.network), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_reporter_and_callback_see_every_step(start, data):
    recorder, seen = Recorder(), []
    result = fit_levenberg_marquardt(
        start,
        data,
        SobolevLoss(),
        max_steps=4,
        tolerance=1e-15,
        progress=recorder,
        title="a fit",
        on_step=lambda step, surrogate: seen.append((step, surrogate)),
    )
    assert result.losses.shape == (4,)
    steps = [(i + 1, [loss]) for i, loss in enumerate(result.losses.tolist())]
    assert recorder.told == [("a fit", 4), *steps, "stop"]
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert eqx.tree_equal(seen[-1][1], result.surrogate)
    assert not eqx.tree_equal(seen[0][1], result.surrogate)


def test_it_stops_when_it_has_converged(start, data):
    recorder = Recorder()
    result = fit_levenberg_marquardt(start, data, SobolevLoss(), max_steps=500, tolerance=1e-3, progress=recorder)
    assert len(result.losses) < 100
    assert recorder.told[-1] == "stop"


@pytest.mark.parametrize("bad", ["y", "dydx"])
def test_labels_that_are_nan_stop_the_fit(start, data, bad):
    def where(s):
        return getattr(s, bad)

    poisoned = eqx.tree_at(where, data, where(data).at[3].set(jnp.nan))
    recorder = Recorder()
    with pytest.raises(NotFiniteError, match=r"^1 of \d+ samples are not finite .* row 3, at x = ") as caught:
        fit_levenberg_marquardt(start, poisoned, SobolevLoss(), progress=recorder)
    assert caught.value.losses.size == 0
    assert recorder.told == [], "before anything begins"


def test_an_interruption_stops_the_reporter(start, data):
    def interrupted(step, surrogate):
        raise KeyboardInterrupt

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        fit_levenberg_marquardt(start, data, ValueLoss(), max_steps=3, progress=recorder, on_step=interrupted)
    assert recorder.told[-1] == "stop"


def test_bad_arguments_are_named(start, data):
    for name, value in (("max_steps", 0), ("starts", 0), ("tolerance", 0.0), ("tolerance", float("nan"))):
        with pytest.raises(ValueError, match=f"`{name}` is {value}"):
            fit_levenberg_marquardt(start, data, ValueLoss(), **{name: value})
    three = Samples(jnp.zeros((4, 3)), jnp.zeros((4, 1)))
    with pytest.raises(ValueError, match="the samples map 3 inputs to 1 outputs, the network 2 to 1"):
        fit_levenberg_marquardt(start, three, ValueLoss())
    with pytest.raises(ValueError, match="dydx"):
        fit_levenberg_marquardt(start, Samples(data.x, data.y), SobolevLoss())


def test_normal_equations_that_do_not_fit_into_memory_are_refused():
    """Before anything of their size is made."""
    wide = Surrogate(network(0, (2, 6000, 1)), Normalisation.identity(2, 1))
    few = Samples(jnp.zeros((3, 2)), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"normal equations of 24001 parameters take 4\.3 GiB"):
        fit_levenberg_marquardt(wide, few, ValueLoss())


def test_normal_equations_are_those_of_the_whole_jacobian(start, data):
    """Block by block, with a last block that is filled up."""
    batch, loss = start.normalisation.normalise(data), SobolevLoss(0.5)
    problem = LeastSquares(start.network, batch, loss, None)
    problem._blocks = cut(batch, 7)
    found = problem.normal_equations(problem.start)
    params, static = eqx.partition(start.network, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(params)
    calibrated = loss.calibrate(batch)

    def residuals(theta):
        return calibrated.residuals(eqx.combine(unravel(theta), static), batch).reshape(-1)

    jacobian, r = np.asarray(jax.jacrev(residuals)(flat)), np.asarray(residuals(flat))
    np.testing.assert_allclose(found.matrix, jacobian.T @ jacobian / 60, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.gradient, jacobian.T @ r / 60, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose([found.loss, problem.loss(problem.start)], r @ r / 60, rtol=1e-12)
    # The first four blocks are the first 28 samples.
    np.testing.assert_allclose(problem.loss(problem.start, 4), np.sum(r.reshape(60, -1)[:28] ** 2) / 28, rtol=1e-12)


def test_the_best_of_several_starts_goes_on(start, data):
    """The given start is dead: all its nodes are far in the flat part of the activation."""
    dead = eqx.tree_at(lambda s: s.network.layers[0].bias, start, jnp.full(3, 40.0))
    alone = fit_levenberg_marquardt(dead, data, SobolevLoss(), max_steps=20)
    several = [
        fit_levenberg_marquardt(dead, data, SobolevLoss(), max_steps=20, key=jax.random.key(2), starts=3)
        for _ in range(2)
    ]
    assert several[0].losses[-1] < 1e-3 * alone.losses[-1]
    assert eqx.tree_equal(*[result.surrogate for result in several])
    with pytest.raises(ValueError, match=r"`key` is None, but `starts` is 3"):
        fit_levenberg_marquardt(start, data, SobolevLoss(), starts=3)


def test_random_directions_stay_the_same_within_a_fit(start, data):
    """A loss whose residuals are drawn anew at every evaluation would never converge."""

    @final
    class Noisy(AbstractLoss):
        def calibrate(self, samples):
            return self

        def directions(self, units):
            return None

        def residuals(self, network, samples, *, key=None):
            drawn = jax.random.normal(key, samples.y.shape, samples.y.dtype)
            return ValueLoss().residuals(network, samples) + 0.1 * drawn

        def __call__(self, network, samples, *, key=None):
            return jnp.mean(self.residuals(network, samples, key=key) ** 2)

    results = [
        fit_levenberg_marquardt(start, data, Noisy(), max_steps=60, tolerance=1e-9, key=jax.random.key(seed))
        for seed in (0, 0, 1)
    ]
    assert np.all(np.diff(results[0].losses) <= 0)
    assert results[0].losses[-1] == results[1].losses[-1] != results[2].losses[-1]


def test_float32_stays_float32():
    with jax.enable_x64(False):
        start = Surrogate(network(1), Normalisation.identity(2, 1))
        samples = eqx.filter_jit(FunctionReference(network(7), inputs).sample)(jax.random.key(5), 60)
        result = fit_levenberg_marquardt(start, samples, SobolevLoss(), max_steps=10)
    assert {leaf.dtype for leaf in jax.tree.leaves(result.surrogate)} == {np.dtype("float32")}
    assert result.losses[-1] < 0.5 * result.losses[0]
