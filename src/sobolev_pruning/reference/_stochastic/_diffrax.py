"""Diffrax's solvers as schemes of the simulation."""

from typing import final

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar
from ._schemes import AbstractScheme
from ._sde import AbstractSDE


@final
class DiffraxScheme(AbstractScheme):
    """One step of any solver of Diffrax, for stochastic and for ordinary differential equations.

    The loop, its checkpoints, the noise and the payoffs stay those of the simulation; steps have equal length. Solvers
    of the Stratonovich kind get the drift `a − ½ Σ_j (∂b_j/∂S) b_j`, so that they, too, solve the equation in the sense
    of Itô. Solvers that need the space-time Lévy area (`ShARK`, `SRA1`, `SPaRK`) get it from normals of their own:
    given a step, it is independent of the increment and normal with the variance `dt/12`.

    Reference: P. Kidger, *On Neural Differential Equations* (2021), for Diffrax; J. Foster, G. dos Reis, C. Strange,
    *High order splitting methods for SDEs satisfying a commutativity condition* (2023), for the area.

    Attributes:
        solver: such as `diffrax.SRA1()` (additive noise, strong order 1.5), `diffrax.SPaRK()` (any noise),
            `diffrax.ItoMilstein()`, or for a model without noise `diffrax.Tsit5()`.
    """

    solver: diffrax.AbstractSolver

    @property
    def _needs_area(self) -> bool:
        return isinstance(self.solver, diffrax.AbstractSRK) and issubclass(
            self.solver.minimal_levy_area, diffrax.AbstractSpaceTimeLevyArea
        )

    def n_noise(self, model: AbstractSDE) -> int:
        """That of the model, twice if the solver needs the area."""
        return model.n_noise * (2 if self._needs_area else 1)

    def step(
        self, model: AbstractSDE, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " noise"]
    ) -> Float[Array, " q"]:
        """The solver's step."""
        t, dt = jnp.asarray(t, s.dtype), jnp.asarray(dt, s.dtype)
        terms = self._terms(model, dt, dw)
        state = self.solver.init(terms, t, t + dt, s, None)
        s_next, *_ = self.solver.step(terms, t, t + dt, s, None, state, False)
        return s_next

    def _terms(self, model: AbstractSDE, dt: Float[Array, ""], dw: Float[Array, " noise"]) -> diffrax.AbstractTerm:
        if model.n_noise == 0:
            return diffrax.ODETerm(lambda t, s, args: model.drift(jnp.asarray(t), s))
        strat = isinstance(self.solver, diffrax.AbstractStratonovichSolver)
        drift = _stratonovich_drift if strat else _ito_drift
        r = model.n_noise
        area = dw[r:] / jnp.sqrt(jnp.asarray(12.0, dw.dtype)) if self._needs_area else None
        return diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, s, args: drift(model, jnp.asarray(t), s)), _Noise(model, dt, dw[:r], area)
        )

    def invertible(self, model: AbstractSDE) -> bool:
        """Only Euler's step is known to be."""
        return isinstance(self.solver, diffrax.Euler)

    def check(self, model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> None:
        """Refuse a solver of ordinary equations for noise, and one for additive noise where it is not."""
        if model.n_noise == 0:
            return
        name = type(self.solver).__name__
        if not isinstance(self.solver, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver):
            raise ValueError(
                f"`solver` is {name}, which solves ordinary differential equations, and {type(model).__name__} has "
                f"{model.n_noise} Brownian motions. Use `diffrax.SPaRK()` or `diffrax.ItoMilstein()`, for additive "
                "noise `diffrax.SRA1()`."
            )
        additive = isinstance(self.solver, diffrax.AbstractSRK) and self.solver.tableau.is_additive_noise()
        slope = jax.jacfwd(lambda s: model.diffusion(t, s))(s)
        if additive and bool(jnp.any(slope != 0)):
            raise ValueError(
                f"`solver` is {name}, which is for additive noise, and the diffusion of {type(model).__name__} depends "
                "on the state. Use `diffrax.SPaRK()` or `diffrax.ItoMilstein()`."
            )


def _ito_drift(model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
    return model.drift(t, s)


def _stratonovich_drift(model: AbstractSDE, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
    """The drift of the Stratonovich equation that has the same solution."""
    b, tangent = jax.linearize(lambda state: model.diffusion(t, state), s)
    correction = jax.vmap(tangent)(b.T)  # axes: along b_j, state, column
    return model.drift(t, s) - 0.5 * jnp.einsum("jij->i", correction)


@final
class _Noise(diffrax.AbstractTerm):
    """`b(t, S) dW` over one step, on which the increment is known; solvers ask for no other interval."""

    model: AbstractSDE
    dt: Float[Array, ""]
    dw: Float[Array, " r"]
    area: Float[Array, " r"] | None

    def vf(self, t, y, args):
        """The diffusion."""
        return self.model.diffusion(jnp.asarray(t), y)

    def contr(self, t0, t1, use_levy=False, **kwargs):
        """The increment, with what else the solver needs to know of it."""
        if not use_levy:
            return self.dw
        if self.area is None:
            return diffrax.BrownianIncrement(dt=self.dt, W=self.dw)
        return diffrax.SpaceTimeLevyArea(dt=self.dt, W=self.dw, H=self.area)

    def prod(self, vf, control):
        """Matrix times increment."""
        return vf @ control
