"""Affine maps between physical and normalised units, for values and their derivatives."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ..reference import CotangentProducts, HessianProducts, Samples


@final
class Normalisation(eqx.Module):
    """Mean and deviation of every input and every output.

    Attributes:
        x_mean, x_scale: of the inputs, `(d,)`, in physical units.
        y_mean, y_scale: of the outputs, `(m,)`, in physical units.
    """

    x_mean: Float[Array, " d"]
    x_scale: Float[Array, " d"]
    y_mean: Float[Array, " m"]
    y_scale: Float[Array, " m"]

    @classmethod
    def identity(cls, dim_in: int, dim_out: int) -> "Normalisation":
        """Units as they are."""
        return cls(jnp.zeros(dim_in), jnp.ones(dim_in), jnp.zeros(dim_out), jnp.ones(dim_out))

    @classmethod
    def from_samples(cls, samples: Samples) -> "Normalisation":
        """Learn means and deviations from samples.

        A column that does not vary has deviation one: it is centred and left unscaled.

        Raises:
            ValueError: fewer than two samples, or a value that is not finite (checked outside of `jit`).
        """
        if samples.n < 2:
            raise ValueError(f"`samples` holds {samples.n}; a deviation needs at least two samples.")
        parts = []
        for name, part in (("x", samples.x), ("y", samples.y)):
            if not isinstance(part, Tracer) and not bool(jnp.all(jnp.isfinite(part))):
                row, column = (int(i[0]) for i in jnp.nonzero(~jnp.isfinite(part), size=1))
                raise ValueError(
                    f"`samples.{name}` holds {part[row, column]} in row {row}, column {column}; remove or repair "
                    "samples that are not finite."
                )
            mean = jnp.mean(part, axis=0)
            # Deviations below the rounding error of the mean are rounding errors themselves.
            floor = 8 * jnp.finfo(part.dtype).eps * jnp.abs(mean)
            deviation = jnp.std(part, axis=0)
            parts += [mean, jnp.where(deviation > floor, deviation, jnp.ones_like(deviation))]
        return cls(*parts)

    def normalise(self, samples: Samples) -> Samples:
        """Samples in normalised units; derivatives are scaled by the chain rule, so that they stay derivatives.

        Directions become those of the normalised inputs, cotangents those of the normalised outputs; weights stay.
        """
        ratio = self.x_scale[None] / self.y_scale[:, None]
        curvature_ratio = ratio[:, :, None] * self.x_scale[None, None]
        hvps, vjps = samples.hvps, samples.vjps
        if hvps is not None:
            products = hvps.products * ratio[None, :, None]
            hvps = HessianProducts(hvps.directions / self.x_scale[None, None], products)
        if vjps is not None:
            products = vjps.products * self.x_scale[None, None]
            vjps = CotangentProducts(vjps.cotangents * self.y_scale[None, None], products)
        return Samples(
            (samples.x - self.x_mean[None]) / self.x_scale[None],
            (samples.y - self.y_mean[None]) / self.y_scale[None],
            None if samples.dydx is None else samples.dydx * ratio[None],
            None if samples.d2ydx2 is None else samples.d2ydx2 * curvature_ratio[None],
            hvps,
            vjps,
            samples.weights,
        )
