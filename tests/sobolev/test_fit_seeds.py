"""Many seeds at once are the same fits as one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fit_problem import OPTIONS, close, parameters, points, start, train
from test_fit_restarts import BadOnce, Fragile

from sobolev_pruning.reference import DataSet
from sobolev_pruning.sobolev import Failure, FitResult, FitResults, SobolevLoss, ValueLoss, fit, fit_seeds, redrawn

KEYS = jax.random.split(jax.random.key(3), 3)


def train_seeds(reference=None, loss=None, *, surrogate=None, keys=KEYS, **options):
    reference = DataSet(points()) if reference is None else reference
    return fit_seeds(
        start() if surrogate is None else surrogate,
        reference,
        ValueLoss() if loss is None else loss,
        keys=keys,
        **OPTIONS | options,
    )


def test_each_seed_is_the_fit_of_its_keys():
    options = {"clip_norm": 1.0, "evaluation": points(7, 30)}
    results = train_seeds(loss=SobolevLoss(), **options)
    assert len(results) == 3
    for key, result in zip(KEYS, results, strict=True):
        network_key, batch_key = jax.random.split(key)
        own = redrawn(start(), network_key)
        alone = fit(own, points(), SobolevLoss(), key=batch_key, **OPTIONS | options)
        close(result.surrogate, alone.surrogate)
        np.testing.assert_allclose(result.losses, alone.losses, rtol=1e-10)
        assert result.history.evaluated.tolist() == alone.history.evaluated.tolist()
        for name, values in alone.history.metrics.items():
            np.testing.assert_allclose(result.history.metrics[name], values, rtol=1e-9)
        assert result.failure is None
        assert result.surrogate.provenance == start().provenance
    assert not np.array_equal(parameters(results[0].surrogate)[0], parameters(results[1].surrogate)[0])


def test_one_seed_that_diverges_stops_alone():
    """The first inputs above 0.97 are in step 1 of the second seed and in step 2 of the third."""
    clean, poisoned = (train_seeds(BadOnce(threshold), Fragile(), batch_size=2, steps=15) for threshold in (2.0, 0.97))
    expected = [None, Failure(0, 1, "diverged"), Failure(0, 2, "diverged")]
    assert [result.failure for result in poisoned] == expected
    assert [len(result.losses) for result in poisoned] == [15, 1, 2]
    for a, b in zip(poisoned, clean, strict=True):
        np.testing.assert_allclose(a.losses, b.losses[: len(a.losses)], rtol=1e-10)
        assert all(np.all(np.isfinite(leaf)) for leaf in parameters(a.surrogate))
    close(poisoned[0].surrogate, clean[0].surrogate)
    assert poisoned.scores.tolist()[1:] == [np.inf, np.inf]
    assert poisoned.best() is poisoned[0]


def test_when_all_diverge_nothing_more_is_done():
    told = []

    class Recorder:
        def start(self, title, n_steps):
            told.append(n_steps)

        def update(self, n_done, losses):
            told.append(n_done)

        def stop(self):
            told.append("stop")

    results = train_seeds(BadOnce(-2.0), Fragile(), progress=Recorder())
    assert [result.failure for result in results] == [Failure(0, 0, "diverged")] * 3
    assert told == [20, "stop"]


def test_collapsed_seeds_are_reported():
    shrinking = optax.chain(optax.scale(0.0), optax.add_decayed_weights(1.0), optax.sgd(1.0))
    results = train_seeds(points(n=200), optimizer=shrinking)
    assert [result.failure for result in results] == [Failure(0, 20, "collapsed")] * 3


def test_raw_keys_serve_as_well():
    typed, raw = train_seeds(), train_seeds(keys=jax.random.key_data(KEYS))
    for a, b in zip(typed, raw, strict=True):
        assert np.array_equal(a.losses, b.losses)


def scored(*scores):
    return FitResults(tuple(FitResult(start(), np.array([score])) for score in scores))


def test_best_and_median():
    results = scored(3.0, 1.0, 2.0, 5.0, 4.0)
    assert results.scores.tolist() == [3.0, 1.0, 2.0, 5.0, 4.0]
    assert results.best() is results[1]
    assert results.median() is results[0]
    # Of an even number the worse of the two in the middle, so that a claim holds for half of the seeds at least.
    assert scored(3.0, 1.0, 2.0, 4.0).median().score == 3.0
    failed = FitResult(start(), np.array([0.0]), Failure(0, 1, "diverged"))
    assert FitResults((failed, *scored(1.0, 2.0).results)).median().score == 2.0


def test_no_seed_is_named(unchecked_shapes):
    for keys in (KEYS[:0], KEYS[0]):
        with pytest.raises(ValueError, match="`keys` holds no seed"):
            train_seeds(keys=keys)


def test_the_steps_of_all_seeds_are_traced_once():
    traces = []

    def activation(x):
        traces.append(None)
        return jnp.tanh(x)

    train_seeds(surrogate=start(activation))
    first, traces = len(traces), []
    train_seeds(surrogate=start(activation), keys=jax.random.split(jax.random.key(9), 3))
    assert first > 0
    assert traces == []


def test_what_fit_refuses_is_refused():
    with pytest.raises(ValueError, match="`steps` is 0"):
        train_seeds(steps=0)
    with pytest.raises(ValueError, match="`clip_norm` is"):
        train_seeds(clip_norm=-1.0)
    assert train().failure is None
