"""What repairs a pruned network: training on the reference, second-order where the network is small."""

from typing import Protocol, final, runtime_checkable

import equinox as eqx
import jax
import optax
from jaxtyping import PRNGKeyArray

from ..reference import AbstractReferenceModel, DataSet, Samples
from ..sobolev import AbstractLoss, Silent, SobolevLoss, fit, fit_levenberg_marquardt
from ..surrogate import Surrogate
from ._tolerance import in_precision_of

# Beyond, rows of a table are drawn and not all taken.
_MOST_ROWS = 32768
_SAMPLES_TIMES_PARAMETERS, _FEWEST_SAMPLES = 2**17, 512


@runtime_checkable
class FineTuning(Protocol):
    """Trains a pruned network; any function of this signature will do."""

    def __call__(self, surrogate: Surrogate, reference: AbstractReferenceModel, *, key: PRNGKeyArray) -> Surrogate:
        """The trained surrogate.

        Args:
            surrogate: where to start.
            reference: what to learn from.
            key: random key of everything that the training draws.
        """
        ...


@final
class Refit(eqx.Module):
    """Levenberg–Marquardt on fixed samples for small networks, Adam on fresh ones for larger.

    The normal equations of p parameters cost p² a sample, so that a step of a small network takes milliseconds and one
    of a thousand parameters seconds. The smallest networks have poor local minima besides, so that further starts race
    with the pruned network; larger ones need none.

    Attributes:
        loss: what is minimised.
        samples: drawn for Levenberg–Marquardt, fewer for networks of more than 32 parameters, whose steps cost more; of
            a `DataSet` all rows are taken, up to 32 768.
        max_steps: of Levenberg–Marquardt.
        starts: in the race, of networks up to `race_up_to` parameters.
        race_up_to: parameters.
        second_order_up_to: parameters up to which Levenberg–Marquardt is taken.
        steps, batch_size, learning_rate: of Adam, with a cosine schedule.

    Raises:
        ValueError: a number out of range.
    """

    loss: AbstractLoss = SobolevLoss()
    samples: int = 4096
    max_steps: int = 150
    starts: int = 6
    race_up_to: int = 64
    second_order_up_to: int = 300
    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 0.005

    def __check_init__(self) -> None:
        for name in ("samples", "max_steps", "starts", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 1.")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` is {self.learning_rate}; it must be positive.")

    def __call__(self, surrogate: Surrogate, reference: AbstractReferenceModel, *, key: PRNGKeyArray) -> Surrogate:
        """The trained surrogate; see `FineTuning`."""
        sample_key, fit_key = jax.random.split(key)
        p = surrogate.network.n_parameters
        if p <= self.second_order_up_to:
            if isinstance(reference, DataSet) and reference.samples.n <= _MOST_ROWS:
                samples = reference.samples
            else:
                affordable = max(min(self.samples, _SAMPLES_TIMES_PARAMETERS // p), min(self.samples, _FEWEST_SAMPLES))
                n = _MOST_ROWS if isinstance(reference, DataSet) else affordable
                samples = _sample(reference, sample_key, n)
            return fit_levenberg_marquardt(
                surrogate,
                in_precision_of(surrogate, samples),
                self.loss,
                max_steps=self.max_steps,
                key=fit_key,
                starts=self.starts if p <= self.race_up_to else 1,
                progress=Silent(),
            ).surrogate
        return fit(
            surrogate,
            in_precision_of(surrogate, reference),
            self.loss,
            key=fit_key,
            steps=self.steps,
            batch_size=self.batch_size,
            optimizer=optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.steps)),
            progress=Silent(),
        ).surrogate


@eqx.filter_jit
def _sample(reference: AbstractReferenceModel, key: PRNGKeyArray, n: int) -> Samples:
    return reference.sample(key, n)
