"""The training loop: compiled chunks of many steps, with Python only between them."""

import contextlib
import functools
import warnings
from collections.abc import Callable

import equinox as eqx
import jax
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from .._programs import limit_programs
from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Surrogate
from ._attempt import run_attempt, with_params
from ._checkpoints import Checkpoints, Store
from ._checks import as_reference, check_clip_norm, check_dimensions, check_kinds, check_numbers, warn_of_contradictions
from ._course import Course
from ._fingerprint import fingerprint, shared
from ._history import CollapsedWarning, DivergedError, Failure, FitResult
from ._loss import AbstractLoss
from ._not_finite import Suspects
from ._progress import ProgressReporter, Silent
from ._progress import reporter as reporter_of
from ._restarts import Vitality, redrawn
from ._sharding import checked_mesh
from ._start import as_surrogate, without_false_split
from ._steps import Task, Weights, draw_batch
from ._watch import Evaluation, Watch, as_metrics

# Folded into the key of a fit, beyond the numbers of its attempts.
EVALUATION_KEY, VITALITY_KEY, UNITS_KEY, _MOST_RESTARTS = 1001, 1002, 1003, 999


def fit(
    surrogate: Surrogate | MLP,
    reference: AbstractReferenceModel | Samples,
    loss: AbstractLoss,
    *,
    key: PRNGKeyArray,
    steps: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    steps_per_chunk: int = 250,
    clip_norm: float | None = None,
    evaluation: Evaluation | None = None,
    patience: int | None = None,
    restarts: int = 0,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
    progress: ProgressReporter | None = None,
    title: str = "fit",
    on_chunk: Callable[[int, Surrogate], None] | None = None,
) -> FitResult:
    """Train the network of a surrogate on samples of a reference model.

    Every step draws `batch_size` samples with a key of its own: fresh ones from a simulator, rows of the data from
    `Samples` or a `DataSet`, labels of a teacher from a `FunctionReference`. Same key, same result. Samples are drawn
    inside the compiled step and never leave the device. Many steps are one `lax.scan`; between those chunks Python
    shows progress, evaluates, stores checkpoints and can be interrupted.

    Args:
        surrogate: where to start; its normalisation stays as it is. Of a bare network, units are learned from samples
            of the reference first.
        reference: what to learn from.
        loss: `ValueLoss()`, `SobolevLoss(λ₁)`, or another; calibrated on the first batch.
        key: random key of all batches.
        steps: number of updates.
        batch_size: samples a step, over all devices.
        optimizer: any Optax transformation, with its schedule inside.
        steps_per_chunk: updates between two looks at the progress.
        clip_norm: gradients of a larger norm are scaled down to it, before the optimizer sees them.
        evaluation: at the start and after every chunk: held-out samples, on which the loss and the errors of values
            and gradients are measured, or a function of the surrogate that returns one number or several by name.
        patience: evaluations in a row that may be no better (smaller, in the first metric) than the best before; the
            fit then ends, and returns the surrogate of its best evaluation.
        restarts: how often to begin anew, with a network and batches from other keys, where a network diverges or
            collapses to a constant (looked for after half of the steps and at the end; see `Failure`).
        checkpoints: stores the whole state in a folder, and goes on from there.
        mesh: devices, of one process or of all processes of `jax.distributed`, that share every batch evenly; each
            holds all parameters, and the whole of a `DataSet`. Results are those of one device to rounding.
        progress: shows the course of training; by default a bar where standard error is a terminal, and
            nothing elsewhere or with `Silent()`. Of several processes, the first shows.
        title: of the progress bar.
        on_chunk: called after every chunk with the steps done and the surrogate so far, to look at it or to store it.

    Returns:
        The trained surrogate, all losses and evaluations, and what went wrong on the way.

    Raises:
        TypeError: an argument is of another kind than is wanted; the message says what would be right.
        ValueError: a number out of range, a reference of other dimensions, labels that the loss needs and the
            reference lacks, or checkpoints of another fit.
        OSError: checkpoints cannot be written, or another fit is using their folder; nothing has been trained then.
        NotFiniteError: labels that the loss needs are NaN or infinite; the error has how many, the first input, where,
            and the last good parameters.
        DivergedError: the loss or an update was not finite in the last attempt, with labels that are; the error carries
            the last good parameters.

    Warns:
        CollapsedWarning: the network of the last attempt is constant although its labels are not.
        ContradictionWarning: derivatives of a data set contradict its values; see `check_derivatives`.
        CheckpointWarning: a checkpoint was damaged, or could not be written during the training.
    """
    limit_programs()
    check_kinds(key, loss, optimizer)
    reference = as_reference(reference)
    surrogate = as_surrogate(surrogate, reference, jax.random.fold_in(key, UNITS_KEY))
    surrogate = without_false_split(surrogate, reference)
    check_numbers(steps=steps, batch_size=batch_size, steps_per_chunk=steps_per_chunk)
    check_dimensions(surrogate, reference)
    check_clip_norm(clip_norm)
    warn_of_contradictions(reference, loss)
    mesh = checked_mesh(mesh, batch_size)
    if patience is not None:
        check_numbers(patience=patience)
        if evaluation is None:
            raise ValueError("`patience` counts evaluations, and there are none; give `evaluation`, too.")
    if not 0 <= restarts <= _MOST_RESTARTS:
        raise ValueError(f"`restarts` is {restarts}; it must be from 0 to {_MOST_RESTARTS}.")
    optimizer = shared(optimizer, surrogate.network)
    suspects = Suspects(reference, loss, surrogate)
    evaluation_key = jax.random.fold_in(key, EVALUATION_KEY)
    reporter: ProgressReporter = Silent() if jax.process_index() > 0 else reporter_of(progress)

    def begin(attempt: int, failures: tuple[Failure, ...]) -> tuple[Course, Task]:
        """Before the first step of an attempt: its state, and what its steps do."""
        start, batch_key = surrogate, key
        if attempt:
            network_key, batch_key = jax.random.split(jax.random.fold_in(key, attempt))
            start = redrawn(surrogate, network_key)
        calibration_key, batch_key = jax.random.split(batch_key)
        first = draw_batch(reference, loss, start.normalisation, calibration_key, batch_size)
        suspects.check_first(first, calibration_key, batch_key)
        calibrated = loss.calibrate(first)
        static = eqx.filter(start.network, eqx.is_inexact_array, inverse=True)
        task = Task(reference, calibrated, start.normalisation, static, optimizer, batch_size, clip_norm, mesh)
        weights = Weights.start(start.network, optimizer)
        return Course(attempt, 0, weights, calibrated, batch_key, (), (), Watch(patience), failures), task

    @functools.cache
    def vitality() -> Vitality:
        return Vitality.of(reference, loss, surrogate.normalisation, jax.random.fold_in(key, VITALITY_KEY), batch_size)

    course, task = begin(0, ())
    with contextlib.ExitStack() as until_the_end:
        store = None
        if checkpoints is not None:
            facts = fingerprint(
                task,
                surrogate.network,
                key,
                steps=steps,
                steps_per_chunk=steps_per_chunk,
                restarts=restarts,
                patience=patience,
                evaluation=evaluation,
            )
            store = Store(checkpoints, facts)
            until_the_end.enter_context(store.open())
            course = store.resume(course, steps)
        while True:
            task = eqx.tree_at(lambda t: t.loss, task, course.loss)
            course, failure = run_attempt(
                course,
                task,
                surrogate,
                steps=steps,
                steps_per_chunk=steps_per_chunk,
                metrics_of=None if evaluation is None else as_metrics(evaluation, course.loss, evaluation_key),
                is_collapsed=lambda network: vitality().is_collapsed(network),
                look_halfway=course.attempt < restarts,
                on_chunk=on_chunk,
                suspects=suspects,
                store=store,
                reporter=reporter,
                title=title if course.attempt == 0 else f"{title}, attempt {course.attempt + 1}",
            )
            if failure is None or course.attempt == restarts:
                break
            course, task = begin(course.attempt + 1, (*course.failures, failure))
    trained = with_params(surrogate, course.params, task)
    if failure is not None and failure.reason == "diverged":
        raise DivergedError(failure.step, trained, course.history().losses, (*course.failures, failure))
    if failure is not None:
        warnings.warn(
            f"the network collapsed: after {failure.step} steps an output is constant, though the inputs explain a "
            "part of its labels. Lower the learning rate, use a smooth activation, or allow `restarts`.",
            CollapsedWarning,
            stacklevel=2,
        )
    return FitResult(trained, course.history(), failure, course.failures)
