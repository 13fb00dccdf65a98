"""What a region is."""

import abc
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from ..intervals import Interval


class AbstractRegion(eqx.Module):
    """A bounded set of inputs: the image of one box of coordinates, or of several, under an affine map.

    What encloses a function over a region encloses it over the coordinates, so that a relational domain sees the shape
    of the region and not the axis-parallel hull of it.
    """

    @property
    @abc.abstractmethod
    def boxes(self) -> Interval:
        """Axis-parallel boxes that cover the region, `(n_boxes, d)`, in physical units of the inputs."""

    @property
    @abc.abstractmethod
    def coordinates(self) -> Interval:
        """The boxes of coordinates, `(n_boxes, k)`."""

    @abc.abstractmethod
    def point(self, u: Float[Array, " k"]) -> Float[Array, " d"]:
        """The input, in physical units, at coordinates `(k,)`."""

    def inside(self, u: Float[Array, " k"]) -> Bool[Array, ""] | None:
        """Whether coordinates in the box belong to the region; None if all do."""
        return None

    @abc.abstractmethod
    def holds(self, x: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether one input belongs to the region; where rounding leaves it open, no."""

    @abc.abstractmethod
    def nearest(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """A point of the region that is near one input: the input itself, if it belongs to it."""

    def contains(self, x: Float[Array, "... d"]) -> Bool[Array, "..."]:
        """Whether inputs belong to the region; where rounding leaves it open, no."""
        return jax.vmap(self.holds)(x.reshape(-1, x.shape[-1])).reshape(x.shape[:-1])

    def check_contains(self, x: Float[Array, "n d"]) -> None:
        """Refuse data that do not all belong to the region they are said to lie in.

        Args:
            x: points, `(n, d)`, in physical units.

        Raises:
            ValueError: some lie outside; the message says how many, and which is the first.
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"`x` has shape {x.shape}; points of this region are (n, {self.dim}).")
        out = ~np.asarray(self.contains(x))
        if out.any():
            raise ValueError(
                f"{int(out.sum())} of {out.size} points of `x` lie outside of the region, the first in row "
                f"{int(out.argmax())}; enlarge the region, as `{type(self).__name__}.around(x)` does, or remove them."
            )

    def clip(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """For every input a point of the region that is near: itself, if it belongs to it."""
        return jax.vmap(self.nearest)(x.reshape(-1, x.shape[-1])).reshape(x.shape)

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The region in words and numbers that JSON can hold; `region_from_dict` reads it back."""

    @property
    def dim(self) -> int:
        """Number of inputs, d."""
        return self.boxes.shape[1]


def as_lists(**arrays: Array) -> dict[str, Any]:
    """Arrays as nested lists of Python floats, which hold every float32 and float64 exactly."""
    return {name: np.asarray(array, np.float64).tolist() for name, array in arrays.items()}


def check_scale(scale: float) -> None:
    """Refuses a scale that is not positive."""
    if not scale > 0:
        raise ValueError(f"`scale` is {scale}; it must be positive.")


def check_points(x: Float[Array, "n d"]) -> None:
    """Refuses data that are none, or that are not finite."""
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"`x` has shape {x.shape}: there are no data to lay a region around; it must be (n, d).")
    bad = ~np.all(np.isfinite(np.asarray(x)), axis=1)
    if bad.any():
        raise ValueError(f"`x` holds a value that is not finite in row {int(bad.argmax())}; remove or repair it.")
