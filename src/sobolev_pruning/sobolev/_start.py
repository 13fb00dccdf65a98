"""Where a fit starts when only a network is given."""

import equinox as eqx
from jaxtyping import PRNGKeyArray

from ..reference import AbstractReferenceModel, Samples
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


@eqx.filter_jit
def _sample(reference: AbstractReferenceModel, key: PRNGKeyArray) -> Samples:
    return reference.sample(key, _N_SAMPLES)
