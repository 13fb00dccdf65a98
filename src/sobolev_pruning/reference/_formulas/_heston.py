"""Prices under Heston's model, by Fourier inversion.

`dS = r S dt + sqrt(V) S dW₁`, `dV = κ (θ − V) dt + ξ sqrt(V) dW₂`, `dW₁ dW₂ = ρ dt`. S. Heston (1993).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._types import Scalar
from ._normal import as_scalars
from ._types import ScalarArray

_N_NODES = 200
_REACH = 11.5  # u up to 5e4: of no matter once the deviation of log S exceeds 1e-3


def heston_call(
    spot: Scalar,
    strike: Scalar,
    rate: Scalar,
    maturity: Scalar,
    *,
    initial_variance: Scalar,
    mean_reversion: Scalar,
    long_variance: Scalar,
    volatility_of_variance: Scalar,
    correlation: Scalar,
) -> ScalarArray:
    """Price of a call, `exp(−rT) E max(S_T − K, 0)`, by one integral along the line `Im u = −1/2`.

    `S − sqrt(S K) exp(−rT/2) / π ∫₀^∞ Re[exp(iuk) φ(u − i/2)] / (u² + 1/4) du` with `k = log(S/K) + rT` (A. Lewis,
    2000). With `u = sinh(t) / 2` the integrand vanishes doubly exponentially and the trapezoidal rule converges
    geometrically. The characteristic function φ is written with the root for which the logarithm stays on its
    principal branch (H. Albrecher, P. Mayer, W. Schoutens, J. Tistaert, *The little Heston trap*, 2007; proof by
    R. Lord, C. Kahl, 2010), and with quotients that stay exact as ξ vanishes.

    Args:
        spot: S, positive.
        strike: K, in units of the spot; positive.
        rate: r, continuously compounded, per year.
        maturity: T in years, positive; the deviation of `log S_T` should exceed 1e-3.
        initial_variance: V₀ per year, not negative.
        mean_reversion: κ per year, positive.
        long_variance: θ per year, not negative, and not zero together with V₀.
        volatility_of_variance: ξ, positive. `2 κ θ ≥ ξ²`, Feller's condition, is not needed.
        correlation: ρ in (-1, 1).
    """
    parameters = (initial_variance, mean_reversion, long_variance, volatility_of_variance, correlation)
    spot, strike, rate, maturity, *parameters = as_scalars(spot, strike, rate, maturity, *parameters)
    u, du, integrand = _damped(spot, strike, rate, maturity, *parameters)
    integral = jnp.sum(integrand.real / (u * u + 0.25) * du)
    return spot - jnp.sqrt(spot * strike) * jnp.exp(-rate * maturity / 2) / jnp.pi * integral


def heston_put(
    spot: Scalar,
    strike: Scalar,
    rate: Scalar,
    maturity: Scalar,
    *,
    initial_variance: Scalar,
    mean_reversion: Scalar,
    long_variance: Scalar,
    volatility_of_variance: Scalar,
    correlation: Scalar,
) -> ScalarArray:
    """Price of a put, `exp(−rT) E max(K − S_T, 0)`, by put-call parity; arguments as in `heston_call`."""
    call = heston_call(
        spot,
        strike,
        rate,
        maturity,
        initial_variance=initial_variance,
        mean_reversion=mean_reversion,
        long_variance=long_variance,
        volatility_of_variance=volatility_of_variance,
        correlation=correlation,
    )
    _, spot, strike, rate, maturity = as_scalars(call, spot, strike, rate, maturity)
    return call - spot + strike * jnp.exp(-rate * maturity)


def heston_digital(
    spot: Scalar,
    strike: Scalar,
    rate: Scalar,
    maturity: Scalar,
    *,
    initial_variance: Scalar,
    mean_reversion: Scalar,
    long_variance: Scalar,
    volatility_of_variance: Scalar,
    correlation: Scalar,
) -> ScalarArray:
    """Price of a digital call, `exp(−rT) P(S_T > K)`: the call's derivative by the strike, with its sign turned.

    Arguments as in `heston_call`.
    """
    parameters = (initial_variance, mean_reversion, long_variance, volatility_of_variance, correlation)
    spot, strike, rate, maturity, *parameters = as_scalars(spot, strike, rate, maturity, *parameters)
    u, du, integrand = _damped(spot, strike, rate, maturity, *parameters)
    integral = jnp.sum((integrand / jax.lax.complex(jnp.full_like(u, 0.5), u)).real * du)
    return jnp.sqrt(spot / strike) * jnp.exp(-rate * maturity / 2) / jnp.pi * integral


def _damped(
    spot: ScalarArray, strike: ScalarArray, rate: ScalarArray, maturity: ScalarArray, *parameters: ScalarArray
) -> tuple[Float[Array, " q"], Float[Array, " q"], Complex[Array, " q"]]:
    """Nodes u, their weights, and `exp(iuk) φ(u − i/2)`."""
    t = _REACH * (jnp.arange(_N_NODES, dtype=spot.dtype) + 0.5) / _N_NODES
    u, du = jnp.sinh(t) / 2, jnp.cosh(t) / 2 * (_REACH / _N_NODES)
    moneyness = jnp.log(spot / strike) + rate * maturity
    wave = jax.lax.complex(jnp.zeros_like(u), u * moneyness)
    return u, du, jnp.exp(wave + _log_characteristic(u, maturity, *parameters))


def _log_characteristic(
    u: Float[Array, " q"],
    maturity: ScalarArray,
    initial_variance: ScalarArray,
    mean_reversion: ScalarArray,
    long_variance: ScalarArray,
    volatility_of_variance: ScalarArray,
    correlation: ScalarArray,
) -> Complex[Array, " q"]:
    """`log E exp(i (u − i/2) log(S_T / F))`, F the forward."""

    def as_complex(x: Array) -> Array:
        return jax.lax.complex(x, jnp.zeros_like(x))

    xi, kappa, t = volatility_of_variance, mean_reversion, maturity
    # With v = u − i/2: v² + iv = u² + 1/4, real.
    q = as_complex(u * u + 0.25)
    b = jax.lax.complex(jnp.broadcast_to(kappa - correlation * xi / 2, u.shape), -correlation * xi * u)
    d = jnp.sqrt(b * b + as_complex(xi**2) * q)
    decay = -jnp.expm1(-d * as_complex(t))
    # (b − d) / ξ² = −q / (b + d), so that nothing is divided by ξ² and cancels. With it the quotient
    # (1 − g e^(−dT)) / (1 − g) of the little trap is 1 − ξ² y.
    ratio = -q / (b + d)
    y = -ratio * decay / (as_complex(jnp.asarray(2.0, t.dtype)) * d)
    slope = ratio * decay / (1 - (b - d) / (b + d) * (1 - decay))
    logarithm = jnp.log1p(-as_complex(xi**2) * y) / as_complex(xi**2)
    drift = ratio * as_complex(t) - 2 * logarithm
    return as_complex(initial_variance) * slope + as_complex(kappa * long_variance) * drift
