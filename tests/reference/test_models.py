"""Labels of the models are unbiased: against their truth, or where there is none against a simulation in NumPy.

Every comparison is a z-test at |z| < 4.5, of which a right label fails one in 150 000; there are about 150 of them,
with fixed keys. Models that are stepped have a bias of their steps, which is kept below the noise.
"""

import dataclasses
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    CEV,
    AbstractDirections,
    ArithmeticAverage,
    Bachelier,
    BachelierBasket,
    Barrier,
    Basket,
    Bermudan,
    BestOf,
    BlackScholes,
    Call,
    CorrelatedAssets,
    Digital,
    EulerMaruyama,
    GeometricAverage,
    Heston,
    LikelihoodRatio,
    Mixed,
    ModelStep,
    Option,
    Problem,
    Put,
    QuadraticExponential,
    ReferenceWithTruth,
    StochasticReference,
    Terminal,
    WorstOf,
    bachelier,
    best_of_call,
    black_scholes,
    black_scholes_call,
    cev,
    cev_digital,
    correlated_basket,
    fit_exercise_policy,
    heston,
    heston_digital,
    normal_call,
    random_correlation,
    worst_of_call,
)

N = 20_000
BOUND = 4.5


class Axes(AbstractDirections):
    """Unit vectors, so that Hessian products are whole Hessians."""

    def draw(self, key, gradients, products):
        n, _, d = gradients.shape
        return jnp.broadcast_to(jnp.eye(d, dtype=gradients.dtype)[None], (n, d, d))


@eqx.filter_jit
def labels(reference, key, x, directions=None):
    """Means and standard errors of the labels at one input."""
    samples = reference.label(key, jnp.broadcast_to(x[None], (N, x.shape[0])), directions=directions)
    parts = [samples.y[:, 0], samples.dydx[:, 0]]
    if samples.hvps is not None:
        parts.append(samples.hvps.products[:, 0])
    return [(jnp.mean(part, 0), jnp.std(part, 0) / math.sqrt(N)) for part in parts]


def z_scores(mean, error, expected):
    return (np.asarray(mean) - np.asarray(expected)) / (np.asarray(error) + 1e-9)


CORRELATION = np.array([[1.0, 0.4], [0.4, 1.0]])
WEIGHTS = jnp.array([0.3, 0.7])
PAIR = [BlackScholes(0.2, 0.03), BlackScholes(0.35, 0.03)]


def pair(quote, formula):
    """Two assets under Black and Scholes."""
    return correlated_basket(
        PAIR,
        CORRELATION,
        Option(Call(1.05), Terminal(quote)),
        rate=0.03,
        n_steps=1,
        labels=Mixed(),
        price=lambda x: formula(x, 1.05, 0.03, jnp.array([0.2, 0.35]), 0.4, 1.0),
    )


def bachelier_pair():
    moves = np.array([0.06, 0.21])  # weights times volatilities
    deviation = math.sqrt(moves @ CORRELATION @ moves)
    return correlated_basket(
        [Bachelier(0.2), Bachelier(0.3)],
        CORRELATION,
        Option(Call(1.05), Terminal(Basket(WEIGHTS))),
        n_steps=1,
        labels=Mixed(),
        price=lambda x: normal_call(WEIGHTS @ x, 1.05, deviation),
    )


WIDTH = 0.04


def averaged(digital):
    """Price of a smoothed digital: the sigmoid is the law of a logistic number, so it pays what random strikes pay."""
    nodes, weights = np.polynomial.legendre.leggauss(48)
    z = 20 * nodes
    share = 20 * weights * np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2
    return jnp.asarray(share) @ jax.vmap(digital)(jnp.asarray(1.0 + WIDTH * z))


def cev_smoothed_digital():
    reference = cev(lambda k: Digital(k).smooth(WIDTH), n_steps=64)
    return ReferenceWithTruth(reference, lambda x: averaged(lambda k: cev_digital(x[0], k, 0.0, 0.2, 0.7, 1.0)))


