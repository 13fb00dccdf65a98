"""Criteria by the derivative of a loss: how it changes to first order if something is switched off.

A gate α = 1 on node n multiplies all that leaves it, so that `∂L/∂α = Σ_i w_in ∂L/∂w_in` over its outgoing weights.
This is the product of activation and adjoint where the loss looks at values alone, and holds for a loss that looks at
derivatives of the network as well.
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...reference import Samples
from ...sobolev import AbstractLoss
from ...surrogate import MLP, Surrogate
from .._significance import Significance
from ._criterion import AbstractCriterion


@final
class Saliency(AbstractCriterion):
    """`|∂L/∂α|` of a gate on every node, and `|∂L/∂w · w|` of every weight, of the loss over all samples.

    Contributions of samples may cancel: at a minimum of the loss over the same samples all scores are near zero. Inputs
    are gated in normalised units, that is, towards their means.

    Attributes:
        samples: with the labels that the loss asks for, in physical units.
        loss: such as `SobolevLoss()`; its constants are learned from the samples.

    Raises:
        ValueError: no samples; when called, samples of another number of inputs or outputs, or without the labels
            that the loss asks for.

    References: M. Mozer, P. Smolensky, *Skeletonization*, NIPS 1988, for nodes, with the loss itself in place of a sum
    of absolute errors; N. Lee, T. Ajanthan, P. Torr, *SNIP*, ICLR 2019, for weights.
    """

    samples: Samples
    loss: AbstractLoss

    def __check_init__(self) -> None:
        _check(self)

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores in one row."""
        return _as_significance(_terms(surrogate, *_prepared(self, surrogate), per_sample=False)[0])

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Scores of every weight."""
        return _terms(surrogate, *_prepared(self, surrogate), per_sample=False)[1]


@final
class Taylor(AbstractCriterion):
    """The same first-order terms, sample by sample: means of absolute values over the samples.

    Contributions of samples cannot cancel, so that the score means something at a minimum of the loss as well.

    Attributes:
        samples: with the labels that the loss asks for, in physical units.
        loss: such as `SobolevLoss()`; its constants are learned from all samples.

    Raises:
        ValueError: as `Saliency`.

    References: P. Molchanov et al., *Pruning Convolutional Neural Networks for Resource Efficient Inference*, ICLR
    2017, for nodes; P. Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019, for weights,
    with absolute values in place of squares.
    """

    samples: Samples
    loss: AbstractLoss

    def __check_init__(self) -> None:
        _check(self)

    def nodes(self, surrogate: Surrogate) -> Significance:
        """Scores in one row."""
        return _as_significance(_terms(surrogate, *_prepared(self, surrogate), per_sample=True)[0])

    def weights(self, surrogate: Surrogate) -> tuple[Float[Array, "_ _"], ...]:
        """Scores of every weight."""
        return _terms(surrogate, *_prepared(self, surrogate), per_sample=True)[1]


def _check(criterion: Saliency | Taylor) -> None:
    name = type(criterion).__name__
    if not isinstance(criterion.samples, Samples):
        raise TypeError(f"`samples` is {type(criterion.samples).__name__}; `{name}` needs data with labels: `Samples`.")
    if criterion.samples.n == 0:
        raise ValueError(f"`samples` holds none; `{name}` needs data.")
    if not isinstance(criterion.loss, AbstractLoss):
        raise TypeError(f"`loss` is {type(criterion.loss).__name__}; `{name}` needs a loss, such as `SobolevLoss()`.")


def _prepared(criterion: Saliency | Taylor, surrogate: Surrogate) -> tuple[Samples, AbstractLoss]:
    samples, widths = criterion.samples, surrogate.network.widths
    found = samples.x.shape[1], samples.y.shape[1]
    if found != (widths[0], widths[-1]):
        raise ValueError(
            f"`samples` have {found[0]} inputs and {found[1]} outputs, the surrogate {widths[0]} and {widths[-1]}."
        )
    samples = surrogate.normalisation.normalise(samples)
    return samples, criterion.loss.calibrate(samples)


@eqx.filter_jit
def _terms(surrogate: Surrogate, samples: Samples, loss: AbstractLoss, per_sample: bool):
    """First-order terms of gates, one for every input and hidden node, and of weights."""

    def of_batch(samples: Samples):
        def value(network: MLP) -> Float[Array, ""]:
            return loss(network, samples)

        gradient = jax.grad(value)(surrogate.network)
        pairs = zip(surrogate.network.layers, gradient.layers, strict=True)
        terms = [layer.weight * slope.weight for layer, slope in pairs]
        return [jnp.abs(jnp.sum(t, axis=0)) for t in terms], tuple(jnp.abs(t) for t in terms)

    if not per_sample:
        return of_batch(samples)

    # One at a time, since an array of all samples and all weights may not fit.
    def step(total, row: Samples):
        found = of_batch(jax.tree.map(lambda part: part[None], row))
        return jax.tree.map(jnp.add, total, found), None

    layers = surrogate.network.layers
    zero = [jnp.zeros_like(layer.weight[0]) for layer in layers], tuple(jnp.zeros_like(y.weight) for y in layers)
    total, _ = jax.lax.scan(step, zero, samples)
    return jax.tree.map(lambda part: part / samples.n, total)


def _as_significance(gates: list[Float[Array, " _"]]) -> Significance:
    inputs, *hidden = (row[None] for row in gates)
    return Significance(inputs, tuple(hidden))
