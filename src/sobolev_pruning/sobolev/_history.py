"""What a fit leaves behind: the surrogate, the course of the training, and what went wrong on the way."""

from collections.abc import Mapping
from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..surrogate import Surrogate


@final
class Failure(eqx.Module):
    """An attempt that was given up.

    Attributes:
        attempt: counted from zero; the first has the network that was passed to `fit`.
        step: at which it was given up.
        reason: `"diverged"` (a loss or an update was not finite) or `"collapsed"` (the network was constant).
    """

    attempt: int
    step: int
    reason: str


class DivergedError(ArithmeticError):
    """The loss or an update was not finite, in every attempt that was allowed.

    Attributes:
        step: the first step of the last attempt, counted from zero, at which that happened.
        surrogate: with the parameters before that step, which are finite.
        losses: of all steps before it.
        failures: every attempt.
    """

    def __init__(
        self,
        step: int,
        surrogate: Surrogate,
        losses: np.ndarray,
        failures: tuple[Failure, ...] = (),
        remedy: str = "Lower the learning rate, or bound the gradients by `clip_norm`.",
    ) -> None:
        again = f" So ended the last of {len(failures)} attempts." if len(failures) > 1 else ""
        super().__init__(
            f"training diverged: the loss or its gradient is not finite at step {step}. The parameters before that "
            f"step are kept in `.surrogate`. The labels that it uses are finite. {remedy}{again}"
        )
        self.step = step
        self.surrogate = surrogate
        self.losses = losses
        self.failures = failures


class CollapsedWarning(UserWarning):
    """The trained network is constant although its labels are not."""


@final
class History(eqx.Module):
    """The course of a training.

    Attributes:
        losses: of every step, `(steps,)`, in normalised units, each measured before the step's update.
        learning_rates: of every step, `(steps,)`; None where they are not known. They are where the optimizer is made
            by `optax.inject_hyperparams(...)(learning_rate=...)`, which keeps the rate in its state; a schedule
            inside any other optimizer is a function that nothing can be asked about.
        evaluated: steps that were done at each evaluation, `(evaluations,)`; the first is at the start.
        metrics: every metric of the evaluations, `(evaluations,)` each.
        watched: name of the metric that early stopping watches and seeds are compared by, the first that the
            evaluation returned; None without evaluations.
        best_step: steps that were done where that metric was smallest; None without evaluations.
        stopped_early: whether the fit ended before its last step since no evaluation was better any more.
    """

    losses: Float[np.ndarray, " steps"]
    learning_rates: Float[np.ndarray, " steps"] | None
    evaluated: Int[np.ndarray, " evaluations"]
    metrics: Mapping[str, Float[np.ndarray, " evaluations"]]
    watched: str | None
    best_step: int | None
    stopped_early: bool

    def __init__(
        self,
        losses: Float[np.ndarray, " steps"],
        learning_rates: Float[np.ndarray, " steps"] | None = None,
        evaluated: Int[np.ndarray, " evaluations"] | None = None,
        metrics: Mapping[str, Float[np.ndarray, " evaluations"]] | None = None,
        *,
        watched: str | None = None,
        best_step: int | None = None,
        stopped_early: bool = False,
    ) -> None:
        """Without evaluations there are losses alone."""
        self.losses = losses
        self.learning_rates = learning_rates
        self.evaluated = np.zeros(0, np.int64) if evaluated is None else evaluated
        self.metrics = {} if metrics is None else dict(metrics)
        self.watched = watched
        self.best_step = best_step
        self.stopped_early = stopped_early


@final
class FitResult(eqx.Module):
    """A trained surrogate and the course of its training.

    Attributes:
        surrogate: after the last step; with early stopping, after the best evaluation.
        history: losses and evaluations of the attempt that led to it.
        failure: what is wrong with it: the network came out constant, or, among several seeds, diverged. None where
            nothing is.
        restarts: the attempts that were given up before.
    """

    surrogate: Surrogate
    history: History
    failure: Failure | None
    restarts: tuple[Failure, ...]

    def __init__(
        self,
        surrogate: Surrogate,
        history: History | Float[np.ndarray, " steps"],
        failure: Failure | None = None,
        restarts: tuple[Failure, ...] = (),
    ) -> None:
        """Losses alone are a history without evaluations."""
        self.surrogate = surrogate
        self.history = history if isinstance(history, History) else History(history)
        self.failure = failure
        self.restarts = restarts

    @property
    def losses(self) -> Float[np.ndarray, " steps"]:
        """Of every step, `(steps,)`, in normalised units, each measured before the step's update."""
        return self.history.losses

    @property
    def score(self) -> float:
        """By which seeds are compared; lower is better.

        The watched metric where it was smallest; without evaluations, the mean loss of the last tenth of the steps,
        since the loss of one batch is mostly noise. Infinite where the fit failed.
        """
        if self.failure is not None:
            return float("inf")
        if self.history.watched is not None:
            watched = self.history.metrics[self.history.watched]
            return float(np.min(watched, initial=np.inf, where=np.isfinite(watched)))
        losses = self.history.losses
        return float(np.mean(losses[-max(1, len(losses) // 10) :]))
