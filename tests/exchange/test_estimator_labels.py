"""What the estimator takes: unknown labels, weights, idle columns, names, and one message for each bad argument."""

import copy

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from sobolev_pruning.exchange import SobolevRegressor

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 2)) * np.array([1.0, 5.0])
Y = np.sin(X[:, 0]) + 0.1 * X[:, 1] ** 2
DYDX = np.stack([np.cos(X[:, 0]), 0.2 * X[:, 1]], axis=1)
SMALL = SobolevRegressor((6,), random_state=0)


def test_derivatives_that_are_nan_are_not_known():
    """As if they were anything; and none at all are as if they were not given."""
    some = np.where(RNG.uniform(size=DYDX.shape) < 0.5, np.nan, DYDX)
    model = clone(SMALL).fit(X, Y, some)
    np.testing.assert_allclose(model.predict_gradient(X), DYDX, atol=0.05)
    none = clone(SMALL).fit(X, Y, np.full_like(DYDX, np.nan))
    assert none.score(X, Y) > 0.999


def test_values_that_are_nan_beside_derivatives_are_not_known():
    some = np.where(np.arange(60) % 3 > 0, np.nan, Y)
    model = clone(SMALL).fit(X, some, DYDX)
    np.testing.assert_allclose(model.predict(X), Y, atol=0.02)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        clone(SMALL).fit(X, some)


@pytest.mark.parametrize("values", [None, np.full(60, np.nan)], ids=["None", "NaN"])
def test_derivatives_alone_give_the_function_up_to_its_level(values):
    model = clone(SMALL).fit(X, values, DYDX)
    np.testing.assert_allclose(model.predict_gradient(X), DYDX, atol=0.02)
    np.testing.assert_allclose(model.predict(X), Y - Y.mean(), atol=0.02)
    assert abs(model.predict(X).mean()) < 1e-9


def test_derivatives_alone_by_adam():
    """Of more rows than a batch holds."""
    x = RNG.uniform(-1, 1, (2000, 2))
    model = clone(SMALL).set_params(hidden=(16, 16), steps=600, second_order_below=0, batch_size=64)
    model.fit(x, None, np.stack([np.cos(x[:, 0]), 0 * x[:, 1]], axis=1))
    np.testing.assert_allclose(model.predict(x), np.sin(x[:, 0]) - np.sin(x[:, 0]).mean(), atol=0.05)


def test_one_output_of_two_has_derivatives_alone():
    y = np.stack([np.full(60, np.nan), -2 * Y], axis=1)
    model = clone(SMALL).set_params(hidden=(8,)).fit(X, y, np.stack([DYDX, np.full_like(DYDX, np.nan)], axis=1))
    np.testing.assert_allclose(model.predict(X), np.stack([Y - Y.mean(), -2 * Y], axis=1), atol=0.05)
    many = clone(SMALL).fit(X, None, DYDX[:, None])
    assert many.predict(X).shape == (60, 1)


