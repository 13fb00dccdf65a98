"""Heston's stochastic variance, stepped so that it stays well behaved when Feller's condition fails."""

import abc
import dataclasses
from typing import final

import equinox as eqx
import jax.numpy as jnp
from jax.scipy import stats
from jaxtyping import Array, Float

from .._types import Scalar
from ._sde import AbstractSDE, number_or_zero


class AbstractVarianceStep(eqx.Module):
    """One step of Heston's model, from two independent normal increments."""

    @abc.abstractmethod
    def step(self, model: "Heston", dt: Scalar, s: Float[Array, " 2"], dw: Float[Array, " 2"]) -> Float[Array, " 2"]:
        """Price and variance at the end of the step."""


@final
class FullTruncation(AbstractVarianceStep):
    """Euler's step of log-price and variance, with the positive part `V⁺` wherever the variance enters.

    `V' = V + κ (θ − V⁺) dt + ξ sqrt(V⁺) dW₂`, `S' = S exp((r − V⁺/2) dt + sqrt(V⁺) dW₁)`. The variance may turn
    negative between two steps and then drifts back without noise; of the simple repairs of Euler's scheme this has the
    least bias, also where `2 κ θ < ξ²` and the variance visits zero often.

    Along a path, the price is a smooth function of the initial price, so deltas of a Lipschitz payoff are as clean as
    under Black and Scholes. In the parameters of the variance the path is continuous but not smooth where V = 0:
    there `sqrt(V⁺)` has the slope `1/(2 sqrt(V))`, taken as 0 where V ≤ 0. The slope is integrable, so these pathwise
    derivatives have the right mean, but it is not square integrable: where the truncation is active often, their
    variance is large and a few samples carry much of it.

    Reference: R. Lord, R. Koekkoek, D. van Dijk, *A comparison of biased simulation schemes for stochastic volatility
    models*, Quantitative Finance 10 (2010).
    """

    def step(self, model: "Heston", dt: Scalar, s: Float[Array, " 2"], dw: Float[Array, " 2"]) -> Float[Array, " 2"]:
        """Price and variance at the end of the step."""
        price, variance = s[0], s[1]
        positive = variance > 0
        v = jnp.where(positive, variance, 0.0)
        deviation = jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)
        own = model.variance_noise(dw)
        moved = variance + model.mean_reversion * (model.long_variance - v) * dt
        moved = moved + model.volatility_of_variance * deviation * own
        grown = price * jnp.exp((number_or_zero(model.rate) - 0.5 * v) * dt + deviation * dw[0])
        return jnp.stack([grown, moved])


@final
class QuadraticExponential(AbstractVarianceStep):
    """Andersen's scheme: the new variance has the exact mean and variance, and is never negative.

    With ψ the squared ratio of deviation to mean, the new variance is `a (b + Z)²` for `ψ ≤ 1.5` and above a mass at
    zero with an exponential tail. The price follows with the mean of both variances in place of their integral, and
    with the part of its noise that the variance explains. Far less bias a step than `FullTruncation`.

    For given normals the new variance jumps where ψ crosses 1.5. The variance does not depend on the price, so deltas
    are right; pathwise derivatives in V₀, κ, θ, ξ, and in the maturity miss the jumps and are biased. `heston` refuses
    them; use `FullTruncation` there.

    Reference: L. Andersen, *Efficient simulation of the Heston stochastic volatility model*, Journal of Computational
    Finance 11 (2008), sections 3.2 and 4.2, with γ₁ = γ₂ = 1/2 and without the martingale correction.
    """

    def step(self, model: "Heston", dt: Scalar, s: Float[Array, " 2"], dw: Float[Array, " 2"]) -> Float[Array, " 2"]:
        """Price and variance at the end of the step."""
        price, variance = s[0], s[1]
        kappa, theta, xi, rho = (
            model.mean_reversion,
            model.long_variance,
            model.volatility_of_variance,
            model.correlation,
        )
        # The scheme draws the variance first and lets it explain ρ of the price's noise: turn the normals around.
        root_dt = jnp.sqrt(jnp.asarray(dt, s.dtype))
        own = model.variance_noise(dw) / root_dt
        other = (jnp.sqrt(jnp.asarray(1.0 - rho**2, s.dtype)) * dw[0] - rho * dw[1]) / root_dt
        moved = _moment_matched(variance, own, kappa, theta, xi, dt)
        mean = 0.5 * (variance + moved)
        explained = rho / xi * (moved - variance - kappa * theta * dt) + (kappa * rho / xi - 0.5) * mean * dt
        positive = mean > 0
        deviation = jnp.where(positive, jnp.sqrt(jnp.where(positive, mean * (1.0 - rho**2) * dt, 1.0)), 0.0)
        return jnp.stack([price * jnp.exp(number_or_zero(model.rate) * dt + explained + deviation * other), moved])


