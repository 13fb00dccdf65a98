"""Functions that JAX cannot trace: their labels, their differences, and what is said when they fail."""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sobolev_pruning.reference import (
    Axes,
    CentralDifferences,
    ForwardDifferences,
    HostFunction,
    ReturnedDerivatives,
    UniformBox,
)
from sobolev_pruning.sobolev import SobolevLoss, fit
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

BOX = UniformBox(np.array([0.0, -1.0]), np.array([1.0, 1.0]))
KEY = jax.random.key(0)


def values(x):
    """With a branch on a number, which JAX cannot trace."""
    sign = 1.0 if x[0] >= 0 else -1.0
    return np.array([sign * math.exp(x[0]) * x[1], math.sin(3 * x[1])])


def jacobian(x):
    return np.array([[math.exp(x[0]) * x[1], math.exp(x[0])], [0.0, 3 * math.cos(3 * x[1])]])


def batch(x):
    return np.stack([values(row) for row in x])


def exact(x):
    x = np.asarray(x)
    return batch(x), np.stack([jacobian(row) for row in x])


# What takes the values, and how far the derivatives may be from the truth.
KINDS = {
    "returned": (HostFunction(lambda x: (values(x), jacobian(x)), BOX, 2, ReturnedDerivatives()), 1e-15),
    "returned, batched": (HostFunction(lambda x: exact(x), BOX, 2, ReturnedDerivatives(), True), 1e-15),
    "forward": (HostFunction(values, BOX, 2, ForwardDifferences(1e-8)), 1e-6),
    "central": (HostFunction(values, BOX, 2, CentralDifferences((1e-5, 2e-5))), 1e-8),
    "central, batched": (HostFunction(batch, BOX, 2, CentralDifferences(1e-5), True), 1e-8),
    "values alone": (HostFunction(values, BOX, 2), None),
}


@pytest.mark.parametrize(("reference", "tolerance"), KINDS.values(), ids=KINDS.keys())
def test_labels_are_those_of_the_function(reference, tolerance):
    assert (reference.dim_in, reference.dim_out) == (2, 2)
    kept, compiled = reference.table(KEY, 6), eqx.filter_jit(reference.sample)(KEY, 6)
    y, dydx = exact(kept.x)
    for samples in (kept, compiled):
        assert jnp.array_equal(samples.x, kept.x)
        np.testing.assert_allclose(samples.y, y, rtol=1e-15)
        if tolerance is None:
            assert samples.dydx is None
        else:
            np.testing.assert_allclose(samples.dydx, dydx, atol=tolerance)


@pytest.mark.parametrize(("kind", "order"), [(ForwardDifferences, 1), (CentralDifferences, 2)])
def test_the_order_of_the_error(kind, order):
    """A step of a half leaves a half or a quarter of the error."""

    def error(step):
        samples = HostFunction(values, BOX, 2, kind(step)).table(KEY, 8)
        return np.max(np.abs(np.asarray(samples.dydx) - exact(samples.x)[1]))

    assert error(1e-3) / error(5e-4) == pytest.approx(2.0**order, rel=0.02)


def test_steps_are_those_of_their_inputs():
    """Of a quadratic the forward difference is off by half a step, input by input."""
    reference = HostFunction(lambda x: float(x @ x), BOX, 1, ForwardDifferences(np.array([0.1, 0.01])))
    samples = reference.table(KEY, 3)
    assert reference.derivatives.steps == (0.1, 0.01)
    np.testing.assert_allclose(samples.dydx[:, 0] - 2 * samples.x, [[0.1, 0.01]] * 3, rtol=1e-9)


def test_many_points_are_evaluated_in_several_parts(monkeypatch):
    """Rows keep their order and their numbers."""
    monkeypatch.setattr("sobolev_pruning.reference._functions._host._NUMBERS_AT_ONCE", 25)  # two rows of two inputs
    whole = KINDS["central, batched"][0].table(KEY, 5)
    np.testing.assert_allclose(whole.dydx, exact(whole.x)[1], atol=1e-8)
    last = np.asarray(whole.x[4])

    def fails_last(x):
        if np.any(np.all(x == last, axis=1)):
            raise OSError("the disk is full")
        return batch(x)

    with pytest.raises(RuntimeError, match="row 4, "):
        HostFunction(fails_last, BOX, 2, CentralDifferences(1e-5), True).table(KEY, 5)


def test_differences_are_taken_in_double_precision():
    """Steps that single precision could not resolve give derivatives that it can just represent."""
    with jax.enable_x64(False):
        box = UniformBox(np.array([100.0, -1.0]), np.array([101.0, 1.0]))
        reference = HostFunction(lambda x: float(np.sum(x**2)), box, 1, CentralDifferences(1e-4))
        for samples in (reference.table(KEY, 4), eqx.filter_jit(reference.sample)(KEY, 4)):
            assert {part.dtype for part in jax.tree.leaves(samples)} == {jnp.dtype("float32")}
            np.testing.assert_allclose(samples.dydx[:, 0], 2 * samples.x, rtol=1e-6, atol=1e-6)


