"""Which nodes matter, and what is left without the others."""

from ._compensation import AbstractCompensation, LeastSquares, Midpoint
from ._dense import choose_layers, prune
from ._kept import Kept
from ._ranking import Ranking, rank_by_significance, rank_distinct
from ._significance import (
    NodeEnclosures,
    Significance,
    VacuousEnclosureError,
    enclose_nodes,
    sampled_significance,
    significance,
)

__all__ = [
    "AbstractCompensation",
    "Kept",
    "LeastSquares",
    "Midpoint",
    "NodeEnclosures",
    "Ranking",
    "Significance",
    "VacuousEnclosureError",
    "choose_layers",
    "enclose_nodes",
    "prune",
    "rank_by_significance",
    "rank_distinct",
    "sampled_significance",
    "significance",
]
