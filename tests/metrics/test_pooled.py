"""Errors equal a slow loop over samples and components."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.metrics import errors_between, errors_by_column, measure
from sobolev_pruning.reference import Samples
from sobolev_pruning.study._run import _finite

RNG = np.random.default_rng(0)


def samples(n=9, d=3, m=2):
    return Samples(*(jnp.asarray(RNG.normal(size=s)) for s in ((n, d), (n, m), (n, m, d), (n, m, d, d))))


def by_loop(found, truth):
    """R², RMSE and largest error; rows are samples."""
    n, k = truth.shape
    means = [sum(truth[i, j] for i in range(n)) / n for j in range(k)]
    square = spread = worst = 0.0
    for i in range(n):
        for j in range(k):
            square += (found[i, j] - truth[i, j]) ** 2
            spread += (truth[i, j] - means[j]) ** 2
            worst = max(worst, abs(found[i, j] - truth[i, j]))
    return 1 - square / spread, math.sqrt(square / (n * k)), worst


def parts(s):
    """The four quantities, a row for each sample."""
    hessian = np.asarray(s.d2ydx2)
    n, m, d, _ = hessian.shape
    gammas = np.array(
        [[sum(hessian[i, k, a, b] for a in range(d) for b in range(d)) for k in range(m)] for i in range(n)]
    )
    return {
        "values": np.asarray(s.y),
        "deltas": np.asarray(s.dydx).reshape(n, -1),
        "gammas": gammas,
        "hessian": hessian.reshape(n, -1),
    }


def test_errors_are_those_of_a_loop():
    found, truth = samples(), samples()
    errors = errors_between(found, truth)
    table = errors.table()
    assert list(table) == ["r2", "rmse", "max_error"]
    for name, measured in errors.items():
        expected = by_loop(parts(found)[name], parts(truth)[name])
        np.testing.assert_allclose([measured.r2, measured.rmse, measured.max_error], expected, rtol=1e-12)
        assert [table[measure][name] for measure in table] == [measured.r2, measured.rmse, measured.max_error]
    assert errors.each_delta == tuple(errors_by_column(found, truth)["dydx"].r2.ravel())


def test_an_exact_prediction_has_no_error():
    truth = samples()
    for _, measured in errors_between(truth, truth).items():
        assert (measured.r2, measured.rmse, measured.max_error) == (1.0, 0.0, 0.0)


def test_a_constant_truth_can_only_be_met():
    truth = Samples(jnp.zeros((4, 2)), jnp.ones((4, 1)), jnp.zeros((4, 1, 2)), jnp.zeros((4, 1, 2, 2)))
    off = Samples(truth.x, truth.y + 0.5, truth.dydx, truth.d2ydx2)
    assert errors_between(truth, truth).values.r2 == 1.0
    errors = errors_between(off, truth)
    assert errors.values.r2 == -math.inf
    assert (errors.values.rmse, errors.values.max_error) == (0.5, 0.5)
    assert errors.deltas.r2 == 1.0


def test_single_precision_is_no_limit():
    """Errors of 10⁻⁵ of the deviation leave 10⁻¹⁰, which float32 cannot tell from nothing when it is taken from one."""
    y = RNG.normal(size=(1000, 1))
    flat = {"dydx": jnp.zeros((1000, 1, 1)), "d2ydx2": jnp.zeros((1000, 1, 1, 1))}
    truth = Samples(jnp.asarray(y), jnp.asarray(y, jnp.float32), **flat)
    found = Samples(jnp.asarray(y), truth.y + jnp.float32(1e-5), **flat)
    unexplained = 1 - errors_between(found, truth).values.r2
    assert 0.5e-10 < unexplained < 2e-10


def test_missing_derivatives_are_named():
    whole = samples()
    with pytest.raises(ValueError, match="`dydx` of the samples is None"):
        errors_between(Samples(whole.x, whole.y), whole)
    with pytest.raises(ValueError, match="`d2ydx2` of the samples is None"):
        errors_between(whole, Samples(whole.x, whole.y, whole.dydx))


def test_json_has_null_for_what_is_not_finite():
    assert _finite({"r2": [1.0, -math.inf, {"values": math.nan}], "n": 3}) == {
        "r2": [1.0, None, {"values": None}],
        "n": 3,
    }


def test_what_is_not_known_plays_no_part():
    """As if the components were not there; each is compared with the mean of its known ones."""
    truth, found = RNG.normal([0.0, 5.0], 1.0, (2, 8, 2))
    known = np.array([[True, False]] * 3 + [[True, True]] * 5)
    measured = measure(jnp.asarray(found), jnp.asarray(np.where(known, truth, np.nan)), jnp.asarray(known))
    error, centred = (
        (found - truth)[known],
        np.concatenate([t[k] - t[k].mean() for t, k in zip(truth.T, known.T, strict=True)]),
    )
    np.testing.assert_allclose(measured.r2, 1 - (error**2).sum() / (centred**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(measured.rmse, np.sqrt(np.mean(error**2)), rtol=1e-12)
    assert measured.max_error == np.max(np.abs(error))
    with pytest.raises(ValueError, match="`known` is false everywhere"):
        measure(jnp.asarray(found), jnp.asarray(truth), jnp.zeros((8, 2), bool))
