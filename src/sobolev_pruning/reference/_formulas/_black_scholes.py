"""Prices under Black and Scholes' model, `dS = r S dt + σ S dW`: calls, puts, digitals, and geometric averages.

F. Black, M. Scholes (1973); averages: A. Kemna, A. Vorst (1990), here with discrete dates.
"""

import jax.numpy as jnp

from .._types import Scalar
from ._bachelier import share_of_average
from ._normal import as_scalars, cdf, root, standardised
from ._types import ScalarArray


def black_scholes_call(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of a call, `exp(−rT) E max(S_T − K, 0)`.

    At a volatility or maturity of zero it is the discounted intrinsic value, and its derivatives are those of the
    limit away from the kink; on the kink they are means of both sides.

    Args:
        spot: S, positive.
        strike: K, in units of the spot; positive.
        rate: r, continuously compounded, per year.
        volatility: σ, per square root of a year; not negative.
        maturity: T in years; not negative.
    """
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    deviation = volatility * root(maturity)
    return jnp.exp(-rate * maturity) * lognormal_option(1.0, spot * jnp.exp(rate * maturity), strike, deviation)


def black_scholes_put(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of a put, `exp(−rT) E max(K − S_T, 0)`; arguments as in `black_scholes_call`."""
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    deviation = volatility * root(maturity)
    return jnp.exp(-rate * maturity) * lognormal_option(-1.0, spot * jnp.exp(rate * maturity), strike, deviation)


def black_scholes_digital(
    spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar
) -> ScalarArray:
    """Price of a digital call, `exp(−rT) P(S_T > K)`; arguments as in `black_scholes_call`."""
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    deviation = volatility * root(maturity)
    above = standardised(jnp.log(spot / strike) + rate * maturity, deviation) - deviation / 2
    return jnp.exp(-rate * maturity) * cdf(above)


def geometric_asian_call(
    spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar, n_dates: int
) -> ScalarArray:
    """Price of a call on the geometric mean of the spots at `n_dates` dates, `T/n, 2T/n, …, T`.

    The logarithm of the mean is normal with mean `log S + (r − σ²/2) T (n + 1) / (2n)` and variance
    `σ² T (n + 1) (2n + 1) / (6 n²)`. Arguments as in `black_scholes_call`; one date makes it the European call.

    Raises:
        ValueError: there is no date.
    """
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    deviation = volatility * root(maturity) * share_of_average(n_dates)
    mean_time = maturity * ((n_dates + 1) / (2 * n_dates))
    forward = spot * jnp.exp((rate - volatility**2 / 2) * mean_time + deviation**2 / 2)
    return jnp.exp(-rate * maturity) * lognormal_option(1.0, forward, strike, deviation)


def lognormal_option(sign: float, forward: ScalarArray, strike: ScalarArray, deviation: ScalarArray) -> ScalarArray:
    """`E max(± (X − K), 0)` of a lognormal X: what every such option under this law is made of.

    Args:
        sign: 1 for a call, −1 for a put.
        forward: mean of X, positive.
        strike: K, positive.
        deviation: standard deviation of log X; not negative.
    """
    u = standardised(jnp.log(forward / strike), deviation)
    return sign * (forward * cdf(sign * (u + deviation / 2)) - strike * cdf(sign * (u - deviation / 2)))
