"""Labels of simulated models are unbiased: z-tests against closed forms, each at |z| < 4.5 with fixed keys."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reference import formulas
from sobolev_pruning.reference import (
    AbstractDirections,
    Bachelier,
    Barrier,
    BlackScholes,
    Call,
    Digital,
    EulerMaruyama,
    GeometricAverage,
    LikelihoodRatio,
    Mixed,
    ModelStep,
    Option,
    Portfolio,
    Problem,
    Put,
    StochasticReference,
)
from sobolev_pruning.reference._stochastic._simulation import pinned

# Of one comparison in 150 000; there are fewer than 200 in this file.
LEVEL = 4.5


class Axes(AbstractDirections):
    """The axes as directions: whole Hessians."""

    def draw(self, key, gradients, products):
        n, _, d = gradients.shape
        return jnp.broadcast_to(jnp.eye(d, dtype=gradients.dtype), (n, d, d))


@eqx.filter_jit
def draw(reference, key, n, directions=None):
    return reference.sample(key, n, directions=directions)


def box(*ranges):
    """Uniform inputs."""
    low, high = (jnp.array(ends, float) for ends in zip(*ranges, strict=True))
    return lambda key, n: jax.random.uniform(key, (n, len(ranges)), low.dtype, minval=low[None], maxval=high[None])


def assert_unbiased(labels, truth):
    """The mean over the samples of `labels - truth` is zero within the noise, for each number of a label."""
    error = np.asarray(labels) - np.asarray(truth)
    deviation = error.std(0) / np.sqrt(len(error))
    scale = np.abs(np.asarray(truth)).mean(0)
    z = error.mean(0) / np.maximum(deviation, 1e-12 * np.maximum(scale, 1e-12))
    assert np.all(np.abs(z) < LEVEL), z
    # And the noise is small enough for the test to mean something.
    assert np.all(deviation < 0.05 * scale.max()), deviation / scale.max()


def check(reference, truth, n=4096, seed=1, second=False):
    """Compare values, gradients and, if asked, Hessians with a closed form `(d,) -> (m,)`."""
    samples = draw(reference, jax.random.key(seed), n, Axes() if second else None)
    order = (truth, jax.jacfwd(truth), jax.jacfwd(jax.jacfwd(truth)))[: 3 if second else 2]
    y, dydx, *rest = jax.jit(lambda x: [jax.vmap(f)(x) for f in order])(samples.x)
    assert_unbiased(samples.y, y)
    assert_unbiased(samples.dydx, dydx)
    if second:
        assert_unbiased(samples.hvps.products, rest[0])


def test_pathwise_labels_where_all_parameters_are_inputs():
    def problem(x):  # spot, volatility, rate, strike, maturity
        payoffs = [Option(Call(x[3])), Option(Put(x[3])), Option(Call(x[3]), GeometricAverage())]
        return Problem(BlackScholes(x[1], x[2]), x[:1], payoffs, x[4], x[2])

    def truth(x):
        return jnp.stack(
            [formulas.call(*x), formulas.put(*x), formulas.geometric_asian_call(*x, n_dates=3)],
        )

    inputs = box((0.9, 1.1), (0.15, 0.3), (0.0, 0.1), (0.9, 1.1), (0.5, 1.5))
    check(StochasticReference(problem, inputs, n_steps=3, scheme=ModelStep()), truth)


@pytest.mark.slow
def test_second_derivatives_of_kinked_payoffs_on_paths_of_two_steps():
    def problem(x):  # spot, volatility
        payoffs = [Option(Call(1.0)), Option(Call(1.0), GeometricAverage())]
        return Problem(BlackScholes(x[1]), x[:1], payoffs, 1.0)

    def truth(x):
        return jnp.stack([formulas.call(*x), formulas.geometric_asian_call(*x, n_dates=2)])

    reference = StochasticReference(
        problem, box((0.95, 1.05), (0.2, 0.3)), n_steps=2, scheme=ModelStep(), labels=Mixed()
    )
    check(reference, truth, n=16384, second=True)


def test_likelihood_ratio_of_payoffs_that_jump():
    def problem(x):  # spot, volatility, maturity
        payoffs = [Option(Digital(1.0)), Barrier(Option(Call(1.0)), 1.4, up=True, out=True)]
        return Problem(BlackScholes(x[1], 0.1), x[:1], payoffs, x[2], 0.1)

    def truth(x):
        market = (x[0], x[1], 0.1, 1.0, x[2])
        return jnp.stack([formulas.digital(*market), formulas.up_and_out_call(*market, level=1.4)])

    inputs = box((0.9, 1.1), (0.2, 0.3), (0.5, 1.5))
    reference = StochasticReference(problem, inputs, n_steps=2, scheme=ModelStep(), labels=LikelihoodRatio())
    check(reference, truth, n=16384)


def test_smoothed_payoffs_have_labels_of_both_orders():
    """Against the integral of the smoothed payoff over the normal law of the price."""
    width = 0.1
    profiles = [Call(1.0).smooth(width), Put(1.0).smooth(width), Digital(1.0).smooth(width)]

    def problem(x):  # spot, volatility
        return Problem(Bachelier(x[1]), x[:1], [Option(profile) for profile in profiles], 1.0)

    def truth(x):
        return jnp.stack([formulas.gaussian_mean(profile, x[0], x[1]) for profile in profiles])

    inputs = box((0.9, 1.1), (0.15, 0.25))
    check(StochasticReference(problem, inputs, n_steps=1, scheme=EulerMaruyama()), truth, n=2048, second=True)


def test_second_derivatives_of_kinked_payoffs_by_the_mixed_estimator():
    def problem(x):  # spot, volatility
        return Problem(Bachelier(x[1]), x[:1], Portfolio((Option(Call(1.0)), Option(Put(1.0)))), 1.0)

    def truth(x):
        return jnp.stack([formulas.bachelier_call(*x), formulas.bachelier_put(*x)])

    inputs = box((0.9, 1.1), (0.2, 0.3))
    options = {"n_steps": 1, "scheme": EulerMaruyama(), "antithetic": False, "n_paths": 3}
    check(StochasticReference(problem, inputs, labels=Mixed(), **options), truth, n=8192, second=True)


def test_a_biased_label_would_be_seen():
    """Pathwise derivatives of a digital, which are zero, do not pass for its delta."""
    truth = np.full((1000, 1), 0.8)
    with pytest.raises(AssertionError):
        assert_unbiased(np.random.default_rng(0).normal(0.0, 0.1, (1000, 1)), truth)


def test_the_score_is_the_known_one():
    """Of one exact log-normal step: `z/(S σ √T)` in the spot, `(z² − 1)/σ − z √T` in the volatility."""
    z = jnp.array([[0.7]])
    x = jnp.array([1.1, 0.3])

    def of(x):
        problem = Problem(BlackScholes(x[1]), x[:1], Option(Call(1.0)), 2.0)
        zeta, log_density = pinned(problem, ModelStep(), 1, z)
        s = problem.model.step(0.0, 2.0, problem.start, jnp.sqrt(jnp.asarray(2.0)) * zeta[0])
        return log_density, s

    score, moved = jax.jacfwd(of)(x)
    root = np.sqrt(2.0)
    np.testing.assert_allclose(score, [0.7 / (1.1 * 0.3 * root), (0.7**2 - 1) / 0.3 - 0.7 * root], rtol=1e-12)
    np.testing.assert_allclose(moved, 0.0, atol=1e-14)


def reference(n_steps=1, **options):
    def problem(x):
        return Problem(BlackScholes(x[1]), x[:1], Option(Call(1.0)), 1.0)

    return StochasticReference(
        problem, box((0.9, 1.1), (0.15, 0.3)), **{"n_steps": n_steps, "scheme": ModelStep()} | options
    )


def test_same_key_same_samples():
    model = reference()
    assert (model.dim_in, model.dim_out) == (2, 1)
    first, second = draw(model, jax.random.key(0), 8), draw(model, jax.random.key(0), 8)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))
    assert [first.x.shape, first.y.shape, first.dydx.shape] == [(8, 2), (8, 1), (8, 1, 2)]
    assert not np.any(first.x == draw(model, jax.random.key(1), 8).x)


def test_float32_stays_float32():
    with jax.enable_x64(False):
        samples = draw(reference(labels=Mixed()), jax.random.key(0), 4, Axes())
    assert {leaf.dtype for leaf in jax.tree.leaves(samples)} == {np.dtype("float32")}
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(samples))


def test_memory_of_the_adjoint_grows_as_the_root_of_the_steps():
    def memory(n_steps):
        model = reference(n_steps, antithetic=False)
        compiled = jax.jit(lambda key: model.sample(key, 256).dydx).lower(jax.random.key(0)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = memory(64), memory(1024)
    # Sixteen times the steps take four times the memory, and a stored path would take sixteen.
    assert long < 5 * short
