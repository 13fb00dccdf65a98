"""Which nodes survive."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Kept:
    """The hidden nodes that are kept; everything else goes.

    Attributes:
        hidden: for each hidden layer the sorted indices of its kept nodes, or `None` where the whole layer is removed.
        widths: nodes of each hidden layer before.

    Raises:
        ValueError: an index out of range or twice, or a layer that is kept without nodes.
    """

    hidden: tuple[tuple[int, ...] | None, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.hidden) != len(self.widths):
            raise ValueError(
                f"`hidden` describes {len(self.hidden)} layers, but the network has {len(self.widths)} hidden layers."
            )
        for i, (nodes, width) in enumerate(zip(self.hidden, self.widths, strict=True)):
            if nodes is None:
                continue
            if not nodes:
                raise ValueError(f"hidden layer {i} keeps no node; use `None` to remove a whole layer.")
            if list(nodes) != sorted(set(nodes)) or nodes[0] < 0 or nodes[-1] >= width:
                raise ValueError(
                    f"the kept nodes of hidden layer {i} are {nodes}; they must be increasing and in [0, {width})."
                )
