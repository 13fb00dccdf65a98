"""A call on a basket of correlated assets under Bachelier's model: the published case study.

Between two dates the spots move by correlated Brownian motion, `dS = diag(volatilities) L dW` with `L Lᵀ` the
correlation matrix, so that the basket `B = w·S` is itself a Brownian motion with volatility
`sqrt(wᵀ diag(v) C diag(v) w)`. The surrogate learns the price at the exposure date T₁ of the payoff `max(B − K, 0)` at
the maturity T₂, as a function of the d spots at T₁.

References: B. Huge, A. Savine, *Differential Machine Learning* (2020), the basket of the numerical results;
N. Kichler, S. Afghan, U. Naumann, *Towards Sobolev Pruning*, PASC '24, doi 10.1145/3659914.3659915, the case study.
"""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import stats
from jaxtyping import Array, Float, PRNGKeyArray

from .._directions import AbstractDirections
from .._reference_model import AbstractReferenceWithTruth
from .._samples import Samples
from ._correlated import random_correlation
from ._payoff import call
from ._spots import ModelLaw, SpotLaw


@final
class BachelierBasket(AbstractReferenceWithTruth):
    """A European call on a basket of d correlated assets, labelled path by path.

    The correlation matrix, the weights and the volatilities belong to the model: they are drawn once (`random`) or
    given, and never change between calls of `sample`.

    Attributes:
        weights: shares of the assets in the basket, `(d,)`; they sum to one.
        correlation: correlation matrix of the Brownian motions, `(d, d)`.
        volatilities: normal volatilities of the assets, `(d,)`, in spot units per square root of a year.
        basket_volatility: that of the basket, in the same units.
        strike: K, in units of the spot.
        exposure_date, maturity_date: T₁ < T₂, in years.
        spot_volatility_multiplier: the spots are spread as if the volatilities up to T₁ were this much larger, so that
            the surrogate sees the wings.
        spot_law: where `sample` draws the spots; the model's own law by default.
        n_paths: paths from T₁ to T₂ that are averaged into one label.
        antithetic: whether every path is averaged with its mirror image, which halves no path's cost but most of its
            noise where the payoff is linear.

    `dataclasses.replace(basket, n_paths=16)` gives the same model, sampled in another way.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    weights: Float[Array, " d"]
    correlation: Float[Array, "d d"]
    volatilities: Float[Array, " d"]
    basket_volatility: float
    strike: float
    exposure_date: float
    maturity_date: float
    spot_volatility_multiplier: float
    spot_law: SpotLaw
    n_paths: int = eqx.field(static=True)
    antithetic: bool = eqx.field(static=True)

    def __init__(
        self,
        weights: Float[Array, " d"] | Float[np.ndarray, " d"],
        correlation: Float[Array, "d d"] | Float[np.ndarray, "d d"],
        volatilities: Float[Array, " d"] | Float[np.ndarray, " d"],
        *,
        basket_volatility: float = 0.2,
        strike: float = 1.1,
        exposure_date: float = 1.0,
        maturity_date: float = 2.0,
        spot_volatility_multiplier: float = 1.5,
        spot_law: SpotLaw | None = None,
        n_paths: int = 1,
        antithetic: bool = True,
    ) -> None:
        """Normalise the weights to sum to one and the volatilities to the basket's.

        Args:
            weights: shares of the assets, `(d,)`, not negative; scaled to sum to one.
            correlation: correlation matrix of the d Brownian motions, symmetric positive definite, ones on its
                diagonal.
            volatilities: relative sizes of the assets' normal volatilities, `(d,)`, positive; all are scaled by one
                factor, so that the basket's is `basket_volatility`.
            basket_volatility: normal volatility of the basket, in spot units per square root of a year.
            strike: K, in units of the spot.
            exposure_date: T₁ in years, when the surrogate is asked.
            maturity_date: T₂ in years, when the payoff is paid.
            spot_volatility_multiplier: widens the law of the spots at T₁.
            spot_law: law of the sampled spots, `ModelLaw()` if not given.
            n_paths: paths averaged into one label; each counts twice if `antithetic`.
            antithetic: average every path with its mirror image.
        """
        # Host side and in double precision: this happens once, and the checks need concrete numbers.
        w = np.asarray(weights, np.float64)
        c = np.asarray(correlation, np.float64)
        v = np.asarray(volatilities, np.float64)
        if w.ndim != 1 or w.size == 0:
            raise ValueError(f"`weights` has shape {w.shape}; give one number for each asset.")
        (d,) = w.shape
        if not (np.all(np.isfinite(w)) and np.all(w >= 0) and w.sum() > 0):
            raise ValueError(f"`weights` is {w.tolist()}; weights must be finite, not negative and not all zero.")
        if c.shape != (d, d):
            raise ValueError(f"`correlation` has shape {c.shape}; {d} weights ask for ({d}, {d}).")
        if not (np.allclose(c, c.T, atol=1e-6) and np.allclose(np.diag(c), 1.0, atol=1e-6)):
            raise ValueError(
                "`correlation` must be symmetric with ones on its diagonal; divide a covariance matrix by the "
                "deviations on both sides."
            )
        if v.shape != (d,) or not (np.all(np.isfinite(v)) and np.all(v > 0)):
            raise ValueError(f"`volatilities` is {v.tolist()}; give {d} finite, positive numbers, one for each asset.")
        for name, value in (
            ("basket_volatility", basket_volatility),
            ("exposure_date", exposure_date),
            ("spot_volatility_multiplier", spot_volatility_multiplier),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` is {value}; it must be finite and positive.")
        if not math.isfinite(strike):
            raise ValueError(f"`strike` is {strike}; it must be finite.")
        if not (math.isfinite(maturity_date) and maturity_date > exposure_date):
            raise ValueError(
                f"`maturity_date` is {maturity_date}; it must be finite and later than the exposure date "
                f"{exposure_date}."
            )
        if not isinstance(n_paths, int) or n_paths < 1:
            raise ValueError(f"`n_paths` is {n_paths}; give a whole number, at least 1.")
        try:
            factor = v[:, None] * np.linalg.cholesky(c)
        except np.linalg.LinAlgError:
            raise ValueError(
                "`correlation` is not positive definite, so it is no correlation matrix of distinct assets."
            ) from None
        w = w / w.sum()
        scale = basket_volatility / np.linalg.norm(w @ factor)
        self.weights = jnp.asarray(w, dtype=float)
        self.correlation = jnp.asarray(c, dtype=float)
        self.volatilities = jnp.asarray(scale * v, dtype=float)
        self.basket_volatility = float(basket_volatility)
        self.strike = float(strike)
        self.exposure_date = float(exposure_date)
        self.maturity_date = float(maturity_date)
        self.spot_volatility_multiplier = float(spot_volatility_multiplier)
        self.spot_law = ModelLaw() if spot_law is None else spot_law
        self.n_paths = n_paths
        self.antithetic = antithetic

    @classmethod
    def random(cls, key: PRNGKeyArray, dim: int = 7, **options) -> "BachelierBasket":
        """Draw weights, correlations and volatilities once, as in the published case study.

        Weights are uniform in [1, 10] and volatilities in [5, 50] before they are normalised; the correlation matrix
        is that of `A Aᵀ` with `A` of shape `(d, 2d)` and entries uniform in [-1, 1].

        Args:
            key: random key.
            dim: number of assets d.
            **options: keyword arguments of the constructor.
        """
        if dim < 1:
            raise ValueError(f"`dim` is {dim}; a basket needs at least one asset.")
        weight_key, correlation_key, volatility_key = jax.random.split(key, 3)
        weights = jax.random.uniform(weight_key, (dim,), minval=1.0, maxval=10.0)
        volatilities = jax.random.uniform(volatility_key, (dim,), minval=5.0, maxval=50.0)
        return cls(weights, random_correlation(correlation_key, dim), volatilities, **options)

    @property
    def dim_in(self) -> int:
        """Number of assets, d."""
        return self.weights.shape[0]

    @property
    def dim_out(self) -> int:
        """One price."""
        return 1

    @property
    def initial_spots(self) -> Float[Array, " d"]:
        """Spots today, `(d,)`: one each, so that prices are in units of today's basket."""
        return jnp.ones_like(self.weights)

    @property
    def factor(self) -> Float[Array, "d d"]:
        """`diag(volatilities) @ cholesky(correlation)`, `(d, d)`: spot moves per square root of a year."""
        return self.volatilities[:, None] * jnp.linalg.cholesky(self.correlation)

    def spots(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Draw `n` spots at the exposure date from `spot_law`."""
        scale = self.spot_volatility_multiplier * math.sqrt(self.exposure_date)
        return self.spot_law.draw(key, n, self.initial_spots, scale * self.factor)

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Spots, one-path payoffs `(n, 1)` and pathwise deltas `(n, 1, d)`.

        Given the spots, a payoff is an unbiased estimate of the price. The payoff is Lipschitz and differentiable
        almost everywhere, so its pathwise derivative, taken by AD, is an unbiased estimate of the delta (P. Glasserman,
        *Monte Carlo Methods in Financial Engineering*, section 7.2.2). Its second derivative is zero almost everywhere
        and would be no estimate of the gamma; none is given.

        Raises:
            ValueError: second derivatives are asked for.
        """
        if directions is not None:
            raise ValueError(
                "pathwise second derivatives of the payoff `max(B − K, 0)` are zero almost everywhere and no estimate "
                "of the gamma; train on values and gradients."
            )
        spot_key, path_key = jax.random.split(key)
        return self.label(path_key, self.spots(spot_key, n))

    def label(self, key: PRNGKeyArray, x: Float[Array, "n d"]) -> Samples:
        """One-path payoffs `(n, 1)` and pathwise deltas `(n, 1, d)` at given spots; see `sample`."""
        z = jax.random.normal(key, (x.shape[0], self.n_paths), x.dtype)
        y, dydx = jax.vmap(jax.value_and_grad(self._payoff))(x, z)
        return Samples(x, y[:, None], dydx[:, None, :])

    def _payoff(self, x: Float[Array, " d"], z: Float[Array, " n_paths"]) -> Float[Array, ""]:
        """Payoff at maturity, averaged over the paths that the normals `z` drive from the spots `x`.

        The payoff sees the assets only through the basket, and the correlated moves of the assets add up to a normal
        move of the basket. Drawing that one is the same law at a d-th of the cost.
        """
        moves = self._deviation * z
        if self.antithetic:
            moves = jnp.concatenate([moves, -moves])
        return jnp.mean(call(x @ self.weights + moves, self.strike))

    @property
    def _deviation(self) -> Float[Array, ""]:
        """Standard deviation of the basket's move over [T₁, T₂]."""
        return jnp.linalg.norm(self.weights @ self.factor) * math.sqrt(self.maturity_date - self.exposure_date)

    def truth(self, x: Float[Array, "n d"]) -> Samples:
        """Closed-form price, deltas and Hessian at the spots `x` (Bachelier's formula for the basket).

        With `s` the deviation of the basket over [T₁, T₂] and `u = (w·x − K) / s`: price `s (u Φ(u) + φ(u))`, deltas
        `Φ(u) w`, Hessian `φ(u) / s · w wᵀ`.
        """
        # That of the basket is known without its assets, so that enclosures of this formula know it, too.
        s = self.basket_volatility * math.sqrt(self.maturity_date - self.exposure_date)
        u = (x @ self.weights - self.strike) / s
        cdf, pdf = stats.norm.cdf(u), stats.norm.pdf(u)
        w = self.weights
        return Samples(
            x,
            (s * (u * cdf + pdf))[:, None],
            (cdf[:, None] * w[None])[:, None, :],
            (pdf / s)[:, None, None, None] * (w[:, None] * w[None])[None, None],
        )

    def paths(
        self, key: PRNGKeyArray, n: int, n_steps: int
    ) -> tuple[Float[Array, " n_times"], Float[Array, "n n_times d"]]:
        """Whole paths of the spots from today to maturity, for pictures.

        Up to the exposure date they carry the widened volatility of the spots. Brownian increments are exact at any
        step.

        Args:
            key: random key.
            n: number of paths.
            n_steps: steps in each of the two periods.

        Returns:
            Times in years, `(2 n_steps + 1,)`, and spots, `(n, 2 n_steps + 1, d)`.
        """
        t1, t2 = self.exposure_date, self.maturity_date
        times = jnp.concatenate([jnp.linspace(0.0, t1, n_steps + 1), jnp.linspace(t1, t2, n_steps + 1)[1:]])
        scale = jnp.sqrt(jnp.diff(times)) * jnp.where(
            jnp.arange(2 * n_steps) < n_steps, self.spot_volatility_multiplier, 1.0
        )
        z = jax.random.normal(key, (n, 2 * n_steps, self.dim_in))
        moves = jnp.cumsum(scale[None, :, None] * (z @ self.factor.T), axis=1)
        start = jnp.broadcast_to(self.initial_spots, (n, 1, self.dim_in))
        return times, jnp.concatenate([start, start + moves], axis=1)
