"""Errors on held-out samples are what their definitions say, the worst output's, without unknown labels."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import points, surrogate

from sobolev_pruning.metrics import measure
from sobolev_pruning.pruning import SurrogateErrors, Tolerance
from sobolev_pruning.pruning._tolerance import worst_columns
from sobolev_pruning.reference import LabelWeights, Samples
from sobolev_pruning.surrogate import Surrogate

ERRORS = SurrogateErrors(2e-5, 1e-4, None, 0.01, 0.02, None)


def test_each_output_is_measured_and_the_worst_counts():
    two = surrogate((2, 4, 2))
    x = points(32, 2)
    exact = two.evaluate(x)
    # The second output is off by three, though it varies little beside the first.
    truth = Samples(x, exact.y.at[3, 1].add(3.0), 1.1 * exact.dydx)
    found = SurrogateErrors.of(two, truth)
    by_output = [1 - measure(exact.y[:, k], truth.y[:, k]).r2 for k in range(2)]
    assert by_output[0] == 0
    np.testing.assert_allclose(found.values, by_output[1], rtol=1e-9)
    np.testing.assert_allclose(found.largest_value, 3.0)
    np.testing.assert_allclose(found.largest_gradient, 0.1 * np.abs(exact.dydx).max())
    assert found.curvature is None
    assert found.largest_curvature is None


def test_the_worst_derivative_counts_whatever_its_units():
    """In units in which the first input is small its derivative is large, and hides the other one."""
    one = surrogate((2, 4, 1))
    units = jnp.array([1e-3, 1.0])
    x = points(64, 2) * units[None]
    one = Surrogate(one.network, dataclasses.replace(one.normalisation, x_scale=units, x_mean=jnp.zeros(2)))
    exact = one.evaluate(x)
    truth = Samples(x, exact.y, exact.dydx.at[:, :, 1].multiply(-1.0))
    assert 1 - measure(exact.dydx, truth.dydx).r2 < 1e-4
    found = SurrogateErrors.of(one, truth)
    assert found.gradients > 1
    assert not Tolerance(gradients=0.1).holds(found)


def test_labels_of_weight_zero_do_not_count():
    one = surrogate()
    x = points(16, 2)
    y = one.evaluate(x).y
    wrong, known = y.at[5, 0].set(1e6), jnp.ones_like(y).at[5, 0].set(0)
    assert SurrogateErrors.of(one, Samples(x, wrong)).values > 0.1
    assert SurrogateErrors.of(one, Samples(x, wrong, weights=LabelWeights(y=known))).values == 0


def test_bounds_are_told_apart():
    assert Tolerance(values=3e-5, largest_value=0.02).holds(ERRORS)
    tolerance = Tolerance(values=1e-5, gradients=1e-3, largest_gradient=0.005)
    np.testing.assert_allclose(tolerance.excess(ERRORS), 4.0)
    assert tolerance.missed(ERRORS) == {"values": 2e-5, "largest_gradient": 0.02}
    assert "`values` is 2e-05, 2 times the 1e-05 allowed" in tolerance.misses(ERRORS)
    assert "`largest_value` is 0.0101, 1.01 times the 0.01 allowed" in Tolerance(largest_value=0.01).misses(
        dataclasses.replace(ERRORS, largest_value=0.0101)
    )
    assert not Tolerance(curvature=1.0).holds(ERRORS)
    assert not Tolerance(values=1.0).holds(SurrogateErrors.failed())


@pytest.mark.parametrize("name", ["values", "gradients", "curvature", "largest_value", "largest_curvature"])
def test_a_bound_asks_for_its_labels(name):
    x = points(4, 2)
    samples = Samples(x, x[:, :1])
    tolerance = Tolerance(**{name: 0.1})
    if "value" in name:
        tolerance.check_labels(samples)
        return
    with pytest.raises(ValueError, match=f"`{name}` of the tolerance"):
        tolerance.check_labels(samples)


def test_numbers_that_json_has_none_for():
    assert SurrogateErrors(math.inf, math.nan, None, 1.0, 2.0, None).as_dict() == {
        "values": None,
        "gradients": None,
        "curvature": None,
        "largest_value": 1.0,
        "largest_gradient": 2.0,
        "largest_curvature": None,
    }


def test_the_worst_column_is_named():
    two = surrogate((2, 4, 2)).named(inputs=["spot", "vol"], outputs=["call", "put"])
    x = points(32, 2)
    exact = two.evaluate(x)
    truth = Samples(x, exact.y.at[3, 1].add(3.0), exact.dydx.at[:, 1, 0].multiply(1.5))
    where = worst_columns(two, truth)
    assert (where["values"], where["gradients"], where["largest_gradient"]) == ("put", "∂put/∂spot", "∂put/∂spot")
    assert "curvature" not in where
    tolerance = Tolerance(gradients=1e-5)
    assert "`gradients` of ∂put/∂spot is " in tolerance.misses(SurrogateErrors.of(two, truth), where)
    assert not worst_columns(surrogate(), surrogate().evaluate(x)).keys() & {"values", "largest_value"}


def test_a_column_without_labels_is_not_passed_in_silence():
    two = surrogate((2, 4, 2)).named(inputs=["spot", "vol"], outputs=["call", "put"])
    exact = two.evaluate(points(8, 2))
    known = jnp.ones_like(exact.dydx).at[:, 1, 0].set(0.0)
    truth = dataclasses.replace(exact, weights=LabelWeights(dydx=known))
    with pytest.warns(UserWarning, match="no sample to judge by has a label of ∂put/∂spot, so"):
        Tolerance(largest_gradient=1.0).warn_of_unlabelled(two, truth)
    Tolerance(values=1.0).warn_of_unlabelled(two, truth)
