"""Prices under Bachelier's model, `dF = σ dW`: a price without drift (a forward, say) with normal increments.

A call costs `exp(−rT) ((F − K) Φ(u) + s φ(u))` with `s = σ sqrt(T)`, `u = (F − K) / s`. L. Bachelier (1900).
"""

import jax.numpy as jnp

from .._types import Scalar
from ._normal import as_scalars, cdf, pdf, root, standardised
from ._types import ScalarArray


def bachelier_call(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of a call, `exp(−rT) E max(F_T − K, 0)`.

    At a volatility or maturity of zero it is the discounted intrinsic value, and its derivatives are those of the
    limit away from the kink; on the kink the delta is 1/2 and the gamma 0.

    Args:
        spot: F today, any sign; it has no drift.
        strike: K, in units of the spot.
        rate: r, continuously compounded, per year; it discounts the payoff and does nothing else.
        volatility: σ, normal, in units of the spot per square root of a year; not negative.
        maturity: T in years; not negative.
    """
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    return jnp.exp(-rate * maturity) * normal_call(spot, strike, volatility * root(maturity))


def bachelier_put(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of a put, `exp(−rT) E max(K − F_T, 0)`; arguments as in `bachelier_call`."""
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    return jnp.exp(-rate * maturity) * normal_call(strike, spot, volatility * root(maturity))


def bachelier_digital(spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of a digital call, `exp(−rT) P(F_T > K)`; arguments as in `bachelier_call`."""
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    return jnp.exp(-rate * maturity) * cdf(standardised(spot - strike, volatility * root(maturity)))


def bachelier_asian_call(
    spot: Scalar, strike: Scalar, rate: Scalar, volatility: Scalar, maturity: Scalar, n_dates: int
) -> ScalarArray:
    """Price of a call on the arithmetic mean of the spots at `n_dates` dates, `T/n, 2T/n, …, T`.

    The mean is normal with variance `σ² T (n + 1) (2n + 1) / (6 n²)`. Arguments as in `bachelier_call`; one date makes
    it the European call.

    Raises:
        ValueError: there is no date.
    """
    spot, strike, rate, volatility, maturity = as_scalars(spot, strike, rate, volatility, maturity)
    deviation = volatility * root(maturity) * share_of_average(n_dates)
    return jnp.exp(-rate * maturity) * normal_call(spot, strike, deviation)


def normal_call(mean: Scalar, strike: Scalar, deviation: Scalar) -> ScalarArray:
    """`E max(X − K, 0)` of a normal X: what every call under a normal law is made of.

    Args:
        mean: of X.
        strike: K, in the same units.
        deviation: standard deviation of X; not negative.
    """
    mean, strike, deviation = as_scalars(mean, strike, deviation)
    u = standardised(mean - strike, deviation)
    # Not `deviation * (u Φ(u) + φ(u))`: at a deviation of zero this is the intrinsic value.
    return (mean - strike) * cdf(u) + deviation * pdf(u)


def share_of_average(n_dates: int) -> float:
    """Deviation of the mean of a Brownian motion over equidistant dates, as a share of that at the last one."""
    if n_dates < 1:
        raise ValueError(f"`n_dates` is {n_dates}; an average needs at least one date.")
    return ((n_dates + 1) * (2 * n_dates + 1) / 6) ** 0.5 / n_dates
