"""Where a function is enclosed: boxes, boxes along the data, ellipsoids, small boxes around many points."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from .._reading import reading, shown
from ._aligned import AlignedBox, Ellipsoid
from ._boxes import Box, TrustRegions
from ._region import AbstractRegion

__all__ = ["AbstractRegion", "AlignedBox", "Box", "Ellipsoid", "TrustRegions", "region_from_dict"]

_KINDS: dict[str, type[AbstractRegion]] = {
    "box": Box,
    "aligned box": AlignedBox,
    "ellipsoid": Ellipsoid,
    "trust regions": TrustRegions,
}


def region_from_dict(described: dict[str, Any], dtype: Any) -> AbstractRegion:
    """The region that `to_dict` has described, in a float format.

    Raises:
        ValueError: the kind is unknown, or the numbers do not make such a region.
    """
    kind = described.get("kind") if isinstance(described, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"the region is of the kind {shown(kind)}; it must be one of {', '.join(_KINDS)}.")
    with reading("the region", "its numbers cannot be read"):
        numbers = {name: jnp.asarray(value, dtype) for name, value in described.items() if name != "kind"}
    wanted = {field.name for field in dataclasses.fields(_KINDS[kind])}
    if numbers.keys() != wanted:
        raise ValueError(
            f"the region of the kind '{kind}' is incomplete: it has {shown(sorted(numbers))}, not {sorted(wanted)}."
        )
    return _KINDS[kind](**numbers)
