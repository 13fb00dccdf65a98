"""Payoffs at maturity, and their smoothing."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def call(basket: Float[Array, "*batch"], strike: float) -> Float[Array, "*batch"]:
    """Payoff of a call, `max(basket - strike, 0)`."""
    return jnp.maximum(basket - strike, 0)


def smoothed_call(basket: Float[Array, "*batch"], strike: float, width: float) -> Float[Array, "*batch"]:
    """Sigmoidal smoothing `u / (1 + exp(-u / width))` of the call, with `u = basket - strike`.

    It is infinitely differentiable and has the right limits on both sides; it differs from the kinked payoff by at
    most `0.2785 width`, at `u = ±1.2785 width`.

    Args:
        basket: value of the basket, any shape.
        strike: in units of the basket.
        width: of the region in which the kink is rounded off, in units of the basket; positive.

    Raises:
        ValueError: the width is not positive.
    """
    if not width > 0:
        raise ValueError(f"`width` of the smoothing is {width}; it must be positive.")
    moneyness = basket - strike
    return moneyness * jax.nn.sigmoid(moneyness / width)
