"""When to give a network up, and how to draw another one."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import fdtrc

from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Normalisation, Surrogate
from ._loss import AbstractLoss
from ._steps import draw_batch

_SAMPLES = 1024
_MOST_BATCHES = 16
# One false alarm in a million outputs that do not depend on the inputs.
_LEVEL = 1e-6
_COLLAPSED = 1e-3


def redrawn(surrogate: Surrogate, key: PRNGKeyArray) -> Surrogate:
    """The same surrogate with new random parameters: same widths, activation, precision and normalisation.

    Args:
        surrogate: whose parameters are replaced.
        key: random key of the new ones.
    """
    old = surrogate.network
    new = MLP.create(old.widths, activation=old.activation, key=key)
    dtype = old.layers[0].weight.dtype
    new = jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, new)
    return Surrogate(new, surrogate.normalisation, surrogate.provenance)


@final
class Vitality(eqx.Module):
    """Labels that a network can be held against, to see whether it has collapsed to a constant.

    The labels of one path are mostly noise, so that the variance of an output is to be compared not with that of the
    labels but with the part of it that the inputs explain. A bound of that part from below needs no knowledge of the
    model: what a least-squares fit of a constant, every input and every input squared explains. (To project labels on
    functions of the inputs is to project their conditional expectation, and a projection shrinks the variance.) A
    network with less than a thousandth of that bound has learned at most `2 √0.001`, 6 %, of what the inputs explain,
    by the Cauchy–Schwarz inequality, and counts as collapsed.

    That the labels depend on the inputs at all is told by the F-test of that fit at the level 1e-6; where it finds
    nothing, a constant may be all there is to learn, and nothing is said. Models that are orthogonal to every line and
    parabola, as `x₁ x₂` on a symmetric law, are among those: the test has no false alarms there, and no power.

    Attributes:
        x: distinct inputs, normalised, `(n, d)`.
        explained: variance of each output that they explain, `(m,)`; zero where the test finds none.
    """

    x: Float[np.ndarray, "n d"]
    explained: Float[np.ndarray, " m"]

    @classmethod
    def of(
        cls,
        reference: AbstractReferenceModel,
        loss: AbstractLoss,
        units: Normalisation,
        key: PRNGKeyArray,
        batch_size: int,
    ) -> "Vitality":
        """Draw about a thousand samples in batches of the training, whose compiled form is there already."""
        n_batches = min(-(-_SAMPLES // batch_size), _MOST_BATCHES)
        batches = [draw_batch(reference, loss, units, k, batch_size) for k in jax.random.split(key, n_batches)]
        return cls.of_samples(jax.tree.map(lambda *parts: np.concatenate(parts), *batches))

    @classmethod
    def of_samples(cls, samples: Samples) -> "Vitality":
        """From normalised samples; rows that come again, as those of a small data set do, count once."""
        _, rows = np.unique(np.asarray(samples.x), axis=0, return_index=True)
        x, y = np.asarray(samples.x)[rows], np.asarray(samples.y, np.float64)[rows]
        known = np.isfinite(y)
        if samples.weights is not None and samples.weights.y is not None:
            known &= np.asarray(samples.weights.y)[rows] > 0
        known &= np.all(np.isfinite(x), axis=1)[:, None]
        columns = zip(known.T, y.T, strict=True)
        return cls(x, np.array([_explained(x[k].astype(np.float64), labels[k]) for k, labels in columns]))

    def is_collapsed(self, network: MLP) -> bool:
        """Whether an output varies far less than the inputs explain of its labels."""
        y = np.asarray(_values(network, jnp.asarray(self.x)), np.float64)
        return bool(np.any(np.var(y, axis=0) < _COLLAPSED * self.explained))


def _explained(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]) -> float:
    """Variance of `y` that lines, and parabolas where there are samples for them, explain; zero if no test shows it."""
    n, d = x.shape
    features = np.concatenate([x, x**2], axis=1) if n > 8 * d else x
    if n <= 2 * features.shape[1] + 2 or np.ptp(y) == 0:
        return 0.0
    centred = features - features.mean(axis=0)
    coefficients, _, rank, _ = np.linalg.lstsq(centred, y - y.mean(), rcond=1e-10)
    residual, total = np.mean((y - y.mean() - centred @ coefficients) ** 2), np.var(y)
    freedom = n - int(rank) - 1
    if rank == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        statistic = ((total - residual) / rank) / (residual / freedom)
    if fdtrc(rank, freedom, statistic) > _LEVEL:
        return 0.0
    # Less what as many useless functions would explain.
    return float(max(total - residual * (n - 1) / freedom, 0.0))


@eqx.filter_jit
def _values(network: MLP, x: Float[Array, "n d"]) -> Float[Array, "n m"]:
    return jax.vmap(network)(x)
