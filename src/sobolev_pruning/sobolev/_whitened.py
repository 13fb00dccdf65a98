"""Generalised least squares: labels that err together are weighed together."""

from typing import final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..reference import AbstractDirections, Samples
from ..surrogate import Normalisation, Surrogate
from ._batched import Network
from ._loss import AbstractLoss


@final
class Whitened(AbstractLoss):
    """A loss whose residuals are weighted by the inverse of the covariance of their noise, `1/n Σ rᵀ Σ⁻¹ r`.

    The labels of one sample err together: one path makes the payoff and all its derivatives. Of a basket, every delta
    carries the same coin toss times the weight of its asset, so that all combinations of deltas but one are free of
    noise, which a sum of squares cannot know. Weighted by the inverse of their covariance, residuals are uncorrelated
    and of one size, and by Aitken's theorem no other linear weighting leaves less of the noise in the parameters. On
    8 192 one-path samples of the Bachelier basket it divides the unexplained variance of values by six, of deltas by
    thirty and of gammas by a hundred (`benchmarks/labels_allow.py`). Where labels have little noise the network must
    fit closely, so it has to be able to: one too small for the reference is better off with the loss as it is.

    The covariance is seldom known. What it can be learned from are the residuals of a network that has been fitted
    without it:

        first = fit_levenberg_marquardt(start, samples, loss, key=key, starts=4)
        weighed = Whitened.from_residuals(loss, first.surrogate, samples)
        second = fit_levenberg_marquardt(start, samples, weighed, key=key, starts=4, ridge=1.0)

    Attributes:
        loss: whose residuals are weighted, with its constants learned.
        factor: `Σ^(−1/2)`, symmetric, `(k, k)` for k residuals of a sample.

    References: A. Aitken, *On least squares and linear combination of observations* (1935); A. Zellner, *An efficient
    method of estimating seemingly unrelated regressions*, JASA 57 (1962), for the two steps.
    """

    loss: AbstractLoss
    factor: Float[Array, "k k"]

    @classmethod
    def from_residuals(
        cls,
        loss: AbstractLoss,
        surrogate: Surrogate,
        samples: Samples,
        *,
        key: PRNGKeyArray | None = None,
        floor: float = 1e-4,
    ) -> "Whitened":
        """Learn the covariance from the residuals of a surrogate that is nearly right.

        Args:
            loss: whose residuals are to be weighted; calibrated on the samples.
            surrogate: fitted to samples like these, and better than their noise.
            samples: in physical units; more of them than there are residuals of one.
            key: random key, of a loss that draws directions.
            floor: variances below that share of the largest are raised to it, in (0, 1]. Combinations of labels without
                any noise would otherwise count infinitely much, and the surrogate's own error there is no noise.

        Raises:
            ValueError: `floor` out of range, samples that carry weights (their labels do not share one covariance), too
                few samples, or residuals that all vanish or are not finite.
        """
        if not 0 < floor <= 1:
            raise ValueError(f"`floor` is {floor}; it must be above 0 and at most 1.")
        if samples.weights is not None:
            raise ValueError(
                "`samples` carries weights, so its labels do not share one covariance; use the loss as it is, which "
                "takes the weights into account."
            )
        batch = surrogate.normalisation.normalise(samples)
        loss = loss.calibrate(batch)
        residuals = np.asarray(loss.residuals(surrogate.network, batch, key=key), np.float64)
        n, k = residuals.shape
        if n <= k:
            raise ValueError(f"{n} samples with {k} residuals each say nothing of their covariance; give more samples.")
        if not np.all(np.isfinite(residuals)):
            row = int(np.argmin(np.all(np.isfinite(residuals), axis=1)))
            raise ValueError(f"the residual of sample {row} is not finite; remove that sample, or fit the surrogate.")
        variances, axes = np.linalg.eigh(residuals.T @ residuals / n)
        if not variances[-1] > 0:
            raise ValueError("all residuals vanish: these labels have no noise, and the loss needs no weighting.")
        raised = np.maximum(variances, floor * variances[-1])
        return cls(loss, jnp.asarray((axes / np.sqrt(raised)) @ axes.T, samples.y.dtype))

    def calibrate(self, samples: Samples) -> "Whitened":
        """Itself: its weighting belongs to the constants that it was learned with."""
        return self

    def directions(self, units: Normalisation) -> AbstractDirections | None:
        """Those of the loss."""
        return self.loss.directions(units)

    def residuals(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, "n k"]:
        """Uncorrelated residuals of unit variance, `(n, k)`."""
        return self.loss.residuals(network, samples, key=key) @ self.factor

    def __call__(self, network: Network, samples: Samples, *, key: PRNGKeyArray | None = None) -> Float[Array, ""]:
        """Their mean squared norm: k, where a network errs by the noise alone."""
        return jnp.mean(jnp.sum(self.residuals(network, samples, key=key) ** 2, axis=1))
