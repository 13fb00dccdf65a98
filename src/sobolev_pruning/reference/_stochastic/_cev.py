"""A local volatility: constant elasticity of variance."""

import dataclasses
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._formulas import as_scalars, grown_time
from .._types import Scalar
from ._sde import AbstractSDE, number_or_zero


@final
class CEV(AbstractSDE):
    """`dS = r S dt + σ S^β dW` with 0 < β ≤ 1; zero is absorbing.

    For 1/2 ≤ β < 1 zero is reached and absorbs of itself; for β < 1/2 that is a choice, the one under which the
    discounted price is a martingale. Simulate with `ModelStep()`: Euler's step, stopped at zero for good.

    A path is a continuous function of its parameters, and the derivative of the step, `1 + β σ S^(β − 1) dW`, is
    integrable up to zero, so that pathwise derivatives of a Lipschitz payoff have the right mean; an absorbed path has
    the derivative zero. Where absorption is likely and β is small, the derivative's variance is large.

    Reference: J. Cox, *Notes on option pricing I: constant elasticity of variance diffusions* (1975).

    Attributes:
        volatility: σ, in units `price^(1 − β)` per square root of a year.
        exponent: β.
        rate: r, per year; that of the `Problem` if not given.
    """

    volatility: Scalar
    exponent: Scalar
    rate: Scalar | None = None

    @property
    def n_noise(self) -> int:
        """One."""
        return 1

    @property
    def diffusion_vanishes(self) -> bool:
        """Yes, at zero."""
        return True

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """`r S`."""
        return s * number_or_zero(self.rate)

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """`σ S^β`, zero where the price is not positive."""
        alive = s > 0
        power = jnp.where(alive, jnp.where(alive, s, 1.0) ** self.exponent, 0.0)
        return power[:, None] * self.volatility

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """Euler's step of the discounted price, `X = exp(−rt) S`, or zero.

        X has no drift, and over the step the variance of its noise is `σ² X^(2β)` times `∫ exp(−2 r (1 − β) t) dt`; so
        the step is a martingale whatever the rate, and the rate adds no bias of its own.
        """
        rate, exponent, length = as_scalars(s[0], number_or_zero(self.rate), self.exponent, dt)[1:]
        scale = jnp.sqrt(grown_time(-2 * rate * (1 - exponent), length) / length)
        return jnp.maximum(s + self.diffusion(t, s) @ dw * scale, 0.0) * jnp.exp(rate * length)

    @property
    def own_rate(self) -> Scalar | Float[Array, " d"] | None:
        """r, if it was given."""
        return self.rate

    def at_rate(self, rate: Scalar) -> "CEV":
        """The model with this r."""
        return dataclasses.replace(self, rate=rate)
