"""Units of any scale: learned in double precision, and refused with a remedy where a precision cannot hold them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import DataSet, LabelWeights, Samples
from sobolev_pruning.sobolev import SobolevLoss, fit_levenberg_marquardt
from sobolev_pruning.study import errors_between
from sobolev_pruning.surrogate import MLP, Normalisation

RNG = np.random.default_rng(0)
T = RNG.uniform(-1, 1, (40, 1))


def table(x_unit=1.0, y_unit=1.0, x_offset=0.0, y_offset=0.0):
    """A parabola in some units."""
    return x_offset + x_unit * T, y_offset + y_unit * T**2, (y_unit / x_unit * 2 * T)[:, None]


@pytest.mark.parametrize(
    ("x64", "x_unit", "y_unit"),
    [
        (False, 1.0, 1e20),
        (False, 1e-25, 1e-25),
        (False, 1e18, 1e-15),
        (True, 1e150, 1e-150),
        (True, 1e-300, 1e-299),
        (True, 1e300, 1e300),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_units_are_those_of_the_same_data_in_other_units(x64, x_unit, y_unit, stream):
    """Squares of these numbers overflow or vanish in their own precision."""
    with jax.enable_x64(x64):
        samples = DataSet.from_arrays(*table(x_unit, y_unit)).samples
        learned = Normalisation.from_stream([samples]) if stream else Normalisation.from_samples(samples)
        assert learned.x_scale.dtype == (jnp.float64 if x64 else jnp.float32)
        np.testing.assert_allclose(np.float64(learned.x_scale) / x_unit, T.std(0), rtol=1e-6)
        np.testing.assert_allclose(np.float64(learned.y_mean) / y_unit, (T**2).mean(0), rtol=1e-6)
        np.testing.assert_allclose(np.float64(learned.y_scale) / y_unit, (T**2).std(0), rtol=1e-6)


@pytest.mark.parametrize(("x64", "x_unit", "y_unit"), [(False, 1e-20, 1e12), (True, 1e-120, 1e150)])
def test_a_surrogate_learns_in_any_units(x64, x_unit, y_unit):
    with jax.enable_x64(x64):
        samples = DataSet.from_arrays(*table(x_unit, y_unit)).samples
        start = MLP.create([1, 4, 1], key=jax.random.key(0))
        with pytest.warns(UserWarning, match=r"second derivatives of output 0 by input 0 are of size 1e\+(52|390)"):
            found = fit_levenberg_marquardt(start, samples, SobolevLoss(), max_steps=40).surrogate
        y, dydx = jax.vmap(lambda x: (found(x), found.gradient(x)))(samples.x)
        zeros = jnp.zeros((40, 1, 1, 1))
        errors = errors_between(Samples(samples.x, y, dydx, zeros), Samples(samples.x, samples.y, samples.dydx, zeros))
        assert errors.values.r2 > 0.999
        assert errors.deltas.r2 > 0.999
        assert 0 < errors.values.rmse / y_unit < 0.01


# Arrays in double precision, and what is said of them where JAX's default is single.
LOST = {
    "an offset input": (table(1e-2, x_offset=1e6), r"`samples\.x`, column 0, varies by 0\.006 around 1e\+06"),
    "an offset output": (
        table(y_unit=1e-2, y_offset=-1e6),
        r"`samples\.y`, column 0, varies by 0\.0033 around -1e\+06",
    ),
    "a large input": (table(1e39), r"`samples\.x`, column 0, reaches 9\.\d*e\+38, too large for float32"),
    "a small output": (table(y_unit=1e-39), r"`samples\.y`, column 0, reaches 9\.\d*e-40, too small for float32"),
    "a large derivative": (table(1e-20, 1e20), r"`samples\.dydx`, column 0, 0, reaches 1\.\d*e\+40, too large"),
}


@pytest.mark.parametrize(("arrays", "message"), LOST.values(), ids=LOST)
def test_what_single_precision_loses_is_said_with_the_remedy(arrays, message):
    with jax.enable_x64(False), pytest.raises(ValueError, match=message + ".*jax_enable_x64"):
        DataSet.from_arrays(*arrays)
    assert DataSet.from_arrays(*arrays).samples.n == 40


SPREAD = np.arange(8.0)[:, None]
REFUSED = {
    "derivatives": (SPREAD * 1e-25, SPREAD * 1e20, r"first derivatives of 'b' by 'a' are of size 1e\+45, .*float32"),
    "vanishing derivatives": (SPREAD * 1e25, SPREAD * 1e-20, r"first derivatives of 'b' by 'a' are of size 1e-45"),
    "range": (SPREAD * 1e36, SPREAD, r"`samples\.x` reaches 7e\+36 .*'a', but float32 computes within"),
    "resolution": (1e6 + SPREAD / 8, SPREAD, r"varies in column 0, 'a', by only 0\.29 around 1e\+06, .*0\.12 apart"),
    "lost before": (
        1e6 + SPREAD / 1e4,
        SPREAD,
        r"'a', but is 1e\+06 in all 8 samples, .*by less than 0\.12, that is lo",
    ),
}


@pytest.mark.parametrize(("x", "y", "message"), REFUSED.values(), ids=REFUSED)
def test_units_beyond_single_precision_are_refused_before_training(x, y, message):
    with jax.enable_x64(False):
        samples = Samples(jnp.asarray(x), jnp.asarray(y))
        for learn in (Normalisation.from_samples, lambda s, **names: Normalisation.from_stream([s], **names)):
            with pytest.raises(ValueError, match=message + ".*jax_enable_x64"):
                learn(samples, inputs=["a"], outputs=["b"])


def test_double_precision_has_limits_too():
    for x, y in ((SPREAD * 1e-200, SPREAD * 1e200), (SPREAD * 1e307, SPREAD), (1e17 + SPREAD, SPREAD)):
        with pytest.raises(
            ValueError, match=r"(float64|in all 8 samples).*(change the units|take (the|an) offset off)"
        ):
            Normalisation.from_samples(Samples(jnp.asarray(x), jnp.asarray(y)))


def test_lost_digits_are_a_warning():
    with jax.enable_x64(False):
        samples = Samples(jnp.asarray(1e4 + SPREAD / 8), jnp.asarray(SPREAD))
        with pytest.warns(UserWarning, match="varies in column 0 by 0.29 around 10000.4, .*so digits are lost"):
            Normalisation.from_samples(samples)


def test_labels_that_overflow_are_not_ignored():
    """A scale that is infinite would silence its term of the loss."""
    with jax.enable_x64(False):
        samples = Samples(jnp.asarray(SPREAD), jnp.asarray(SPREAD**2), jnp.full((8, 1, 1), 1e25))
        with pytest.raises(ValueError, match=r"squares of `samples\.dydx` overflow float32 in normalised units"):
            SobolevLoss().calibrate(Normalisation.from_samples(samples).normalise(samples))


def test_weights_have_no_unit():
    errors = jnp.asarray([[1.0], [2.0]])
    with jax.enable_x64(False):
        for unit in (1e-25, 1.0, 1e30):
            found = LabelWeights.from_errors(jnp.asarray(unit * np.asarray(errors), jnp.float32))
            np.testing.assert_allclose(found.y, [[1.6], [0.4]], rtol=1e-6)


@pytest.mark.usefixtures("unchecked_shapes")
def test_whole_numbers_have_units():
    x = jnp.arange(9)[:, None]
    learned = Normalisation.from_samples(Samples(x, x**2))
    assert learned.x_scale.dtype == jnp.float64
    assert float(learned.x_scale[0]) == pytest.approx(np.arange(9.0).std())
