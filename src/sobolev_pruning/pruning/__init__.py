"""Which nodes matter, and what is left without the others."""

from ._compensation import AbstractCompensation, LeastSquares, Midpoint
from ._criteria import AbstractCriterion
from ._dense import choose_layers, prune
from ._enclosures import (
    GradientEnclosures,
    NodeEnclosures,
    VacuousEnclosureError,
    enclose_gradients,
    enclose_nodes,
)
from ._kept import Kept
from ._linear_layers import MergedLayers, layer_significance, merge_linear_layers
from ._ranking import Ranking, rank_by_significance, rank_distinct
from ._significance import Significance, sampled_significance, significance
from ._weights import sampled_weight_significance, weight_significance

__all__ = [
    "AbstractCompensation",
    "AbstractCriterion",
    "GradientEnclosures",
    "Kept",
    "LeastSquares",
    "MergedLayers",
    "Midpoint",
    "NodeEnclosures",
    "Ranking",
    "Significance",
    "VacuousEnclosureError",
    "choose_layers",
    "enclose_gradients",
    "enclose_nodes",
    "layer_significance",
    "merge_linear_layers",
    "prune",
    "rank_by_significance",
    "rank_distinct",
    "sampled_significance",
    "sampled_weight_significance",
    "significance",
    "weight_significance",
]