def test_it_is_mapped_over_keys():
    reference = KINDS["forward"][0]
    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(lambda key: reference.sample(key, 2)))(keys)
    for i, key in enumerate(keys):
        alone = reference.table(key, 2)
        assert jnp.array_equal(mapped.y[i], alone.y)
        assert jnp.array_equal(mapped.dydx[i], alone.dydx)


def test_a_surrogate_is_fitted_within_the_compiled_loop():
    reference = KINDS["returned, batched"][0]
    start = Surrogate(MLP.create([2, 4, 2], activation=jnp.tanh, key=KEY), Normalisation.identity(2, 2))
    options = {"key": KEY, "steps": 30, "batch_size": 16, "steps_per_chunk": 30}
    losses = fit(start, reference, SobolevLoss(), optimizer=optax.adam(1e-2), **options).losses
    assert losses[-5:].mean() < 0.8 * losses[:5].mean()


def test_a_function_may_write_into_its_input():
    def spoils(x):
        y = values(x)
        x[:] = np.nan
        return y

    spoilt, kept = (HostFunction(f, BOX, 2, ForwardDifferences(1e-6)).table(KEY, 3) for f in (spoils, values))
    assert jnp.array_equal(spoilt.dydx, kept.dydx)


def fails(x):
    if x[1] < -0.5:
        raise ZeroDivisionError("no root")
    return values(x)


def fails_batched(x):
    return np.stack([fails(row) for row in x])


def not_finite(x):
    return np.where(x[1] < -0.5, np.nan, values(x))


FAILURES = {
    "error": (HostFunction(fails, BOX, 2), RuntimeError, "failed in {place}: ZeroDivisionError: no root"),
    "error in a batch": (
        HostFunction(fails_batched, BOX, 2, batched=True),
        RuntimeError,
        "failed in {place}: ZeroDivisionError: no root",
    ),
    "not finite": (
        HostFunction(not_finite, BOX, 2),
        ValueError,
        "returns a value of nan in {place}; {count} of 12 rows are not finite",
    ),
    "not finite, batched": (
        HostFunction(lambda x: np.stack([not_finite(row) for row in x]), BOX, 2, batched=True),
        ValueError,
        "returns a value of nan in {place}; {count} of 12 rows are not finite",
    ),
    "derivative not finite": (
        HostFunction(lambda x: (values(x), not_finite(x)[:, None] * jacobian(x)), BOX, 2, ReturnedDerivatives()),
        ValueError,
        "returns a derivative of nan in {place}; {count} of 12 rows are not finite",
    ),
    "shape": (
        HostFunction(lambda x: values(x)[: 1 if x[1] < -0.5 else 2], BOX, 2),
        ValueError,
        "returns values of shape (1,) in {place}; it must be (2,)",
    ),
}


