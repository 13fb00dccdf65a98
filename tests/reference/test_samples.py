"""Samples, payoffs, and the references that are functions or tables."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sobolev_pruning.reference import DataSet, FunctionReference, Samples, call, smoothed_call


def table(n=5, d=3, m=2):
    """Samples whose every number tells its row."""
    rows = jnp.arange(n, dtype=float)
    return Samples(
        jnp.broadcast_to(rows[:, None], (n, d)),
        jnp.broadcast_to(rows[:, None], (n, m)),
        jnp.broadcast_to(rows[:, None, None], (n, m, d)),
        jnp.broadcast_to(rows[:, None, None, None], (n, m, d, d)),
    )


@pytest.mark.parametrize(
    ("part", "shape"),
    [("y", (4, 2)), ("y", (5,)), ("dydx", (5, 3)), ("dydx", (5, 2, 2)), ("d2ydx2", (5, 2, 3)), ("x", (5,))],
    ids=str,
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_shapes_that_do_not_fit_are_named(part, shape):
    samples = table()
    parts = {name: getattr(samples, name) for name in ("x", "y", "dydx", "d2ydx2")}
    with pytest.raises(ValueError, match=f"`{part}`"):
        Samples(**parts | {part: jnp.zeros(shape)})


def test_samples_without_derivatives():
    samples = Samples(jnp.zeros((4, 3)), jnp.zeros((4, 1)))
    assert samples.n == 4
    assert samples.dydx is None
    assert len(jax.tree.leaves(samples)) == 2


def test_dataset_draws_whole_rows():
    data = DataSet(table())
    assert (data.dim_in, data.dim_out) == (3, 2)
    drawn = eqx.filter_jit(data.sample)(jax.random.key(0), 400)
    rows = drawn.x[:, 0]
    for part in jax.tree.leaves(drawn):
        assert np.all(np.asarray(part).reshape(400, -1) == np.asarray(rows)[:, None])
    counts = np.bincount(np.asarray(rows, int), minlength=5)
    # Uniform: each count is within 5 deviations of a binomial of mean 80.
    assert np.all(np.abs(counts - 80) < 5 * math.sqrt(80 * 0.8))
    assert jnp.array_equal(drawn.x, data.sample(jax.random.key(0), 400).x)


def test_dataset_keeps_missing_derivatives_missing():
    drawn = DataSet(Samples(jnp.zeros((4, 3)), jnp.zeros((4, 1)))).sample(jax.random.key(0), 2)
    assert drawn.dydx is None
    assert drawn.d2ydx2 is None


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="`samples` is empty"):
        DataSet(Samples(jnp.zeros((0, 3)), jnp.zeros((0, 1))))


def function(x):
    return jnp.stack([jnp.sin(x[0]) * x[1], x[0] ** 2 + x[2]])


def normals(key, n):
    return jax.random.normal(key, (n, 3))


def test_labels_of_a_function_are_its_derivatives():
    reference = FunctionReference(function, normals)
    assert (reference.dim_in, reference.dim_out) == (3, 2)
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), 6)
    truth = eqx.filter_jit(reference.truth)(samples.x)
    x = np.asarray(samples.x)
    assert np.array_equal(x, normals(jax.random.key(0), 6))
    zero, one = np.zeros(6), np.ones(6)
    first = np.stack([np.cos(x[:, 0]) * x[:, 1], np.sin(x[:, 0]), zero], -1)
    second = np.stack([2 * x[:, 0], zero, one], -1)
    jacobian = np.stack([first, second], 1)
    for labels in (samples, truth):
        np.testing.assert_allclose(
            labels.y, np.stack([np.sin(x[:, 0]) * x[:, 1], x[:, 0] ** 2 + x[:, 2]], -1), rtol=1e-14
        )
        np.testing.assert_allclose(labels.dydx, jacobian, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(truth.d2ydx2[:, 0, 0, 0], -np.sin(x[:, 0]) * x[:, 1], rtol=1e-12)
    np.testing.assert_allclose(truth.d2ydx2[:, 0, 0, 1], np.cos(x[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(truth.d2ydx2[:, 1, 0, 0], 2.0)
    assert samples.d2ydx2 is None


def test_function_reference_in_float32():
    with jax.enable_x64(False):
        samples = FunctionReference(function, normals).sample(jax.random.key(0), 2)
        assert {part.dtype for part in jax.tree.leaves(samples)} == {jnp.dtype("float32")}


def test_call():
    assert jnp.array_equal(call(jnp.array([0.5, 1.0, 1.5]), 1.0), jnp.array([0.0, 0.0, 0.5]))


def test_bound_of_the_smoothing_holds_and_is_attained():
    width = 0.03
    u = jnp.linspace(-20 * width, 20 * width, 100_001)
    error = jnp.abs(smoothed_call(1.0 + u, 1.0, width) - call(1.0 + u, 1.0))
    assert jnp.max(error) <= 0.2785 * width
    assert jnp.max(error) >= 0.2784 * width
    np.testing.assert_allclose(jnp.abs(u[jnp.argmax(error)]), 1.2785 * width, rtol=1e-3)


def test_smoothing_vanishes_far_from_the_kink_and_is_smooth_at_it():
    assert float(smoothed_call(jnp.array(-50.0), 1.0, 0.1)) == pytest.approx(0.0, abs=1e-100)
    assert float(smoothed_call(jnp.array(50.0), 1.0, 0.1)) == pytest.approx(49.0, rel=1e-15)
    check_grads(lambda b: smoothed_call(jnp.asarray(b), 1.0, 0.1), (jnp.array([0.9, 1.0, 1.1]),), order=3, rtol=1e-4)
    assert float(jax.grad(lambda b: smoothed_call(b, 1.0, 0.1))(jnp.array(1.0))) == pytest.approx(0.5)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan])
def test_bad_width_is_refused(width):
    with pytest.raises(ValueError, match="`width`"):
        smoothed_call(jnp.ones(1), 1.0, width)
