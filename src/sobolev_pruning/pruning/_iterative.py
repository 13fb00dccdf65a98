"""Iterative dense pruning: some nodes go, the rest is fine-tuned, and again; what cannot be repaired is rolled back."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Surrogate
from ._compensation import AbstractCompensation, LeastSquares
from ._criteria import AbstractCriterion
from ._dense import prune
from ._fine_tuning import FineTuning
from ._kept import integers
from ._significance import Significance
from ._tolerance import Tolerance
from ._trials import Candidate, Trials


class AbstractTarget(eqx.Module):
    """How many nodes are to be left in the end, and how they are shared among the layers."""

    @abc.abstractmethod
    def check(self, widths: Sequence[int], floor: int) -> None:
        """Refuse what the hidden layers of these widths cannot give."""

    @abc.abstractmethod
    def widths(self, scores: Significance, share: float, floor: int) -> tuple[int, ...]:
        """Nodes to keep in each hidden layer at a step.

        Args:
            scores: of the network as it is.
            share: of the way to the end that this step goes, in (0, 1]; nodes fall by equal factors.
            floor: nodes that every layer keeps at least.
        """


@final
class PerLayer(AbstractTarget):
    """So many nodes in each hidden layer; the nodes of a layer are ranked among themselves.

    Attributes:
        nodes: one number for each hidden layer.
    """

    nodes: tuple[int, ...] = eqx.field(converter=lambda nodes: integers("nodes", nodes), static=True)

    def check(self, widths: Sequence[int], floor: int) -> None:
        """Every layer keeps from the floor to all of its nodes."""
        if len(self.nodes) != len(widths):
            raise ValueError(f"`nodes` names {len(self.nodes)} hidden layers, the network has {len(widths)}.")
        for i, (asked, width) in enumerate(zip(self.nodes, widths, strict=True)):
            if not floor <= asked <= width:
                raise ValueError(
                    f"`nodes[{i}]` asks for {asked} nodes of hidden layer {i}; it must be from {floor}, the floor, to "
                    f"{width}, the nodes that there are."
                )

    def widths(self, scores: Significance, share: float, floor: int) -> tuple[int, ...]:
        """Between the nodes that there are and those that are wanted."""
        return tuple(
            round(part.shape[1] * (asked / part.shape[1]) ** share) if asked < part.shape[1] else part.shape[1]
            for part, asked in zip(scores.hidden, self.nodes, strict=True)
        )


@final
class Overall(AbstractTarget):
    """So many nodes in all hidden layers together; the least significant go, in whichever layer they are.

    Scores are comparable across layers, since they are in units of the output.

    Attributes:
        nodes: to keep in the end.
    """

    nodes: int = eqx.field(static=True)

    def check(self, widths: Sequence[int], floor: int) -> None:
        """There are so many, and the floor of every layer is among them."""
        lowest = floor * len(widths)
        if not lowest <= self.nodes <= sum(widths):
            raise ValueError(
                f"`nodes` is {self.nodes}; it must be from {lowest}, the floor of {len(widths)} layers, to "
                f"{sum(widths)}, the nodes that there are."
            )

    def widths(self, scores: Significance, share: float, floor: int) -> tuple[int, ...]:
        """The floor of every layer, and how many of the highest other scores fall on each; of equal ones, any."""
        layers = [np.sort(np.asarray(part, np.float64))[::-1] for part in scores.of_nodes()]
        total = sum(part.size for part in layers)
        count = max(round(total * (self.nodes / total) ** share), floor * len(layers))
        owner = np.repeat(np.arange(len(layers)), [part.size - floor for part in layers])
        others = np.concatenate([part[floor:] for part in layers])
        highest = np.argsort(-others, kind="stable")[: count - floor * len(layers)]
        more = np.bincount(owner[highest], minlength=len(layers))
        return tuple(floor + int(n) for n in more)


@final
@dataclass(frozen=True)
class PruningStep:
    """One attempt of an iterative pruning.

    Attributes:
        step: to which it belongs, counted from zero.
        candidate: what came of it.
        accepted: whether it was kept; otherwise it was rolled back.
    """

    step: int
    candidate: Candidate
    accepted: bool


@final
@dataclass(frozen=True)
class PruningResult:
    """What an iterative pruning leaves.

    Attributes:
        final: the last network that was accepted; the original one if none was.
        original: the network that was given.
        steps: every attempt, those that were rolled back included.
        held: hidden layers that stopped above what was asked of them, since less could not be repaired.
    """

    final: Candidate
    original: Candidate
    steps: tuple[PruningStep, ...]
    held: tuple[int, ...]


def prune_iteratively(
    network: Surrogate | MLP,
    reference: AbstractReferenceModel | Samples,
    target: AbstractTarget,
    *,
    key: PRNGKeyArray,
    steps: int = 4,
    floor: int = 1,
    tolerance: Tolerance | None = None,
    criterion: AbstractCriterion | None = None,
    compensation: AbstractCompensation | None = None,
    fine_tuning: FineTuning | None = None,
    held_out: int | Samples = 4096,
    progress: Callable[[PruningStep], None] | None = None,
) -> PruningResult:
    """Prune some nodes, fine-tune, and repeat.

    The nodes that are left fall by the same factor in every step. With a tolerance, a step that the fine-tuning cannot
    bring back into it is rolled back, and its layers are cut one by one: what holds stays; a layer that does not hold
    gives up half as many nodes, and half of those, until one holds or none is left to give up, and keeps its width from
    then on. One step is one-shot pruning.

    Args:
        network: what to prune. A bare network learns units from samples.
        reference: what to learn from and to judge by; see `shrink`.
        target: `PerLayer((8, 8))` or `Overall(16)` nodes in the end.
        key: random key of samples, splits and starts.
        steps: number of them.
        floor: nodes that every hidden layer keeps at least.
        tolerance: of the errors on held-out samples; without one every step is accepted whose fine-tuning does not
            diverge.
        criterion: of the nodes; by default interval significance over 32 trust regions of the data.
        compensation: by default `LeastSquares` on samples of the reference.
        fine_tuning: trains the pruned networks; by default `Refit()`.
        held_out: samples to judge by, or their number, as for `shrink`.
        progress: called after every attempt.

    Raises:
        ValueError: the target asks for no nodes, or for more than there are, or for fewer than the floor; a floor above
            the width of a layer; a number out of range; or the given network misses the tolerance.
    """
    if not isinstance(target, AbstractTarget):
        raise TypeError(f"`target` is {type(target).__name__}; it must be `PerLayer` or `Overall`.")
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; it must be at least 1.")
    trials = Trials(network, reference, tolerance, fine_tuning, criterion, held_out=held_out, key=key)
    hidden = tuple(trials.original.widths[1:-1])
    check_floor(floor, hidden)
    target.check(hidden, floor)
    compensation = LeastSquares(trials.x) if compensation is None else compensation
    course = _Course(trials, compensation, floor, progress)
    for step in range(steps):
        course.step(step, target, 1 / (steps - step))
    return PruningResult(course.current, trials.original, tuple(course.attempts), tuple(sorted(course.limits)))


def check_floor(floor: int, hidden: Sequence[int]) -> None:
    """Refuse a floor that a layer does not reach, or none."""
    if floor < 1:
        raise ValueError(f"`floor` is {floor}; a layer keeps at least 1 node.")
    for i, width in enumerate(hidden):
        if floor > width:
            raise ValueError(f"`floor` is {floor}, above the {width} nodes of hidden layer {i}; lower it.")


_Widths = tuple[int, ...]


class _Course:
    """The state of an iterative pruning: the network as it is, and the layers that keep their width."""

    def __init__(
        self,
        trials: Trials,
        compensation: AbstractCompensation,
        floor: int,
        progress: Callable[[PruningStep], None] | None,
    ) -> None:
        self.current = trials.original
        self.attempts: list[PruningStep] = []
        # Widths below which a layer could not be repaired.
        self.limits: dict[int, int] = {}
        self._trials, self._compensation, self._floor, self._progress = trials, compensation, floor, progress
        self._scores: Significance | None = None

    def step(self, step: int, target: AbstractTarget, share: float) -> None:
        """All layers together; where that does not hold, one by one."""
        start = self._hidden
        wanted = target.widths(self._scores_now(), share, self._floor)
        goal = tuple(
            min(max(asked, self._floor, self.limits.get(i, 1)), width)
            for i, (asked, width) in enumerate(zip(wanted, start, strict=True))
        )
        if goal == start or self._attempt(step, goal):
            return
        cut = [i for i in range(len(start)) if goal[i] < start[i]]
        for i in sorted(cut, key=lambda i: start[i] - goal[i], reverse=True):
            width = goal[i]
            # Alone, the only layer to be cut has just failed.
            failed = len(cut) == 1
            while width < start[i]:
                if not failed and self._attempt(step, (*self._hidden[:i], width, *self._hidden[i + 1 :])):
                    break
                failed, width = False, (width + start[i] + 1) // 2
            if width > goal[i]:
                self.limits[i] = width

    @property
    def _hidden(self) -> _Widths:
        return tuple(self.current.widths[1:-1])

    def _scores_now(self) -> Significance:
        if self._scores is None:
            self._scores = self._trials.scores(self.current.surrogate)
        return self._scores

    def _attempt(self, step: int, hidden: _Widths) -> bool:
        """Prune to these widths and fine-tune; whether that is kept."""
        surrogate = self.current.surrogate
        ranking = self._trials.ranking(surrogate, self._scores_now())
        pruned = prune(surrogate, ranking.keep(hidden), self._compensation)
        candidate = self._trials.repaired(pruned, len(self.attempts))
        self.attempts.append(PruningStep(step, candidate, candidate.within))
        if self._progress is not None:
            self._progress(self.attempts[-1])
        if candidate.within:
            self.current, self._scores = candidate, None
        return candidate.within
