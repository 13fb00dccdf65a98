"""Schemes converge at their orders, and refuse what they cannot step."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    Bachelier,
    BlackScholes,
    DiffraxScheme,
    EulerMaruyama,
    ItoSDE,
    Milstein,
    ModelStep,
    Problem,
    StochasticReference,
    TerminalPayoff,
)
from sobolev_pruning.reference._stochastic._simulation import as_normals, simulate

STATE = TerminalPayoff(lambda s: s, is_lipschitz=True, is_kinked=False)

MODELS = {
    "black-scholes": BlackScholes(0.5, 0.1),
    "cev": ItoSDE(lambda t, s: 0.1 * s, lambda t, s: (0.5 * s**0.7)[:, None]),
    # Two assets, each driven by its own Brownian motion: diagonal noise commutes.
    "diagonal": ItoSDE(lambda t, s: 0.1 * s, lambda t, s: jnp.diag(jnp.array([0.5, 0.3]) * s), 2),
}


@eqx.filter_jit
def ends(model, start, scheme, z):
    """States after a year, driven by the normals `z` `(n_paths, n_steps, n_noise)`."""
    problem = Problem(model, start, STATE, 1.0)
    n_steps = z.shape[1]
    return jax.vmap(lambda z: simulate(problem, start, scheme, n_steps, as_normals(z))[0])(z)


def coarser(z, n_steps):
    """The same Brownian paths on fewer steps."""
    n, fine, r = z.shape
    return z.reshape(n, n_steps, fine // n_steps, r).sum(2) / np.sqrt(fine // n_steps)


@pytest.mark.parametrize("name", MODELS)
def test_strong_orders(name):
    """Of the mean error at maturity: 1/2 for Euler, 1 for Milstein."""
    model = MODELS[name]
    start = jnp.ones(model.diffusion(0.0, jnp.ones(2 if name == "diagonal" else 1)).shape[0])
    z = np.random.default_rng(0).normal(size=(2000, 1024, model.n_noise))
    # Exact for the first model; a sixteenth of the finest step tested for the others.
    truth = ends(model, start, ModelStep() if name == "black-scholes" else Milstein(), jnp.asarray(z))
    for scheme, expected in ((EulerMaruyama(), 0.5), (Milstein(), 1.0)):
        paths = [ends(model, start, scheme, jnp.asarray(coarser(z, n))) for n in (16, 128)]
        errors = [float(jnp.mean(jnp.abs(path - truth))) for path in paths]
        order = np.log(errors[0] / errors[1]) / np.log(8)
        assert abs(order - expected) < 0.12, (scheme, order)


def test_milstein_and_diffrax_agree():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 9, 2)))
    model, start = MODELS["diagonal"], jnp.array([1.0, 2.0])
    ours = ends(model, start, Milstein(), z)
    for solver in (diffrax.ItoMilstein(), diffrax.StratonovichMilstein()):
        np.testing.assert_allclose(ends(model, start, DiffraxScheme(solver), z), ours, rtol=1e-12)
    np.testing.assert_allclose(
        ends(model, start, DiffraxScheme(diffrax.Euler()), z), ends(model, start, EulerMaruyama(), z), rtol=1e-12
    )


def test_a_solver_of_higher_order_with_additive_noise():
    """Ornstein–Uhlenbeck: four steps of SRA1 have almost the exact law, those of Euler do not."""
    model = ItoSDE(lambda t, s: -2 * s, lambda t, s: jnp.full((1, 1), 0.5))
    rng = np.random.default_rng(0)
    scheme = DiffraxScheme(diffrax.SRA1())
    assert scheme.n_noise(model) == 2
    n = 40_000
    mean, variance = np.exp(-2.0), 0.25 * (1 - np.exp(-4.0)) / 4

    def errors(scheme):
        z = jnp.asarray(rng.normal(size=(n, 4, scheme.n_noise(model))))
        s = np.asarray(ends(model, jnp.ones(1), scheme, z))[:, 0]
        return abs(s.mean() - mean) / mean, abs(s.var() / variance - 1)

    # Statistical deviations: 0.5 % of the mean, 0.7 % of the variance. Euler's mean is (1/2)⁴ instead of e⁻².
    better, euler = errors(scheme), errors(EulerMaruyama())
    assert better[0] < 0.15
    assert better[1] < 0.1
    assert euler[0] > 0.5
    assert euler[1] > 0.3


def test_any_noise_by_a_solver_of_diffrax_is_unbiased():
    """`E S = S₀ e^(rT)` and `E S² = S₀² e^((2r + σ²)T)`, which a wrong drift correction would miss by far."""
    z = jnp.asarray(np.random.default_rng(0).normal(size=(20_000, 8, 2)))
    # A payoff is discounted at the rate of the model.
    s = np.exp(0.1) * np.asarray(ends(MODELS["black-scholes"], jnp.ones(1), DiffraxScheme(diffrax.SPaRK()), z))[:, 0]
    for power, truth in ((1, np.exp(0.1)), (2, np.exp(0.2 + 0.25))):
        samples = s**power
        # 0.2 % is left for the error of the scheme.
        assert abs(samples.mean() - truth) < 4.5 * samples.std() / np.sqrt(len(s)) + 0.002 * truth


def test_an_ordinary_differential_equation_has_labels_without_noise():
    """A harmonic oscillator: position and velocity at the end, and their derivatives in start and frequency."""

    def problem(x):  # position, velocity, frequency
        model = ItoSDE(lambda t, s: jnp.stack([s[1], -(x[2] ** 2) * s[0]]), lambda t, s: jnp.zeros((2, 0)), 0)
        return Problem(model, x[:2], STATE, 1.0)

    def truth(x):
        c, s = jnp.cos(x[2]), jnp.sin(x[2])
        return jnp.stack([x[0] * c + x[1] / x[2] * s, -x[0] * x[2] * s + x[1] * c])

    reference = StochasticReference(
        problem,
        lambda key, n: jax.random.uniform(key, (n, 3), minval=0.5, maxval=1.5),
        n_steps=4,
        scheme=DiffraxScheme(diffrax.Tsit5()),
        antithetic=False,
    )
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), 4)
    np.testing.assert_allclose(samples.y, jax.vmap(truth)(samples.x), atol=2e-5)
    np.testing.assert_allclose(samples.dydx, jax.vmap(jax.jacfwd(truth))(samples.x), atol=1e-4)


# The first Brownian motion moves the second state by the first: no order of the two is the same.
NOT_COMMUTING = ItoSDE(
    lambda t, s: 0 * s, lambda t, s: jnp.stack([jnp.array([1.0, 0.0]), jnp.stack([0 * s[0], s[0]])]), 2
)


@pytest.mark.parametrize(
    ("scheme", "model", "message"),
    [
        (Milstein(), NOT_COMMUTING, r"`scheme` is Milstein.*does not commute.*EulerMaruyama"),
        (DiffraxScheme(diffrax.Tsit5()), BlackScholes(0.2), "`solver` is Tsit5, which solves ordinary"),
        (DiffraxScheme(diffrax.SRA1()), BlackScholes(0.2), "`solver` is SRA1, which is for additive noise"),
    ],
    ids=["milstein", "ode solver", "additive solver"],
)
def test_what_a_scheme_cannot_step_is_refused(scheme, model, message):
    q = 2 if model is NOT_COMMUTING else 1
    with pytest.raises(ValueError, match=message):
        StochasticReference(
            lambda x: Problem(model, x, STATE, 1.0), lambda key, n: jnp.ones((n, q)), n_steps=4, scheme=scheme
        )


def test_what_commutes_is_not_refused():
    Milstein().check(MODELS["diagonal"], 0.0, jnp.array([1.0, 2.0]))
    DiffraxScheme(diffrax.SRA1()).check(Bachelier(0.2), 0.0, jnp.ones(1))
