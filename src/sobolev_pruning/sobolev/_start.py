"""Where a fit starts when only a network is given."""

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from ..reference import AbstractReferenceModel, DataSet, MappedDataSet, RowSplit, Samples
from ..surrogate import MLP, Normalisation, Surrogate, check_network
from ._not_finite import check_samples

# Means and deviations are then known to about a hundredth of a deviation.
_N_SAMPLES = 16384


def as_surrogate(network: MLP | Surrogate, reference: AbstractReferenceModel | Samples, key: PRNGKeyArray) -> Surrogate:
    """The network with units learned from samples; a surrogate has its own already and comes back as it is.

    Args:
        network: what will be trained.
        reference: what it will learn from. Samples give their own means and deviations; of a model, 16 384 are drawn.
        key: random key of those samples.

    Raises:
        TypeError: `network` or `reference` is something else.
        ValueError: the samples are too few, or of other dimensions than the network.
        NotFiniteError: an input or a value among them is NaN or infinite.
    """
    if isinstance(network, Surrogate):
        return network
    check_network(network)
    if isinstance(reference, AbstractReferenceModel):
        samples = _sample(reference, key)
        check_samples(samples, "samples drawn to learn units", ("inputs", "values"))
    elif isinstance(reference, Samples):
        samples = reference
    else:
        raise TypeError(f"`reference` is {type(reference).__name__}; it must be a reference model or `Samples`.")
    return Surrogate(network, Normalisation.from_samples(samples))


def without_false_split(surrogate: Surrogate, reference: AbstractReferenceModel | Samples) -> Surrogate:
    """The surrogate without a stored division of rows (`RowSplit`) that training on these samples would make untrue.

    The division says which rows were not trained on; `prune` and `shrink` would judge by them. Models that draw fresh
    samples leave it as it is.
    """
    stored = dict(surrogate.provenance).get("split")
    samples = reference.samples if isinstance(reference, DataSet) else reference
    if stored is None or not isinstance(samples, Samples | MappedDataSet):
        return surrogate
    if isinstance(samples, Samples):
        try:
            rows = RowSplit.from_text(stored)
        except ValueError:
            return surrogate  # it is damaged, as will be said where it is used
        x = np.asarray(samples.x)
        # What single precision cannot tell apart is recognised by nobody.
        if (rows.double and x.dtype != np.float64) or not rows.held_out(x).any():
            return surrogate
    left = tuple((name, fact) for name, fact in surrogate.provenance if name != "split")
    return Surrogate(surrogate.network, surrogate.normalisation, left)


@eqx.filter_jit
def _sample(reference: AbstractReferenceModel, key: PRNGKeyArray) -> Samples:
    return reference.sample(key, _N_SAMPLES)
