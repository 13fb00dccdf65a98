"""Errors of each output and each derivative by itself: units do not hide one behind another."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.metrics import errors_by_column, measure
from sobolev_pruning.reference import LabelWeights, Samples

RNG = np.random.default_rng(3)
X = RNG.uniform(-1, 1, (400, 3))


def truth(scale=(1.0, 1.0, 1.0)):
    """`sin(2a) + 0.3 b²`, with inputs in other units; the third plays no part."""
    a, b, _ = X.T
    y = np.sin(2 * a) + 0.3 * b**2
    slopes = np.stack([2 * np.cos(2 * a), 0.6 * b, 0 * a], axis=1)
    curvature = np.zeros((len(X), 1, 3, 3))
    curvature[:, 0, 0, 0], curvature[:, 0, 1, 1] = -4 * np.sin(2 * a), 0.6
    s = np.array(scale)
    parts = X * s, y[:, None], (slopes / s)[:, None], curvature / (s[:, None] * s)
    return Samples(*map(jnp.asarray, parts))


def found(truth, *, gradient=0.0, curvature=0.0):
    """Off in the second input alone, in parts of the deviation of its derivative."""
    slope = np.asarray(truth.dydx).copy()
    slope[:, 0, 1] += gradient * np.std(slope[:, 0, 1]) * np.sign(X[:, 2])
    second = np.asarray(truth.d2ydx2) + curvature
    return Samples(truth.x, truth.y, jnp.asarray(slope), jnp.asarray(second))


def test_a_derivative_in_small_numbers_is_not_hidden():
    exact = truth(scale=(0.01, 1.0, 1.0))
    wrong = found(exact, gradient=0.67)
    assert measure(wrong.dydx, exact.dydx).r2 > 0.9999
    columns = errors_by_column(wrong, exact)
    np.testing.assert_allclose(columns["dydx"].r2, [[1.0, 1 - 0.67**2, 1.0]], atol=1e-9)
    np.testing.assert_allclose(columns["dydx"].max_error[0, 1], 0.67 * np.std(0.6 * X[:, 1]), rtol=1e-9)
    assert columns["y"].r2.tolist() == [1.0]


def test_units_do_not_matter():
    wrong = [
        errors_by_column(found(t, gradient=0.5), t)
        for t in (truth(), truth((1e-3, 7.0, 1e6)), truth((50.0, 1e-9, 1.0)))
    ]
    for other in wrong[1:]:
        for name in ("y", "dydx", "d2ydx2"):
            np.testing.assert_allclose(other[name].unexplained, wrong[0][name].unexplained, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("leak", [1e-3, 1e-2])
def test_a_constant_derivative_is_measured_against_the_slope(leak):
    """Of the input that plays no part R² is not defined: its error counts against 1 % of the slope of the output."""
    exact = truth((1.0, 1.0, 5.0))
    off = Samples(exact.x, exact.y, exact.dydx.at[:, 0, 2].set(leak))
    deviations = np.std(np.asarray(exact.x), axis=0)
    length = math.sqrt(np.mean(np.sum((np.asarray(exact.dydx)[:, 0] * deviations) ** 2, axis=1)))
    expected = (leak / (0.01 * length / deviations[2])) ** 2
    np.testing.assert_allclose(errors_by_column(off, exact)["dydx"].unexplained[0, 2], expected, rtol=1e-9)
    # And the second derivative in b, which is constant, too.
    curved = errors_by_column(found(exact, curvature=1e-3), exact)["d2ydx2"].unexplained[0]
    assert np.isfinite(curved).all()
    assert curved[1, 1] > 0


def test_a_constant_output_can_only_be_met():
    flat = Samples(jnp.asarray(X), jnp.ones((400, 1)), jnp.zeros((400, 1, 3)))
    off = Samples(flat.x, flat.y + 0.5, flat.dydx)
    assert errors_by_column(flat, flat)["y"].unexplained.tolist() == [0.0]
    assert errors_by_column(off, flat)["y"].unexplained.tolist() == [math.inf]


def test_unknown_labels_and_parts():
    exact = truth()
    hidden = np.ones((400, 1, 3))
    hidden[:, 0, 2] = 0
    hidden[::2, 0, 1] = 0
    partly = Samples(
        exact.x, exact.y, jnp.where(hidden > 0, exact.dydx, jnp.nan), weights=LabelWeights(dydx=jnp.asarray(hidden))
    )
    wrong = Samples(exact.x, exact.y, found(exact, gradient=0.5).dydx)
    columns = errors_by_column(wrong, partly)
    assert columns.keys() == {"y", "dydx"}
    assert np.isnan(columns["dydx"].unexplained[0, 2])
    half = np.asarray(exact.dydx)[1::2, 0, 1]
    expected = 0.25 * np.var(np.asarray(exact.dydx)[:, 0, 1]) / np.var(half)
    np.testing.assert_allclose(columns["dydx"].unexplained[0, 1], expected, rtol=1e-9)


def test_what_is_not_finite_is_as_wrong_as_can_be():
    exact = truth()
    broken = Samples(exact.x, exact.y.at[3].set(jnp.nan), exact.dydx)
    columns = errors_by_column(broken, exact)
    assert columns["y"].unexplained.tolist() == [math.inf]
    assert columns["y"].max_error.tolist() == [math.inf]
