"""Interval rules for the primitives that Equinox adds to JAX, of which the loops of diffrax are built."""

from typing import Any

from jax.extend.core import Primitive

from .._registry import defforeign
from .._ternary import Ternary, ternary


def _first(_: Primitive, x: Any, **params: Any) -> Any:
    """Only forbids to be batched."""
    return x


def _chosen(_: Primitive, condition: Any, on: Any, off: Any, **params: Any) -> Any:
    """Chooses between the elements of a batch. Without one, the loop around it goes on, so the condition holds."""
    return on


def _any(_: Primitive, x: Any, **params: Any) -> Ternary:
    x = ternary(x)
    return Ternary(x.can_be_true.any(), x.can_be_false.all())


def _all(_: Primitive, x: Any, **params: Any) -> Ternary:
    x = ternary(x)
    return Ternary(x.can_be_true.all(), x.can_be_false.any())


defforeign("equinox", "nonbatchable", _first)
defforeign("equinox", "select_if_vmap", _chosen)
defforeign("equinox", "unvmap_any", _any)
defforeign("equinox", "unvmap_all", _all)
