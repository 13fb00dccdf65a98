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
from ._structure import (
    FixedAxis,
    Group,
    Groups,
    Slices,
    find_groups,
    magnitude_of_groups,
    prune_groups,
    significance_of_groups,
    taylor_of_groups,
)

__all__ = [
    "AbstractCompensation",
    "FixedAxis",
    "Group",
    "Groups",
    "Kept",
    "LeastSquares",
    "Midpoint",
    "NodeEnclosures",
    "Ranking",
    "Significance",
    "Slices",
    "VacuousEnclosureError",
    "choose_layers",
    "enclose_nodes",
    "find_groups",
    "magnitude_of_groups",
    "prune",
    "prune_groups",
    "rank_by_significance",
    "rank_distinct",
    "sampled_significance",
    "significance",
    "significance_of_groups",
    "taylor_of_groups",
]
