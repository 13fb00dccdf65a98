"""How a stochastic differential equation is stepped in time."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Scalar
from ._sde import AbstractSDE


class AbstractScheme(eqx.Module):
    """One step in time, from independent normal increments.

    The loop over the steps, the noise, the payoffs and the derivatives are not its business.
    """

    @abc.abstractmethod
    def n_noise(self, model: AbstractSDE) -> int:
        """How many independent normal increments of variance `dt` a step takes."""

    @abc.abstractmethod
    def step(
        self, model: AbstractSDE, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " noise"]
    ) -> Float[Array, " q"]:
        """The state at `t + dt`."""

    @abc.abstractmethod
    def invertible(self, model: AbstractSDE) -> bool:
        """Whether a step maps increments one to one and smoothly onto states, so that these have a density."""

    @abc.abstractmethod
    def check(self, model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> None:
        """Refuse a model that the scheme cannot step, seen at one concrete time and state.

        Raises:
            ValueError: the message says what is asked of the model, and which scheme to take instead.
        """


@final
class EulerMaruyama(AbstractScheme):
    """`S + a dt + b dW`: strong order 1/2 and weak order 1, for any noise.

    Reference: G. Maruyama, *Continuous Markov processes and stochastic equations* (1955).
    """

    def n_noise(self, model: AbstractSDE) -> int:
        """That of the model."""
        return model.n_noise

    def step(
        self, model: AbstractSDE, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " noise"]
    ) -> Float[Array, " q"]:
        """`S + a dt + b dW`."""
        return s + model.drift(t, s) * dt + model.diffusion(t, s) @ dw

    def invertible(self, model: AbstractSDE) -> bool:
        """Where the diffusion never vanishes: given the state, the next one is normal."""
        return not model.diffusion_vanishes

    def check(self, model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> None:
        """Every model can be stepped."""


@final
class Milstein(AbstractScheme):
    """Euler's step with the next term, `½ Σ (Lʲ b_k)(dW_j dW_k − δ_jk dt)` where `Lʲ b_k = (∂b_k/∂S) b_j`.

    Strong order 1. The derivatives of b are taken by forward-mode AD. The terms need no Lévy areas only if the noise
    commutes, `Lʲ b_k = Lᵏ b_j`; one Brownian motion does, and so does noise where each drives a state of its own
    (diagonal) or b does not depend on the state (additive).

    Reference: P. Kloeden, E. Platen, *Numerical Solution of Stochastic Differential Equations* (1992), section 10.3.
    """

    def n_noise(self, model: AbstractSDE) -> int:
        """That of the model."""
        return model.n_noise

    def step(
        self, model: AbstractSDE, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " noise"]
    ) -> Float[Array, " q"]:
        """Euler's step and the second-order terms."""
        b, terms = _second_order(model, t, s)
        moments = dw[:, None] * dw[None] - dt * jnp.eye(dw.shape[0], dtype=dw.dtype)
        return s + model.drift(t, s) * dt + b @ dw + 0.5 * jnp.einsum("jik,jk->i", terms, moments)

    def invertible(self, model: AbstractSDE) -> bool:
        """No: the step is quadratic in the increments, and two of them lead to one state."""
        return False

    def check(self, model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> None:
        """Refuse noise that does not commute."""
        if model.n_noise < 2:
            return
        _, terms = _second_order(model, t, s)
        terms = np.asarray(terms)
        gap = np.abs(terms - np.swapaxes(terms, 0, 2)).max()
        if gap > 1e3 * np.finfo(terms.dtype).eps * max(np.abs(terms).max(), 1e-30):
            raise ValueError(
                f"`scheme` is Milstein, and the noise of {type(model).__name__} does not commute: Lʲ b_k and Lᵏ b_j "
                f"differ by {gap:.3g}, so the step would need Lévy areas. Use `EulerMaruyama()`, or the model's own "
                "scheme, `ModelStep()`."
            )


def _second_order(
    model: AbstractSDE, t: Scalar, s: Float[Array, " q"]
) -> tuple[Float[Array, "q r"], Float[Array, "r q r"]]:
    """b, and `Lʲ b_k` on the axes (j, state, k)."""
    b, tangent = jax.linearize(lambda state: model.diffusion(t, state), s)
    return b, jax.vmap(tangent)(b.T)


@final
class ModelStep(AbstractScheme):
    """The model's own step: exact for `Bachelier` and `BlackScholes`, however long it is."""

    def n_noise(self, model: AbstractSDE) -> int:
        """That of the model."""
        return model.n_noise

    def step(
        self, model: AbstractSDE, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " noise"]
    ) -> Float[Array, " q"]:
        """`model.step`."""
        return model.step(t, dt, s, dw)

    def invertible(self, model: AbstractSDE) -> bool:
        """As the model says."""
        return model.step_is_invertible

    def check(self, model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> None:
        """Every model has a step."""