def _moment_matched(
    v: Float[Array, ""], z: Float[Array, ""], kappa: Scalar, theta: Scalar, xi: Scalar, dt: Scalar
) -> Float[Array, ""]:
    """The new variance, from a standard normal; both branches, as each path takes its own."""
    decay = jnp.exp(-jnp.asarray(kappa * dt, v.dtype))
    mean = theta + (v - theta) * decay
    square = xi**2 / kappa * (1 - decay) * (v * decay + 0.5 * theta * (1 - decay))
    psi = square / mean**2
    is_quadratic = psi <= 1.5
    low = jnp.where(is_quadratic, psi, 1.0)
    b_squared = 2 / low - 1 + jnp.sqrt(2 / low) * jnp.sqrt(2 / low - 1)
    quadratic = mean / (1 + b_squared) * (jnp.sqrt(b_squared) + z) ** 2
    high = jnp.where(is_quadratic, 2.0, psi)
    p = (high - 1) / (high + 1)
    # log((1 − p)/(1 − u)) with 1 − u the upper tail, which is exact where u is near one.
    tail = stats.norm.logcdf(-z)
    exponential = jnp.maximum(jnp.log(1 - p) - tail, 0.0) * mean / (1 - p)
    return jnp.where(is_quadratic, quadratic, exponential)


@final
class Heston(AbstractSDE):
    """`dS = r S dt + sqrt(V) S dW₁`, `dV = κ (θ − V) dt + ξ sqrt(V) dW₂`, `dW₁ dW₂ = ρ dt`.

    The state is the price and the variance, and payoffs see the price. Simulate it with `ModelStep()`: drift and
    diffusion are those of the equation, with the positive part of the variance, and Euler's scheme on them lets the
    price turn negative. The first Brownian motion is that of the price.

    Reference: S. Heston (1993).

    Attributes:
        mean_reversion: κ per year.
        long_variance: θ per year.
        volatility_of_variance: ξ.
        correlation: ρ in (-1, 1).
        rate: r, per year; that of the `Problem` if not given.
        variance_step: how `step` moves; `FullTruncation()` if not given.
    """

    mean_reversion: Scalar
    long_variance: Scalar
    volatility_of_variance: Scalar
    correlation: Scalar
    rate: Scalar | None = None
    variance_step: AbstractVarianceStep = FullTruncation()

    @property
    def n_noise(self) -> int:
        """Two."""
        return 2

    def variance_noise(self, dw: Float[Array, " 2"]) -> Float[Array, ""]:
        """`ρ dW₁ + sqrt(1 − ρ²) dB`: increment of the variance's Brownian motion."""
        return self.correlation * dw[0] + jnp.sqrt(jnp.asarray(1.0 - self.correlation**2, dw.dtype)) * dw[1]

    @property
    def diffusion_vanishes(self) -> bool:
        """Yes, with the variance."""
        return True

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """`(r S, κ (θ − V⁺))`."""
        return jnp.stack(
            [s[0] * number_or_zero(self.rate), (self.long_variance - jnp.maximum(s[1], 0.0)) * self.mean_reversion]
        )

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """`sqrt(V⁺)` times S, and times ξ in two parts."""
        positive = s[1] > 0
        deviation = jnp.where(positive, jnp.sqrt(jnp.where(positive, s[1], 1.0)), 0.0)
        xi, rho = self.volatility_of_variance, self.correlation
        free = jnp.sqrt(jnp.asarray(1.0 - rho**2, s.dtype))
        return jnp.stack([jnp.stack([s[0], jnp.zeros_like(s[0])]), jnp.stack([free * 0 + rho, free]) * xi]) * deviation

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """That of `variance_step`."""
        return self.variance_step.step(self, dt, s, dw)

    def observe(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " a"]:
        """The price."""
        return s[:1]

    @property
    def own_rate(self) -> Scalar | Float[Array, " d"] | None:
        """r, if it was given."""
        return self.rate

    def at_rate(self, rate: Scalar) -> "Heston":
        """The model with this r."""
        return dataclasses.replace(self, rate=rate)
