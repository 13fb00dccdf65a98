"""The search for the smallest network that is still right, in its values and its sensitivities."""

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import PRNGKeyArray

from .._work import work
from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Surrogate
from ._compensation import LeastSquares
from ._criteria import AbstractCriterion
from ._dense import choose_layers, prune
from ._fine_tuning import FineTuning
from ._iterative import check_floor
from ._ranking import Ranking
from ._recorded import RecordedTrials, facts_of_search
from ._rows import JudgingRows
from ._told import told_on_a_terminal
from ._tolerance import SurrogateErrors, Tolerance, in_precision_of
from ._trials import Candidate, Trials

_MOST_CHOICES = 200
_QUANTITIES = ("values", "gradients", "curvature")


@final
@dataclass(frozen=True)
class ShrinkResult:
    """What a search has found.

    Attributes:
        smallest: the network with fewest parameters within the tolerance.
        original: the network that was given; it is on the front only if no smaller one is as good.
        trials: every network that was fine-tuned, in the order of the search.
        complete: whether the search ended by itself, not by its limits.
        rows: the samples that it was judged by, and what is known of them.
    """

    smallest: Candidate
    original: Candidate
    trials: tuple[Candidate, ...]
    complete: bool
    rows: JudgingRows | None = None

    @property
    def unseen_errors(self) -> SurrogateErrors | None:
        """Errors of the smallest network on samples that were neither trained on nor chosen by; None without any."""
        if self.rows is None or self.rows.unseen is None:
            return None
        return SurrogateErrors.of(self.smallest.surrogate, self.rows.unseen)

    @property
    def front(self) -> tuple[Candidate, ...]:
        """All networks that no other beats in parameters and every measured `1 − R²`, fewest parameters first.

        What is beyond the tolerance, by a largest error perhaps, beats nothing that is within.
        """
        everything = sorted((self.original, *self.trials), key=lambda c: c.n_parameters)
        return tuple(c for c in everything if not any(_beats(other, c) for other in everything))


def _beats(one: Candidate, other: Candidate) -> bool:
    if other.within and not one.within:
        return False
    a, b = _objectives(one), _objectives(other)
    return bool(np.all(a <= b) and np.any(a < b))


def _objectives(candidate: Candidate) -> np.ndarray:
    errors = [getattr(candidate.errors, name) for name in _QUANTITIES]
    return np.array([candidate.n_parameters, *(math.inf if e is None else e for e in errors)])


