"""Which nodes matter, and what is left without the others."""

from ._compensation import AbstractCompensation, LeastSquares, Midpoint
from ._criteria import AbstractCriterion
from ._dense import choose_layers, prune
from ._fine_tuning import FineTuning, Refit
from ._iterative import AbstractTarget, Overall, PerLayer, PruningResult, PruningStep, prune_iteratively
from ._kept import Kept
from ._ranking import Ranking, rank_by_significance, rank_distinct
from ._shrink import ShrinkResult, shrink
from ._significance import (
    NodeEnclosures,
    Significance,
    VacuousEnclosureError,
    enclose_nodes,
    sampled_significance,
    significance,
)
from ._tolerance import SurrogateErrors, Tolerance
from ._trials import Candidate

__all__ = [
    "AbstractCompensation",
    "AbstractCriterion",
    "AbstractTarget",
    "Candidate",
    "FineTuning",
    "Kept",
    "LeastSquares",
    "Midpoint",
    "NodeEnclosures",
    "Overall",
    "PerLayer",
    "PruningResult",
    "PruningStep",
    "Ranking",
    "Refit",
    "ShrinkResult",
    "Significance",
    "SurrogateErrors",
    "Tolerance",
    "VacuousEnclosureError",
    "choose_layers",
    "enclose_nodes",
    "prune",
    "prune_iteratively",
    "rank_by_significance",
    "rank_distinct",
    "sampled_significance",
    "shrink",
    "significance",
]
