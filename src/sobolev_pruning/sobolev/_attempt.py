"""One attempt at training a network, chunk by chunk, and what is done between the chunks."""

import operator
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np

from ..surrogate import MLP, Surrogate
from ._checkpoints import Store
from ._course import Course
from ._history import Failure
from ._not_finite import Suspects
from ._progress import ProgressReporter
from ._sharding import everywhere, here
from ._steps import Task, draw_batch, run_chunk


def run_attempt(
    course: Course,
    task: Task,
    surrogate: Surrogate,
    *,
    steps: int,
    steps_per_chunk: int,
    metrics_of: Callable[[Surrogate], dict[str, float]] | None,
    is_collapsed: Callable[[MLP], bool],
    look_halfway: bool,
    on_chunk: Callable[[int, Surrogate], None] | None,
    suspects: Suspects,
    store: Store | None,
    reporter: ProgressReporter,
    title: str,
) -> tuple[Course, Failure | None]:
    """Go on with a course until its last step, its patience or its network is at an end.

    Args:
        course: where the attempt stands.
        task: what every step does.
        surrogate: whose network is trained, for its normalisation and provenance.
        steps: of the attempt.
        steps_per_chunk: that are compiled together.
        metrics_of: evaluates; None for no evaluation.
        is_collapsed: whether a network has become constant though it should not.
        look_halfway: whether that is asked after half of the steps as well, so that the other half is not wasted.
        on_chunk: called after every chunk.
        suspects: the labels, looked at where a loss is not finite.
        store: of the checkpoints.
        reporter: of the progress.
        title: of the attempt.

    Returns:
        Where the attempt has come, and why it is to be given up, if it is.

    Raises:
        NotFiniteError: the labels of a step are to blame, so that another attempt would not help.
    """
    mesh = task.mesh
    if metrics_of is not None and not course.watch.evaluated:
        course = course.watched(metrics_of(with_params(surrogate, course.weights.params, task)))
    keys = jax.random.split(course.key, steps)
    shared_task, weights = everywhere((task, course.weights), mesh)
    reporter.start(title, steps)
    try:
        if course.step:
            reporter.update(course.step, course.losses[-1][-steps_per_chunk:])
        while course.step < steps and not course.watch.is_over:
            begin = course.step
            chunk = everywhere(keys[begin : begin + steps_per_chunk], mesh)
            weights, told = run_chunk(weights, chunk, shared_task)
            local, told = here((weights, told), mesh)
            bad = np.flatnonzero(~np.asarray(told.finite))
            if bad.size:
                course = course.after(local, jax.tree.map(operator.itemgetter(slice(bad[0])), told))
                step_key = keys[course.step]
                batch = draw_batch(task.reference, task.loss, task.units, step_key, task.batch_size)
                before = with_params(surrogate, local.params, task)
                losses = course.history().losses
                loss_key = jax.random.fold_in(step_key, 1)
                suspects.check_step(batch, step_key, loss_key, task.loss, course.step, before, losses)
                return course, Failure(course.attempt, course.step, "diverged")
            course = course.after(local, told)
            reporter.update(course.step, course.losses[-1])
            now = with_params(surrogate, local.params, task)
            if metrics_of is not None:
                course = course.watched(metrics_of(now))
            if on_chunk is not None:
                on_chunk(course.step, now)
            if look_halfway and 2 * begin < steps <= 2 * course.step < 2 * steps and is_collapsed(now.network):
                return course, Failure(course.attempt, course.step, "collapsed")
            if store is not None:
                store.save(course, ended=course.step == steps or course.watch.is_over)
    finally:
        reporter.stop()
    if is_collapsed(with_params(surrogate, course.params, task).network):
        return course, Failure(course.attempt, course.step, "collapsed")
    return course, None


def with_params(surrogate: Surrogate, params: MLP, task: Task) -> Surrogate:
    """The surrogate with the parameters of a training."""
    return Surrogate(eqx.combine(params, task.static), surrogate.normalisation, surrogate.provenance)
