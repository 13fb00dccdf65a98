"""Interval rules for the primitives that Equinox adds to JAX, of which the loops of diffrax are built.

They are known by their name and by the module that evaluates them, so that nothing here imports Equinox.
"""

from collections.abc import Callable
from typing import Any

from jax.extend.core import Primitive

from ._ternary import Ternary, ternary


def _first(x: Any, **params: Any) -> Any:
    """Only forbids to be batched, or to be read while tracing."""
    return x


def _chosen(condition: Any, on: Any, off: Any, **params: Any) -> Any:
    """Chooses between the elements of a batch. Without one, the loop around it goes on, so the condition holds."""
    return on


def _any(x: Any, **params: Any) -> Ternary:
    x = ternary(x)
    return Ternary(x.can_be_true.any(), x.can_be_false.all())


def _all(x: Any, **params: Any) -> Ternary:
    x = ternary(x)
    return Ternary(x.can_be_true.all(), x.can_be_false.any())


_RULES: dict[str, Callable[..., Any]] = {
    "nonbatchable": _first,
    "select_if_vmap": _chosen,
    "unvmap_any": _any,
    "unvmap_all": _all,
}


def rule_of_equinox(primitive: Primitive) -> Callable[..., Any] | None:
    """The rule of one of these primitives, or None if it is another."""
    home = getattr(getattr(primitive, "impl", None), "__module__", None) or ""
    return _RULES.get(primitive.name) if home.partition(".")[0] == "equinox" else None
