"""Options on two correlated assets under Black and Scholes' model, by the bivariate normal law."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar
from ._black_scholes import lognormal_option
from ._normal import as_scalars, bivariate_normal_cdf, root, standardised
from ._types import ScalarArray

Pair = Float[Array, " 2"]


def exchange_option(spots: Pair, volatilities: Pair, correlation: Scalar, maturity: Scalar) -> ScalarArray:
    """Price of the right to give the second asset for the first, `max(S₁ − S₂, 0)` at maturity; no rate enters.

    Args:
        spots: S₁ and S₂, positive.
        volatilities: σ₁ and σ₂, per square root of a year.
        correlation: ρ of the two Brownian motions.
        maturity: T in years.

    Reference: W. Margrabe (1978).
    """
    first, second, v1, v2, rho, t = _unpacked(spots, volatilities, correlation, maturity)
    return lognormal_option(1.0, first, second, root(_spread(v1, v2, rho) * t))


def best_of_call(
    spots: Pair, strike: Scalar, rate: Scalar, volatilities: Pair, correlation: Scalar, maturity: Scalar
) -> ScalarArray:
    """Price of a call on the better of two assets, `max(max(S₁, S₂) − K, 0)` at maturity.

    Args:
        spots: S₁ and S₂, positive.
        strike: K, in units of the spots; positive.
        rate: r, continuously compounded, per year.
        volatilities: σ₁ and σ₂, per square root of a year; positive.
        correlation: ρ of the two Brownian motions, in (-1, 1).
        maturity: T in years; positive.

    Reference: R. Stulz (1982); H. Johnson (1987).
    """
    return _extreme_call(1.0, spots, strike, rate, volatilities, correlation, maturity)


def worst_of_call(
    spots: Pair, strike: Scalar, rate: Scalar, volatilities: Pair, correlation: Scalar, maturity: Scalar
) -> ScalarArray:
    """Price of a call on the worse of two assets, `max(min(S₁, S₂) − K, 0)`; arguments as in `best_of_call`."""
    return _extreme_call(-1.0, spots, strike, rate, volatilities, correlation, maturity)


def best_of_put(
    spots: Pair, strike: Scalar, rate: Scalar, volatilities: Pair, correlation: Scalar, maturity: Scalar
) -> ScalarArray:
    """Price of a put on the better of two assets, by put-call parity; arguments as in `best_of_call`."""
    better = spots[1] + exchange_option(spots, volatilities, correlation, maturity)
    call = best_of_call(spots, strike, rate, volatilities, correlation, maturity)
    _, strike, rate, maturity = as_scalars(spots[0], strike, rate, maturity)
    return call - better + jnp.exp(-rate * maturity) * strike


def worst_of_put(
    spots: Pair, strike: Scalar, rate: Scalar, volatilities: Pair, correlation: Scalar, maturity: Scalar
) -> ScalarArray:
    """Price of a put on the worse of two assets, by put-call parity; arguments as in `best_of_call`."""
    worse = spots[0] - exchange_option(spots, volatilities, correlation, maturity)
    call = worst_of_call(spots, strike, rate, volatilities, correlation, maturity)
    _, strike, rate, maturity = as_scalars(spots[0], strike, rate, maturity)
    return call - worse + jnp.exp(-rate * maturity) * strike


def _extreme_call(
    sign: float,
    spots: Pair,
    strike: Scalar,
    rate: Scalar,
    volatilities: Pair,
    correlation: Scalar,
    maturity: Scalar,
) -> ScalarArray:
    """Each asset, where it is the extreme one (sign 1 for the largest) and above the strike, less the strike paid."""
    first, second, v1, v2, rho, t = _unpacked(spots, volatilities, correlation, maturity)
    _, strike, rate = as_scalars(first, strike, rate)
    time = root(t)
    v = root(_spread(v1, v2, rho))
    gap = standardised(jnp.log(first / second), v * time)

    def above(spot: ScalarArray, volatility: ScalarArray) -> ScalarArray:
        """Standardised distance of the asset above the strike, in its own measure."""
        return standardised(jnp.log(spot / strike) + rate * t, volatility * time) + volatility * time / 2

    y1, y2 = above(first, v1), above(second, v2)
    z1, z2 = y1 - v1 * time, y2 - v2 * time
    # Either above the strike is one less both below; both above otherwise. One call for all three: to compile this law
    # takes long.
    h = jnp.stack([y1, y2, -sign * z1])
    k = jnp.stack([sign * (v * time / 2 + gap), sign * (v * time / 2 - gap), -sign * z2])
    correlations = jnp.stack([sign * (v1 - rho * v2) / v, sign * (v2 - rho * v1) / v, rho])
    owns_first, owns_second, both = jax.vmap(bivariate_normal_cdf)(h, k, correlations)
    paid = 1 - both if sign > 0 else both
    return first * owns_first + second * owns_second - strike * jnp.exp(-rate * t) * paid


def _spread(v1: ScalarArray, v2: ScalarArray, rho: ScalarArray) -> ScalarArray:
    """Variance of the logarithm of the ratio of the assets, per year."""
    return (v1 - v2) ** 2 + 2 * (1 - rho) * v1 * v2


def _unpacked(
    spots: Pair, volatilities: Pair, correlation: Scalar, maturity: Scalar
) -> tuple[ScalarArray, ScalarArray, ScalarArray, ScalarArray, ScalarArray, ScalarArray]:
    first, second, v1, v2, rho, t = as_scalars(
        spots[0], spots[1], volatilities[0], volatilities[1], correlation, maturity
    )
    return first, second, v1, v2, rho, t