def shrink(
    network: Surrogate | MLP,
    reference: AbstractReferenceModel | Samples,
    *,
    tolerance: Tolerance,
    key: PRNGKeyArray,
    floor: int = 1,
    criterion: AbstractCriterion | None = None,
    fine_tuning: FineTuning | None = None,
    held_out: int | Samples = 4096,
    max_trials: int = 100,
    seconds: float | None = None,
    progress: Callable[[Candidate], None] | None = None,
    checkpoints: str | os.PathLike | None = None,
) -> ShrinkResult:
    """Find the smallest network, in width and depth, whose values and sensitivities stay within a tolerance.

    A fit of p parameters costs more than p, so the search comes from below. First it climbs: networks with 1, 2, 4, …
    nodes in each of one, two or all hidden layers are pruned out of the given one and fine-tuned, fewest parameters
    first, until one is within the tolerance. Then it descends: each layer of the best network so far is cut to the
    floor, by half, or by one node; it is halved while its neighbour grows; it is removed; or, as long as the network is
    no deeper than the given one, a narrow layer is put before it. A function of few directions of many inputs gets
    smallest by the last two. The largest
    saving is tried first; what stays within the tolerance is the next to be cut, all else is rolled back, and so is
    everything that fits into what failed. The descent ends when no cut holds.

    Each network starts from the significant and distinct nodes of its parent with a least-squares refit
    (`rank_distinct`, `LeastSquares`), and, where it is small, races with random starts (`Refit`). Whether it is within
    the tolerance is measured on held-out samples, against the truth of the reference where that is known; then the
    largest error of a value is looked for on 32 times as many and on the outermost of half a million, and an eighth of
    the samples to train on are as far out.

    Args:
        network: what to start from; it must be within the tolerance. A bare network learns units from samples.
        reference: what to learn from and to judge by. Where it has a truth, labels are exact. Of samples a part is held
            out: the rows that the surrogate was not trained on, where its provenance says which (`RowSplit`), else a
            fifth of them. Give `held_out` if you know which rows the network has not seen.
        tolerance: of the errors on held-out samples.
        key: random key of samples, splits and starts.
        floor: nodes that every hidden layer keeps at least.
        criterion: of the nodes; by default interval significance over 32 trust regions of the data.
        fine_tuning: trains the pruned networks; by default `Refit()`, on values, gradients, and on curvature if the
            tolerance bounds it and the reference knows it.
        held_out: samples to judge by; or their number, of a reference that draws them. One half of given rows decides
            whether a network is within the tolerance, the other plays no part in any choice (`ShrinkResult.rows`).
        max_trials: networks to fine-tune at most.
        seconds: no further trial begins after them; None for no limit.
        progress: called with every network after its fine-tuning. By default a line for each is printed where standard
            error is a terminal, and nothing elsewhere or with `Silent()`.
        checkpoints: folder for this search alone, where every trial is kept. The same call goes on after the last of
            them, and ends with the same networks as one that was never interrupted; another search is refused.

    Returns:
        The smallest network within the tolerance, and all others on the Pareto front of parameters against errors.

    Raises:
        ValueError: the given network misses the tolerance, and by how much; the tolerance bounds what has no labels; a
            floor above the width of a layer; a number out of range; or checkpoints of another search.
    """
    if max_trials < 1:
        raise ValueError(f"`max_trials` is {max_trials}; it must be at least 1.")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"`seconds` is {seconds}; it must be positive, or None for no limit.")
    begin = time.perf_counter()
    trials = Trials(network, reference, tolerance, fine_tuning, criterion, held_out=held_out, key=key)
    check_floor(floor, trials.original.widths[1:-1])
    progress = told_on_a_terminal(tolerance) if progress is None else progress

    def may_go_on(n: int) -> bool:
        return n < max_trials and (seconds is None or time.perf_counter() - begin < seconds)

    with contextlib.ExitStack() as until_the_end:
        folder = None
        if checkpoints is not None:
            others = {"tolerance": tolerance, "floor": floor, "held_out": held_out}
            others |= {"criterion": criterion, "fine_tuning": fine_tuning}
            facts = facts_of_search(trials.original.surrogate, reference, key, others)
            here = work(Path(checkpoints), "search", facts, resume=True, overwrite=False)
            folder = until_the_end.enter_context(here).folder / "trials"
        recorded = RecordedTrials(folder, trials.original.surrogate.network.activation)
        search = _Search(trials, floor, may_go_on, progress, recorded)
        search.climb()
        search.descend()
    return ShrinkResult(search.best, trials.original, tuple(search.tried), not search.was_cut_short, trials.rows)


_Widths = tuple[int, ...]