def heston_smoothed_digital():
    parameters = {
        "initial_variance": 0.04,
        "mean_reversion": 1.0,
        "long_variance": 0.04,
        "volatility_of_variance": 0.4,
        "correlation": -0.7,
    }
    reference = heston(lambda k: Digital(k).smooth(WIDTH), n_steps=64, **parameters)
    return ReferenceWithTruth(reference, lambda x: averaged(lambda k: heston_digital(x[0], k, 0.0, 1.0, **parameters)))


def over_the_first_date(inner, spot, volatility, lowest):
    """The mean of a function of the price at half a year, Black and Scholes's without a rate, where it is above."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    deviation = volatility * math.sqrt(0.5)
    z = (jnp.log(lowest / spot) + deviation**2 / 2) / deviation + jnp.asarray(7 * (nodes + 1))
    density = jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return (7 * jnp.asarray(weights) * density) @ jax.vmap(inner)(spot * jnp.exp(deviation * z - deviation**2 / 2))


def barrier_call():
    """Watched twice: alive at half a year it is a call of another half, since the strike is above the barrier."""
    return correlated_basket(
        [BlackScholes(0.3)],
        np.eye(1),
        Barrier(Option(Call(1.0)), 0.9, up=False, out=True),
        n_steps=2,
        labels=LikelihoodRatio(),
        price=lambda x: over_the_first_date(lambda s: black_scholes_call(s, 1.0, 0.0, 0.3, 0.5), x[0], 0.3, 0.9),
    )


def asian_call():
    """Of two dates: once the first price is known it is half a call on the second."""
    reference = black_scholes(
        Call, fixing=ArithmeticAverage(), strike=1.0, n_steps=2, labels=Mixed(), volatility=VOLATILITY
    )

    def rest(first, volatility):
        strike = 2.0 - first
        positive = jnp.where(strike > 0, strike, 1.0)
        return 0.5 * jnp.where(strike > 0, black_scholes_call(first, positive, 0.0, volatility, 0.5), first - strike)

    def price(x):
        spot, volatility = x
        lowest = spot * jnp.exp(-7 * volatility * math.sqrt(0.5))
        return over_the_first_date(lambda s: rest(s, volatility), spot, volatility, lowest)

    return ReferenceWithTruth(reference, price)


RATE, VOLATILITY, MATURITY = (0.0, 0.1), (0.1, 0.4), (0.5, 2.0)
GAUSSIAN = {"rate": RATE, "volatility": VOLATILITY, "maturity": MATURITY}
VARIANCE = {
    "initial_variance": (0.01, 0.1),
    "mean_reversion": (0.5, 2.0),
    "long_variance": (0.01, 0.1),
    "volatility_of_variance": (0.1, 0.9),
}
# Inputs in the order of the arguments: spot, strike if it is one, rate, volatility or the variance's, maturity.
CASES = {
    "Bachelier call, mixed": (lambda: bachelier(Call, labels=Mixed(), **GAUSSIAN), (1.05, 0.04, 0.2, 1.2)),
    "Bachelier put, all inputs": (lambda: bachelier(Put, strike=(0.5, 1.5), **GAUSSIAN), (1.05, 1.0, 0.04, 0.2, 1.2)),
    "Bachelier digital": (lambda: bachelier(Digital, labels=LikelihoodRatio(), **GAUSSIAN), (1.05, 0.04, 0.2, 1.2)),
    "Bachelier Asian": (
        lambda: bachelier(Call, fixing=ArithmeticAverage(), n_steps=3, labels=Mixed(), volatility=VOLATILITY),
        (1.05, 0.2),
    ),
    "Black-Scholes call, mixed": (lambda: black_scholes(Call, labels=Mixed(), **GAUSSIAN), (1.05, 0.04, 0.2, 1.2)),
    "Black-Scholes put, all inputs": (
        lambda: black_scholes(Put, strike=(0.5, 1.5), **GAUSSIAN),
        (1.05, 1.0, 0.04, 0.2, 1.2),
    ),
    "Black-Scholes digital": (
        lambda: black_scholes(Digital, labels=LikelihoodRatio(), **GAUSSIAN),
        (1.05, 0.04, 0.2, 1.2),
    ),
    "geometric Asian": (
        lambda: black_scholes(
            Call, fixing=GeometricAverage(), n_steps=3, labels=Mixed(), volatility=VOLATILITY, rate=RATE
        ),
        (1.05, 0.04, 0.2),
    ),
    "arithmetic Asian": (asian_call, (1.05, 0.2)),
    "barrier": (barrier_call, (1.1,)),
    "best of two": (lambda: pair(BestOf(), best_of_call), (1.0, 1.1)),
    "worst of two": (lambda: pair(WorstOf(), worst_of_call), (1.0, 1.1)),
    "basket under Bachelier": (bachelier_pair, (1.0, 1.1)),
    "CEV call, all inputs": (
        lambda: cev(Call, strike=(0.5, 1.5), exponent=(0.3, 0.9), n_steps=32, **GAUSSIAN),
        (1.0, 1.1, 0.03, 0.3, 0.5, 1.0),
    ),
    "CEV put, often absorbed": (lambda: cev(Put, volatility=0.7, exponent=0.5, n_steps=64), (0.6,)),
    "CEV digital, smoothed": (lambda: cev_smoothed_digital(), (1.05,)),
    "Heston call, all inputs, Feller fails": (
        lambda: heston(
            Call, strike=(0.5, 1.5), rate=RATE, maturity=MATURITY, correlation=(-0.9, 0.0), n_steps=50, **VARIANCE
        ),
        (1.0, 1.05, 0.03, 1.0, 0.05, 1.2, 0.04, 0.5, -0.6),
    ),
    "Heston put, quadratic-exponential, Feller fails": (
        lambda: heston(
            Put,
            strike=(0.5, 1.5),
            volatility_of_variance=0.9,
            variance_step=QuadraticExponential(),
            n_steps=16,
        ),
        (1.0, 1.05),
    ),
    "Heston digital, smoothed": (lambda: heston_smoothed_digital(), (1.05,)),
}


@pytest.mark.parametrize(("make", "x"), CASES.values(), ids=CASES.keys())
def test_labels_have_the_truth_as_their_mean(make, x):
    """Values and gradients, and curvature where the labels give it."""
    reference = make()
    x = jnp.asarray(x)
    assert isinstance(reference, ReferenceWithTruth)
    assert reference.dim_in == x.shape[0]
    second = isinstance(reference.reference.labels, Mixed) or not reference.reference.problem(x).payoff.kinked
    means = labels(reference.reference, jax.random.key(1), x, Axes() if second else None)
    # Operation by operation; to compile a transform takes longer.
    expected = list(jax.value_and_grad(reference.price)(x))
    if second:
        expected.append(jax.hessian(reference.price)(x))
    for (mean, error), exact in zip(means, expected, strict=True):
        z = z_scores(mean, error, exact)
        assert np.all(np.abs(z) < BOUND), z
    # The test has teeth: a sixth of the price is seen even where the noise is largest.
    assert abs(z_scores(*means[0], 7 / 6 * expected[0])) > BOUND


def test_truth_is_the_formula_and_its_derivatives():
    reference = black_scholes(Call, **GAUSSIAN)
    x = reference.reference.inputs(jax.random.key(0), 5)
    truth = eqx.filter_jit(reference.truth)(x)
    assert (truth.y.shape, truth.dydx.shape, truth.d2ydx2.shape) == ((5, 1), (5, 1, 4), (5, 1, 4, 4))
    for row in range(5):
        np.testing.assert_allclose(truth.y[row, 0], reference.price(x[row]), rtol=1e-14)
        np.testing.assert_allclose(truth.dydx[row, 0], jax.grad(reference.price)(x[row]), rtol=1e-12)
        np.testing.assert_allclose(truth.d2ydx2[row, 0], jax.hessian(reference.price)(x[row]), rtol=1e-10, atol=1e-14)


def test_inputs_fill_their_intervals_and_smoothed_options_have_no_truth():
    reference = black_scholes(lambda k: Call(k).smooth(0.05), spot=1.0, strike=(0.5, 1.5), volatility=(0.1, 0.3))
    assert isinstance(reference, StochasticReference)
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), 2000, directions=Axes())
    assert samples.hvps.products.shape == (2000, 1, 2, 2)
    low, high = np.array([0.5, 0.1]), np.array([1.5, 0.3])
    x = np.asarray(samples.x)
    assert np.all((x >= low) & (x <= high))
    np.testing.assert_allclose(x.min(0), low, atol=0.01)
    np.testing.assert_allclose(x.max(0), high, atol=0.01)


def simulated_heston_basket(spots, n, seed):
    """Euler with full truncation of two assets, in NumPy; the payoff and its slope in the common size of the spots."""
    rng = np.random.default_rng(seed)
    dt, rho, kappa, theta, xi, rate = 1 / 100, np.array([-0.6, -0.3]), 1.5, 0.05, 0.7, 0.03
    price, v = np.tile(spots, (n, 1)), np.tile([0.04, 0.09], (n, 1))
    root = np.linalg.cholesky(CORRELATION)
    for _ in range(100):
        of_price = rng.normal(size=(n, 2)) @ root.T
        of_variance = rho * of_price + np.sqrt(1 - rho**2) * rng.normal(size=(n, 2))
        plus = np.maximum(v, 0)
        price = price * np.exp((rate - plus / 2) * dt + np.sqrt(plus * dt) * of_price)
        v = v + kappa * (theta - plus) * dt + xi * np.sqrt(plus * dt) * of_variance
    basket = price @ np.asarray(WEIGHTS)
    alive = (basket > 1.0)[:, None]
    discount = math.exp(-rate)
    return discount * np.maximum(basket - 1.0, 0), discount * alive * price * np.asarray(WEIGHTS) / spots


def simulated_cev_basket(spots, n, seed):
    """Euler, absorbed at zero, of two assets, in NumPy; slopes by differences of common paths."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(CORRELATION)
    starts = spots[None] + 1e-4 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    price = np.tile(starts[:, None], (1, n, 1))
    for _ in range(100):
        dw = (rng.normal(size=(n, 2)) @ root.T)[None] / 10
        price = np.maximum(price + np.array([0.4, 0.3]) * price ** np.array([0.6, 0.8]) * dw, 0)
    paid = np.maximum(price @ np.asarray(WEIGHTS) - 1.0, 0)
    return paid[0], np.stack([paid[1] - paid[2], paid[3] - paid[4]], -1) / 2e-4


