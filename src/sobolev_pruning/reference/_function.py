"""A differentiable JAX function as the reference model; a trained network is one."""

from collections.abc import Callable
from typing import final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._directions import AbstractDirections
from ._reference_model import AbstractReferenceWithTruth
from ._samples import HessianProducts, Samples

_AT_ONCE = 1024


@final
class FunctionReference(AbstractReferenceWithTruth):
    """Labels from a deterministic function: values and Jacobians by reverse-mode AD.

    With a trained `Surrogate` as the function, this is the teacher of a smaller network ("NN data" in Kichler et al.,
    2024). The labels are free of sampling noise; the teacher's own error stays in them.

    Attributes:
        function: one sample in, one sample out, `(d,) -> (m,)`. Any pytree that can be called, such as a network.
        inputs: draws inputs, `(key, n) -> (n, d)`.
    """

    function: Callable[[Float[Array, " d"]], Float[Array, " m"]]
    inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]]

    def __check_init__(self) -> None:
        for name in ("function", "inputs"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"`{name}` is {type(getattr(self, name)).__name__}; it must be a function. Samples that "
                    "are already there are a `DataSet`."
                )

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self._x_struct().shape[-1]

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        x = self._x_struct()
        y = jax.eval_shape(self.function, jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
        if len(y.shape) != 1:
            raise ValueError(
                f"`function` returns shape {y.shape} for one sample; it must be (m,). Wrap a scalar function as "
                "`lambda x: f(x)[None]`."
            )
        return y.shape[0]

    def _x_struct(self) -> jax.ShapeDtypeStruct:
        x = jax.eval_shape(lambda: self.inputs(jax.random.key(0), 1))
        if len(x.shape) != 2:
            raise ValueError(
                f"`inputs` returns shape {x.shape} for one sample asked for; it must be (n, d), here (1, d)."
            )
        return x

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Values `(n, m)` and Jacobians `(n, m, d)` at `n` inputs drawn with `key`; Hessians along directions."""
        _ = self.dim_out  # refuses functions of other shapes, by name
        x = self.inputs(key, n)

        def value_and_jacobian(x: Float[Array, " d"]):
            y, pullback = jax.vjp(self.function, x)
            (dydx,) = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
            return y, dydx

        # Some at a time: the intermediate values of a large network at all samples would not fit into memory.
        y, dydx = jax.lax.map(value_and_jacobian, x, batch_size=min(n, _AT_ONCE))
        if directions is None:
            return Samples(x, y, dydx)

        def products(v: Float[Array, "n k d"]) -> Float[Array, "n m k d"]:
            def at_sample(sample: tuple[Float[Array, " d"], Float[Array, "k d"]]) -> Float[Array, "m k d"]:
                x, v = sample
                _, tangent = jax.linearize(jax.jacrev(self.function), x)
                return jnp.moveaxis(jax.vmap(tangent)(v), 0, 1)

            return jax.lax.map(at_sample, (x, v), batch_size=min(n, _AT_ONCE))

        v = directions.draw(jax.random.fold_in(key, 1), dydx, products)
        return Samples(x, y, dydx, hvps=HessianProducts(v, products(v)))

    def truth(self, x: Float[Array, "n d"]) -> Samples:
        """Values, Jacobians and Hessians of the function at `x`."""
        jacobian = jax.jacrev(self.function)
        return Samples(x, jax.vmap(self.function)(x), jax.vmap(jacobian)(x), jax.vmap(jax.jacfwd(jacobian))(x))