class _Search:
    """Climbs and descends, and remembers what was tried."""

    def __init__(
        self,
        trials: Trials,
        floor: int,
        may_go_on: Callable[[int], bool],
        progress: Callable[[Candidate], None] | None,
        recorded: RecordedTrials,
    ) -> None:
        self.best = trials.original
        self.tried: list[Candidate] = []
        self.was_cut_short = False
        self._trials, self._floor, self._may_go_on, self._progress = trials, floor, may_go_on, progress
        self._recorded = recorded
        self._failed: list[_Widths] = []
        self._rankings: dict[int, Ranking] = {}

    def climb(self) -> None:
        """Uniform networks from below, until one is within the tolerance."""
        hidden = tuple(self.best.widths[1:-1])
        narrowest = min(hidden)
        ladder = itertools.takewhile(lambda width: width < narrowest, (self._floor * 2**k for k in itertools.count()))
        shapes = [(width,) * depth for width in ladder for depth in sorted({1, min(2, len(hidden)), len(hidden)})]
        for widths in sorted(shapes, key=self._size):
            if self._size(widths) >= self.best.n_parameters or not self._attempt(widths, self._trials.original):
                continue
            return

    def descend(self) -> None:
        """Cut the best network as long as a cut holds."""
        while any(self._attempt(widths, parent) for parent in [self.best] for widths in self._cuts(parent)):
            pass

    def _cuts(self, parent: Candidate) -> list[_Widths]:
        """Networks with fewer parameters that are near, the smallest first."""
        hidden = tuple(parent.widths[1:-1])
        found: set[_Widths] = set()
        for i, width in enumerate(hidden):
            # In a wide layer one node more or less is not worth a fit.
            for less in (self._floor, width // 2, width - max(1, width // 8)):
                found.add((*hidden[:i], max(less, self._floor), *hidden[i + 1 :]))
            # A function of few directions of its inputs wants few nodes in one layer, and more in the next for it.
            for j in range(max(i - 1, 0), min(i + 2, len(hidden))):
                for more in (1, hidden[j]) if j != i else ():
                    traded = list(hidden)
                    traded[i], traded[j] = max(self._floor, width // 2), hidden[j] + more
                    found.add(tuple(traded))
            if len(hidden) > 1:
                found.add((*hidden[:i], *hidden[i + 1 :]))
        if len(hidden) < len(self._trials.original.widths) - 2:
            found |= {(width, *hidden) for width in (self._floor, 2 * self._floor)}
        return sorted((w for w in found if self._size(w) < parent.n_parameters), key=self._size)

    def _size(self, hidden: _Widths) -> int:
        widths = (self.best.widths[0], *hidden, self.best.widths[-1])
        return sum((below + 1) * above for below, above in itertools.pairwise(widths))

    def _attempt(self, hidden: _Widths, parent: Candidate) -> bool:
        """Whether the network is within the tolerance; it is the best one then."""
        if any(_fits_into(hidden, failed) for failed in self._failed):
            return False
        if not self._may_go_on(len(self.tried)):
            self.was_cut_short = True
            return False
        number = len(self.tried)
        candidate = self._recorded.read(number, hidden)
        if candidate is None:
            candidate = self._trials.repaired(self._start(hidden, parent), number)
            self._recorded.write(number, hidden, candidate)
        self.tried.append(candidate)
        if self._progress is not None:
            self._progress(candidate)
        if candidate.within:
            self.best = candidate
        else:
            self._failed.append(hidden)
        return candidate.within

    def _start(self, hidden: _Widths, parent: Candidate) -> Surrogate:
        """Pruned out of the parent if it is there, else out of the original, else drawn."""
        for source in (parent, self._trials.original):
            if _is_within(hidden, tuple(source.widths[1:-1])):
                ranking = self._ranking(source)
                refit = LeastSquares(self._trials.x)
                return prune(source.surrogate, choose_layers(source.surrogate, ranking, hidden, refit), refit)
        original = self._trials.original.surrogate
        widths = [original.network.widths[0], *hidden, original.network.widths[-1]]
        key = self._trials.start_key(len(self.tried))
        drawn = in_precision_of(original, MLP.create(widths, activation=original.network.activation, key=key))
        return Surrogate(drawn, original.normalisation, original.provenance)

    def _ranking(self, source: Candidate) -> Ranking:
        if id(source) not in self._rankings:
            scores = self._trials.scores(source.surrogate)
            self._rankings[id(source)] = self._trials.ranking(source.surrogate, scores)
        return self._rankings[id(source)]


def _fits_into(hidden: _Widths, other: _Widths) -> bool:
    """Whether a network is the other one with nodes less."""
    return len(hidden) == len(other) and all(a <= b for a, b in zip(hidden, other, strict=True))


def _is_within(hidden: _Widths, other: _Widths) -> bool:
    """Whether any choice of so many layers has the nodes."""
    if len(hidden) > len(other) or math.comb(len(other), len(hidden)) > _MOST_CHOICES:
        return False
    return all(_fits_into(hidden, chosen) for chosen in itertools.combinations(other, len(hidden)))
