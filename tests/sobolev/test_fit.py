"""Training: reproducible, interruptible, and better with derivatives."""

import io
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from sobolev_pruning.reference import AbstractReferenceModel, BachelierBasket, DataSet, FunctionReference, Samples
from sobolev_pruning.sobolev import DivergedError, ProgressBar, SobolevLoss, ValueLoss, fit
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def function(x):
    return jnp.stack([jnp.sin(3 * x[0]) + x[1] ** 2])


def inputs(key, n):
    return jax.random.uniform(key, (n, 2), minval=-1.0, maxval=1.0)


TEACHER = FunctionReference(function, inputs)


@pytest.fixture(scope="module")
def data():
    """Few samples, free of noise."""
    return eqx.filter_jit(TEACHER.sample)(jax.random.key(5), 12)


@pytest.fixture(scope="module")
def start(data):
    network = MLP.create([2, 16, 1], activation=jnp.tanh, key=jax.random.key(0))
    return Surrogate(network, Normalisation.from_samples(data), (("from", "here"),))


def train(start, reference, loss=None, *, key=1, **options):
    defaults = {"steps": 10, "batch_size": 4, "optimizer": optax.adam(1e-2), "steps_per_chunk": 5}
    loss = SobolevLoss() if loss is None else loss
    return fit(start, reference, loss, key=jax.random.key(key), **defaults | options)


class Recorder:
    """A progress reporter that remembers what it was told."""

    def __init__(self, fail_at=None):
        self.told = []
        self.losses = []
        self.fail_at = fail_at

    def start(self, title, n_steps):
        self.told.append(("start", title, n_steps))

    def update(self, n_done, losses):
        self.told.append(("update", n_done))
        self.losses.append(losses)
        if n_done == self.fail_at:
            raise KeyboardInterrupt

    def stop(self):
        self.told.append(("stop",))


def parameters(surrogate):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(surrogate.network)]


