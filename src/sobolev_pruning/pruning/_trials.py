"""Prune, repair, judge: what schedules and the search do again and again."""

import dataclasses
import math
from dataclasses import dataclass
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..reference import (
    AbstractDirections,
    AbstractReferenceModel,
    AbstractReferenceWithTruth,
    DataSet,
    Samples,
)
from ..regions import TrustRegions
from ..sobolev import DivergedError, NotFiniteError, SobolevLoss, ValueLoss, check_samples, redrawn
from ..surrogate import MLP, Normalisation, Surrogate
from ..surrogate import check_surrogate as check_kind
from ._criteria import AbstractCriterion, IntervalSignificance
from ._fine_tuning import FineTuning, Refit
from ._ranking import Ranking, rank_distinct
from ._rows import JudgingRows, halved, rows_apart
from ._significance import Significance
from ._tolerance import SurrogateErrors, Tolerance, in_precision_of, worst_columns
from ._traces import check_surrogate

_N_UNITS = 16384
_N_REFIT = 1024
_N_REGIONS = 32
# A repair goes on while each round takes a third off the excess over the tolerance.
_ROUNDS, _WORTHWHILE = 3, 0.7
_BEGINS_ANEW_UP_TO = 100
# Largest errors of values are looked for among so many times as many samples as other errors, and far out.
_WIDE = 32
# The outermost samples, of so many; one sample in eight of the training is one of them.
_N_OUTER, _N_OUTER_OF, _OUTER_SHARE = 1024, 2**19, 8


@final
@dataclass(frozen=True)
class Candidate:
    """A surrogate and how wrong it is.

    Attributes:
        surrogate: after its fine-tuning.
        errors: on held-out samples.
        within: whether they are within the tolerance.
    """

    surrogate: Surrogate
    errors: SurrogateErrors
    within: bool

    @property
    def widths(self) -> list[int]:
        """Nodes of every layer, inputs and outputs included."""
        return self.surrogate.network.widths

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self.surrogate.network.n_parameters


