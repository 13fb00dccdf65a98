"""What a fit records, evaluates, and stops for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fit_problem import ADAM, close, parameters, points, same_bits, start, train

from sobolev_pruning.reference import DataSet, LabelWeights, Samples
from sobolev_pruning.sobolev import FitResult, History, SobolevLoss, ValueLoss


def test_samples_are_a_data_set():
    assert same_bits(train(points()).surrogate, train(DataSet(points())).surrogate)


def test_what_is_neither_samples_nor_a_model_is_named(unchecked_shapes):
    with pytest.raises(TypeError, match="`reference` is ndarray; it must be a reference model or samples"):
        train(np.zeros((3, 2)))


def test_the_history_holds_the_losses_and_no_rate_that_is_not_known():
    result = train()
    assert result.history.losses is result.losses
    assert result.losses.shape == (20,)
    assert result.history.learning_rates is None
    assert result.history.metrics == {}
    assert result.history.evaluated.shape == (0,)
    assert result.history.best_step is None
    assert not result.history.stopped_early
    assert result.failure is None
    assert result.restarts == ()


def test_losses_alone_make_a_result():
    result = FitResult(start(), np.arange(30.0))
    assert np.array_equal(result.losses, np.arange(30.0))
    assert result.score == np.mean([27.0, 28.0, 29.0])


def test_an_injected_learning_rate_is_recorded():
    schedule = optax.linear_schedule(0.1, 0.0, 20)
    injected = train(optimizer=optax.inject_hyperparams(optax.sgd)(learning_rate=schedule))
    np.testing.assert_allclose(injected.history.learning_rates, 0.1 * (1 - np.arange(20) / 20), rtol=1e-6)
    close(injected.surrogate, train(optimizer=optax.sgd(schedule)).surrogate, rtol=1e-6)


def test_held_out_samples_are_measured_at_the_start_and_after_every_chunk():
    held_out, seen = points(7, 30), {}
    result = train(evaluation=held_out, on_chunk=seen.__setitem__)
    history = result.history
    assert history.evaluated.tolist() == [0, 5, 10, 15, 20]
    assert list(history.metrics) == ["loss", "rmse_values", "rmse_gradients"]
    for i, surrogate in enumerate([start(), *(seen[step] for step in (5, 10, 15, 20))]):
        y, dydx = jax.vmap(surrogate)(held_out.x), jax.vmap(surrogate.gradient)(held_out.x)
        units = surrogate.normalisation
        errors = (y - held_out.y) / units.y_scale[None]
        of_gradients = (dydx - held_out.dydx) * units.x_scale[None, None] / units.y_scale[None, :, None]
        np.testing.assert_allclose(history.metrics["loss"][i], np.mean(np.asarray(errors) ** 2), rtol=1e-10)
        np.testing.assert_allclose(history.metrics["rmse_values"][i], np.sqrt(np.mean(errors**2)), rtol=1e-10)
        np.testing.assert_allclose(history.metrics["rmse_gradients"][i], np.sqrt(np.mean(of_gradients**2)), rtol=1e-10)
    # To look changes nothing.
    assert same_bits(result.surrogate, train().surrogate)
    assert result.score == history.metrics["loss"].min()


def test_labels_that_are_not_known_are_not_measured():
    held_out = points(7, 30)
    known = jnp.arange(30)[:, None] < 10
    spoiled = Samples(held_out.x, jnp.where(known, held_out.y, 1e3), weights=LabelWeights(y=jnp.where(known, 1.0, 0.0)))
    first = jax.tree.map(lambda part: part[:10], held_out)
    found, expected = (train(evaluation=samples, steps=5).history.metrics for samples in (spoiled, first))
    np.testing.assert_allclose(found["rmse_values"], expected["rmse_values"], rtol=1e-12)


def test_an_evaluation_may_return_one_number_or_several():
    one = train(evaluation=lambda surrogate: 3.0, steps=5).history
    assert {name: list(values) for name, values in one.metrics.items()} == {"evaluation": [3.0, 3.0]}
    several = train(evaluation=lambda surrogate: {"b": jnp.asarray(1.0), "a": 2}, steps=5).history
    assert {name: list(values) for name, values in several.metrics.items()} == {"b": [1.0, 1.0], "a": [2.0, 2.0]}


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        ({}, ValueError, "`evaluation` returned no metric"),
        ("good", TypeError, "`evaluation` returned str for 'evaluation'"),
        ({"a": None}, TypeError, "`evaluation` returned NoneType for 'a'"),
    ],
)
def test_an_evaluation_that_returns_something_else_is_named_before_training(unchecked_shapes, returned, error, message):
    seen = []
    with pytest.raises(error, match=message):
        train(evaluation=lambda surrogate: returned, on_chunk=lambda *state: seen.append(state))
    assert seen == []


def test_metrics_keep_their_names():
    names = iter("ab")
    with pytest.raises(ValueError, match=r"the metrics \['b'\] after 5 steps and \['a'\] before"):
        train(evaluation=lambda surrogate: {next(names): 0.0})


def scripted(values):
    """An evaluation that returns given values in turn, first before the training."""
    left = iter(values)
    return lambda surrogate: next(left)


def test_patience_ends_the_fit_and_the_best_parameters_are_kept():
    seen = {}
    values = [9.0, 4.0, 5.0, 4.0, 0.0]
    result = train(evaluation=scripted(values), patience=2, on_chunk=seen.__setitem__)
    assert list(seen) == [5, 10, 15]
    assert result.losses.shape == (15,)
    assert result.history.stopped_early
    assert result.history.best_step == 5
    assert same_bits(result.surrogate, seen[5])
    assert not same_bits(result.surrogate, seen[15])
    assert result.score == 4.0


def test_the_best_parameters_may_be_those_of_the_start():
    result = train(evaluation=scripted([1.0, math.nan, math.inf]), patience=2)
    assert result.history.best_step == 0
    assert same_bits(result.surrogate, start())


def test_without_patience_the_last_parameters_are_kept():
    result = train(evaluation=scripted([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert not result.history.stopped_early
    assert result.history.best_step == 0
    assert same_bits(result.surrogate, train().surrogate)


def test_patience_without_evaluation_is_refused():
    with pytest.raises(ValueError, match="`patience` counts evaluations, and there are none"):
        train(patience=2)
    with pytest.raises(ValueError, match="`patience` is 0"):
        train(patience=0, evaluation=points())


def test_missing_labels_of_the_evaluation_are_named_before_training():
    held_out, seen = points(), []
    with pytest.raises(ValueError, match="dydx"):
        train(
            loss=SobolevLoss(),
            evaluation=Samples(held_out.x, held_out.y),
            on_chunk=lambda *state: seen.append(state),
        )
    assert seen == []


def test_clipped_gradients_are_those_of_optax():
    clipped = train(clip_norm=0.05, optimizer=optax.sgd(0.1)).surrogate
    close(clipped, train(optimizer=optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.1))).surrogate)
    # No step is longer than the rate times the norm, over 20 steps.
    moved = math.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(parameters(clipped), parameters(start()), strict=True)))
    assert 0.05 < moved <= 20 * 0.1 * 0.05


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_norm_is_named(norm):
    with pytest.raises(ValueError, match="`clip_norm` is"):
        train(clip_norm=norm)


def test_clipping_compiles_once():
    traces = []

    def activation(x):
        traces.append(None)
        return jnp.tanh(x)

    for _ in range(2):
        train(surrogate=start(activation), clip_norm=1.0, optimizer=ADAM, loss=ValueLoss())
        traces, first = [], len(traces)
    assert first == 0


def test_a_history_of_losses_alone_is_complete():
    history = History(np.zeros(3))
    assert history.metrics == {}
    assert history.evaluated.shape == (0,)
