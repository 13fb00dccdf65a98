"""First derivatives along random cotangents, where the rows of many outputs would be too expensive."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from .._samples import CotangentProducts

# Samples whose intermediate values are in memory together.
AT_ONCE = 1024


@final
class Cotangents(eqx.Module):
    """Independent signs, one for each output, in units of the outputs.

    With `E[w wᵀ] = I` the mean of `‖wᵀ (∇y − ∇f)‖²` is an unbiased estimate of the squared Frobenius norm of the
    difference of the Jacobians (M. Hutchinson, 1990), at the cost of k reverse sweeps in place of m.

    Attributes:
        count: k, cotangents of every sample.
        scale: one unit of every output, `(m,)`, in physical units; `None` takes physical units as they are. Outputs of
            unequal size, or a loss in normalised units, want their deviations here: signs are then drawn for the
            outputs divided by it.

    Raises:
        ValueError: the count is below 1, or a scale is not positive.
    """

    count: int = eqx.field(static=True, default=1)
    scale: Float[Array, " m"] | None = None

    def __check_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count` is {self.count}; ask for at least one cotangent.")
        if self.scale is None or isinstance(self.scale, Tracer):
            return
        if self.scale.ndim != 1 or not np.all(np.isfinite(self.scale) & (np.asarray(self.scale) > 0)):
            raise ValueError(f"`scale` is {self.scale.tolist()}; give one finite, positive number for each output.")

    def draw(self, key: PRNGKeyArray, n: int, m: int, dtype: DTypeLike) -> Float[Array, "n k m"]:
        """Cotangents of `n` samples of `m` outputs, in physical units.

        Raises:
            ValueError: the scale is of another number of outputs.
        """
        w = jax.random.rademacher(key, (n, self.count, m), dtype)
        if self.scale is None:
            return w
        if self.scale.shape != (m,):
            raise ValueError(f"`scale` has shape {self.scale.shape}, and there are {m} outputs.")
        return w / self.scale[None, None]


def vjps(
    function: Callable[[Float[Array, " d"]], Float[Array, " m"]],
    x: Float[Array, "n d"],
    key: PRNGKeyArray,
    cotangents: Cotangents | int,
) -> tuple[Float[Array, "n m"], CotangentProducts]:
    """Values of a function and its Jacobians times k random cotangents a sample.

    Memory and time grow with k: a sample costs one evaluation and k reverse sweeps, whatever the number of outputs.

    Args:
        function: one sample in, one sample out, `(d,) -> (m,)`.
        x: inputs, `(n, d)`.
        key: random key of the cotangents.
        cotangents: how many and in which units; a whole number k is `Cotangents(k)`.

    Returns:
        Values, `(n, m)`, and the cotangents with their products; put both into `Samples`.
    """
    drawn = Cotangents(cotangents) if isinstance(cotangents, int) else cotangents
    n, d = x.shape
    y = jax.eval_shape(function, jax.ShapeDtypeStruct((d,), x.dtype))
    w = drawn.draw(key, n, y.shape[0], y.dtype)

    def at_sample(sample: tuple[Float[Array, " d"], Float[Array, "k m"]]):
        x, w = sample
        y, pullback = jax.vjp(function, x)
        (products,) = jax.vmap(pullback)(w)
        return y, products

    y, products = jax.lax.map(at_sample, (x, w), batch_size=min(n, AT_ONCE))
    return y, CotangentProducts(w, products)
