"""Closed forms to compare simulations with, one sample at a time and differentiable; written for the tests alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm


def bachelier_call(spot, volatility, strike=1.0, years=1.0):
    s = volatility * jnp.sqrt(jnp.asarray(years, float))
    u = (spot - strike) / s
    return s * (u * norm.cdf(u) + norm.pdf(u))


def bachelier_put(spot, volatility, strike=1.0, years=1.0):
    return bachelier_call(spot, volatility, strike, years) - spot + strike


def black(forward, deviation, strike):
    """Undiscounted call on a log-normal number, `deviation` being that of its logarithm."""
    d1 = (jnp.log(forward / strike) + 0.5 * deviation**2) / deviation
    return forward * norm.cdf(d1) - strike * norm.cdf(d1 - deviation)


def call(spot, volatility, rate=0.0, strike=1.0, years=1.0):
    growth = jnp.exp(jnp.asarray(rate * years))
    return black(spot * growth, volatility * jnp.sqrt(jnp.asarray(years)), strike) / growth


def put(spot, volatility, rate=0.0, strike=1.0, years=1.0):
    return call(spot, volatility, rate, strike, years) - spot + strike * jnp.exp(-jnp.asarray(rate * years))


def digital(spot, volatility, rate=0.0, strike=1.0, years=1.0):
    s = volatility * jnp.sqrt(jnp.asarray(years))
    d2 = (jnp.log(spot / strike) + rate * years) / s - 0.5 * s
    return jnp.exp(-jnp.asarray(rate * years)) * norm.cdf(d2)


def geometric_asian_call(spot, volatility, rate=0.0, strike=1.0, years=1.0, *, n_dates):
    """On the geometric mean over equally spaced dates, the start not among them."""
    n = n_dates
    mean = jnp.log(spot) + (rate - 0.5 * volatility**2) * years * (n + 1) / (2 * n)
    variance = volatility**2 * years * (n + 1) * (2 * n + 1) / (6 * n**2)
    return jnp.exp(-jnp.asarray(rate * years)) * black(jnp.exp(mean + 0.5 * variance), jnp.sqrt(variance), strike)


def up_and_out_call(spot, volatility, rate=0.0, strike=1.0, years=1.0, *, level):
    """Watched at half time and at maturity: an integral over the first date of a closed form for the second."""
    half = 0.5 * years
    s = volatility * jnp.sqrt(jnp.asarray(half))
    top = (jnp.log(level / spot) - (rate - 0.5 * volatility**2) * half) / s
    nodes, weights = np.polynomial.legendre.leggauss(40)
    bottom = -9.0
    z = bottom + (top - bottom) * jnp.asarray(0.5 * (nodes + 1))
    middle = spot * jnp.exp((rate - 0.5 * volatility**2) * half + s * z)
    inside = (
        call(middle, volatility, rate, strike, half)
        - call(middle, volatility, rate, level, half)
        - (level - strike) * digital(middle, volatility, rate, level, half)
    )
    return (
        jnp.exp(-jnp.asarray(rate * half)) * (top - bottom) * jnp.sum(jnp.asarray(0.5 * weights) * norm.pdf(z) * inside)
    )


def gaussian_mean(function, mean, deviation):
    """`E f(mean + deviation Z)` for a smooth f."""
    z = jnp.linspace(-9.0, 9.0, 201)
    return jnp.sum(jax.vmap(function)(mean + deviation * z) * norm.pdf(z)) * (z[1] - z[0])
