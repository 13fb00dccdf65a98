"""Where a network is enclosed: one box, or a small box around each of many points."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..intervals import Interval


class AbstractRegion(eqx.Module):
    """A set of inputs, given as the union of boxes."""

    @property
    @abc.abstractmethod
    def boxes(self) -> Interval:
        """The boxes, `(n_boxes, d)`, in physical units of the inputs."""


@final
class Box(AbstractRegion):
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
            raise ValueError("a corner of the box is not finite; significance needs a bounded region.")
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
        if not scale > 0:
            raise ValueError(f"`scale` is {scale}; it must be positive.")
        lower, upper = jnp.min(x, axis=0), jnp.max(x, axis=0)
        centre, radius = (lower + upper) / 2, scale * (upper - lower) / 2
        return cls(centre - radius, centre + radius)

    @property
    def boxes(self) -> Interval:
        """The one box, `(1, d)`."""
        return Interval(self.lower[None], self.upper[None])


@final
class TrustRegions(AbstractRegion):
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
        if not scale > 0:
            raise ValueError(f"`scale` is {scale}; it must be positive.")
        extent = jnp.max(x, axis=0) - jnp.min(x, axis=0)
        if not bool(jnp.any(extent > 0)):
            raise ValueError("`x` holds one point only, so its box has no size; give several points, or the radius.")
        return cls(x, scale * extent / 2)

    @property
    def boxes(self) -> Interval:
        """The boxes, `(n, d)`."""
        return jax.vmap(lambda x: Interval(x - self.radius, x + self.radius))(self.centres)
