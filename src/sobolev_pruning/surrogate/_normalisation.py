"""Affine maps between physical and normalised units, for values and their derivatives."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

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
    def from_samples(
        cls, samples: Samples, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> "Normalisation":
        """Learn means and deviations from samples; values of weight zero play no part.

        Args:
            samples: in physical units.
            inputs: names of the inputs, for the messages.
            outputs: names of the outputs, for the messages.

        Raises:
            ValueError: fewer than two samples, a value that is not finite, or an input or output that does not vary.
                Under `jit` none of this is seen, and what does not vary is centred and left unscaled.
        """
        if samples.n < 2:
            raise ValueError(f"`samples` holds {samples.n}; a deviation needs at least two samples.")
        columns = (("x", samples.x, None, inputs), ("y", samples.y, _known_values(samples), outputs))
        for name, part, known, _ in columns:
            if not isinstance(part, Tracer):
                _check_finite(name, np.asarray(part), None if known is None else np.asarray(known))
        parts = []
        for name, part, known, names in columns:
            mean, deviation = jnp.mean(part, axis=0, where=known), jnp.std(part, axis=0, where=known)
            varies = deviation > _floor(mean)
            if not isinstance(varies, Tracer):
                _check_varying(name, np.asarray(varies), np.asarray(mean), names, samples.n)
            parts += [mean, jnp.where(varies, deviation, jnp.ones_like(deviation))]
        return cls(*parts)

    @classmethod
    def from_stream(
        cls,
        chunks: Iterable[Samples],
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> "Normalisation":
        """Learn means and deviations from samples that come some at a time, such as `MappedDataSet.chunks()`.

        Numbers and squared deviations of the chunks are merged in double precision (T. Chan, G. Golub, R. LeVeque,
        *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979, eq. 2.1), so one chunk is in
        memory at a time and nothing cancels.

        Args:
            chunks: samples in physical units; values of weight zero play no part.
            inputs: names of the inputs, for the messages.
            outputs: names of the outputs, for the messages.

        Raises:
            ValueError: as `from_samples`.
        """
        moments: dict[str, _Moments] = {}
        n = 0
        for samples in chunks:
            for name, part, known in (("x", samples.x, None), ("y", samples.y, _known_values(samples))):
                values = np.asarray(part, np.float64)
                is_known = np.ones(values.shape, bool) if known is None else np.asarray(known)
                _check_finite(name, values, is_known, first_row=n)
                found = _Moments.of(values, is_known)
                moments[name] = moments[name].merged(found) if name in moments else found
            n += samples.n
        if n < 2:
            raise ValueError(f"`chunks` hold {n} samples; a deviation needs at least two samples.")
        parts = []
        for name, names in (("x", inputs), ("y", outputs)):
            mean, deviation = moments[name].mean, moments[name].deviation
            # The numbers have the precision in which they came, and so have their means.
            floor = np.asarray(_floor(jnp.asarray(mean, dtype=float)))
            _check_varying(name, deviation > floor, mean, names, n)
            parts += [jnp.asarray(mean, dtype=float), jnp.asarray(deviation, dtype=float)]
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


@final
@dataclasses.dataclass(frozen=True)
class _Moments:
    """Numbers of known values, their means, and the sums of their squared deviations, by column."""

    count: Int[np.ndarray, " k"]
    mean: Float[np.ndarray, " k"]
    squares: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "n k"], known: Bool[np.ndarray, "n k"]) -> "_Moments":
        count = known.sum(axis=0)
        # Zero in place of what is not known, which may be NaN.
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        deviations = np.where(known, values - mean[None], 0.0)
        return cls(count, mean, (deviations**2).sum(axis=0))

    def merged(self, other: "_Moments") -> "_Moments":
        count = self.count + other.count
        shift = other.mean - self.mean
        share = other.count / np.maximum(count, 1)
        return _Moments(count, self.mean + shift * share, self.squares + other.squares + shift**2 * self.count * share)

    @property
    def deviation(self) -> Float[np.ndarray, " k"]:
        return np.sqrt(self.squares / np.maximum(self.count, 1))


def _known_values(samples: Samples) -> Bool[Array, "n m"] | None:
    if samples.weights is None or samples.weights.y is None:
        return None
    return samples.weights.y > 0


def _floor(mean: Float[Array, " k"]) -> Float[Array, " k"]:
    """Deviations below the rounding error of the mean are rounding errors themselves."""
    return 8 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)


def _check_finite(
    name: str, part: Float[np.ndarray, "n k"], known: Bool[np.ndarray, "n k"] | None, first_row: int = 0
) -> None:
    bad = ~np.isfinite(part) & (True if known is None else known)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"`samples.{name}` holds {part[row, column]} in row {first_row + row}, column {column}; remove or repair "
            "samples that are not finite."
        )


def _check_varying(
    name: str, varies: Bool[np.ndarray, " k"], mean: Float[np.ndarray, " k"], names: Sequence[str] | None, n: int
) -> None:
    if varies.all():
        return
    column = int(np.flatnonzero(~varies)[0])
    kind = "input" if name == "x" else "output"
    called = "" if names is None else f", '{names[column]}',"
    raise ValueError(
        f"`samples.{name}` does not vary in column {column}{called} but is {mean[column]:.6g} in all {n} samples, so "
        f"there is no deviation to normalise by; leave that {kind} out."
    )