SIMULATED = {
    "Heston": (
        lambda: correlated_basket(
            [Heston(1.5, 0.05, 0.7, -0.6, 0.03), Heston(1.5, 0.05, 0.7, -0.3, 0.03)],
            CORRELATION,
            Option(Call(1.0), Terminal(Basket(WEIGHTS))),
            hidden=np.array([[0.04], [0.09]]),
            rate=0.03,
            n_steps=100,
        ),
        simulated_heston_basket,
    ),
    "CEV": (
        lambda: correlated_basket(
            [CEV(0.4, 0.6), CEV(0.3, 0.8)],
            CORRELATION,
            Option(Call(1.0), Terminal(Basket(WEIGHTS))),
            n_steps=100,
        ),
        simulated_cev_basket,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "simulate"), SIMULATED.values(), ids=SIMULATED.keys())
def test_labels_of_baskets_agree_with_a_long_simulation(make, simulate):
    spots, n = np.array([1.0, 1.05]), 100_000
    means = labels(make(), jax.random.key(2), jnp.asarray(spots))
    for (mean, error), other in zip(means, simulate(spots, n, 0), strict=True):
        both = np.hypot(np.asarray(error), other.std(0) / math.sqrt(n))
        z = (np.asarray(mean) - other.mean(0)) / both
        assert np.all(np.abs(z) < BOUND), z


