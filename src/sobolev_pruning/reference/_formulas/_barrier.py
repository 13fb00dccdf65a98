"""Barrier options under Black and Scholes' model, by reflection.

With the barrier watched continuously, a knock-out is the European option that pays only on the living side of the
barrier, less its image: `V(S) = E(S) − (S/H)^α E(H²/S)`, `α = 1 − 2r/σ²`, which vanishes at `S = H` and solves the same
equation. E. Reiner, M. Rubinstein, *Breaking down the barriers*, Risk 4 (1991), list the eight cases; the images
are P. Buchen's, *Image options and the road to barriers*, Risk 14 (2001).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar
from ._black_scholes import black_scholes_call, black_scholes_put
from ._normal import as_scalars, cdf, root, standardised
from ._types import ScalarArray

# −ζ(1/2) / sqrt(2π): the mean overshoot of a Gaussian walk over a far barrier, in deviations of a step.
_OVERSHOOT = 0.5825971579390107


def barrier_option(
    spot: Scalar,
    strike: Scalar,
    rate: Scalar,
    volatility: Scalar,
    maturity: Scalar,
    barrier: Scalar,
    *,
    is_call: bool = True,
    is_up: bool = False,
    is_out: bool = True,
) -> ScalarArray:
    """Price of an option that a continuously watched barrier kills (out) or brings to life (in); without rebate.

    Where the spot is beyond the barrier already, a knock-out is worth nothing and a knock-in is the European option.

    Args:
        spot: S, positive.
        strike: K, in units of the spot; positive.
        rate: r, continuously compounded, per year.
        volatility: σ, per square root of a year; positive.
        maturity: T in years; positive.
        barrier: H, in units of the spot; positive.
        is_call: a call, else a put.
        is_up: the barrier is touched from below, else from above.
        is_out: a knock-out, else a knock-in: the European option less the knock-out.
    """
    s, k, r, v, t, h = as_scalars(spot, strike, rate, volatility, maturity, barrier)
    alive = s < h if is_up else s > h
    s_safe = jnp.where(alive, s, 0.9 * h if is_up else 1.1 * h)
    image = (s_safe / h) ** (1 - 2 * r / v**2)

    # The European option that pays only where the spot ends on the living side, from the spot and from its image.
    starts = jnp.stack([s_safe, h * h / s_safe])
    direct, mirrored = _paid_on_one_side(starts, k, r, v, t, h, is_call=is_call, is_up=is_up)
    out = jnp.where(alive, direct - image * mirrored, 0.0)
    if is_out:
        return out
    return (black_scholes_call if is_call else black_scholes_put)(s, k, r, v, t) - out


def discrete_barrier_option_estimate(
    spot: Scalar,
    strike: Scalar,
    rate: Scalar,
    volatility: Scalar,
    maturity: Scalar,
    barrier: Scalar,
    n_dates: int,
    *,
    is_call: bool = True,
    is_up: bool = False,
    is_out: bool = True,
) -> ScalarArray:
    """Approximate price of `barrier_option` with the barrier watched at `n_dates` equidistant dates alone.

    It is the continuous price with the barrier moved away from the spot by `exp(± 0.5826 σ sqrt(T/n))`, the mean
    overshoot between two dates; the error is `o(1 / sqrt(n))`. This is an approximation and no truth: no test of bias
    should take it for one. The dates are `T/n, …, T`; the other arguments are those of `barrier_option`.

    Raises:
        ValueError: there is no date.

    Reference: M. Broadie, P. Glasserman, S. Kou, *A continuity correction for discrete barrier options*, Mathematical
    Finance 7 (1997), theorem 1.1.
    """
    if n_dates < 1:
        raise ValueError(f"`n_dates` is {n_dates}; a barrier is watched at one date at least.")
    s, k, r, v, t, h = as_scalars(spot, strike, rate, volatility, maturity, barrier)
    shift = _OVERSHOOT * v * root(t / n_dates)
    moved = h * jnp.exp(shift if is_up else -shift)
    return barrier_option(s, k, r, v, t, moved, is_call=is_call, is_up=is_up, is_out=is_out)


def _paid_on_one_side(
    starts: Float[Array, " 2"],
    k: ScalarArray,
    r: ScalarArray,
    v: ScalarArray,
    t: ScalarArray,
    h: ScalarArray,
    *,
    is_call: bool,
    is_up: bool,
) -> Float[Array, " 2"]:
    """`exp(−rT) E[max(±(S_T − K), 0)]` over `S_T < H` (up) or `S_T > H` (down)."""
    kink = jnp.minimum(k, h) if is_up else jnp.maximum(k, h)
    deviation, cash = v * root(t), k * jnp.exp(-r * t)
    # exp(−rT) E[(S_T − K) 1{S_T > level}], gap calls, at the kink and at the barrier.
    d = standardised(jnp.log(starts[None] / jnp.stack([kink, h])[:, None]) + r * t, deviation)
    at_kink, at_barrier = starts[None] * cdf(d + deviation / 2) - cash * cdf(d - deviation / 2)
    if is_up:
        return at_kink - (at_barrier if is_call else starts - cash)
    return at_kink if is_call else at_kink - at_barrier
