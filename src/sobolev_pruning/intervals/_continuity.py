"""Continuity of normal forms."""

from ._forms import Indicator, Polynomial


def continuous(p: Polynomial) -> bool:
    """Whether the form proves that the function is continuous; what it is made of has no jumps of its own."""
    return not any(isinstance(atom, Indicator) for atom in p.atoms)
