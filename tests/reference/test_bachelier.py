"""The basket is the model it says it is, and its samples are unbiased."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

from sobolev_pruning.reference import BachelierBasket, Mixture, ModelLaw, UniformCube, published_cube_width

DIMS = [1, 2, 7]


@eqx.filter_jit
def draw(model, key, n):
    """Samples, compiled as a whole."""
    return model.sample(key, n)


@eqx.filter_jit
def truth_at(model, x):
    return model.truth(x)


@eqx.filter_jit
def spots_of(model, key, n):
    return model.spots(key, n)


def host(tree):
    """On the host: numpy compiles nothing."""
    return jax.tree.map(np.asarray, tree)


class FixedLaw(eqx.Module):
    """All spots at one, shifted."""

    shift: jax.Array

    def draw(self, key, n, initial, factor):
        return jnp.broadcast_to((initial + self.shift)[None], (n, initial.shape[0]))


def basket(dim=3, seed=0, **options):
    return BachelierBasket.random(jax.random.key(seed), dim, **options)


def covariance_of(model):
    """Covariance of the spots' moves in a year."""
    factor = np.asarray(model.factor)
    return factor @ factor.T


def price(model, x):
    """Closed-form price written out for one sample, independently of `truth`."""
    covariance = model.factor @ model.factor.T
    years = model.maturity_date - model.exposure_date
    s = jnp.sqrt(years * model.weights @ covariance @ model.weights)
    excess = model.weights @ x - model.strike
    return excess * stats.norm.cdf(excess / s) + s * stats.norm.pdf(excess / s)


def within(mean, deviation, n, truth, n_errors=5.0):
    """Whether a sample mean is within some standard errors of the truth."""
    return np.all(np.abs(mean - truth) <= n_errors * deviation / math.sqrt(n) + 1e-12)


@pytest.mark.parametrize("dim", DIMS)
def test_weights_and_volatilities_are_normalised(dim):
    model = basket(dim, basket_volatility=0.3)
    assert model.dim_in == dim
    assert model.dim_out == 1
    np.testing.assert_allclose(model.weights.sum(), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(model.weights @ model.factor), 0.3, rtol=1e-14)
    np.testing.assert_allclose(np.diag(model.correlation), 1.0, rtol=1e-14)
    np.testing.assert_allclose(
        covariance_of(model),
        model.correlation * model.volatilities[:, None] * model.volatilities[None],
        rtol=1e-12,
        atol=1e-15,
    )


def test_relative_sizes_of_given_weights_and_volatilities_stay():
    model = BachelierBasket(np.array([1.0, 3.0]), np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(model.weights, [0.25, 0.75])
    np.testing.assert_allclose(model.volatilities[0] / model.volatilities[1], 2.0)
    # By hand: the variance of the basket before scaling.
    variance = (0.25 * 2) ** 2 + 0.75**2 + 2 * 0.5 * 0.25 * 2 * 0.75
    np.testing.assert_allclose(model.volatilities, 0.2 / math.sqrt(variance) * np.array([2.0, 1.0]))


def test_same_key_same_samples_and_model():
    first, second = host(draw(basket(), jax.random.key(1), 8)), host(draw(basket(), jax.random.key(1), 8))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))
    other = host(draw(basket(), jax.random.key(2), 8))
    assert not np.any(first.x == other.x)
    assert not np.array_equal(basket(seed=1).weights, basket(seed=2).weights)


def test_sampling_leaves_the_model_as_it_is():
    model = basket()
    before = [np.array(leaf) for leaf in jax.tree.leaves(model)]
    truth = host(truth_at(model, jnp.ones((1, 3))))
    draw(model, jax.random.key(1), 4)
    eqx.filter_jit(model.paths)(jax.random.key(2), 2, 3)
    assert all(np.array_equal(a, b) for a, b in zip(before, jax.tree.leaves(model), strict=True))
    assert np.array_equal(host(truth_at(model, jnp.ones((1, 3)))).y, truth.y)


