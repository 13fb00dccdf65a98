"""How a fit of a stage goes: its losses, and errors measured on the way."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import jax
import numpy as np

from ..metrics import errors_between
from ..reference import Samples
from ..sobolev import History
from ..surrogate import Surrogate

_N_COURSE_POINTS = 512
_QUANTITIES = ("values", "deltas", "gammas")


@final
@dataclass(frozen=True)
class Course:
    """How a fit went.

    Attributes:
        losses: of every step, `(steps,)`, in normalised units.
        steps: at which errors were measured, `(n_chunks,)`.
        unexplained: `1 − R²` of values, deltas and gammas at those steps, on part of the published evaluation set.
    """

    losses: np.ndarray
    steps: np.ndarray
    unexplained: dict[str, np.ndarray]


@final
class CourseWatch:
    """Measures errors while a fit goes on, and the time of the fit without that of the measurements."""

    def __init__(self, truth: Samples) -> None:
        self._few = jax.tree.map(lambda part: part[:_N_COURSE_POINTS], truth)
        self._measured: list[tuple[int, dict[str, float]]] = []
        self._begin, self._measuring = time.perf_counter(), 0.0

    def every(self, n_calls: int) -> Callable[[int, Surrogate], None]:
        """A callback that measures at every `n_calls`-th call."""
        calls = itertools.count(1)

        def measure(step: int, surrogate: Surrogate) -> None:
            if next(calls) % n_calls == 0:
                self._measured.append((step, self.evaluate(surrogate)))

        return measure

    def evaluate(self, surrogate: Surrogate) -> dict[str, float]:
        """The `evaluation` of a fit, which keeps what was measured in its checkpoints."""
        begin = time.perf_counter()
        errors = errors_between(surrogate.evaluate(self._few.x), self._few)
        self._measuring += time.perf_counter() - begin
        return {quantity: 1 - getattr(errors, quantity).r2 for quantity in _QUANTITIES}

    def seconds(self) -> float:
        """Since the watch was made, without measuring."""
        return time.perf_counter() - self._begin - self._measuring

    def course(self, losses: np.ndarray) -> Course:
        """Losses and measured errors together."""
        unexplained = {name: np.array([errors[name] for _, errors in self._measured]) for name in _QUANTITIES}
        return Course(losses, np.array([step for step, _ in self._measured]), unexplained)

    @staticmethod
    def evaluated(history: History) -> Course:
        """Losses and the errors of every evaluation but that of the start."""
        unexplained = {quantity: history.metrics[quantity][1:] for quantity in _QUANTITIES}
        return Course(history.losses, history.evaluated[1:], unexplained)
