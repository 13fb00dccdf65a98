"""Closed forms and transforms against quadrature by SciPy; their derivatives against differences."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from sobolev_pruning.reference import (
    bachelier_asian_call,
    bachelier_call,
    bachelier_digital,
    bachelier_put,
    barrier_option,
    best_of_call,
    best_of_put,
    bivariate_normal_cdf,
    black_scholes_call,
    black_scholes_digital,
    black_scholes_put,
    cev_call,
    cev_digital,
    cev_put,
    discrete_barrier_option_estimate,
    exchange_option,
    geometric_asian_call,
    heston_call,
    heston_digital,
    heston_put,
    worst_of_call,
    worst_of_put,
)

quad = functools.partial(integrate.quad, epsabs=1e-13, epsrel=1e-12, limit=400)


def density(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def call(s, k):
    return max(s - k, 0.0)


def put(s, k):
    return max(k - s, 0.0)


def digital(s, k):
    return float(s > k)


def pieces(integrand, *ends):
    """Integral over neighbouring intervals, so that no kink or peak is missed."""
    ends = sorted(set(ends))
    return sum(quad(integrand, a, b)[0] for a, b in itertools.pairwise(ends))


def under_bachelier(payoff, spot, strike, rate, volatility, maturity):
    s = volatility * math.sqrt(maturity)
    kink = (strike - spot) / s
    value = pieces(lambda z: payoff(spot + s * z, strike) * density(z), -12, kink, 12)
    return math.exp(-rate * maturity) * value


def under_black_scholes(payoff, spot, strike, rate, volatility, maturity):
    s = volatility * math.sqrt(maturity)
    forward = spot * math.exp(rate * maturity)
    kink = math.log(strike / forward) / s + s / 2
    value = pieces(lambda z: payoff(forward * math.exp(s * z - s * s / 2), strike) * density(z), -12, kink, 12)
    return math.exp(-rate * maturity) * value


def under_cev(payoff, spot, strike, rate, volatility, beta, maturity):
    """The transition density of the driftless process by Bessel functions, and the mass absorbed at zero."""
    tau = math.expm1(-2 * rate * (1 - beta) * maturity) / (-2 * rate * (1 - beta))
    nu = 1 / (2 * (1 - beta))
    scale = (1 - beta) * volatility * math.sqrt(tau)
    a = spot ** (1 - beta) / scale
    discounted = strike * math.exp(-rate * maturity)

    def integrand(b):
        """In the coordinate b = x^(1 − β) / scale: `a^ν b^(1 − ν) I_ν(ab) exp(−(a² + b²)/2)`."""
        x = (b * scale) ** (1 / (1 - beta))
        return payoff(x, discounted) * a**nu * b ** (1 - nu) * special.ive(nu, a * b) * math.exp(-((a - b) ** 2) / 2)

    kink = discounted ** (1 - beta) / scale
    absorbed = special.gammaincc(nu, a * a / 2)
    price = pieces(integrand, max(a - 12, 1e-12), kink, a, a + 12) + absorbed * payoff(0.0, discounted)
    # A call scales with its strike and is discounted by that; a digital does not.
    return price * math.exp(-rate * maturity) if payoff is digital else price


def under_heston(payoff, spot, strike, rate, maturity, v0, kappa, theta, xi, rho):
    """Gil-Pelaez's two integrals, with the characteristic function as Albrecher et al. print it."""

    def characteristic(u):
        d = np.sqrt((rho * xi * 1j * u - kappa) ** 2 + xi**2 * (1j * u + u * u))
        b = kappa - rho * xi * 1j * u
        g = (b - d) / (b + d)
        decay = np.exp(-d * maturity)
        log = (b - d) * maturity - 2 * np.log((1 - g * decay) / (1 - g))
        drift = 1j * u * (math.log(spot) + rate * maturity)
        return np.exp(drift + kappa * theta / xi**2 * log + v0 / xi**2 * (b - d) * (1 - decay) / (1 - g * decay))

    def probability(shift):
        scale = characteristic(-1j * shift)

        def integrand(u):
            return (np.exp(-1j * u * math.log(strike)) * characteristic(u - 1j * shift) / (1j * u * scale)).real

        return 0.5 + pieces(integrand, 1e-10, 1, 10, 100, 400) / math.pi

    discount = math.exp(-rate * maturity)
    if payoff is digital:
        return discount * probability(0)
    price = spot * probability(1) - strike * discount * probability(0)
    return price if payoff is call else price - spot + strike * discount


