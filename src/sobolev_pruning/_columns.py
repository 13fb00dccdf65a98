"""Means and deviations of columns, and whether a floating-point type can hold them. All on the host, in double."""

import dataclasses
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

DOUBLE = "compute in double precision (`jax_enable_x64`)"
"""The remedy where single precision is too small; commands put their own option in the place of JAX's."""

# Room for what is computed with a number: what a network extrapolates to, and deviations from a mean.
_ROOM = 1024.0
# A deviation of fewer roundings of the mean is made of rounding errors.
_FEWEST_STEPS = 8
# With fewer roundings of the mean in one deviation, rounding alone costs more than 1e-7 of an R².
_FEW_STEPS = 1000


@final
@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean, deviation, smallest and largest of the known values of every column.

    Columns may have any scale that double precision can hold: they are brought to one by a power of two, which is
    exact, before anything is squared.
    """

    count: Int[np.ndarray, " k"]
    mean: Float[np.ndarray, " k"]
    deviation: Float[np.ndarray, " k"]
    lowest: Float[np.ndarray, " k"]
    highest: Float[np.ndarray, " k"]

    @classmethod
    def of(cls, values: Any, known: Bool[np.ndarray, "n k"] | None = None) -> "Moments":
        """Of values `(n, k)`; what is not known may be NaN."""
        values = np.asarray(values).astype(np.float64)
        is_known = np.ones(values.shape, bool) if known is None else known
        # Zero in place of what is not known.
        kept = np.where(is_known, values, 0.0)
        size = np.abs(kept).max(axis=0, initial=0.0)
        exponent = np.frexp(size)[1]
        count = is_known.sum(axis=0)
        scaled = np.ldexp(kept, -exponent)
        mean = scaled.sum(axis=0) / np.maximum(count, 1)
        squares = np.where(is_known, scaled - mean, 0.0) ** 2
        deviation = np.sqrt(squares.sum(axis=0) / np.maximum(count, 1))
        lowest = np.where(is_known, values, np.inf).min(axis=0, initial=np.inf)
        highest = np.where(is_known, values, -np.inf).max(axis=0, initial=-np.inf)
        # The mean of equal numbers is rounded; they do not vary all the same.
        deviation = np.where(highest > lowest, np.ldexp(deviation, exponent), 0.0)
        return cls(count, np.ldexp(mean, exponent), deviation, lowest, highest)

    def merged(self, other: "Moments") -> "Moments":
        """Of the rows of both (T. Chan, G. Golub, R. LeVeque, 1979, eq. 2.1), without squaring a deviation."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        shift = other.mean - self.mean
        within = np.hypot(self.deviation * np.sqrt(1 - share), other.deviation * np.sqrt(share))
        return Moments(
            count,
            self.mean + shift * share,
            np.hypot(within, shift * np.sqrt(share * (1 - share))),
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )

    @property
    def size(self) -> Float[np.ndarray, " k"]:
        """Largest magnitude of every column; zero where nothing is known."""
        return np.where(self.count > 0, np.maximum(np.abs(self.lowest), np.abs(self.highest)), 0.0)

    def steps(self, dtype: DTypeLike) -> Float[np.ndarray, " k"]:
        """Distance of the floating-point numbers around the mean of every column."""
        return float(jnp.finfo(dtype).eps) * np.abs(self.mean)

    def is_resolved(self, dtype: DTypeLike) -> Bool[np.ndarray, " k"]:
        """Whether a column varies by more than rounding errors of its mean."""
        return self.deviation > _FEWEST_STEPS * self.steps(dtype)

    def is_coarse(self, dtype: DTypeLike) -> Bool[np.ndarray, " k"]:
        """Whether rounding is no longer negligible beside a deviation."""
        return self.deviation < _FEW_STEPS * self.steps(dtype)


def limits(dtype: DTypeLike) -> tuple[float, float]:
    """Smallest and largest scale that leaves room for computing with it."""
    info = jnp.finfo(dtype)
    return float(info.tiny) * _ROOM, float(info.max) / _ROOM


def remedy(dtype: DTypeLike, first: str) -> str:
    """What can be done about a column; double precision where it is not in use yet."""
    return first if jnp.dtype(dtype) == np.float64 else f"{first}, or {DOUBLE}"