def test_correlated_assets_step_as_their_equation():
    """Small steps of each model against its drift and diffusion, to which the step must tend."""
    models = [Heston(1.5, 0.05, 0.7, -0.6, 0.03), Heston(1.2, 0.04, 0.5, -0.3, 0.02)]
    model = CorrelatedAssets(models, CORRELATION)
    s, dt = jnp.array([1.0, 0.04, 1.1, 0.09]), 1e-8
    dw = math.sqrt(dt) * jnp.array([0.3, -1.0, 0.7, 0.4])
    euler = s + model.drift(0.0, s) * dt + model.diffusion(0.0, s) @ dw
    np.testing.assert_allclose(model.step(0.0, dt, s, dw), euler, atol=30 * dt)
    np.testing.assert_allclose(model.observe(0.0, s), s[::2])
    covariance = model.diffusion(0.0, s) @ model.diffusion(0.0, s).T
    np.testing.assert_allclose(covariance[0, 2], 0.4 * math.sqrt(0.04 * 0.09) * 1.1, rtol=1e-12)
    np.testing.assert_allclose(covariance[0, 1], -0.6 * 0.7 * 0.04, rtol=1e-12)


def test_quadratic_exponential_matches_both_moments():
    """On both of its branches: the variance's mean and variance are exact, whatever the step."""
    for xi, v0 in ((0.2, 0.05), (1.2, 0.01)):
        model = Heston(1.0, 0.04, xi, -0.7, variance_step=QuadraticExponential())
        dw = math.sqrt(0.5) * jax.random.normal(jax.random.key(3), (N, 2))
        v = np.asarray(jax.vmap(functools.partial(model.step, 0.0, 0.5, jnp.array([1.0, v0])))(dw))[:, 1]
        decay = math.exp(-0.5)
        mean = 0.04 + (v0 - 0.04) * decay
        variance = xi**2 * (1 - decay) * (v0 * decay + 0.02 * (1 - decay))
        assert np.all(v >= 0)
        assert abs(v.mean() - mean) < BOUND * v.std() / math.sqrt(N)
        square = (v - mean) ** 2
        assert abs(square.mean() - variance) < BOUND * square.std() / math.sqrt(N)