@pytest.mark.parametrize(("reference", "error", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_failures_name_the_row_and_the_input(reference, error, message):
    key = jax.random.key(3)
    x = np.asarray(BOX(key, 12))
    bad = np.flatnonzero(x[:, 1] < -0.5)
    assert 0 < bad[0] < 11
    expected = message.format(place=f"row {bad[0]}, x = {x[bad[0]].tolist()}", count=len(bad))
    with pytest.raises(error) as caught:
        reference.table(key, 12)
    assert expected in str(caught.value)
    if error is RuntimeError:
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    # From a compiled step the error is JAX's, and says the same.
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jax.block_until_ready(eqx.filter_jit(reference.sample)(key, 12))
    assert expected in str(caught.value)


def test_a_batch_that_fails_as_a_whole():
    def too_many(x):
        if len(x) > 4:
            raise MemoryError("too many rows")
        return batch(x)

    with pytest.raises(RuntimeError, match="failed in a batch of 12 points: MemoryError: too many rows"):
        HostFunction(too_many, BOX, 2, batched=True).table(KEY, 12)


REFUSED = {
    "no outputs": (lambda: HostFunction(values, BOX, 0), "`n_outputs` is 0"),
    "step of zero": (lambda: CentralDifferences(0.0), r"`steps` holds 0\.0"),
    "step not finite": (lambda: ForwardDifferences((1e-3, math.nan)), "`steps` holds nan"),
    "steps of others": (
        lambda: HostFunction(values, BOX, 2, ForwardDifferences((1e-3,) * 3)).table(KEY, 2),
        "`steps` holds 3 numbers for 2 inputs",
    ),
    "no pair": (lambda: HostFunction(values, BOX, 2, ReturnedDerivatives()).table(KEY, 2), "must return a pair"),
    "no numbers": (lambda: HostFunction(lambda x: "high", BOX, 1).table(KEY, 2), "in row 0, .* not real numbers"),
    "complex": (lambda: HostFunction(lambda x: 1j * x, BOX, 2).table(KEY, 2), "in row 0, .* not real numbers"),
    "batch of another shape": (
        lambda: HostFunction(lambda x: batch(x).T, BOX, 2, batched=True).table(KEY, 3),
        r"values of shape \(2, 3\) in a batch of 3 points; it must be \(3, 2\)",
    ),
    "Jacobian of another shape": (
        lambda: HostFunction(lambda x: (values(x), x), BOX, 2, ReturnedDerivatives()).table(KEY, 3),
        r"Jacobian of shape \(2,\) in row 0, .*; it must be \(2, 2\)",
    ),
    "curvature": (lambda: KINDS["forward"][0].sample(KEY, 2, directions=Axes()), "no second derivatives"),
    "table in a compiled step": (lambda: eqx.filter_jit(KINDS["forward"][0].table)(KEY, 2), "inside of `jit`"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="`function` is str"):
        HostFunction("values", BOX, 2)


def stairs(x):
    """Slopes below one, a kink at x0 = 0 and jumps at x0 = 0.25 and x1 = −0.5, in two outputs."""
    step = 1.0 * (x[..., 0] > 0.25) + 2.0 * (x[..., 1] > -0.5)
    smooth = 0.5 * np.abs(x[..., 0]) + 0.1 * x[..., 1] ** 2
    return np.stack([smooth + step, 1e6 * smooth], axis=-1)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", [CentralDifferences, ForwardDifferences])
def test_differences_are_not_taken_across_a_jump(kind, batched):
    """They would be 150 and 300 where the slope is below one; kinks are no jumps."""
    h = 1 / 300
    x = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    x[[3, 7], 0] = 0.25 - 0.3 * h, 0.25 + 0.3 * h
    x[5, 1], x[9, 0] = -0.5 - 0.9 * h, 0.2 * h
    x[37, 0] = 0.5  # away from the kink, which row 9 has to itself
    host = HostFunction(stairs, lambda key, n: jnp.asarray(x), 2, kind(h), batched)
    with pytest.warns(UserWarning, match=r"jumps within a step of input 0 at row 3, x = \[0\.249.* in [23] of 40 rows"):
        samples = host.table(jax.random.key(0), 40)
    exact = np.stack([0.5 * np.sign(x[:, 0]), 0.2 * x[:, 1]], 1)
    exact[9, 0] = samples.dydx[9, 0, 0]  # at the kink, any slope between the two
    assert abs(exact[9, 0]) <= 0.5 + 1e-9
    np.testing.assert_allclose(samples.dydx[:, 0], exact, atol=2 * h)
    np.testing.assert_allclose(samples.dydx[:, 1], 1e6 * exact, atol=1e6 * 2 * h)


def test_jumps_on_both_sides_are_refused():
    host = HostFunction(
        lambda x: [float(np.abs(x[0]) < 1e-3)],
        lambda key, n: jnp.linspace(-1, 1, 9)[:, None],
        1,
        CentralDifferences(1e-2),
    )
    with pytest.raises(ValueError, match=r"jumps on both sides of x = \[0\.0\] \(row 4\) .* use smaller steps"):
        host.table(jax.random.key(0), 9)


@pytest.mark.parametrize(
    "function", [np.abs, np.exp, lambda x: np.tanh(30 * x), lambda x: np.maximum(x - 0.3, 0), np.round]
)
def test_steep_bent_and_kinked_functions_are_left_alone(function):
    """No warning (which would be an error here), and not one call more where nothing is in doubt."""
    x = np.linspace(-1, 1, 41)[:, None] + 0.003
    host = HostFunction(lambda x: function(x), lambda key, n: jnp.asarray(x), 1, CentralDifferences(1e-3), True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = host.table(jax.random.key(0), 41).dydx[:, 0]
    np.testing.assert_allclose(found, (function(x + 1e-3) - function(x - 1e-3)) / 2e-3, atol=1e-9)


def test_labels_that_single_precision_cannot_hold_are_refused():
    with jax.enable_x64(False):
        host = HostFunction(lambda x: [1e40 * float(x[0])], lambda key, n: jnp.ones((n, 1)), 1)
        with pytest.raises(ValueError, match=r"`samples\.y`, column 0, reaches 1e\+40, too large for float32"):
            host.table(jax.random.key(0), 3)


def test_masked_values_are_refused():
    host = HostFunction(lambda x: np.ma.masked_array([1e20], [True]), lambda key, n: jnp.ones((n, 1)), 1)
    with pytest.raises(ValueError, match=r"`function` returns values in row 0, x = \[1\.0\] that are masked"):
        host.table(jax.random.key(0), 3)


@pytest.mark.parametrize("kind", [ForwardDifferences, CentralDifferences])
def test_steps_that_rounding_takes_away_are_refused(kind):
    host = HostFunction(lambda x: x[0], lambda key, n: jnp.ones((n, 1)), 1, kind(1e-300))
    with pytest.raises(
        ValueError, match="`steps` are lost in the rounding of input 0, which is 1 in row 0; take larger"
    ):
        host.table(jax.random.key(0), 3)
    assert kind(np.float32(0.5)) == kind(np.array(0.5)) == kind(0.5)
