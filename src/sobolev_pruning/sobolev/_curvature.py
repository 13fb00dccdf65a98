"""Whether training on curvature can work at all: activations that have none, labels that are noise."""

import functools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..surrogate import MLP

# Below this many units of rounding, second derivatives of a function of size one are rounding errors.
_ROUNDINGS = 64
# Beyond the kinks of every activation in use, dense, and at none of their kinks itself.
_PROBES = np.linspace(-7.97, 7.93, 641)


class NoisyCurvatureWarning(UserWarning):
    """The labels of the second order are noise more than they are curvature."""


def check_has_curvature(network: Callable[..., Array]) -> None:
    """Refuse a network whose second derivatives are zero almost everywhere.

    Raises:
        ValueError: the activation is piecewise linear, such as relu; the message names it.
    """
    if not has_curvature(network):
        assert isinstance(network, MLP)
        name = getattr(network.activation, "__name__", repr(network.activation))
        raise ValueError(
            f"`{name}` has zero curvature almost everywhere, and so has a network of it: a second-order loss would "
            "teach it nothing. Use a smooth activation, such as `jax.nn.silu`, or set `curvature_weight` to zero."
        )


def has_curvature(network: Callable[..., Array]) -> bool:
    """Whether second derivatives of a network are other than zero: those of relu and its kin are not.

    What is no `MLP` is taken to have some, and so is an `MLP` without hidden layers, which has none to learn.
    """
    return not isinstance(network, MLP) or len(network.layers) < 2 or _has_curvature(network.activation)


# Trusts no list of names: a user's own leaky or hard function is found as well.
@functools.lru_cache(maxsize=64)
def _has_curvature(activation: Callable[[Array], Array]) -> bool:
    # The answer decides what is traced, so it is found now, even where a training step is just being traced.
    with jax.ensure_compile_time_eval():
        z = jnp.asarray(_PROBES, jnp.float32)

        def slope(z: Array) -> Array:
            return jax.jvp(activation, (z,), (jnp.ones_like(z),))[1]

        slopes, bends = jax.jvp(slope, (z,), (jnp.ones_like(z),))
        return bool(jnp.max(jnp.abs(bends)) > 1e-6 * jnp.max(jnp.abs(slopes)))


def is_rounding(size: Float[Array, ""], size_below: Float[Array, ""]):
    """Whether labels of the second order are no larger than rounding makes them.

    Args:
        size: their mean squared norm, in normalised units.
        size_below: that of values and gradients together.
    """
    return size <= (_ROUNDINGS * jnp.finfo(size.dtype).eps) ** 2 * size_below


def warn_of_noise(forms: Float[Array, "n m k k"], size: Float[Array, ""], size_below: Float[Array, ""]) -> None:
    """Warn where labels of the second order are rounding errors.

    Second derivatives are symmetric and their rounding errors are not, so the labels themselves tell their noise: of
    independent errors of variance s² in a k × k matrix, the antisymmetric part has the expected squared norm
    `s² k (k − 1) / 2` and the whole `s² k²`. In single precision, more than half of the labels' squared norm is
    useless. In double precision such asymmetry is sampling noise, which a fit averages out.

    Args:
        forms: `vᵢᵀ ∇²y vⱼ` along each sample's directions, or whole Hessians; unknown samples as zeros.
        size: mean squared norm of the labels, in normalised units.
        size_below: that of values and gradients together.
    """
    if 0 < float(size) and bool(is_rounding(size, size_below)):
        warnings.warn(
            f"the second-order labels have a root mean square of {float(size) ** 0.5:.1e} in normalised units, no more "
            f"than rounding in {size.dtype} makes of zero: they are taken as zero curvature, at their own scale. "
            "Compute them in float64, or set `curvature_weight` to zero.",
            NoisyCurvatureWarning,
            stacklevel=3,
        )
        return
    k = forms.shape[-1]
    if k < 2 or forms.dtype != jnp.float32:
        return
    odd = 0.5 * (forms - jnp.swapaxes(forms, 2, 3))
    whole = jnp.sum(forms**2)
    share = 2 * k / (k - 1) * jnp.sum(odd**2) / jnp.where(whole > 0, whole, jnp.ones_like(whole))
    if float(share) > 0.5:
        warnings.warn(
            f"about {min(float(share), 1.0):.0%} of the second-order labels in float32 is noise: Hessians are "
            "symmetric, and these are not. Compute them in float64, average more paths, or set `curvature_weight` to "
            "zero.",
            NoisyCurvatureWarning,
            stacklevel=3,
        )
