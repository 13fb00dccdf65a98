"""Regions that lie along the data: a box in their principal axes, and an ellipsoid."""

from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..intervals import Interval, inclusion
from ._region import AbstractRegion, as_lists, check_points, check_scale


class AbstractAligned(AbstractRegion):
    """`centre + axes @ u` with coordinates u in a box.

    Attributes:
        centre: `(d,)`, in physical units.
        axes: orthonormal columns, `(d, d)`.
        radius: half the extent along each axis, `(d,)`, in physical units.
    """

    centre: Float[Array, " d"]
    axes: Float[Array, "d d"]
    radius: Float[Array, " d"]

    def __check_init__(self) -> None:
        d = self.centre.size
        if self.centre.ndim != 1 or self.axes.shape != (d, d) or self.radius.shape != (d,):
            raise ValueError(
                f"`centre`, `axes` and `radius` have shapes {self.centre.shape}, {self.axes.shape} and "
                f"{self.radius.shape}; they must be (d,), (d, d) and (d,)."
            )
        if not bool(jnp.all(jnp.isfinite(self.centre)) & jnp.all(jnp.isfinite(self.axes))):
            raise ValueError("`centre` and `axes` must be finite.")
        if not bool(jnp.all((self.radius >= 0) & jnp.isfinite(self.radius))):
            raise ValueError(f"`radius` is {self.radius}; it must be finite and not negative.")
        defect = float(jnp.max(jnp.abs(self.axes.T @ self.axes - jnp.eye(d, dtype=self.axes.dtype))))
        if not defect < 64 * d * float(jnp.finfo(self.axes.dtype).eps):
            raise ValueError(f"the columns of `axes` must be orthonormal; they miss it by {defect:.1e}.")

    @property
    def boxes(self) -> Interval:
        """The axis-parallel hull, `(1, d)`."""
        hull = inclusion(self.point, domain="affine")(Interval(-self.radius, self.radius))
        return Interval(hull.lower[None], hull.upper[None])

    @property
    def coordinates(self) -> Interval:
        """Along the axes, from the centre, `(1, d)`."""
        return Interval(-self.radius[None], self.radius[None])

    def point(self, u: Float[Array, " d"]) -> Float[Array, " d"]:
        """The input at coordinates u."""
        return self.centre + self.axes @ u

    def _coordinates_of(self, x: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """Coordinates of an input, and a bound of their rounding errors and of those of the axes."""
        d = self.centre.size
        size = jnp.max(jnp.abs(x)) + jnp.max(jnp.abs(self.centre))
        return (x - self.centre) @ self.axes, 128 * d * float(jnp.finfo(x.dtype).eps) * size


def _principal_axes(x: Float[Array, "n d"]) -> np.ndarray:
    """Principal axes of points, largest variance first; the signs are those that make the largest entry positive."""
    points = np.asarray(x, np.float64)
    _, _, rows = np.linalg.svd(points - points.mean(0), full_matrices=True)
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(1)])
    return (rows * signs[:, None]).T