def of_two(extreme, payoff, first, second, strike, rate, v1, v2, rho, maturity):
    """Gauss-Legendre over the second asset's normal, and given it over the first's, between their kinks."""
    time, a = math.sqrt(maturity), math.sqrt(1 - rho * rho)
    nodes, weights = np.polynomial.legendre.leggauss(40)

    def spot(start, v, z):
        return start * np.exp((rate - v * v / 2) * maturity + v * time * z)

    def normal_at(start, v, level):
        return (np.log(level / start) - (rate - v * v / 2) * maturity) / (v * time)

    def rule(ends):
        """Nodes and weights between neighbours of sorted ends, over a last axis."""
        low, high = ends[..., :-1, None], ends[..., 1:, None]
        x, w = (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2 * weights
        return x.reshape(*x.shape[:-2], -1), w.reshape(*w.shape[:-2], -1)

    y, y_weights = rule(np.array([-8.5, -3.0, normal_at(second, v2, strike), 3.0, 8.5]))
    other = spot(second, v2, y)
    kinks = [(normal_at(first, v1, level) - rho * y) / a for level in (other, strike)]
    ends = np.sort(np.stack([0 * y - 9, *(np.clip(kink, -9, 9) for kink in kinks), 0 * y, 0 * y + 9], -1), -1)
    e, e_weights = rule(ends)
    paid = np.vectorize(payoff)(extreme(spot(first, v1, rho * y[:, None] + a * e), other[:, None]), strike)
    return math.exp(-rate * maturity) * np.sum(y_weights * density(y) * np.sum(e_weights * density(e) * paid, axis=-1))


def alive(payoff, is_up, spot, strike, rate, volatility, maturity, barrier):
    """Against the law of a Brownian motion with drift that has not touched a level."""
    s = volatility * math.sqrt(maturity)
    drift = (rate / volatility - volatility / 2) * math.sqrt(maturity)
    level, kink = math.log(barrier / spot) / s, math.log(strike / spot) / s

    def integrand(w):
        living = density(w) - density(w - 2 * level)
        return payoff(spot * math.exp(s * w), strike) * living * math.exp(drift * w - drift * drift / 2)

    ends = (-12, min(kink, level), level) if is_up else (level, max(kink, level), 12)
    return math.exp(-rate * maturity) * pieces(integrand, *ends)


def barrier_case(is_call, is_up, strike, barrier):
    numbers = (1.0, strike, 0.05, 0.3, 0.8, barrier)
    formula = functools.partial(barrier_option, is_call=is_call, is_up=is_up)
    return formula, numbers, functools.partial(alive, call if is_call else put, is_up)


def of_pair(formula):
    """The spots and volatilities as numbers of their own."""

    def price(first, second, strike, rate, v1, v2, rho, maturity):
        return formula(jnp.stack([first, second]), strike, rate, jnp.stack([v1, v2]), rho, maturity)

    return price


def exchanged(first, second, v1, v2, rho, maturity):
    return exchange_option(jnp.stack([first, second]), jnp.stack([v1, v2]), rho, maturity)


def under_exchange(first, second, v1, v2, rho, maturity):
    v = math.sqrt(v1 * v1 + v2 * v2 - 2 * rho * v1 * v2)
    return second * under_black_scholes(call, first / second, 1.0, 0.0, v, maturity)


def heston(formula):
    def price(spot, strike, rate, maturity, v0, kappa, theta, xi, rho):
        return formula(
            spot,
            strike,
            rate,
            maturity,
            initial_variance=v0,
            mean_reversion=kappa,
            long_variance=theta,
            volatility_of_variance=xi,
            correlation=rho,
        )

    return price


def asian(formula, n_dates):
    return lambda *numbers: formula(*numbers, n_dates)


def geometric_mean(spot, strike, rate, volatility, maturity, n):
    """The mean and variance of the logarithm summed over the dates."""
    times = maturity * np.arange(1, n + 1) / n
    variance = volatility**2 * np.minimum(times[:, None], times[None]).mean()
    mean = math.log(spot) + (rate - volatility**2 / 2) * times.mean()
    forward = math.exp(mean + variance / 2)
    return math.exp(-rate * maturity) * under_black_scholes(call, forward, strike, 0.0, math.sqrt(variance), 1.0)


def arithmetic_mean(spot, strike, rate, volatility, maturity, n):
    times = maturity * np.arange(1, n + 1) / n
    deviation = volatility * math.sqrt(np.minimum(times[:, None], times[None]).mean())
    return math.exp(-rate * maturity) * under_bachelier(call, spot, strike, 0.0, deviation, 1.0)


def priced(model, payoff):
    return functools.partial(model, payoff)


NORMAL, HESTON = (1.0, 1.1, 0.03, 0.25, 1.5), (1.0, 1.1, 0.03, 1.5, 0.05, 1.2, 0.04, 0.7, -0.6)
CEV, TWO = (1.0, 1.1, 0.03, 0.3, 0.4, 1.5), (1.0, 1.1, 1.05, 0.03, 0.2, 0.35, 0.4, 1.5)
CASES = {
    "Bachelier call": (bachelier_call, NORMAL, priced(under_bachelier, call)),
    "Bachelier put": (bachelier_put, NORMAL, priced(under_bachelier, put)),
    "Bachelier digital": (bachelier_digital, NORMAL, priced(under_bachelier, digital)),
    "Bachelier Asian": (asian(bachelier_asian_call, 5), NORMAL, lambda *numbers: arithmetic_mean(*numbers, 5)),
    "Black-Scholes call": (black_scholes_call, NORMAL, priced(under_black_scholes, call)),
    "Black-Scholes put": (black_scholes_put, NORMAL, priced(under_black_scholes, put)),
    "Black-Scholes digital": (black_scholes_digital, NORMAL, priced(under_black_scholes, digital)),
    "geometric Asian": (asian(geometric_asian_call, 5), NORMAL, lambda *numbers: geometric_mean(*numbers, 5)),
    "down-out call, low strike": barrier_case(True, False, 0.8, 0.9),
    "down-out call, high strike": barrier_case(True, False, 1.1, 0.9),
    "up-out call": barrier_case(True, True, 0.9, 1.4),
    "down-out put": barrier_case(False, False, 1.1, 0.7),
    "up-out put, low strike": barrier_case(False, True, 0.9, 1.2),
    "up-out put, high strike": barrier_case(False, True, 1.3, 1.2),
    "exchange": (exchanged, (1.0, 1.1, 0.2, 0.35, 0.4, 1.5), under_exchange),
    "best-of call": (of_pair(best_of_call), TWO, functools.partial(of_two, np.maximum, call)),
    "best-of put": (of_pair(best_of_put), TWO, functools.partial(of_two, np.maximum, put)),
    "worst-of call": (of_pair(worst_of_call), TWO, functools.partial(of_two, np.minimum, call)),
    "worst-of put": (of_pair(worst_of_put), TWO, functools.partial(of_two, np.minimum, put)),
    "CEV call": (cev_call, CEV, priced(under_cev, call)),
    "CEV put": (cev_put, CEV, priced(under_cev, put)),
    "CEV digital": (cev_digital, CEV, priced(under_cev, digital)),
    "Heston call": (heston(heston_call), HESTON, priced(under_heston, call)),
    "Heston put": (heston(heston_put), HESTON, priced(under_heston, put)),
    "Heston digital": (heston(heston_digital), HESTON, priced(under_heston, digital)),
}


@pytest.mark.parametrize(("formula", "numbers", "independent"), CASES.values(), ids=CASES.keys())
def test_prices_are_those_of_quadrature_and_derivatives_those_of_differences(formula, numbers, independent):
    def of_vector(p):
        return formula(*p)

    # Not compiled: operation by operation these formulas are evaluated in less time than they are compiled in.
    value_and_gradient = jax.vmap(jax.value_and_grad(of_vector))
    p = jnp.asarray(numbers)
    steps = 1e-5 * jnp.eye(len(numbers))
    values, gradients = map(
        np.asarray, value_and_gradient(jnp.concatenate([p[None], p[None] + steps, p[None] - steps]))
    )
    np.testing.assert_allclose(values[0], independent(*numbers), rtol=1e-9, atol=1e-11)
    up, down = slice(1, 1 + len(numbers)), slice(1 + len(numbers), None)
    np.testing.assert_allclose(gradients[0], (values[up] - values[down]) / 2e-5, rtol=1e-6, atol=1e-8)
    hessian = np.asarray(jax.hessian(of_vector)(p))
    np.testing.assert_allclose(hessian, (gradients[up] - gradients[down]) / 2e-5, rtol=1e-6, atol=1e-7)
    # One number that is off is seen.
    assert abs(values[0] - independent(numbers[0] * 1.0001, *numbers[1:])) > 1e-6


def test_bivariate_normal_law_over_its_whole_range():
    """Also where both limits nearly coincide and the law is nearly singular."""
    rng = np.random.default_rng(0)
    n = 200
    h = 2 * rng.normal(size=n)
    k = np.where(np.arange(n) % 2, rng.choice([-1, 1], n) * h + 0.01 * rng.normal(size=n), 2 * rng.normal(size=n))
    rho = np.where(
        np.arange(n) % 3, rng.uniform(-1, 1, n), rng.choice([-1, 1], n) * (1 - 10.0 ** rng.uniform(-6, -1, n))
    )

    def independent(h, k, rho):
        a = math.sqrt((1 - rho) * (1 + rho))
        kinks = [np.clip(k / rho + width * a / abs(rho), -9, h) for width in (-10, -3, 0, 3, 10)]
        return pieces(lambda x: density(x) * special.ndtr((k - rho * x) / a), min(-9.0, h - 1), *kinks, h)

    expected = [independent(*case) for case in zip(h, k, rho, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(bivariate_normal_cdf))(h, k, rho), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("rho", "expected"), [(1.0, "min"), (-1.0, "excess")], ids=["one", "minus one"])
def test_bivariate_normal_law_at_its_ends(rho, expected):
    for h, k in [(0.3, -0.2), (-0.5, 0.7), (math.inf, 0.1), (-math.inf, 1.0)]:
        both = stats.norm.cdf([h, k])
        value = min(both) if expected == "min" else max(both.sum() - 1, 0.0)
        assert float(bivariate_normal_cdf(h, k, rho)) == pytest.approx(value, abs=1e-15)
    assert np.all(np.isfinite(jax.hessian(lambda p: bivariate_normal_cdf(*p))(jnp.array([0.3, -0.2, rho]))))


def test_derivatives_of_the_bivariate_law():
    """Against differences of the law itself, near the singular one, too."""
    for rho in (0.3, -0.97):
        p = jnp.array([0.4, -0.3, rho])
        steps = 1e-5 * jnp.eye(3)
        values = jax.vmap(lambda p: bivariate_normal_cdf(*p))(jnp.concatenate([p[None] + steps, p[None] - steps]))
        gradient = jax.grad(lambda p: bivariate_normal_cdf(*p))(p)
        np.testing.assert_allclose(gradient, (values[:3] - values[3:]) / 2e-5, atol=1e-8)


@pytest.mark.parametrize(
    "formula",
    [bachelier_call, bachelier_put, bachelier_digital, black_scholes_call, black_scholes_put, black_scholes_digital],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("vanishing", ["volatility", "maturity"])
def test_without_time_or_volatility_a_price_is_the_payoff(formula, vanishing):
    """And its derivatives are finite, on the kink, too."""
    volatility, maturity = (0.0, 1.0) if vanishing == "volatility" else (0.2, 0.0)
    drift = 0.05 if "scholes" in formula.__name__ else 0.0

    def of_vector(p):
        return formula(*p)

    derivatives = jax.jit(lambda p: (of_vector(p), jax.grad(of_vector)(p), jax.hessian(of_vector)(p)))
    for strike in (0.7, 1.0, 1.3):
        value, gradient, hessian = derivatives(jnp.array([1.0, strike, 0.05, volatility, maturity]))
        assert np.all(np.isfinite(gradient))
        assert np.all(np.isfinite(hessian))
        excess = math.exp(drift * maturity) - strike
        discount = math.exp(-0.05 * maturity)
        if formula.__name__.endswith("digital"):
            expected = discount * (np.sign(excess) + 1) / 2
        else:
            expected = discount * max(excess if formula.__name__.endswith("call") else -excess, 0.0)
        assert float(value) == pytest.approx(expected, abs=1e-15)


def test_heston_without_volatility_of_variance_is_black_scholes():
    """The variance is then a function of time, and only its mean counts. Without correlation the gap is O(ξ²)."""
    maturity, v0, kappa, theta = 1.5, 0.09, 1.3, 0.03
    mean = theta + (v0 - theta) * (1 - math.exp(-kappa * maturity)) / (kappa * maturity)
    expected = float(black_scholes_call(1.0, 1.1, 0.03, math.sqrt(mean), maturity))
    price = jax.jit(heston(heston_call))
    gaps = [float(price(1.0, 1.1, 0.03, maturity, v0, kappa, theta, xi, 0.0)) - expected for xi in (1e-2, 1e-4, 1e-6)]
    assert abs(gaps[0]) > 1e-7
    assert abs(gaps[1]) < 1e-8
    assert abs(gaps[2]) < 1e-12


def test_heston_keeps_its_branch_over_long_maturities():
    """The textbook form of the characteristic function jumps here (Albrecher et al., 2007, section 4).

    At a tenth of a year the two integrals lose 1e-9 to their cancellation; eight times the nodes move the formula by
    1e-16.
    """
    price = jax.jit(heston(heston_call))
    for maturity in (0.1, 5.0, 15.0):
        numbers = (1.0, 1.0, 0.025, maturity, 0.0175, 1.5768, 0.0398, 0.5751, -0.5711)
        assert float(price(*numbers)) == pytest.approx(under_heston(call, *numbers), abs=3e-9)


def test_cev_nears_black_scholes_as_the_exponent_nears_one():
    price = jax.jit(cev_call)
    expected = float(black_scholes_call(1.0, 1.1, 0.03, 0.2, 1.0))
    gaps = [float(price(1.0, 1.1, 0.03, 0.2, beta, 1.0)) - expected for beta in (0.99, 0.999)]
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.01)
    assert abs(gaps[1]) < 1e-5


@pytest.mark.parametrize("beta", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("strike", [0.3, 1.0, 3.0])
def test_cev_far_from_the_money_and_near_absorption(beta, strike):
    numbers = (1.0, strike, 0.02, 0.8, beta, 2.0)
    assert float(jax.jit(cev_call)(*numbers)) == pytest.approx(under_cev(call, *numbers), abs=1e-10)
    assert float(jax.jit(cev_put)(*numbers)) == pytest.approx(under_cev(put, *numbers), abs=1e-10)


def test_a_knock_in_and_a_knock_out_are_the_option():
    numbers = (1.0, 1.1, 0.05, 0.3, 0.8, 0.9)
    both = barrier_option(*numbers) + barrier_option(*numbers, is_out=False)
    assert float(both) == pytest.approx(float(black_scholes_call(*numbers[:5])), abs=1e-15)
    beyond = (0.85, *numbers[1:])
    assert float(barrier_option(*beyond)) == 0.0
    assert float(barrier_option(*beyond, is_out=False)) == pytest.approx(float(black_scholes_call(*beyond[:5])))


def test_correction_of_the_barrier_against_an_integral_over_every_date():
    """The exact discrete price by Gauss-Legendre from date to date."""
    spot, strike, rate, volatility, maturity, barrier, n = 1.0, 1.0, 0.05, 0.3, 0.5, 0.9, 25
    dt = maturity / n
    nodes, weights = np.polynomial.legendre.leggauss(400)
    low, high = math.log(barrier), 1.6
    x, w = (low + high) / 2 + (high - low) / 2 * nodes, (high - low) / 2 * weights
    mean, deviation = (rate - volatility**2 / 2) * dt, volatility * math.sqrt(dt)
    value = np.maximum(np.exp(x) - strike, 0)
    for _ in range(n - 1):
        value = stats.norm.pdf(x[None], x[:, None] + mean, deviation) @ (w * value)
    exact = math.exp(-rate * maturity) * np.sum(stats.norm.pdf(x, math.log(spot) + mean, deviation) * w * value)
    numbers = (spot, strike, rate, volatility, maturity, barrier)
    estimate = float(discrete_barrier_option_estimate(*numbers, n))
    continuous = float(barrier_option(*numbers))
    assert abs(estimate - exact) < 0.05 * abs(continuous - exact)


@pytest.mark.parametrize("formula", [geometric_asian_call, bachelier_asian_call, discrete_barrier_option_estimate])
def test_no_dates_are_refused(formula):
    numbers = NORMAL if formula is not discrete_barrier_option_estimate else (*NORMAL, 0.9)
    with pytest.raises(ValueError, match="`n_dates` is 0"):
        formula(*numbers, 0)


@pytest.mark.parametrize("case", ["Black-Scholes call", "best-of call", "CEV call", "Heston call"])
def test_formulas_in_float32(case):
    formula, numbers, _ = CASES[case]
    wide = float(formula(*map(jnp.asarray, numbers)))
    with jax.enable_x64(False):
        value = jax.jit(formula)(*(jnp.asarray(number, jnp.float32) for number in numbers))
        assert value.dtype == jnp.float32
        assert float(value) == pytest.approx(wide, abs=2e-6)
