"""The relational domains by name."""

from collections.abc import Callable
from typing import Any

from ._affine import AffineForms
from ._backward import BackwardBounds
from ._relational import AbstractDomain

# What makes a domain of a name; None for plain intervals.
DOMAINS: dict[str, Callable[[], AbstractDomain[Any] | None]] = {
    "interval": lambda: None,
    "affine": AffineForms,
    "affine-32": lambda: AffineForms(max_symbols=32),
    "backward": BackwardBounds,
    "backward-optimised": lambda: BackwardBounds(steps=20),
}
