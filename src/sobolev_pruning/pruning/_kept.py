"""Which nodes and which inputs survive."""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Kept:
    """The hidden nodes and the inputs that are kept; everything else goes.

    Attributes:
        hidden: for each hidden layer the sorted indices of its kept nodes, or `None` where the whole layer is removed.
        widths: nodes of each hidden layer before.
        inputs: the sorted indices of the kept inputs, of those that the network has before; `None` keeps all.

    Raises:
        ValueError: an index out of range or twice, or a layer that is kept without nodes.
    """

    hidden: tuple[tuple[int, ...] | None, ...]
    widths: tuple[int, ...]
    inputs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        # Lists and arrays will do, of any kind of integers.
        object.__setattr__(self, "widths", integers("widths", self.widths))
        hidden = (None if n is None else integers(f"hidden[{i}]", n) for i, n in enumerate(self.hidden))
        object.__setattr__(self, "hidden", tuple(hidden))
        if self.inputs is not None:
            object.__setattr__(self, "inputs", integers("inputs", self.inputs))
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
        if self.inputs is not None:
            if not self.inputs:
                raise ValueError("`inputs` keeps no input; use `None` to keep all.")
            if list(self.inputs) != sorted(set(self.inputs)) or self.inputs[0] < 0:
                raise ValueError(f"the kept inputs are {self.inputs}; they must be increasing and not negative.")

    def input_indices(self, d: int) -> list[int]:
        """Indices of the kept inputs of a network that has d.

        Raises:
            ValueError: there is no such input.
        """
        if self.inputs is None:
            return list(range(d))
        if self.inputs[-1] >= d:
            raise ValueError(f"the kept inputs are {self.inputs}, but the network has {d}; they must be in [0, {d}).")
        return list(self.inputs)


def integers(name: str, given: Iterable[int]) -> tuple[int, ...]:
    """Integers of any kind as a tuple of Python's.

    Raises:
        TypeError: `given` is something else.
    """
    try:
        return tuple(operator.index(i) for i in given)
    except TypeError:
        raise TypeError(f"`{name}` is {given!r}; it must be a sequence of integers.") from None