def test_same_key_same_result_at_any_length_of_a_chunk(start, data):
    reference = DataSet(data)
    results = [train(start, reference, steps_per_chunk=n) for n in (5, 5, 10)]
    for other in results[1:]:
        np.testing.assert_allclose(other.losses, results[0].losses, rtol=1e-12)
        for a, b in zip(parameters(other.surrogate), parameters(results[0].surrogate), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert np.array_equal(results[0].losses, results[1].losses)
    assert results[0].losses.shape == (10,)
    assert not np.any(train(start, reference, key=2).losses == results[0].losses)


def test_only_the_network_is_trained(start, data):
    before = parameters(start)
    result = train(start, DataSet(data))
    assert all(np.array_equal(a, b) for a, b in zip(parameters(start), before, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(parameters(result.surrogate), before, strict=True))
    assert eqx.tree_equal(result.surrogate.normalisation, start.normalisation)
    assert result.surrogate.provenance == start.provenance


def test_losses_are_measured_before_their_step(start, data):
    """With one sample every batch is that sample, so the losses can be checked from outside."""
    one = jax.tree.map(lambda part: part[:1], data)
    result = train(start, DataSet(one), steps=3, optimizer=optax.sgd(0.1))
    batch = start.normalisation.normalise(one)
    loss, network = SobolevLoss().calibrate(batch), start.network
    for found in result.losses:
        value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda n: loss(n, batch)))(network)
        np.testing.assert_allclose(found, value, rtol=1e-11)
        network = jax.tree.map(lambda p, g: p - 0.1 * g, network, gradient)
    for a, b in zip(parameters(result.surrogate), jax.tree.leaves(network), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def errors(surrogate):
    """Root mean squared error of values and gradients on a grid."""
    axis = jnp.linspace(-1.0, 1.0, 15)
    x = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    truth, found = eqx.filter_jit(TEACHER.truth)(x), surrogate.evaluate(x)
    return [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in ((truth.y, found.y), (truth.dydx, found.dydx))]


def test_derivatives_help_where_samples_are_few(start, data):
    """12 samples without noise: the derivatives are 24 more numbers, and a third of the error is left."""
    schedule = optax.cosine_decay_schedule(2e-2, 1000)
    options = {"steps": 1000, "batch_size": 16, "optimizer": optax.adam(schedule), "steps_per_chunk": 1000}
    with_derivatives = errors(train(start, DataSet(data), SobolevLoss(), **options).surrogate)
    without = errors(train(start, DataSet(data), ValueLoss(), **options).surrogate)
    assert with_derivatives[0] < 0.6 * without[0]
    assert with_derivatives[1] < 0.6 * without[1]
    assert with_derivatives[0] < 0.4 * errors(start)[0]


REFERENCES = {
    "fresh samples": lambda: BachelierBasket.random(jax.random.key(0), 2),
    "a data set": lambda: DataSet(eqx.filter_jit(TEACHER.sample)(jax.random.key(5), 8)),
    "a teacher": lambda: FunctionReference(
        Surrogate(MLP.create([2, 3, 1], key=jax.random.key(3)), Normalisation.identity(2, 1)), inputs
    ),
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES.keys())
def test_every_reference_teaches(start, reference):
    result = train(start, reference(), steps=60, batch_size=16, steps_per_chunk=60)
    assert np.all(np.isfinite(result.losses))
    assert result.losses[-20:].mean() < result.losses[:20].mean()


def test_several_outputs(data):
    def two(x):
        return jnp.stack([x[0] * x[1], jnp.cos(x[0])])

    reference = FunctionReference(two, inputs)
    start = Surrogate(MLP.create([2, 6, 2], key=jax.random.key(0)), Normalisation.identity(2, 2))
    result = train(start, reference, steps=300, batch_size=16, steps_per_chunk=300)
    assert result.losses[-20:].mean() < 0.1 * result.losses[:20].mean()


def poisoned(data, row):
    # Behind the back of the data set, which would refuse them.
    return eqx.tree_at(lambda d: d.samples.y, DataSet(data), data.y.at[row].set(jnp.nan))


def test_labels_that_are_nan_stop_the_fit_at_their_step(start, data):
    reference, steps = poisoned(data, 3), 28
    recorder = Recorder()
    with pytest.raises(DivergedError) as caught:
        train(start, reference, ValueLoss(), steps=steps, batch_size=1, steps_per_chunk=7, progress=recorder)
    error = caught.value
    assert 0 < error.step < steps
    assert error.losses.shape == (error.step,)
    assert np.all(np.isfinite(error.losses))
    assert f"step {error.step}" in str(error)
    assert all(np.all(np.isfinite(leaf)) for leaf in parameters(error.surrogate))
    assert recorder.told[-1] == ("stop",)
    assert recorder.told.count(("stop",)) == 1


class BadAfter(AbstractReferenceModel):
    """Labels of ones, and NaN from a known sample value on: the inputs are the steps' own random numbers."""

    threshold: float

    @property
    def dim_in(self):
        return 2

    @property
    def dim_out(self):
        return 1

    def sample(self, key, n):
        x = inputs(key, n)
        y = jnp.where(jnp.max(x) > self.threshold, jnp.nan, 1.0) * jnp.ones((n, 1))
        return Samples(x, y)


def test_the_last_good_parameters_are_those_before_the_bad_step(start):
    with pytest.raises(DivergedError) as caught:
        train(start, BadAfter(0.9), ValueLoss(), steps=40, batch_size=2, steps_per_chunk=10)
    step = caught.value.step
    assert step > 0
    # Without the poison the same fit runs through; its first losses and its state after `step` steps are the same.
    good = train(start, BadAfter(2.0), ValueLoss(), steps=40, batch_size=2, steps_per_chunk=10)
    np.testing.assert_allclose(good.losses[:step], caught.value.losses, rtol=1e-12)
    stopped = train(
        start, BadAfter(2.0), ValueLoss(), steps=40, batch_size=2, steps_per_chunk=10, optimizer=stopped_after(step)
    )
    for a, b in zip(parameters(caught.value.surrogate), parameters(stopped.surrogate), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_an_explosion_is_told_as_divergence(start, data):
    with pytest.raises(DivergedError) as caught:
        train(start, DataSet(data), steps=50, optimizer=optax.sgd(1e200))
    assert all(np.all(np.isfinite(leaf)) for leaf in parameters(caught.value.surrogate))


def test_the_reporter_is_told_everything(start, data):
    recorder = Recorder()
    result = train(start, DataSet(data), progress=recorder, title="a fit")
    assert recorder.told == [("start", "a fit", 10), ("update", 5), ("update", 10), ("stop",)]
    np.testing.assert_array_equal(np.concatenate(recorder.losses), result.losses)


def test_the_surrogate_is_shown_after_every_chunk(start, data):
    seen = []
    result = train(start, DataSet(data), on_chunk=lambda step, surrogate: seen.append((step, surrogate)))
    assert [step for step, _ in seen] == [5, 10]
    assert eqx.tree_equal(seen[-1][1], result.surrogate)
    # What was shown half-way is what a fit of that length ends with.
    half = train(start, DataSet(data), on_chunk=None, optimizer=stopped_after(5)).surrogate
    for a, b in zip(parameters(seen[0][1]), parameters(half), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert seen[0][1].provenance == start.provenance


def stopped_after(step):
    """The default optimizer of `train`, without any effect from a step on."""
    return optax.chain(optax.adam(1e-2), optax.scale_by_schedule(lambda count: jnp.where(count < step, 1.0, 0.0)))


def test_the_reporter_is_stopped_at_an_interruption(start, data):
    recorder = Recorder(fail_at=5)
    with pytest.raises(KeyboardInterrupt):
        train(start, DataSet(data), progress=recorder)
    assert recorder.told == [("start", "fit", 10), ("update", 5), ("stop",)]


def test_the_bar_shows_title_steps_loss_and_rate(start, data):
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    train(start, DataSet(data), progress=ProgressBar(console), title="a fit")
    shown = stream.getvalue()
    assert "a fit" in shown
    assert "10/10" in shown
    assert "loss" in shown
    assert "e-0" in shown or "e+0" in shown
    assert re.search(r"\d steps/s", shown)


def test_the_bar_is_silent_where_there_is_no_terminal(start, data):
    stream = io.StringIO()
    train(start, DataSet(data), progress=ProgressBar(Console(file=stream, width=100)))
    assert stream.getvalue() == ""


def test_one_trace_for_each_length_of_a_chunk(start, data):
    traces = []

    def activation(x):
        traces.append(None)
        return jnp.tanh(x)

    network = MLP.create([2, 3, 1], activation=activation, key=jax.random.key(0))
    counted = Surrogate(network, start.normalisation)
    # The look at the outputs after a fit is traced here, and never again.
    train(counted, DataSet(data), steps=2, steps_per_chunk=2)
    traces.clear()
    train(counted, DataSet(data), steps=5, steps_per_chunk=5)
    once = len(traces)
    traces.clear()
    train(counted, DataSet(data), steps=15, steps_per_chunk=5)
    assert once > 0
    assert traces == [], "another fit of such chunks, with an optimizer that does the same"
    train(counted, DataSet(data), steps=8, steps_per_chunk=5)
    assert len(traces) == once


@pytest.mark.parametrize("name", ["steps", "batch_size", "steps_per_chunk"])
@pytest.mark.parametrize("number", [0, -3])
def test_bad_numbers_are_named(start, data, name, number):
    with pytest.raises(ValueError, match=f"`{name}` is {number}"):
        train(start, DataSet(data), **{name: number})


def test_a_reference_of_other_dimensions_is_named(start):
    with pytest.raises(ValueError, match="the reference maps 3 inputs to 1 outputs, the network 2 to 1"):
        train(start, BachelierBasket.random(jax.random.key(0), 3))


def test_missing_derivatives_are_named_before_training(start, data):
    recorder = Recorder()
    with pytest.raises(ValueError, match="dydx"):
        train(start, DataSet(Samples(data.x, data.y)), progress=recorder)
    assert recorder.told == []
    train(start, DataSet(Samples(data.x, data.y)), ValueLoss())


def test_float32_stays_float32():
    with jax.enable_x64(False):
        start = Surrogate(MLP.create([2, 3, 1], key=jax.random.key(0)), Normalisation.identity(2, 1))
        result = train(start, BachelierBasket.random(jax.random.key(0), 2))
        assert {leaf.dtype for leaf in parameters(result.surrogate)} == {np.dtype("float32")}
        assert result.losses.dtype == np.float32
