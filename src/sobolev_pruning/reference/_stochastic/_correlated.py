"""A basket of correlated assets, made of models of one asset each."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Scalar
from ._sde import AbstractSDE


def random_correlation(key: PRNGKeyArray, dim: int) -> Float[np.ndarray, "d d"]:
    """A correlation matrix to be drawn once and then frozen: that of `A Aᵀ`, A of shape `(d, 2d)` uniform in [-1, 1].

    Args:
        key: random key.
        dim: number of assets d.

    Raises:
        ValueError: there is no asset.
    """
    if dim < 1:
        raise ValueError(f"`dim` is {dim}; a basket needs at least one asset.")
    # On the host and in double precision, so that the matrix is one to the last digit wherever it is used.
    a = np.asarray(jax.random.uniform(key, (dim, 2 * dim), minval=-1.0, maxval=1.0), np.float64)
    covariance = a @ a.T
    deviations = np.sqrt(np.diag(covariance))
    return covariance / deviations[:, None] / deviations[None, :]


@final
class CorrelatedAssets(AbstractSDE):
    """d assets, each with a model of its own kind of parameters, whose prices' Brownian motions are correlated.

    The models are of one class and have one state vector each; the state of all is these one after another. The first
    Brownian motion of a model drives its price and is correlated with those of the others; further ones (that of
    Heston's variance) stay independent of the other assets, but for what the model itself takes from its price's.

    Attributes:
        models: the d models in one, with a leading axis on every parameter.
        factor: lower triangular, `factor factorᵀ` the correlation matrix, `(d, d)`.

    Raises:
        ValueError: the correlation is no correlation matrix of as many assets, or the models are of several classes.
    """

    models: AbstractSDE
    factor: Float[Array, "d d"]

    def __init__(
        self, models: Sequence[AbstractSDE], correlation: Float[Array, "d d"] | Float[np.ndarray, "d d"]
    ) -> None:
        """Stack the models and factorise the matrix.

        Args:
            models: one for each asset, all of one class.
            correlation: of the Brownian motions of the prices, symmetric positive definite, ones on its diagonal.
        """
        d = len(models)
        if d == 0 or len({jax.tree.structure(model) for model in models}) != 1:
            raise ValueError(
                f"`models` holds {sorted({type(model).__name__ for model in models})}; give at least one, and models "
                "of one class and one scheme, all with a rate of their own or all without."
            )
        if correlation.shape != (d, d):
            raise ValueError(f"`correlation` has shape {correlation.shape}; {d} models ask for ({d}, {d}).")
        if not isinstance(correlation, Tracer):
            c = np.asarray(correlation)
            if not (np.allclose(c, c.T, atol=1e-6) and np.allclose(np.diag(c), 1.0, atol=1e-6)):
                raise ValueError("`correlation` must be symmetric with ones on its diagonal.")
            if not np.linalg.eigvalsh(c)[0] > 0:
                raise ValueError("`correlation` is not positive definite, so it is no correlation of distinct assets.")
        correlation = jnp.asarray(correlation)

        def stacked(*leaves: Scalar) -> Float[Array, " d"]:
            return jnp.stack([jnp.asarray(leaf, correlation.dtype) for leaf in leaves])

        self.models = jax.tree.map(stacked, *models)
        self.factor = jnp.linalg.cholesky(correlation)

    @property
    def n_assets(self) -> int:
        """d."""
        return self.factor.shape[0]

    @property
    def n_noise(self) -> int:
        """That of all models together."""
        return self.n_assets * self.models.n_noise

    def _split(self, s: Float[Array, " q"]) -> Float[Array, "d q_one"]:
        return s.reshape(self.n_assets, -1)

    def _correlated(self, dw: Float[Array, " r"]) -> Float[Array, "d r_one"]:
        """Increments of every model, from independent ones."""
        own = dw.reshape(self.n_assets, -1)
        return own.at[:, 0].set(self.factor @ own[:, 0])

    def drift(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " q"]:
        """Of every asset."""
        return eqx.filter_vmap(lambda model, s: model.drift(t, s))(self.models, self._split(s)).reshape(-1)

    def diffusion(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, "q r"]:
        """Of every asset, times the correlated increments as a function of the independent ones."""
        d = self.n_assets
        own = eqx.filter_vmap(lambda model, s: model.diffusion(t, s))(self.models, self._split(s))
        eye = jnp.eye(d, dtype=s.dtype)
        # Axes: asset, its state, asset of the increment, its number.
        first = own[:, :, None, :1] * self.factor[:, None, :, None]
        others = own[:, :, None, 1:] * eye[:, None, :, None]
        return jnp.concatenate([first, others], -1).reshape(s.shape[0], self.n_noise)

    def step(self, t: Scalar, dt: Scalar, s: Float[Array, " q"], dw: Float[Array, " r"]) -> Float[Array, " q"]:
        """The own step of every asset."""
        moved = eqx.filter_vmap(lambda model, s, dw: model.step(t, dt, s, dw))(
            self.models, self._split(s), self._correlated(dw)
        )
        return moved.reshape(-1)

    @property
    def diffusion_vanishes(self) -> bool:
        """As of one asset."""
        return self.models.diffusion_vanishes

    @property
    def step_is_invertible(self) -> bool:
        """If that of every asset is."""
        return self.models.step_is_invertible

    def observe(self, t: Scalar, s: Float[Array, " q"]) -> Float[Array, " a"]:
        """The prices of all."""
        return eqx.filter_vmap(lambda model, s: model.observe(t, s))(self.models, self._split(s)).reshape(-1)

    @property
    def own_rate(self) -> Scalar | Float[Array, " d"] | None:
        """Those of all assets, `(d,)`, if they were given."""
        return self.models.own_rate

    def at_rate(self, rate: Scalar) -> "CorrelatedAssets":
        """The assets at one rate."""
        rate = jnp.asarray(rate, self.factor.dtype)
        return eqx.tree_at(
            lambda assets: assets.models, self, eqx.filter_vmap(lambda model: model.at_rate(rate))(self.models)
        )
