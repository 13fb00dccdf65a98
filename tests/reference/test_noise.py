"""Noise and control variates: unbiased, and quieter."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from reference import formulas
from sobolev_pruning.reference import (
    ArithmeticAverage,
    BlackScholes,
    Call,
    Control,
    DeltaHedge,
    GeometricAverage,
    ModelStep,
    Option,
    Problem,
    PseudoRandom,
    SobolNormals,
    StochasticReference,
)
from sobolev_pruning.reference._sobol_points import scrambled_bits
from sobolev_pruning.reference._stochastic._simulation import all_normals, layout
from sobolev_pruning.reference._stochastic._sobol import bridge

SPOT, VOLATILITY = 1.05, 0.2


@pytest.mark.parametrize("n_steps", [1, 2, 5, 8, 13])
def test_the_bridge_is_orthogonal_and_starts_with_the_end_of_the_path(n_steps):
    matrix = bridge(n_steps)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(n_steps), atol=1e-14)
    np.testing.assert_allclose(matrix.sum(0), [np.sqrt(n_steps)] + [0.0] * (n_steps - 1), atol=1e-14)


@pytest.mark.parametrize("seed", [0, 1])
def test_scrambled_points_are_a_net(seed):
    """Every elementary interval of the first two coordinates, of whatever shape, holds one of the 64 points."""
    points = np.asarray(scrambled_bits(jax.random.key(seed), 64, 2)) / 2.0**32
    for k in range(7):
        cells = np.floor(points * [2**k, 2 ** (6 - k)]).astype(int)
        assert len({tuple(cell) for cell in cells}) == 64
    # Blocks of a power of two, the paths of one sample, are nets of their own.
    assert len(set(np.floor(points[16:32, 0] * 16))) == 16


def test_each_scrambled_point_is_uniform():
    keys = jax.random.split(jax.random.key(0), 4000)
    points = np.asarray(jax.jit(jax.vmap(lambda key: scrambled_bits(key, 4, 3)[3]))(keys)) / 2.0**32
    # Kolmogorov–Smirnov at a level of about 10⁻⁵ for each of three coordinates.
    for column in np.sort(points, axis=0).T:
        assert np.max(np.abs(column - (np.arange(4000) + 0.5) / 4000)) < 2.4 / np.sqrt(4000)
    # And independent of each other: correlations of deviation 1/√4000.
    correlation = np.corrcoef(points.T)
    assert np.max(np.abs(correlation - np.eye(3))) < 4.5 / np.sqrt(4000)


def test_a_path_with_too_many_coordinates_is_refused():
    with pytest.raises(ValueError, match=r"needs 30000 coordinates.*`PseudoRandom\(\)`"):
        SobolNormals().draw(jax.random.key(0), 1, 30_000, 1, jnp.dtype("float64"))


@pytest.mark.parametrize(
    ("noise", "dtype"), [(PseudoRandom(), "float64"), (SobolNormals(), "float32")], ids=["pseudo", "sobol"]
)
def test_blocks_are_standard_normals_of_their_dtype(noise, dtype):
    dtype = jnp.dtype(dtype)
    draws = noise.draw(jax.random.key(1), 1024, 10, 2, dtype)
    z = np.asarray(
        jax.jit(jax.vmap(lambda draw: all_normals(lambda begin, size: noise.block(draw, begin, size, 2, dtype), 10)))(
            draws
        )
    )
    assert z.shape == (1024, 10, 2)
    assert z.dtype == dtype
    flat = z.reshape(1024, 20)
    assert np.max(np.abs(flat.mean(0))) < 4.5 / np.sqrt(1024)
    assert np.max(np.abs(np.cov(flat.T) - np.eye(20))) < 4.5 * np.sqrt(2 / 1024)


@pytest.mark.parametrize("n_steps", [1, 7, 8, 9, 11, 64, 97, 1000])
def test_the_layout_holds_all_steps(n_steps):
    n_blocks, size, rest = layout(n_steps)
    assert n_blocks * size + rest == n_steps
    assert n_steps <= 8 or max(n_blocks, size, rest) < 2 * np.sqrt(n_steps)


def d1(t, s):
    years = jnp.maximum(1.0 - t, 1e-3)
    return (jnp.log(s) + (0.1 + 0.5 * VOLATILITY**2) * years) / (VOLATILITY * jnp.sqrt(years))


def delta(t, s):
    return norm.cdf(d1(t, s))


def gamma(t, s):
    years = jnp.maximum(1.0 - t, 1e-3)
    return (norm.pdf(d1(t, s)) / (s * VOLATILITY * jnp.sqrt(years)))[:, None]


@eqx.filter_jit
def batches(reference, keys):
    """Means and deviations of the labels of many batches."""

    def one(key):
        samples = reference.sample(key, 256)
        labels = jnp.concatenate([samples.y, samples.dydx[:, 0]], axis=1)
        return jnp.mean(labels, 0), jnp.std(labels, 0)

    return jax.lax.map(one, keys)


def means_and_noise(fixing=None, **options):
    """Means of value and delta over each of 64 batches, `(64, 2)`, and the deviation of one label."""

    def problem(x):
        option = Option(Call(1.0)) if fixing is None else Option(Call(1.0), fixing)
        return Problem(BlackScholes(VOLATILITY, 0.1), x, option, 1.0, 0.1)

    options = {"n_steps": 4, "scheme": ModelStep(), "antithetic": False} | options
    reference = StochasticReference(problem, lambda key, n: jnp.full((n, 1), SPOT), **options)
    means, deviations = batches(reference, jax.random.split(jax.random.key(3), 64))
    return np.asarray(means), np.asarray(deviations).mean(0)


def z_of(means, truth=0.0):
    return (means.mean(0) - truth) / means.std(0) * np.sqrt(len(means))


def test_variance_falls_and_the_labels_stay_unbiased():
    """Two comparisons for each of four ways, at |z| < 4.5, over 64 batches of 256 samples."""
    # Four pairs a label: half the noise of one.
    mirrored = means_and_noise(antithetic=True, n_paths=4)
    sobol = means_and_noise(noise=SobolNormals())
    hedged = means_and_noise(controls=[DeltaHedge(delta, gamma)])
    # A hedge that is four times too large is brought to size by the regression.
    fitted = means_and_noise(controls=[DeltaHedge(lambda t, s: 4 * delta(t, s))], pilot_paths=256)
    x = jnp.asarray(SPOT)
    truth = np.array(jax.value_and_grad(lambda x: formulas.call(x, VOLATILITY, 0.1))(x))
    for means, _ in (mirrored, sobol, hedged, fitted):
        assert np.all(np.abs(z_of(means, truth)) < 4.5), z_of(means, truth)
    # A Sobol point alone is a pseudo-random one, and has the noise of plain Monte Carlo; their mean has far less.
    plain = sobol[1]
    assert np.all(sobol[0].std(0) < 0.2 * plain / np.sqrt(256))
    assert np.all(mirrored[1] < 0.3 * plain)
    assert np.all(hedged[1] < [0.1 * plain[0], 0.4 * plain[1]])
    assert np.all(fitted[1] < [0.4 * plain[0], 0.6 * plain[1]])


def test_a_known_payoff_as_control():
    """The geometric average for the arithmetic one."""

    def expectation(x):
        return formulas.geometric_asian_call(x[0], VOLATILITY, 0.1, n_dates=4)

    control = Control(Option(Call(1.0), GeometricAverage()), expectation)
    plain, noise = means_and_noise(ArithmeticAverage())
    controlled, less_noise = means_and_noise(ArithmeticAverage(), controls=[control])
    # On the same paths, so that the difference is the control alone, whose expectation is zero.
    assert np.all(np.abs(z_of(plain - controlled)) < 4.5)
    assert np.all(less_noise < [0.1 * noise[0], 0.2 * noise[1]])