def test_weights_are_copies_and_zero_is_no_row():
    """Whatever their scale; the rows of weight zero may be anything."""
    times = RNG.integers(0, 4, 60)
    wrong = np.where(times == 0, 1e3, Y)
    weighted, scaled = (clone(SMALL).fit(X, wrong, DYDX, sample_weight=k * times) for k in (1.0, 37.0))
    rows = np.repeat(np.arange(60), times)
    copied = clone(SMALL).fit(X[rows], Y[rows], DYDX[rows])
    np.testing.assert_allclose(weighted.predict(X), scaled.predict(X), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), copied.predict(X), atol=2e-3)
    for ours, theirs in zip(
        jax.tree.leaves(weighted.surrogate_.normalisation),
        jax.tree.leaves(copied.surrogate_.normalisation),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    # And `score` takes weights, too.
    assert weighted.score(X, wrong, sample_weight=times) > 0.999
    assert weighted.score(X, wrong) < 0.1


@pytest.mark.parametrize("dydx", [None, DYDX], ids=["values", "derivatives"])
def test_a_column_that_is_constant_in_a_fold(dydx):
    """It is not refused, and predictions do not depend on it, unless its derivatives are known."""
    x = np.column_stack([X[:, 0], np.where(np.arange(60) < 40, 2.0, X[:, 1])])
    fold = slice(0, 40)
    y = np.sin(x[:, 0])
    slopes = None if dydx is None else np.column_stack([np.cos(x[:, 0]), np.full(60, 0.5)])
    model = clone(SMALL).fit(x[fold], y[fold], None if slopes is None else slopes[fold])
    moved = x[fold] + np.array([0.0, 1.0])
    change = model.predict(moved) - model.predict(x[fold])
    if slopes is None:
        np.testing.assert_array_equal(change, 0)
        assert model.score(x[fold], y[fold]) > 0.999
    else:
        np.testing.assert_allclose(model.predict_gradient(x[fold])[:, 1], 0.5, atol=0.02)
    scores = cross_val_score(clone(SMALL), x, y, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


def test_a_value_that_is_constant():
    model = clone(SMALL).fit(X, np.full(60, 3.5))
    np.testing.assert_allclose(model.predict(X), 3.5, atol=1e-6)
    model = clone(SMALL).fit(X, np.full(60, 3.5), np.zeros_like(DYDX))
    np.testing.assert_allclose(model.predict_gradient(X), 0, atol=1e-6)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_numbers_of_any_size(size):
    model = clone(SMALL).fit(X, Y * size)
    np.testing.assert_allclose(model.predict(X) / size, Y, atol=0.05)


def test_names_of_columns_are_kept():
    """Tables of Arrow are data frames to scikit-learn, as those of pandas and Polars are."""
    table = pytest.importorskip("pyarrow").table
    frame = table({"spot": X[:, 0], "vol": X[:, 1]})
    turned = table({"vol": DYDX[:, 1], "spot": DYDX[:, 0]})
    model = clone(SMALL).fit(frame, Y, turned)
    assert model.feature_names_in_.tolist() == ["spot", "vol"]
    assert copy.deepcopy(model).surrogate_.input_names == ("spot", "vol")
    np.testing.assert_allclose(model.predict_gradient(frame), DYDX, atol=0.02)
    priced = clone(SMALL).fit(frame, table({"price": Y, "cost": 2 * Y}))
    assert priced.surrogate_.output_names == ("price", "cost")


BAD = {
    "hidden": [(20,), 20, (0,), (2.5,), "20", None, (True,), np.ones((2, 2), int)][1:],
    "activation": ["one_hot", "logsumexp", "softmax", "glu", "sine", 3, None, jax.nn.silu, ["silu"]],
    "gradient_weight": ["1", None, -1.0, float("nan"), float("inf"), True, 1j],
    "steps": [0, -1, 2.5, "10", None, True],
    "batch_size": [0, 1.5, None],
    "learning_rate": [0, -1e-3, "fast", None, float("nan"), True],
    "second_order_below": [-1, None, "all", float("nan")],
    "second_order_steps": [0, 10.0, None],
    "starts": [0, 1.5, None, True],
    "random_state": [-1, "0", 1.5, 2**40, True, np.random.default_rng(0)],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_parameter_is_named_with_what_it_must_be(name):
    """Whatever the network is trained by: parameters that would play no part are checked as well."""
    for value in BAD[name]:
        with pytest.raises(ValueError, match=rf"(?s)^`{name}` is .* it must be ") as raised:
            clone(SMALL).set_params(**{name: value}).fit(X, Y)
        assert len(str(raised.value)) < 400


def test_parameters_of_numpy_are_taken():
    model = SobolevRegressor(
        np.array([4]),
        second_order_steps=np.int64(3),
        gradient_weight=np.float32(1),
        random_state=np.random.RandomState(0),
    )
    assert model.fit(X, Y).predict(X).shape == (60,)


LABELS = {
    "weights of another shape": ({"sample_weight": np.ones((60, 1))}, r"`sample_weight` has shape \(60, 1\)"),
    "a weight below zero": ({"sample_weight": -np.ones(60)}, r"`sample_weight` is -1\.0 in row 0"),
    "a weight that is NaN": ({"sample_weight": np.full(60, np.nan)}, "`sample_weight` is nan in row 0"),
    "one weight": ({"sample_weight": np.eye(60)[0]}, "zero in all but 1 rows; at least 2"),
    "an infinite derivative": ({"dydx": np.full_like(DYDX, np.inf)}, "`dydx` holds 120 derivatives that are infinite"),
    "words": ({"dydx": np.full(DYDX.shape, "a")}, "`dydx` is no array of numbers"),
    "nothing known": ({"y": None, "dydx": np.full_like(DYDX, np.nan)}, "no known label of an output"),
    "values of another length": ({"y": Y[:5], "dydx": DYDX}, r"`y` has shape \(5,\)"),
    "no weight for derivatives": ({"y": None, "dydx": DYDX, "gradient_weight": 0}, "`gradient_weight` is 0"),
    "an infinite value": ({"y": np.full(60, np.inf), "dydx": DYDX}, "`y` holds 60 values that are infinite"),
    "no labels": ({"y": None}, "requires y to be passed"),
}


@pytest.mark.parametrize("name", LABELS)
def test_bad_labels_are_named(name):
    options, message = LABELS[name]
    weight = options.pop("gradient_weight", 1.0)
    with pytest.raises(ValueError, match=message):
        clone(SMALL).set_params(gradient_weight=weight).fit(X, **({"y": Y} | options))


def test_what_is_masked_is_not_read():
    """NumPy reads the numbers below a mask: here they would spoil everything."""
    bad = 100.0 * (np.abs(DYDX) > 0.8)
    masked = clone(SMALL).fit(X, np.ma.masked_array(Y + bad[:, 0], bad[:, 0]), np.ma.masked_array(DYDX + bad, bad))
    assert masked.score(X, Y) > 0.99
    for arguments, name in (
        ((np.ma.masked_array(X, bad), Y), "X"),
        ((X, np.ma.masked_array(Y, bad[:, 0])), "y"),
        ((X, Y, DYDX, np.ma.masked_array(np.ones(60), bad[:, 0])), "sample_weight"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` is a masked array with .* masked entries; leave those rows"):
            clone(SMALL).fit(*arguments)


def test_complex_numbers_and_words_are_named():
    for arguments, message in (
        ((X, Y + 1j), "`y` holds complex numbers"),
        ((X, Y, DYDX + 1j), "`dydx` holds complex numbers"),
        ((X, Y, DYDX, Y + 1j), "`sample_weight` holds complex numbers"),
        ((X, Y, DYDX, ["a"] * 60), "`sample_weight` is no array of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            clone(SMALL).fit(*arguments)


def test_weights_may_be_as_large_as_numbers_are():
    ones, large = (clone(SMALL).fit(X, Y, sample_weight=np.full(60, size)) for size in (1.0, 1e308))
    np.testing.assert_array_equal(ones.predict(X), large.predict(X))
