"""Pruning of any network, by the dependencies between its parameters that are found in its program."""

from ._groups import FixedAxis, Group, Groups, Slices, find_groups
from ._prune import prune_groups
from ._scores import magnitude_of_groups, significance_of_groups, taylor_of_groups

__all__ = [
    "FixedAxis",
    "Group",
    "Groups",
    "Slices",
    "find_groups",
    "magnitude_of_groups",
    "prune_groups",
    "significance_of_groups",
    "taylor_of_groups",
]