@final
class _Exact(AbstractReferenceModel):
    """A reference whose samples are labelled with its truth, a part of them far out.

    Random samples of many inputs hardly reach the wings of a law, and a network of two layers can be right on all of
    them and wrong beyond: on the Bachelier basket one of 21 parameters erred by 10⁻⁴ on 4096 samples and by 0.06 on
    100 000.

    Attributes:
        model: the reference.
        outer: inputs that are farthest from the mean, `(k, d)`; an eighth of the samples are among them. None for none.
    """

    model: AbstractReferenceWithTruth
    outer: Float[Array, "k d"] | None = None

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self.model.dim_in

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.model.dim_out

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Inputs of the model, with exact labels; whole Hessians, whatever is asked for."""
        x = self.model.sample(key, n).x
        if self.outer is not None and n >= _OUTER_SHARE:
            rows = jax.random.randint(jax.random.fold_in(key, 1), (n // _OUTER_SHARE,), 0, self.outer.shape[0])
            x = x.at[: n // _OUTER_SHARE].set(self.outer[rows])
        return self.model.truth(x)


@final
class Trials:
    """Training data, held-out samples and a tolerance, shared by all attempts.

    Attributes:
        original: the network that is pruned, judged.
        x: samples on which nodes are ranked and layers refitted, `(n, d)`.
        rows: samples that the attempts are judged by.
    """

    def __init__(
        self,
        network: MLP | Surrogate,
        reference: AbstractReferenceModel | Samples,
        tolerance: Tolerance | None,
        fine_tuning: FineTuning | None,
        criterion: AbstractCriterion | None,
        *,
        held_out: int | Samples,
        key: PRNGKeyArray,
    ) -> None:
        """Draw what all attempts share, and judge the original network.

        Raises:
            ValueError: the tolerance is missed by the original network already, or bounds what has no labels; too few
                held-out samples; or network and reference have other dimensions.
            NotFiniteError: samples are NaN or infinite in what is learned or judged by.
            TypeError: something is of another type.
        """
        if tolerance is not None and not isinstance(tolerance, Tolerance):
            raise TypeError(
                f"`tolerance` is {type(tolerance).__name__}; it must be `Tolerance`, such as `Tolerance(values=1e-5)`."
            )
        if criterion is not None and not isinstance(criterion, AbstractCriterion):
            raise TypeError(f"`criterion` is {type(criterion).__name__}; it must be an `AbstractCriterion`.")
        least = held_out.n if isinstance(held_out, Samples) else held_out
        if least < 2:
            raise ValueError(f"`held_out` is {least}; it must be at least 2.")
        split_key, held_key, x_key, wide_key, self._key = jax.random.split(key, 5)
        self._wide: Samples | None = None
        if isinstance(reference, Samples):
            reference = DataSet(reference)
        halves_key = jax.random.fold_in(held_key, 1)
        if isinstance(held_out, Samples):
            self.rows = halved(held_out, halves_key, "samples that were given to judge by")
        if isinstance(reference, DataSet):
            self._reference = reference
            if not isinstance(held_out, Samples):
                apart = rows_apart(network, reference, key=split_key)
                self._reference = apart.training
                said = "rows that were not trained on" if apart.unsure is None else f"rows; {apart.unsure}"
                self.rows = halved(apart.held_out, halves_key, said)
        elif isinstance(reference, AbstractReferenceModel):
            exact = isinstance(reference, AbstractReferenceWithTruth)
            self._reference = reference
            if not isinstance(held_out, Samples):
                model = _Exact(reference) if exact else reference
                choice, unseen = (_sample(model, key, held_out) for key in (held_key, halves_key))
                self.rows = JudgingRows(choice, unseen, f"{held_out} fresh samples; as many others are unseen")
            held_out = self.rows.choice.n
            if exact:
                many, train, judge = jax.random.split(wide_key, 3)
                far = [_outermost(_inputs_of(reference, k, _N_OUTER_OF)) for k in (train, judge)]
                x = jnp.concatenate([_inputs_of(reference, many, _WIDE * held_out), far[1]])
                self._wide = _values_of(reference, x)
                self._reference = _Exact(reference, far[0])
        else:
            raise TypeError(
                f"`reference` is {type(reference).__name__}; it must be a reference model or `Samples`. Wrap a "
                "function as `FunctionReference(function, inputs)`."
            )
        self._held_out = self.rows.choice
        # Units and rankings are those of the law itself.
        drawn = _sample(
            _Exact(reference) if isinstance(reference, AbstractReferenceWithTruth) else self._reference,
            x_key,
            _N_UNITS,
        )
        bounded = " ".join({} if tolerance is None else tolerance.bounds)
        needed = ["inputs", "values"] + ["gradients"] * (fine_tuning is None or "gradient" in bounded)
        needed += ["curvature"] * ("curvature" in bounded)
        judged_by = (self._held_out,) if self._wide is None else (self._held_out, self._wide)
        for samples, what in ((drawn, "samples to train on"), *((s, "samples to judge by") for s in judged_by)):
            check_samples(samples, what, tuple(needed))
        if isinstance(network, MLP):
            network = Surrogate(network, Normalisation.from_samples(drawn))
        check_kind(network, "network")
        sizes = (self._held_out.x.shape[1], self._held_out.y.shape[1])
        widths = network.network.widths
        if sizes != (widths[0], widths[-1]):
            raise ValueError(
                f"the reference maps {sizes[0]} inputs to {sizes[1]} outputs, the network {widths[0]} to {widths[-1]}."
            )
        if len(widths) < 3:
            raise ValueError(f"the network has the widths {widths}: without a hidden layer nothing can be pruned.")
        check_surrogate(network)
        # A model may draw its laws in turn, so that the first samples would be of one of them alone.
        order = jax.random.permutation(x_key, drawn.n)[:_N_REFIT]
        self.x: Float[Array, "n d"] = in_precision_of(network, drawn.x[order])
        if tolerance is not None:
            tolerance.check_labels(self._held_out)
            tolerance.warn_of_unlabelled(network, self._held_out)
        self._tolerance = tolerance
        self._criterion = criterion
        self._fine_tuning, self._for_curvature = _default(drawn) if fine_tuning is None else (fine_tuning, fine_tuning)
        self.original = self.judged(network)
        if tolerance is not None and not self.original.within:
            where = worst_columns(network, self._held_out)
            if self._wide is not None:
                where.pop("largest_value", None)  # it may be from those, which are not compared by column
            misses = tolerance.misses(self.original.errors, where)
            raise ValueError(
                f"the network misses the tolerance before anything is pruned: {misses}. Train it further, or allow "
                "more."
            )

    def start_key(self, number: int) -> PRNGKeyArray:
        """Of the network that an attempt draws, where it has none to start from."""
        return jax.random.fold_in(self._key, 2**31 + number)

    def judged(self, surrogate: Surrogate) -> Candidate:
        """A surrogate as it is, on the held-out samples."""
        errors = SurrogateErrors.of(surrogate, self._held_out)
        if self._wide is not None:
            wide = in_precision_of(surrogate, self._wide)
            largest = max(errors.largest_value or 0.0, float(_largest_difference(surrogate, wide)))
            errors = dataclasses.replace(errors, largest_value=largest)
        return Candidate(surrogate, errors, self._tolerance is None or self._tolerance.holds(errors))

    def repaired(self, surrogate: Surrogate, number: int) -> Candidate:
        """A pruned surrogate after its fine-tuning: in rounds, while they help and the tolerance is not yet met.

        The first begins with the pruned network. Small ones begin anew in the second, since they may have ended in a
        poor minimum. The others go on from the best so far.

        Args:
            surrogate: the pruned network.
            number: of the attempt; gives it a key of its own.
        """
        best: Candidate | None = None
        for k, key in enumerate(jax.random.split(jax.random.fold_in(self._key, number), _ROUNDS)):
            start_key, key = jax.random.split(key)
            start, fine_tuning = surrogate if best is None else best.surrogate, self._fine_tuning
            if best is not None and self._misses_only_curvature(best):
                fine_tuning = self._for_curvature
            elif k == 1 and surrogate.network.n_parameters <= _BEGINS_ANEW_UP_TO:
                start = redrawn(surrogate, start_key)
            try:
                found = self.judged(fine_tuning(start, self._reference, key=key))
            except NotFiniteError:
                raise  # another network would meet the same labels
            except DivergedError:
                found = Candidate(start, SurrogateErrors.failed(), False)
            helped = best is None or self._excess(found) < _WORTHWHILE * self._excess(best)
            if best is None or self._excess(found) < self._excess(best):
                best = found
            if best.within or not helped:
                break
        assert best is not None
        return best

    def _excess(self, candidate: Candidate) -> float:
        if self._tolerance is not None:
            return self._tolerance.excess(candidate.errors)
        return 0.0 if candidate.within else math.inf

    def _misses_only_curvature(self, candidate: Candidate) -> bool:
        return self._tolerance is not None and all(
            "curvature" in name for name in self._tolerance.missed(candidate.errors)
        )

    def scores(self, surrogate: Surrogate) -> Significance:
        """Of all nodes, by the criterion; by default interval significance over trust regions."""
        if self._criterion is not None:
            return self._criterion.nodes(surrogate)
        around = TrustRegions.around(self.x)
        return IntervalSignificance(TrustRegions(self.x[:_N_REGIONS], around.radius)).nodes(surrogate)

    def ranking(self, surrogate: Surrogate, scores: Significance) -> Ranking:
        """The nodes that say most, and say something new, first."""
        return rank_distinct(scores, surrogate, self.x)


def _default(samples: Samples) -> tuple[FineTuning, FineTuning]:
    """On values and gradients where both have labels; and with curvature, for networks that lack nothing else.

    Curvature costs as much again, and on labels without noise the gradients determine it: on the Bachelier basket all
    three errors of networks of 15 parameters came out smaller without it.
    """
    if samples.dydx is None and samples.vjps is None:
        return Refit(ValueLoss()), Refit(ValueLoss())
    first_order = Refit()
    return first_order, first_order if samples.d2ydx2 is None else Refit(SobolevLoss(curvature_weight=1.0))


@eqx.filter_jit
def _sample(reference: AbstractReferenceModel, key: PRNGKeyArray, n: int) -> Samples:
    return reference.sample(key, n)


@eqx.filter_jit
def _inputs_of(reference: AbstractReferenceModel, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
    # Labels that nobody asks for are not computed, under `jit`.
    return reference.sample(key, n).x


@eqx.filter_jit
def _values_of(reference: AbstractReferenceWithTruth, x: Float[Array, "n d"]) -> Samples:
    return Samples(x, reference.truth(x).y)


@eqx.filter_jit
def _largest_difference(surrogate: Surrogate, truth: Samples) -> Float[Array, ""]:
    difference = jnp.max(jnp.abs(jax.vmap(surrogate)(truth.x) - truth.y))
    return jnp.where(jnp.isfinite(difference), difference, jnp.inf)


def _outermost(x: Float[Array, "n d"]) -> Float[Array, "k d"]:
    """The inputs farthest from the mean, by the metric of their covariance."""
    centred = np.asarray(x, np.float64)
    centred = centred - centred.mean(axis=0)
    # Inputs may depend on each other, and then the covariance is singular.
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(centred, rowvar=False)), rcond=1e-10, hermitian=True)
    distance = np.einsum("ni,ij,nj->n", centred, inverse, centred)
    return x[jnp.asarray(np.argsort(distance)[-_N_OUTER:])]
