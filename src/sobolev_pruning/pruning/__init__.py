"""Which nodes matter, and what is left without the others."""

from ._compensation import AbstractCompensation, LeastSquares, Mean, Midpoint
from ._criteria import (
    AbstractCriterion,
    ActivationVariance,
    IntervalSignificance,
    Magnitude,
    Random,
    Saliency,
    SampledSignificance,
    Taylor,
)
from ._dense import choose_layers, kept_inputs, prune
from ._enclosures import GradientEnclosures, NodeEnclosures, VacuousEnclosureError, enclose_gradients, enclose_nodes
from ._fine_tuning import FineTuning, Refit
from ._iterative import AbstractTarget, Overall, PerLayer, PruningResult, PruningStep, prune_iteratively
from ._kept import Kept
from ._linear_layers import MergedLayers, layer_significance, merge_linear_layers
from ._ranking import Ranking, rank_by_significance, rank_distinct
from ._rows import JudgingRows, RowsApart, rows_apart
from ._shrink import ShrinkResult, shrink
from ._significance import Significance, sampled_significance, significance
from ._sparse import (
    AbstractSparsity,
    ErdosRenyiSparsity,
    GlobalSparsity,
    Masks,
    SparseEvaluator,
    SparseState,
    UniformSparsity,
    choose_weights,
    cubic_pruning,
    fixed_masks,
    random_masks,
    remove_dead_nodes,
    rigl,
    sparse_evolution,
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
from ._told import candidate_line
from ._tolerance import SurrogateErrors, Tolerance
from ._trials import Candidate
from ._weights import sampled_weight_significance, weight_significance

__all__ = [
    "AbstractCompensation",
    "AbstractCriterion",
    "AbstractSparsity",
    "AbstractTarget",
    "ActivationVariance",
    "Candidate",
    "ErdosRenyiSparsity",
    "FineTuning",
    "FixedAxis",
    "GlobalSparsity",
    "GradientEnclosures",
    "Group",
    "Groups",
    "IntervalSignificance",
    "JudgingRows",
    "Kept",
    "LeastSquares",
    "Magnitude",
    "Masks",
    "Mean",
    "MergedLayers",
    "Midpoint",
    "NodeEnclosures",
    "Overall",
    "PerLayer",
    "PruningResult",
    "PruningStep",
    "Random",
    "Ranking",
    "Refit",
    "RowsApart",
    "Saliency",
    "SampledSignificance",
    "ShrinkResult",
    "Significance",
    "Slices",
    "SparseEvaluator",
    "SparseState",
    "SurrogateErrors",
    "Taylor",
    "Tolerance",
    "UniformSparsity",
    "VacuousEnclosureError",
    "candidate_line",
    "choose_layers",
    "choose_weights",
    "cubic_pruning",
    "enclose_gradients",
    "enclose_nodes",
    "find_groups",
    "fixed_masks",
    "kept_inputs",
    "layer_significance",
    "magnitude_of_groups",
    "merge_linear_layers",
    "prune",
    "prune_groups",
    "prune_iteratively",
    "random_masks",
    "rank_by_significance",
    "rank_distinct",
    "remove_dead_nodes",
    "rigl",
    "rows_apart",
    "sampled_significance",
    "sampled_weight_significance",
    "shrink",
    "significance",
    "significance_of_groups",
    "sparse_evolution",
    "taylor_of_groups",
    "weight_significance",
]
