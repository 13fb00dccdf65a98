"""The relational domains by name."""

from collections.abc import Callable
from typing import Any

from ._affine import AffineForms
from ._backward import BackwardBounds
from ._relational import AbstractDomain

DOMAINS: dict[str, Callable[[], AbstractDomain[Any] | None]] = {
    "interval": lambda: None,
    "affine": AffineForms,
    "backward": BackwardBounds,
    "backward-optimised": lambda: BackwardBounds(steps=20),
}


def domain_named(name: str) -> AbstractDomain[Any] | None:
    """A new domain of that name, or None for plain intervals."""
    return DOMAINS[name]()
