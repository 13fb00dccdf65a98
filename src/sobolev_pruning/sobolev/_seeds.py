"""Many fits at once that differ in their keys alone, so that what is claimed of one holds for others."""

import operator
from collections.abc import Iterator, Sequence
from typing import TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt32

from .._programs import limit_programs
from ..reference import AbstractReferenceModel, Samples
from ..surrogate import Surrogate, check_surrogate
from ._attempt import with_params
from ._checks import as_reference, check_clip_norm, check_dimensions, check_kinds, check_numbers
from ._course import Course
from ._fingerprint import shared
from ._fit import EVALUATION_KEY, VITALITY_KEY
from ._history import Failure, FitResult
from ._loss import AbstractLoss
from ._not_finite import Suspects
from ._progress import ProgressReporter, Silent
from ._progress import reporter as reporter_of
from ._restarts import Vitality, redrawn
from ._start import without_false_split
from ._steps import Task, Weights, draw_batch, run_chunk_of_seeds
from ._watch import Evaluation, Watch, as_metrics

_T = TypeVar("_T")


@final
class FitResults(eqx.Module):
    """One result for each seed, in the order of the keys; `len`, indices and loops as of a tuple.

    Attributes:
        results: one that failed says so in its `failure`.
    """

    results: tuple[FitResult, ...]

    def __len__(self) -> int:
        """Number of seeds."""
        return len(self.results)

    def __getitem__(self, index: int) -> FitResult:
        """That of one seed."""
        return self.results[index]

    def __iter__(self) -> Iterator[FitResult]:
        """One seed after the other."""
        return iter(self.results)

    @property
    def scores(self) -> Float[np.ndarray, " seeds"]:
        """`FitResult.score` of every seed; lower is better, infinite where a fit failed."""
        return np.array([result.score for result in self.results])

    def best(self) -> FitResult:
        """The one with the lowest score."""
        return self.results[int(np.argmin(self.scores))]

    def median(self) -> FitResult:
        """The one in the middle of the order by score; of an even number, the worse of the two there."""
        return self.results[int(np.argsort(self.scores, kind="stable")[len(self.results) // 2])]


def fit_seeds(
    surrogate: Surrogate,
    reference: AbstractReferenceModel | Samples,
    loss: AbstractLoss,
    *,
    keys: Key[Array, " seeds"] | UInt32[Array, "seeds _"],
    steps: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    steps_per_chunk: int = 250,
    clip_norm: float | None = None,
    evaluation: Evaluation | None = None,
    progress: ProgressReporter | None = None,
    title: str = "fit",
) -> FitResults:
    """Train one network for each key, all of them in one compiled program.

    A key is split in two: one for the parameters to start from, one for the batches. That of seed i is, to rounding,

        network_key, batch_key = jax.random.split(keys[i])
        fit(redrawn(surrogate, network_key), reference, loss, key=batch_key, ...)

    Args:
        surrogate: gives widths, activation and normalisation; its parameters play no part.
        reference: what to learn from.
        loss: calibrated for each seed on its own first batch.
        keys: one for each seed, such as `jax.random.split(key, 5)`.
        steps: number of updates.
        batch_size: samples a step and seed.
        optimizer: any Optax transformation, with its schedule inside.
        steps_per_chunk: updates between two looks at the progress.
        clip_norm: see `fit`.
        evaluation: see `fit`; seed by seed.
        progress: shows the mean loss of the seeds; by default a bar where standard error is a terminal, and
            nothing elsewhere or with `Silent()`.
        title: of the progress bar.

    Returns:
        One result for each key. A seed that diverges has the parameters before that step and stops alone.

    Raises:
        TypeError: see `fit`.
        ValueError: see `fit`; or there are no keys.
        NotFiniteError: labels of any seed are NaN or infinite, see `fit`.
    """
    limit_programs()
    if not hasattr(keys, "dtype"):
        raise TypeError(f"`keys` is {type(keys).__name__}; give one array of keys, such as `jax.random.split(key, 5)`.")
    check_kinds(keys, loss, optimizer)
    check_surrogate(surrogate)
    reference = as_reference(reference)
    surrogate = without_false_split(surrogate, reference)
    check_numbers(steps=steps, batch_size=batch_size, steps_per_chunk=steps_per_chunk)
    check_dimensions(surrogate, reference)
    check_clip_norm(clip_norm)
    if keys.ndim == 0 or len(keys) == 0:
        raise ValueError("`keys` holds no seed; give one key for each, such as `jax.random.split(key, 5)`.")
    optimizer = shared(optimizer, surrogate.network)
    units = surrogate.normalisation
    suspects = Suspects(reference, loss, surrogate)
    courses, batch_keys = [], []
    for key in keys:
        network_key, batch_key = jax.random.split(key)
        start = redrawn(surrogate, network_key)
        calibration_key, steps_key = jax.random.split(batch_key)
        first = draw_batch(reference, loss, units, calibration_key, batch_size)
        suspects.check_first(first, calibration_key, steps_key)
        calibrated = loss.calibrate(first)
        weights = Weights.start(start.network, optimizer)
        courses.append(Course(0, 0, weights, calibrated, steps_key, (), (), Watch(None), ()))
        batch_keys.append(batch_key)
    static = eqx.filter(surrogate.network, eqx.is_inexact_array, inverse=True)
    task = Task(reference, courses[0].loss, units, static, optimizer, batch_size, clip_norm)
    weights, losses = _stacked([course.weights for course in courses]), _stacked([course.loss for course in courses])
    step_keys = jnp.stack([jax.random.split(course.key, steps) for course in courses])

    def evaluated(course: Course, key: PRNGKeyArray) -> Course:
        if evaluation is None:
            return course
        metrics_of = as_metrics(evaluation, course.loss, jax.random.fold_in(key, EVALUATION_KEY))
        return course.watched(metrics_of(with_params(surrogate, course.weights.params, task)))

    def check_labels(course: Course, key: PRNGKeyArray) -> None:
        batch = draw_batch(reference, loss, units, key, batch_size)
        before, losses = with_params(surrogate, course.weights.params, task), course.history().losses
        suspects.check_step(batch, key, jax.random.fold_in(key, 1), course.loss, course.step, before, losses)

    courses = [evaluated(*pair) for pair in zip(courses, batch_keys, strict=True)]
    failures: list[Failure | None] = [None] * len(courses)
    reporter: ProgressReporter = Silent() if jax.process_index() > 0 else reporter_of(progress)
    reporter.start(title, steps)
    try:
        for begin in range(0, steps, steps_per_chunk):
            chunk = step_keys[:, begin : begin + steps_per_chunk]
            weights, told = run_chunk_of_seeds(weights, chunk, losses, task)
            told = jax.tree.map(np.asarray, told)
            for i in (i for i, failure in enumerate(failures) if failure is None):
                own_weights, own = jax.tree.map(operator.itemgetter(i), (weights, told))
                bad = np.flatnonzero(~own.finite)
                if bad.size:
                    failures[i] = failure = Failure(0, begin + int(bad[0]), "diverged")
                    courses[i] = courses[i].after(own_weights, jax.tree.map(operator.itemgetter(slice(bad[0])), own))
                    check_labels(courses[i], step_keys[i, failure.step])
                else:
                    courses[i] = evaluated(courses[i].after(own_weights, own), batch_keys[i])
            running = [course.losses[-1] for course, failure in zip(courses, failures, strict=True) if failure is None]
            if not running:
                break
            reporter.update(begin + len(running[0]), np.mean(running, axis=0))
    finally:
        reporter.stop()

    results = []
    for course, key, failure in zip(courses, batch_keys, failures, strict=True):
        trained = with_params(surrogate, course.params, task)
        if failure is None:
            vitality = Vitality.of(reference, loss, units, jax.random.fold_in(key, VITALITY_KEY), batch_size)
            if vitality.is_collapsed(trained.network):
                failure = Failure(0, steps, "collapsed")
        results.append(FitResult(trained, course.history(), failure))
    return FitResults(tuple(results))


def _stacked(trees: Sequence[_T]) -> _T:
    """Trees of one structure as one, with their arrays stacked; what is no array is that of the first."""
    arrays = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[eqx.filter(tree, eqx.is_array) for tree in trees])
    return eqx.combine(arrays, trees[0])