def test_random_correlation_is_that_of_the_basket():
    basket = BachelierBasket.random(jax.random.key(0), 5)
    _, key, _ = jax.random.split(jax.random.key(0), 3)
    np.testing.assert_allclose(basket.correlation, random_correlation(key, 5), rtol=1e-15)
    with pytest.raises(ValueError, match="`dim` is 0"):
        random_correlation(jax.random.key(0), 0)


def bermudan_problem(x):
    return Problem(BlackScholes(0.3, 0.05), x, Option(Put(1.0)), maturity=1.0, rate=0.05)


def uniform_spots(key, n):
    return jax.random.uniform(key, (n, 1), minval=0.7, maxval=1.3)


def tree_price(spot, n_dates, n_steps=2000):
    """A binomial tree of the put, exercised at the dates alone."""
    dt = 1.0 / n_steps
    up = math.exp(0.3 * math.sqrt(dt))
    p, discount = (math.exp(0.05 * dt) - 1 / up) / (up - 1 / up), math.exp(-0.05 * dt)
    value = np.maximum(1 - spot * up ** (2.0 * np.arange(n_steps + 1) - n_steps), 0)
    for step in range(n_steps - 1, -1, -1):
        value = discount * (p * value[1:] + (1 - p) * value[:-1])
        if step and step % (n_steps // n_dates) == 0:
            value = np.maximum(value, 1 - spot * up ** (2.0 * np.arange(step + 1) - step))
    return value[0]


def test_a_bermudan_put_is_a_little_below_the_tree():
    """By less than one per cent, and never above it by more than noise; deltas are those of the frozen policy."""
    n_dates = 10
    policy = fit_exercise_policy(
        bermudan_problem, uniform_spots, Put(1.0), key=jax.random.key(0), n_dates=n_dates, scheme=ModelStep()
    )
    payoff = Bermudan(Put(1.0), policy, 0.05, width=0.002)
    reference = StochasticReference(
        lambda x: dataclasses.replace(bermudan_problem(x), payoff=payoff),
        uniform_spots,
        n_steps=n_dates,
        scheme=ModelStep(),
    )
    for spot in (0.85, 1.0, 1.15):
        (mean, error), (slope, slope_error) = labels(reference, jax.random.key(1), jnp.array([spot]))
        exact = tree_price(spot, n_dates)
        assert (float(mean) - exact) / float(error) < BOUND
        assert float(mean) > 0.99 * exact - BOUND * float(error)
        # Common paths: the slope of the mean is the mean of the slopes.
        (above, _), _ = labels(reference, jax.random.key(1), jnp.array([spot + 1e-4]))
        (below, _), _ = labels(reference, jax.random.key(1), jnp.array([spot - 1e-4]))
        assert float(slope[0]) == pytest.approx((float(above) - float(below)) / 2e-4, abs=2e-3)
        tree_slope = (tree_price(spot + 0.01, n_dates) - tree_price(spot - 0.01, n_dates)) / 0.02
        assert float(slope[0]) == pytest.approx(tree_slope, abs=BOUND * float(slope_error[0]) + 0.01)
    # Early exercise is worth something: the European put is cheaper by more than the noise.
    assert tree_price(1.0, 1) < tree_price(1.0, n_dates) - 0.003
    with pytest.raises(ValueError, match="not Lipschitz"):
        StochasticReference(
            lambda x: dataclasses.replace(bermudan_problem(x), payoff=Bermudan(Put(1.0), policy, 0.05)),
            uniform_spots,
            n_steps=n_dates,
            scheme=ModelStep(),
        )


REFUSED = {
    "no input": (lambda: black_scholes(spot=1.0), "there is no input"),
    "interval that falls": (lambda: black_scholes(spot=(1.0, 0.5)), "`spot` is"),
    "volatility zero": (lambda: black_scholes(volatility=0.0), "`volatility` is 0.0"),
    "exponent one": (lambda: cev(exponent=1.0), "`exponent` is 1.0"),
    "correlation one": (lambda: heston(correlation=1.0), "`correlation` is 1.0"),
    "input of the jumping variance": (
        lambda: heston(initial_variance=(0.01, 0.1), variance_step=QuadraticExponential()),
        "`initial_variance` is an input",
    ),
    "models of two classes": (
        lambda: CorrelatedAssets([BlackScholes(0.2), Bachelier(0.2)], CORRELATION),
        "models of one class",
    ),
    "correlation of another size": (lambda: CorrelatedAssets(PAIR, np.eye(3)), "`correlation` has shape"),
    "covariance": (lambda: CorrelatedAssets(PAIR, 2 * CORRELATION), "ones on its diagonal"),
    "indefinite correlation": (
        lambda: CorrelatedAssets(PAIR, np.array([[1.0, 1.5], [1.5, 1.0]])),
        "not positive definite",
    ),
    "hidden of another size": (
        lambda: correlated_basket(PAIR, CORRELATION, Option(Call(1.0)), hidden=np.zeros((3, 1))),
        "`hidden` has shape",
    ),
    "one exercise date": (
        lambda: fit_exercise_policy(
            bermudan_problem, uniform_spots, Put(1.0), key=jax.random.key(0), n_dates=1, scheme=ModelStep()
        ),
        "`n_dates` is 1",
    ),
    "no ridge": (
        lambda: fit_exercise_policy(
            bermudan_problem, uniform_spots, Put(1.0), key=jax.random.key(0), n_dates=2, scheme=ModelStep(), ridge=0.0
        ),
        "`ridge` is 0.0",
    ),
    "price of two outputs": (
        lambda: ReferenceWithTruth(black_scholes().reference, lambda x: jnp.stack([x[0], x[0]])),
        "`price` returns shape",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [cev, heston], ids=["CEV", "Heston"])
@pytest.mark.parametrize("estimator", [LikelihoodRatio(), Mixed()], ids=["likelihood ratio", "mixed"])
def test_no_density_is_taken_where_the_diffusion_may_vanish(make, estimator):
    """Their labels would be NaN on paths that touch zero."""
    with pytest.raises(ValueError, match="a diffusion that never vanishes"):
        make(Call, labels=estimator, scheme=EulerMaruyama())
