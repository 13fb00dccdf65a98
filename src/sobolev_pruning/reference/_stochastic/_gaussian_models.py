"""The two models whose increments are Gaussian, of the price or of its logarithm; both are stepped exactly."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar
from ._sde import AbstractSDE


@final
class Bachelier(AbstractSDE):
    """A price with normal increments, `dS = μ dt + σ dW`.

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
        rate: r, risk-free interest rate per year.
        dividend: δ, dividend yield per year.
    """

    volatility: Scalar
    rate: Scalar = 0.0
    dividend: Scalar = 0.0

    @property
    def n_noise(self) -> int:
        """One."""
        return 1

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """`(r − δ) S`."""
        return s * (self.rate - self.dividend)

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """`σ S`."""
        return s[:, None] * self.volatility

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """Exact: `S exp((r − δ − σ²/2) dt + σ dW)`."""
        drift = (self.rate - self.dividend - 0.5 * self.volatility**2) * dt
        return s * jnp.exp(drift + dw * self.volatility)

    @property
    def step_is_invertible(self) -> bool:
        """Yes: log-normal with the deviation `σ √dt`."""
        return True
