"""Axis-parallel boxes: one, or a small one around each of many points."""

from typing import Any, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..intervals import Interval
from ._region import AbstractRegion, as_lists, check_points, check_scale


class AbstractBoxes(AbstractRegion):
    """Axis-parallel boxes, whose coordinates are the inputs themselves."""

    @property
    def coordinates(self) -> Interval:
        """The inputs themselves, `(n_boxes, d)`."""
        return self.boxes

    def point(self, u: Float[Array, " d"]) -> Float[Array, " d"]:
        """The coordinates are the inputs."""
        return u


@final
class Box(AbstractBoxes):
    """One axis-parallel box.

    Attributes:
        lower, upper: corners, `(d,)`, in physical units.

    Raises:
        ValueError: a corner is not finite, or a lower end lies above its upper end.
    """

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]

    def __check_init__(self) -> None:
        if self.lower.shape != self.upper.shape or self.lower.ndim != 1:
            raise ValueError(
                f"`lower` and `upper` have shapes {self.lower.shape} and {self.upper.shape}; both must be (d,)."
            )
        if not bool(jnp.all(jnp.isfinite(self.lower) & jnp.isfinite(self.upper))):
            raise ValueError("a corner of the box is not finite; a region must be bounded.")
        if bool(jnp.any(self.lower > self.upper)):
            axis = int(jnp.argmax(self.lower > self.upper))
            raise ValueError(
                f"the box is empty: its lower end {self.lower[axis]} lies above its upper end {self.upper[axis]} in "
                f"input {axis}."
            )

    @classmethod
    def around(cls, x: Float[Array, "n d"], scale: float = 1.0) -> "Box":
        """Smallest box that holds the points, scaled about its centre.

        Args:
            x: points, `(n, d)`.
            scale: 1 keeps all points inside; below 1 the box shrinks about its centre.
        """
        check_scale(scale)
        check_points(x)
        lower, upper = jnp.min(x, axis=0), jnp.max(x, axis=0)
        centre, radius = (lower + upper) / 2, scale * (upper - lower) / 2
        if scale < 1:
            return cls(centre - radius, centre + radius)
        # No point is to be lost to rounding.
        return cls(jnp.minimum(centre - radius, lower), jnp.maximum(centre + radius, upper))

    @property
    def boxes(self) -> Interval:
        """The one box, `(1, d)`."""
        return Interval(self.lower[None], self.upper[None])

    def holds(self, x: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether a point lies in the box, its faces included."""
        return jnp.all((x >= self.lower) & (x <= self.upper))

    def nearest(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The nearest point of the box."""
        return jnp.clip(x, self.lower, self.upper)

    def to_dict(self) -> dict[str, Any]:
        """The box in words and numbers."""
        return {"kind": "box", **as_lists(lower=self.lower, upper=self.upper)}


@final
class TrustRegions(AbstractBoxes):
    """A box around each of many points, all of one size.

    Small boxes have tight enclosures, and laid along the data they cover what matters; what lies between them is not
    covered.

    Attributes:
        centres: points, `(n, d)`, in physical units.
        radius: half the side in each input, `(d,)`, in physical units.

    Raises:
        ValueError: no points, shapes that do not fit, or a radius that is negative or not finite.
    """

    centres: Float[Array, "n d"]
    radius: Float[Array, " d"]

    def __check_init__(self) -> None:
        if self.centres.ndim != 2 or self.centres.shape[0] == 0 or self.radius.shape != self.centres.shape[1:]:
            raise ValueError(
                f"`centres` and `radius` have shapes {self.centres.shape} and {self.radius.shape}; they must be (n, d) "
                "and (d,) with n at least 1."
            )
        if not bool(jnp.all(jnp.isfinite(self.centres))):
            raise ValueError("a centre of the trust regions is not finite.")
        if not bool(jnp.all((self.radius >= 0) & jnp.isfinite(self.radius))):
            raise ValueError(f"`radius` is {self.radius}; it must be finite and not negative.")

    @classmethod
    def around(cls, x: Float[Array, "n d"], scale: float = 0.003) -> "TrustRegions":
        """A box around each of the points, `scale` times as large as the smallest box that holds them all.

        Args:
            x: points, `(n, d)`.
            scale: size of each box relative to the box of the data, in every input.
        """
        check_scale(scale)
        check_points(x)
        extent = jnp.max(x, axis=0) - jnp.min(x, axis=0)
        if not bool(jnp.any(extent > 0)):
            raise ValueError("`x` holds one point only, so its box has no size; give several points, or the radius.")
        return cls(x, scale * extent / 2)

    @property
    def boxes(self) -> Interval:
        """The boxes, `(n, d)`."""
        return jax.vmap(lambda x: Interval(x - self.radius, x + self.radius))(self.centres)

    def holds(self, x: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether a point lies in any of the boxes."""
        boxes = self.boxes
        return jnp.any(jnp.all((x[None] >= boxes.lower) & (x[None] <= boxes.upper), axis=1))

    def nearest(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The nearest point of the box whose centre is nearest, as a multiple of the radius."""
        unit = jnp.where(self.radius > 0, self.radius, jnp.ones_like(self.radius))
        distance = jnp.max(jnp.abs(x[None] - self.centres) / unit[None], axis=1)
        boxes, k = self.boxes, jnp.argmin(distance)
        return jnp.clip(x, boxes.lower[k], boxes.upper[k])

    def to_dict(self) -> dict[str, Any]:
        """The boxes in words and numbers."""
        return {"kind": "trust regions", **as_lists(centres=self.centres, radius=self.radius)}