def test_sample_is_traceable_and_says_the_same():
    model = basket(spot_law=Mixture(ModelLaw(), UniformCube(), 0.3), n_paths=2)
    traced = host(draw(model, jax.random.key(1), 16))
    plain = model.sample(jax.random.key(1), 16)
    for a, b in zip(jax.tree.leaves(traced), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert [plain.x.shape, plain.y.shape, plain.dydx.shape] == [(16, 3), (16, 1), (16, 1, 3)]
    assert plain.d2ydx2 is None


@pytest.mark.parametrize("dim", DIMS)
def test_truth_and_its_derivatives_are_those_of_the_price(dim):
    model = basket(dim, maturity_date=3.0)
    x = host(draw(model, jax.random.key(1), 64)).x
    truth = host(truth_at(model, x))

    @jax.jit
    @jax.vmap
    def expected(x):
        def one(x):
            return price(model, x)

        return one(x), jax.grad(one)(x), jax.hessian(one)(x)

    value, deltas, hessian = expected(x)
    np.testing.assert_allclose(truth.y[:, 0], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(truth.dydx[:, 0], deltas, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(truth.d2ydx2[:, 0], hessian, rtol=1e-8, atol=1e-10)


def test_gamma_of_the_basket_is_the_sum_of_the_hessian():
    model = basket()
    x = host(draw(model, jax.random.key(1), 32)).x
    s = 0.2 * math.sqrt(model.maturity_date - model.exposure_date)
    expected = stats.norm.pdf((x @ model.weights - model.strike) / s) / s
    np.testing.assert_allclose(host(truth_at(model, x)).d2ydx2.sum((1, 2, 3)), expected, rtol=1e-12)


@pytest.mark.parametrize("antithetic", [True, False], ids=["antithetic", "plain"])
@pytest.mark.parametrize("n_paths", [1, 3])
def test_deltas_are_the_derivatives_of_the_payoff(antithetic, n_paths):
    """Finite differences through `sample`: the spots are shifted, the paths stay."""
    shift = jnp.array([1e-6, -2e-6, 3e-6])
    plain = basket(antithetic=antithetic, n_paths=n_paths, spot_law=FixedLaw(jnp.zeros(3)))
    moved = dataclasses.replace(plain, spot_law=FixedLaw(shift))
    a, b = host(draw(plain, jax.random.key(1), 512)), host(draw(moved, jax.random.key(1), 512))
    difference = (b.y - a.y)[:, 0]
    smooth = np.all(a.dydx == b.dydx, axis=(1, 2))  # no path crossed the strike
    assert smooth.mean() > 0.99
    np.testing.assert_allclose(difference[smooth], (a.dydx[:, 0] @ np.asarray(shift))[smooth], rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("antithetic", [True, False], ids=["antithetic", "plain"])
def test_labels_are_unbiased(antithetic):
    """Given the spot, payoffs and pathwise deltas have the price and the deltas as their means."""
    n = 40_000
    model = basket(antithetic=antithetic, spot_law=FixedLaw(jnp.array([0.1, 0.0, -0.05])))
    samples = host(draw(model, jax.random.key(3), n))
    truth = host(truth_at(model, samples.x[:1]))
    assert within(samples.y.mean(0), samples.y.std(0), n, truth.y[0])
    assert within(samples.dydx.mean(0), samples.dydx.std(0), n, truth.dydx[0])
    # The test has teeth: half a per cent of the spot is seen.
    assert not within(samples.y.mean(0), samples.y.std(0), n, truth.y[0] + 0.005)


def test_labels_are_unbiased_over_the_law_of_the_spots():
    n = 40_000
    model = basket(7)
    samples = host(draw(model, jax.random.key(4), n))
    truth = host(truth_at(model, samples.x))
    residual, residual_deltas = samples.y - truth.y, samples.dydx - truth.dydx
    assert within(residual.mean(0), residual.std(0), n, 0.0)
    assert within(residual_deltas.mean(0), residual_deltas.std(0), n, 0.0)
    # Uncorrelated with the inputs too: the regression on them is zero.
    product = residual * (samples.x - 1)
    assert within(product.mean(0), product.std(0), n, 0.0)


def noise(**options):
    model = basket(**options)
    samples = host(draw(model, jax.random.key(5), 20_000))
    return float(np.var(samples.y - host(truth_at(model, samples.x)).y))


def test_noise_falls_with_the_number_of_paths_and_with_mirrors():
    one = noise(antithetic=False)
    np.testing.assert_allclose(noise(antithetic=False, n_paths=4), one / 4, rtol=0.1)
    # An antithetic pair beats two independent paths, not just one.
    assert noise(antithetic=True) < 0.8 * one / 2


def test_replace_changes_the_sampling_and_not_the_model():
    model = basket(7)
    other = dataclasses.replace(model, n_paths=16, antithetic=False, spot_law=UniformCube())
    assert (other.n_paths, other.antithetic, other.spot_law) == (16, False, UniformCube())
    for name in ("weights", "correlation", "volatilities"):
        np.testing.assert_allclose(getattr(other, name), getattr(model, name), rtol=1e-15)
    assert other.strike == model.strike


def test_moments_of_the_model_law():
    n = 40_000
    model = basket(exposure_date=4.0, maturity_date=5.0, spot_volatility_multiplier=1.5)
    x = host(spots_of(model, jax.random.key(6), n))
    assert within(x.mean(0), x.std(0), n, 1.0)
    covariance = 1.5**2 * 4.0 * covariance_of(model)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.03 * float(np.max(covariance)))


def test_moments_of_paths():
    n = 20_000
    model = basket(exposure_date=1.0, maturity_date=3.0, spot_volatility_multiplier=2.0)
    times, paths = host(eqx.filter_jit(model.paths)(jax.random.key(7), n, 2))
    np.testing.assert_allclose(times, [0.0, 0.5, 1.0, 2.0, 3.0])
    assert paths.shape == (n, 5, 3)
    assert np.all(paths[:, 0] == 1.0)
    increments = np.diff(paths, axis=1)
    for step, variance in enumerate([0.5 * 4, 0.5 * 4, 1.0, 1.0]):
        expected = variance * covariance_of(model)
        np.testing.assert_allclose(np.cov(increments[:, step].T), expected, atol=0.05 * float(np.max(expected)))
    # Independent increments.
    cross = increments[:, 0].T @ increments[:, 2] / n
    assert np.max(np.abs(cross)) < 0.05 * np.max(covariance_of(model))


def test_float32_stays_float32():
    with jax.enable_x64(False):
        model = basket(n_paths=2)
        samples = host(draw(model, jax.random.key(1), 4))
        truth = host(truth_at(model, jnp.asarray(samples.x)))
        times, paths = eqx.filter_jit(model.paths)(jax.random.key(1), 2, 2)
        parts = jax.tree.leaves((model, samples, truth, times, paths))
        assert {part.dtype for part in parts if eqx.is_array_like(part) and not isinstance(part, float)} == {
            np.dtype("float32")
        }
    # The same model in float64, and its price by the formula at the same spots.
    wide = BachelierBasket(*(np.asarray(a, float) for a in (model.weights, model.correlation, model.volatilities)))
    np.testing.assert_allclose(truth.y, host(truth_at(wide, jnp.asarray(samples.x, float))).y, rtol=1e-4, atol=1e-6)


GOOD = {
    "weights": np.array([1.0, 2.0]),
    "correlation": np.array([[1.0, 0.5], [0.5, 1.0]]),
    "volatilities": np.array([1.0, 2.0]),
}
BAD = {
    "all weights zero": {"weights": np.zeros(2)},
    "negative weight": {"weights": np.array([1.0, -1.0])},
    "weight not finite": {"weights": np.array([1.0, np.nan])},
    "no weights": {"weights": np.zeros(0)},
    "correlation of another size": {"correlation": np.eye(3)},
    "correlation not symmetric": {"correlation": np.array([[1.0, 0.5], [0.1, 1.0]])},
    "covariance as correlation": {"correlation": np.array([[4.0, 0.5], [0.5, 1.0]])},
    "correlation of two": {"correlation": np.array([[1.0, 2.0], [2.0, 1.0]])},
    "correlation not finite": {"correlation": np.array([[1.0, np.nan], [np.nan, 1.0]])},
    "negative volatility": {"volatilities": np.array([1.0, -2.0])},
    "too many volatilities": {"volatilities": np.ones(3)},
    "basket volatility zero": {"basket_volatility": 0.0},
    "basket volatility not finite": {"basket_volatility": math.inf},
    "strike not finite": {"strike": math.nan},
    "exposure today": {"exposure_date": 0.0},
    "maturity before exposure": {"maturity_date": 0.5},
    "no spread of spots": {"spot_volatility_multiplier": 0.0},
    "no paths": {"n_paths": 0},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arguments_are_named(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=f"`{name}`"):
        BachelierBasket(**GOOD | bad)


def test_a_basket_of_no_assets_is_refused():
    with pytest.raises(ValueError, match="`dim` is 0"):
        basket(0)


def test_moments_of_the_cube():
    n = 20_000
    x = host(spots_of(basket(7, spot_law=UniformCube()), jax.random.key(8), n))
    a = published_cube_width(7)
    np.testing.assert_allclose(a, 1 + 0.5 * math.sqrt(0.5))
    assert np.all((x >= 1 - a / 2) & (x <= 1 + a / 2))
    np.testing.assert_allclose(x.min(0), 1 - a / 2, atol=1e-3)
    np.testing.assert_allclose(x.max(0), 1 + a / 2, atol=1e-3)
    assert within(x.mean(0), x.std(0), n, 1.0)
    np.testing.assert_allclose(np.cov(x.T), a**2 / 12 * np.eye(7), atol=0.01)
    assert np.ptp(host(spots_of(basket(2, spot_law=UniformCube(0.1)), jax.random.key(9), 100))) <= 0.1


@pytest.mark.parametrize(
    ("share", "n", "n_first"), [(0.0, 10, 0), (0.25, 10, 2), (0.3, 10, 3), (1.0, 7, 7), (0.5, 1, 0)]
)
def test_a_mixture_meets_its_share_exactly(share, n, n_first):
    law = Mixture(FixedLaw(jnp.zeros(2)), FixedLaw(jnp.ones(2)), share)
    x = law.draw(jax.random.key(0), n, jnp.zeros(2), jnp.eye(2))
    assert x.shape == (n, 2)
    assert int((x[:, 0] == 0).sum()) == n_first


def test_parts_of_a_mixture_are_independent():
    law = Mixture(ModelLaw(), ModelLaw(), 0.5)
    x = law.draw(jax.random.key(0), 8, jnp.zeros(2), jnp.eye(2))
    assert not np.any(x[:4] == x[4:])


@pytest.mark.parametrize(
    ("law", "argument", "value"), [(UniformCube, "width", 0.0), (UniformCube, "width", math.nan)], ids=["zero", "nan"]
)
def test_bad_cube_is_refused(law, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        law(**{argument: value})


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_bad_share_is_refused(share):
    with pytest.raises(ValueError, match="`share`"):
        Mixture(ModelLaw(), UniformCube(), share)
