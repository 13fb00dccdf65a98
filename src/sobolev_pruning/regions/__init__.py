"""Where a function is enclosed: boxes, boxes along the data, ellipsoids, small boxes around many points."""

from typing import Any

import jax.numpy as jnp

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
    rest = dict(described)
    kind = rest.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"the region is of the kind {kind!r}; there are {tuple(_KINDS)}.")
    try:
        return _KINDS[kind](**{name: jnp.asarray(value, dtype) for name, value in rest.items()})
    except TypeError as error:
        raise ValueError(f"the region of the kind {kind!r} is incomplete ({error}).") from None
