"""Networks of which most single weights are zero: where the zeros are, and how they come to be there."""

from ._dead_nodes import remove_dead_nodes
from ._gradual import cubic_pruning
from ._masked import SparseState, fixed_masks
from ._masks import Masks
from ._on_host import SparseEvaluator
from ._rewiring import rigl, sparse_evolution
from ._selection import choose_weights, random_masks
from ._sparsity import AbstractSparsity, ErdosRenyiSparsity, GlobalSparsity, UniformSparsity

__all__ = [
    "AbstractSparsity",
    "ErdosRenyiSparsity",
    "GlobalSparsity",
    "Masks",
    "SparseEvaluator",
    "SparseState",
    "UniformSparsity",
    "choose_weights",
    "cubic_pruning",
    "fixed_masks",
    "random_masks",
    "remove_dead_nodes",
    "rigl",
    "sparse_evolution",
]
