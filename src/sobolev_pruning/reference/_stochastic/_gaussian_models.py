"""The two models whose increments are Gaussian, of the price or of its logarithm; both are stepped exactly."""

import dataclasses
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar
from ._sde import AbstractSDE, number_or_zero


@final
class Bachelier(AbstractSDE):
    """A price with normal increments, `dS = μ dt + σ dW`.

    μ is a drift and not an interest rate: where payoffs are discounted at the rate of the `Problem`, the price is that
    of a forward and has no drift, unless μ says otherwise.

    Reference: L. Bachelier, *Théorie de la spéculation* (1900).

    Attributes:
        volatility: σ, in units of the price per square root of a year.
        rate: μ, drift in units of the price per year.
    """

    volatility: Scalar
    rate: Scalar = 0.0

    @property
    def n_noise(self) -> int:
        """One."""
        return 1

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """`μ`."""
        return jnp.full_like(s, 1.0) * self.rate

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """`σ`."""
        return jnp.full_like(s, 1.0)[:, None] * self.volatility

    # Euler's step, which `step` is by default, is exact for constant coefficients.

    @property
    def step_is_invertible(self) -> bool:
        """Yes: normal with the deviation `σ √dt`."""
        return True


@final
class BlackScholes(AbstractSDE):
    """A price whose logarithm has normal increments, `dS = (r − δ) S dt + σ S dW`.

    Reference: F. Black, M. Scholes, *The Pricing of Options and Corporate Liabilities* (1973).

    Attributes:
        volatility: σ, per square root of a year.
        rate: r, risk-free interest rate per year; that of the `Problem` if not given.
        dividend: δ, dividend yield per year.
    """

    volatility: Scalar
    rate: Scalar | None = None
    dividend: Scalar = 0.0

    @property
    def n_noise(self) -> int:
        """One."""
        return 1

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """`(r − δ) S`."""
        return s * (number_or_zero(self.rate) - self.dividend)

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """`σ S`."""
        return s[:, None] * self.volatility

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """Exact: `S exp((r − δ − σ²/2) dt + σ dW)`."""
        drift = (number_or_zero(self.rate) - self.dividend - 0.5 * self.volatility**2) * dt
        return s * jnp.exp(drift + dw * self.volatility)

    @property
    def step_is_invertible(self) -> bool:
        """Yes: log-normal with the deviation `σ √dt`."""
        return True

    @property
    def own_rate(self) -> Scalar | Float[Array, " d"] | None:
        """r, if it was given."""
        return self.rate

    def at_rate(self, rate: Scalar) -> "BlackScholes":
        """The model with this r."""
        return dataclasses.replace(self, rate=rate)
