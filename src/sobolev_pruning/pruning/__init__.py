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

__all__ = [
    "AbstractCompensation",
    "AbstractSparsity",
    "ErdosRenyiSparsity",
    "GlobalSparsity",
    "Kept",
    "LeastSquares",
    "Masks",
    "Midpoint",
    "NodeEnclosures",
    "Ranking",
    "Significance",
    "SparseEvaluator",
    "SparseState",
    "UniformSparsity",
    "VacuousEnclosureError",
    "choose_layers",
    "choose_weights",
    "cubic_pruning",
    "enclose_nodes",
    "fixed_masks",
    "prune",
    "random_masks",
    "rank_by_significance",
    "rank_distinct",
    "remove_dead_nodes",
    "rigl",
    "sampled_significance",
    "significance",
    "sparse_evolution",
]
