"""The estimator keeps scikit-learn's contract, and its derivatives are right."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from sobolev_pruning.exchange import SobolevRegressor

QUICK = {
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_regressors_train",
}
TINY = SobolevRegressor((4,), second_order_steps=20)
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 2)) * np.array([1.0, 5.0])
Y = np.sin(X[:, 0]) + 0.1 * X[:, 1] ** 2
DYDX = np.stack([np.cos(X[:, 0]), 0.2 * X[:, 1]], axis=1)
SMALL = SobolevRegressor((6,), random_state=0)


def name_of(check):
    return getattr(check, "func", check).__name__


QUICK_CHECKS = [check for _, check in estimator_checks_generator(TINY) if name_of(check) in QUICK]


@pytest.fixture(scope="module")
def fitted():
    return clone(SMALL).fit(X, Y, DYDX)


@pytest.mark.parametrize("check", QUICK_CHECKS, ids=name_of)
def test_quick_checks_of_scikit_learn(check):
    check(clone(TINY))


@pytest.mark.slow
@parametrize_with_checks([TINY])
def test_all_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_values_and_derivatives_are_learned(fitted):
    assert fitted.score(X, Y) > 0.99999
    np.testing.assert_allclose(fitted.predict_gradient(X), DYDX, atol=0.02)
    # The derivative is that of `predict`, in its units.
    h = 1e-5
    for j, step in enumerate(h * np.eye(2)):
        slope = (fitted.predict(X + step[None]) - fitted.predict(X - step[None])) / (2 * h)
        np.testing.assert_allclose(fitted.predict_gradient(X)[:, j], slope, rtol=1e-5, atol=1e-7)


def test_derivatives_of_few_samples_help():
    few = slice(0, 12)
    alone, helped = (clone(SMALL).fit(X[few], Y[few], dydx) for dydx in (None, DYDX[few]))
    assert 1 - helped.score(X, Y) < 0.1 * (1 - alone.score(X, Y))


def test_many_outputs_and_first_order():
    y, dydx = np.stack([Y, -2 * Y], axis=1), np.stack([DYDX, -2 * DYDX], axis=1)
    model = clone(SMALL).set_params(second_order_below=0, steps=400).fit(X, y, dydx)
    assert model.losses_.shape == (400,)
    assert model.predict(X).shape == (60, 2)
    assert model.predict_gradient(X).shape == (60, 2, 2)
    assert model.score(X, y) > 0.99


def test_a_copy_predicts_the_same(fitted):
    np.testing.assert_array_equal(copy.deepcopy(fitted).predict_gradient(X), fitted.predict_gradient(X))


def test_pipeline_and_grid_search_pass_derivatives_on(fitted):
    scaler = StandardScaler().fit(X)
    pipeline = make_pipeline(StandardScaler(), clone(SMALL))
    pipeline.fit(X, Y, sobolevregressor__dydx=DYDX * scaler.scale_[None])
    slopes = pipeline[-1].predict_gradient(scaler.transform(X)) / scaler.scale_[None]
    np.testing.assert_allclose(slopes, DYDX, atol=0.02)
    grid = {"hidden": [(1,), (6,)]}
    search = GridSearchCV(clone(SMALL), grid, cv=2, error_score="raise").fit(X, Y, dydx=DYDX)
    assert search.best_params_ == {"hidden": (6,)}
    np.testing.assert_array_equal(search.best_estimator_.predict_gradient(X), fitted.predict_gradient(X))
    # By metadata routing, too, and not without being asked.
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(clone(SMALL).set_fit_request(dydx=True)).fit(X, Y, dydx=DYDX)
        with pytest.raises(UnsetMetadataPassedError, match="dydx"):
            make_pipeline(clone(SMALL)).fit(X, Y, dydx=DYDX)
    np.testing.assert_array_equal(routed[-1].predict_gradient(X), fitted.predict_gradient(X))


@pytest.mark.parametrize(
    ("dydx", "match"),
    [
        (DYDX[:, :1], r"`dydx` has shape \(60, 1\); `X` and `y` ask for \(60, 2\)"),
        (np.where(np.arange(60)[:, None] == 7, np.inf, DYDX), "`dydx` holds 2 derivatives .* the first in row 7"),
    ],
    ids=["shape", "infinite"],
)
def test_bad_derivatives_are_named(dydx, match):
    with pytest.raises(ValueError, match=match):
        clone(SMALL).fit(X, Y, dydx)


def test_a_bad_activation_is_named():
    with pytest.raises(ValueError, match="`activation` is 'sine'"):
        clone(SMALL).set_params(activation="sine").fit(X, Y)


WITHOUT = """
import sys
sys.modules["sklearn"] = None
import sobolev_pruning.exchange as exchange
try:
    exchange.SobolevRegressor
except ImportError as error:
    print(error)
"""


def test_without_scikit_learn_the_remedy_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "pip install 'sobolev-pruning[sklearn]'" in done.stdout
