"""Value and Jacobian of a function of one sample, from one evaluation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def value_and_jacobian(
    function: Callable[[Float[Array, " d"]], Float[Array, " m"]], x: Float[Array, " d"]
) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
    """Both at `x`; in reverse mode, or in forward mode where there are more outputs than inputs."""
    (d,) = x.shape
    if jax.eval_shape(function, x).shape[0] <= d:
        y, pullback = jax.vjp(function, x)
        (dydx,) = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
        return y, dydx
    y, tangent = jax.linearize(function, x)
    return y, jax.vmap(tangent, out_axes=1)(jnp.eye(d, dtype=x.dtype))
