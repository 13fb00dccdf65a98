"""Affine maps between physical and normalised units, for values and their derivatives."""

import warnings
from collections.abc import Iterable, Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from .._columns import Moments, limits, remedy
from ..reference import CotangentProducts, HessianProducts, Samples


@final
class Normalisation(eqx.Module):
    """Mean and deviation of every input and every output.

    Attributes:
        x_mean, x_scale: of the inputs, `(d,)`, in physical units.
        y_mean, y_scale: of the outputs, `(m,)`, in physical units.

    Raises:
        ValueError: a mean or scale is not finite, or a scale is zero or so small that it counts as zero where subnormal
            numbers do. Under `jit` none of this is seen.
    """

    x_mean: Float[Array, " d"]
    x_scale: Float[Array, " d"]
    y_mean: Float[Array, " m"]
    y_scale: Float[Array, " m"]

    def __check_init__(self) -> None:
        for name in ("x_mean", "x_scale", "y_mean", "y_scale"):
            unit = getattr(self, name)
            if isinstance(unit, Tracer) or not isinstance(unit, jax.Array | np.ndarray):
                continue
            values = np.asarray(unit)
            bad = ~np.isfinite(values)
            if name.endswith("scale"):
                bad |= np.abs(values) < jnp.finfo(values.dtype).tiny
            if bad.any():
                column = f"{'in' if name[0] == 'x' else 'out'}put {int(bad.argmax())}"
                raise ValueError(
                    f"`{name}` is {values[bad][0]} for {column}; means must be finite, and scales finite and not zero."
                )

    @classmethod
    def identity(cls, dim_in: int, dim_out: int) -> "Normalisation":
        """Units as they are."""
        return cls(jnp.zeros(dim_in), jnp.ones(dim_in), jnp.zeros(dim_out), jnp.ones(dim_out))

    @classmethod
    def from_samples(
        cls, samples: Samples, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> "Normalisation":
        """Learn means and deviations from samples; values of weight zero play no part.

        They are computed on the host in double precision, and have the precision of the samples.

        Args:
            samples: in physical units.
            inputs: names of the inputs, for the messages.
            outputs: names of the outputs, for the messages.

        Raises:
            ValueError: fewer than two samples; a value that is not finite; an input or output that does not vary, or
                that varies by less than the precision of the samples resolves around its mean; or units whose range,
                or that of the derivatives between them, this precision cannot hold. Under `jit` none of this is seen,
                and what does not vary is centred and left unscaled.

        Warns:
            UserWarning: a column loses digits that matter, or second derivatives overflow that the samples do not hold.
        """
        if samples.n < 2:
            raise ValueError(f"`samples` holds {samples.n}; a deviation needs at least two samples.")
        known = _known_values(samples)
        if any(isinstance(part, Tracer) for part in (samples.x, samples.y, known)):
            return cls(*_traced_units(samples.x, None), *_traced_units(samples.y, known))
        known = None if known is None else np.asarray(known)
        for name, part, counts in (("x", samples.x, None), ("y", samples.y, known)):
            _check_finite(name, np.asarray(part), counts)
        moments = Moments.of(samples.x), Moments.of(samples.y, known)
        dtype = jnp.promote_types(samples.x.dtype, samples.y.dtype)
        dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.zeros(()).dtype
        return _units((moments[0], _with_slopes(*moments, samples, outputs)), samples, dtype, inputs, outputs)

    @classmethod
    def from_stream(
        cls,
        chunks: Iterable[Samples],
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> "Normalisation":
        """Learn means and deviations from samples that come some at a time, such as `MappedDataSet.chunks()`.

        Means and deviations of the chunks are merged in double precision (T. Chan, G. Golub, R. LeVeque,
        *Updating Formulae and a Pairwise Algorithm for Computing Sample Variances*, 1979, eq. 2.1), so one chunk is in
        memory at a time and nothing cancels.

        Args:
            chunks: samples in physical units; values of weight zero play no part.
            inputs: names of the inputs, for the messages.
            outputs: names of the outputs, for the messages.

        Raises:
            ValueError: as `from_samples`.
        """
        x = y = None
        n, samples = 0, None
        for samples in chunks:
            known = _known_values(samples)
            known = None if known is None else np.asarray(known)
            for name, part, counts in (("x", samples.x, None), ("y", samples.y, known)):
                _check_finite(name, np.asarray(part), counts, first_row=n)
            of_x, of_y = Moments.of(samples.x), Moments.of(samples.y, known)
            x, y = (of_x, of_y) if x is None or y is None else (x.merged(of_x), y.merged(of_y))
            n += samples.n
        if n < 2 or x is None or y is None or samples is None:
            raise ValueError(f"`chunks` hold {n} samples; a deviation needs at least two samples.")
        return _units((x, y), samples, jnp.zeros(()).dtype, inputs, outputs)

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


def _units(
    moments: tuple[Moments, Moments],
    samples: Samples,
    dtype: DTypeLike,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> Normalisation:
    """Means and deviations in a precision, once it is known that it can hold them and the derivatives."""
    x, y = moments
    for name, column, names in (("x", x, inputs), ("y", y, outputs)):
        _check_columns(name, column, dtype, names)
    has_curvature = samples.d2ydx2 is not None or samples.hvps is not None
    _check_derivatives(x.deviation, y.deviation, dtype, inputs, outputs, has_curvature)
    return Normalisation(*(jnp.asarray(part, dtype) for part in (x.mean, x.deviation, y.mean, y.deviation)))


def _with_slopes(x: Moments, y: Moments, samples: Samples, outputs: Sequence[str] | None) -> Moments:
    """Deviations of outputs without values are those of a linear function with such derivatives and independent inputs.

    Warns:
        UserWarning: an output has no values, so that its level is open.
    """
    columns = np.flatnonzero(y.count == 0).tolist()
    if not columns or samples.dydx is None:
        return y
    weights = None if samples.weights is None else samples.weights.dydx
    known = np.ones(samples.dydx.shape, bool) if weights is None else np.asarray(weights) > 0
    steps = np.where(known, np.asarray(samples.dydx, np.float64) * x.deviation, 0.0)
    count, slope = known.sum(axis=0), np.zeros(known.shape[1:])
    for k, i in np.ndindex(*slope.shape):
        slope[k, i] = np.linalg.norm(steps[:, k, i] / np.sqrt(max(count[k, i], 1)))
    mean, deviation, lowest, highest = (part.copy() for part in (y.mean, y.deviation, y.lowest, y.highest))
    for k in columns:
        mean[k], deviation[k] = 0.0, np.hypot.reduce(slope[k])
        lowest[k], highest[k] = -deviation[k], deviation[k]
        called = "" if outputs is None else f", '{outputs[k]}'"
        warnings.warn(
            f"`samples.y` has no values in column {k}{called}: its derivatives leave its level open, and a "
            "surrogate is right up to a constant.",
            stacklevel=3,
        )
    return Moments(y.count, mean, deviation, lowest, highest)


def _traced_units(part: Float[Array, "n k"], known: Bool[Array, "n k"] | None) -> tuple[Array, Array]:
    """The same while JAX traces, where nothing can be refused: what does not vary is left unscaled."""
    size = jnp.max(jnp.abs(part), axis=0, where=known, initial=0.0)
    unit = jnp.where(size > 0, size, jnp.ones_like(size))
    scaled = part / unit[None]
    mean, deviation = jnp.mean(scaled, axis=0, where=known), jnp.std(scaled, axis=0, where=known)
    varies = deviation > 8 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)
    return unit * mean, jnp.where(varies, unit * deviation, jnp.ones_like(deviation))


def _known_values(samples: Samples) -> Bool[Array, "n m"] | None:
    if samples.weights is None or samples.weights.y is None:
        return None
    return samples.weights.y > 0


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


def _check_columns(name: str, moments: Moments, dtype: DTypeLike, names: Sequence[str] | None) -> None:
    """Refuse columns that do not vary, or not within what a precision resolves; warn of those that lose digits.

    Raises:
        ValueError: naming the column, what it holds and the remedy.
    """
    kind = "input" if name == "x" else "output"
    smallest, largest = limits(dtype)
    resolved, coarse, steps = moments.is_resolved(dtype), moments.is_coarse(dtype), moments.steps(dtype)
    kept = jnp.dtype(dtype).name
    for k, (mean, deviation) in enumerate(zip(moments.mean, moments.deviation, strict=True)):
        called = "" if names is None else f", '{names[k]}',"
        where = f"in column {k}{called}"
        if moments.lowest[k] > moments.highest[k]:
            raise ValueError(f"`samples.{name}` holds no known value {where.rstrip(',')}; leave that {kind} out.")
        if moments.lowest[k] == moments.highest[k]:
            # What was lost in a cast, or in a table's integers, cannot be seen any more.
            hint = ""
            if mean and (kept != "float64" or abs(mean) >= 2.0**53):
                advice = remedy(dtype, "take an offset off that column")
                hint = f". If it does, by less than {steps[k]:.2g}, that is lost in {kept}: {advice}"
            raise ValueError(
                f"`samples.{name}` does not vary {where} but is {mean:.6g} in all {moments.count[k]} samples, so there "
                f"is no deviation to normalise by; leave that {kind} out{hint}."
            )
        if not resolved[k]:
            raise ValueError(
                f"`samples.{name}` varies {where} by only {deviation:.2g} around {mean:.6g}, where numbers of {kept} "
                f"are {steps[k]:.2g} apart; {remedy(dtype, 'take the offset off that column')}."
            )
        if not smallest <= deviation <= largest or moments.size[k] > largest:
            advice = remedy(dtype, "change the units of that column")
            raise ValueError(
                f"`samples.{name}` reaches {moments.size[k]:.2g} and varies by {deviation:.2g} {where.rstrip(',')}, "
                f"but {kept} computes within {smallest:.0e} and {largest:.0e}; {advice}."
            )
        if coarse[k] and kept != "float64":
            warnings.warn(
                f"`samples.{name}` varies {where} by {deviation:.2g} around {mean:.6g}, where numbers of {kept} are "
                f"{steps[k]:.2g} apart, so digits are lost; {remedy(dtype, 'take the offset off that column')}.",
                stacklevel=4,
            )


def _check_derivatives(
    x: Float[np.ndarray, " d"],
    y: Float[np.ndarray, " m"],
    dtype: DTypeLike,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    has_curvature: bool,
) -> None:
    """Refuse units between which derivatives leave the range of a precision.

    Raises:
        ValueError: naming output and input, the size of their derivatives, and the remedy.
    """
    kept = jnp.dtype(dtype).name
    smallest, largest = limits(dtype)
    # By logarithms, since double precision has a range of its own.
    first = np.log10(y)[:, None] - np.log10(x)[None]
    for order, logs in ((1, first), (2, first - np.log10(x)[None])):
        bad = (logs < np.log10(smallest)) | (logs > np.log10(largest))
        if not bad.any():
            continue
        k, i = np.argwhere(bad)[0].tolist()
        of = f"output {k} by input {i}" if inputs is None or outputs is None else f"'{outputs[k]}' by '{inputs[i]}'"
        what = "first" if order == 1 else "second"
        text = (
            f"{what} derivatives of {of} are of size 1e{logs[k, i]:+.0f}, since the one varies by {y[k]:.2g} and the "
            f"other by {x[i]:.2g}, and {kept} computes within {smallest:.0e} and {largest:.0e}; "
            f"{remedy(dtype, 'change the units of a column')}."
        )
        if order == 1 or has_curvature:
            raise ValueError(text)
        if logs[k, i] > 0:
            warnings.warn(f"{text} Values and first derivatives are not affected.", stacklevel=4)
