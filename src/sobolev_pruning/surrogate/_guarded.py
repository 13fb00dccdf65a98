"""A surrogate that minds its region: outside of it, it warns, clips or refuses."""

import warnings
from typing import Literal, final, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from ..reference import Samples
from ..regions import AbstractRegion
from ._conversion import check_surrogate
from ._surrogate import Surrogate

Outside = Literal["warn", "clip", "refuse"]


class OutsideRegionError(ValueError):
    """An input lies outside of the region that a surrogate is meant for."""


class OutsideRegionWarning(UserWarning):
    """An input lies outside of the region that a surrogate is meant for."""


@final
class GuardedSurrogate(eqx.Module):
    """A surrogate with a region and what to do outside of it.

    Attributes:
        surrogate: the network with its units.
        region: where it may be used, in physical units.
        outside: `"warn"` warns and goes on; `"clip"` evaluates at a near point of the region, derivatives likewise;
            `"refuse"` raises `OutsideRegionError`. Under `jit`, inputs are not known: there `"clip"` alone is possible.

    Raises:
        ValueError: the region has another number of inputs, or `outside` is unknown.
    """

    surrogate: Surrogate
    region: AbstractRegion
    outside: Outside = eqx.field(static=True, default="refuse")

    def __check_init__(self) -> None:
        check_surrogate(self.surrogate)
        d = self.surrogate.network.widths[0]
        if self.region.dim != d:
            raise ValueError(f"`region` has {self.region.dim} inputs, the surrogate {d}.")
        if self.outside not in get_args(Outside):
            raise ValueError(f"`outside` is {self.outside!r}; it must be one of {get_args(Outside)}.")

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        """Values at one sample."""
        return self.surrogate(self._admitted(x))

    def gradient(self, x: Float[Array, " d"]) -> Float[Array, "m d"]:
        """Jacobian at one sample, or at the point to which it is clipped."""
        return self.surrogate.gradient(self._admitted(x))

    def hessian(self, x: Float[Array, " d"]) -> Float[Array, "m d d"]:
        """Hessian of every output at one sample, or at the point to which it is clipped."""
        return self.surrogate.hessian(self._admitted(x))

    def evaluate(self, x: Float[Array, "n d"], *, batch_size: int = 256) -> Samples:
        """Values, Jacobians and Hessians of many samples; see `Surrogate.evaluate`. Its `x` is what was evaluated."""
        return self.surrogate.evaluate(self._admitted(x), batch_size=batch_size)

    def _admitted(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        x = x if isinstance(x, Tracer) else jnp.asarray(x)
        d = self.region.dim
        if x.shape[-1:] != (d,):
            raise ValueError(f"`x` has shape {x.shape}; its last axis must have the {d} inputs of the surrogate.")
        if self.outside == "clip":
            return _clip(self.region, x)
        if isinstance(x, Tracer):
            raise TypeError(
                f"inputs are not known under `jit`, `vmap` or `grad`, so that outside={self.outside!r} cannot look at "
                'them. Use outside="clip" there, or call `evaluate` with all samples.'
            )
        out = ~np.asarray(_contains(self.region, x)).reshape(-1)
        if out.any():
            row = "" if x.ndim == 1 else f", the first in row {int(out.argmax())}"
            message = f"{int(out.sum())} of {out.size} inputs lie outside of the region of the surrogate{row}."
            if self.outside == "refuse":
                raise OutsideRegionError(f"{message} Use outside='clip' or 'warn' to go on.")
            warnings.warn(message, OutsideRegionWarning, stacklevel=3)
        return x


@eqx.filter_jit
def _clip(region: AbstractRegion, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    return region.clip(x)


@eqx.filter_jit
def _contains(region: AbstractRegion, x: Float[Array, "... d"]) -> Bool[Array, "..."]:
    return region.contains(x)