@final
class AlignedBox(AbstractAligned):
    """A box whose edges are the principal axes of data: `centre + axes @ u`, `|u| ≤ radius`.

    Correlated inputs fill little of their axis-parallel box; this one is smaller by far, and enclosures over it are
    tighter in a relational domain.

    Attributes:
        centre: `(d,)`, in physical units.
        axes: orthonormal columns, `(d, d)`.
        radius: half the length of each edge, `(d,)`, in physical units.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or axes that are not orthonormal.
    """

    @classmethod
    def around(cls, x: Float[Array, "n d"], scale: float = 1.0) -> "AlignedBox":
        """The smallest box along the principal axes that holds the points, scaled about its centre.

        Args:
            x: points, `(n, d)`.
            scale: 1 keeps all points inside; below 1 the box shrinks about its centre.
        """
        check_scale(scale)
        check_points(x)
        axes = _principal_axes(x)
        u = np.asarray(x, np.float64) @ axes
        low, upp = u.min(0), u.max(0)
        # A point on a face is not to be lost to rounding.
        slack = 1024 * x.shape[1] * float(jnp.finfo(x.dtype).eps) * np.abs(np.asarray(x)).max()
        centre, radius = axes @ (0.5 * low + 0.5 * upp), scale * (0.5 * upp - 0.5 * low) + slack
        return cls(*(jnp.asarray(part, x.dtype) for part in (centre, axes, radius)))

    def holds(self, x: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether a point lies in the box for certain."""
        u, error = self._coordinates_of(x)
        return jnp.all(jnp.abs(u) + error <= self.radius)

    def nearest(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The nearest point of the box, a few rounding errors inside."""
        u, error = self._coordinates_of(x)
        limit = jnp.maximum(self.radius - 4 * error, 0)
        return jnp.where(self.holds(x), x, self.point(jnp.clip(u, -limit, limit)))

    def to_dict(self) -> dict[str, Any]:
        """The box in words and numbers."""
        return {"kind": "aligned box", **as_lists(centre=self.centre, axes=self.axes, radius=self.radius)}


@final
class Ellipsoid(AbstractAligned):
    """An ellipsoid along the principal axes of data: `centre + axes @ u`, `Σ (uᵢ / radiusᵢ)² ≤ 1`.

    A subdivision leaves out what lies outside of it; one box of coordinates is its aligned hull.

    Attributes:
        centre: `(d,)`, in physical units.
        axes: orthonormal columns, `(d, d)`.
        radius: half the length of each axis, `(d,)`, positive, in physical units.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, a radius of zero, or axes that are not
            orthonormal.
    """

    def __check_init__(self) -> None:
        if bool(jnp.any(self.radius == 0)):
            raise ValueError("`radius` is zero along an axis; use an `AlignedBox`, which may be flat.")

    @classmethod
    def around(cls, x: Float[Array, "n d"], scale: float = 1.0) -> "Ellipsoid":
        """The smallest ellipsoid with the mean and the covariance of the points that holds them all, scaled.

        Args:
            x: points, `(n, d)`, that do not lie in a plane.
            scale: 1 keeps all points inside; below 1 the ellipsoid shrinks about its centre.
        """
        check_scale(scale)
        check_points(x)
        axes = _principal_axes(x)
        points = np.asarray(x, np.float64)
        mean = points.mean(0)
        u = (points - mean) @ axes
        deviation = u.std(0)
        if not np.all(deviation > 64 * np.finfo(x.dtype).eps * np.abs(points).max()):
            raise ValueError("`x` lies in a plane, so that no ellipsoid fits it; use `AlignedBox.around`.")
        slack = 1024 * x.shape[1] * float(jnp.finfo(x.dtype).eps) * np.abs(points).max() / deviation.min()
        radius = (scale * np.sqrt(np.sum((u / deviation) ** 2, axis=1).max()) + slack) * deviation
        return cls(*(jnp.asarray(part, x.dtype) for part in (mean, axes, radius)))

    def inside(self, u: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether coordinates belong to the ellipsoid."""
        return jnp.sum((u / self.radius) ** 2) <= 1

    def _distance(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """`|u / radius|` and a bound of its error."""
        u, error = self._coordinates_of(x)
        return jnp.linalg.norm(u / self.radius), x.size**0.5 * error / jnp.min(self.radius)

    def holds(self, x: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether a point lies in the ellipsoid for certain."""
        size, error = self._distance(x)
        return size + error <= 1

    def nearest(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """A point outside is moved towards the centre."""
        size, error = self._distance(x)
        factor = jnp.maximum(1 - 4 * error, 0) / jnp.where(size > 0, size, jnp.ones_like(size))
        return jnp.where(self.holds(x), x, self.centre + (x - self.centre) * factor)

    def to_dict(self) -> dict[str, Any]:
        """The ellipsoid in words and numbers."""
        return {"kind": "ellipsoid", **as_lists(centre=self.centre, axes=self.axes, radius=self.radius)}
