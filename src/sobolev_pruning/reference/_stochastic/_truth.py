"""A sampled reference beside the formula that it is judged by."""

from collections.abc import Callable
from typing import final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._directions import AbstractDirections
from .._jacobian import value_and_jacobian
from .._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from .._samples import Samples

# Inputs whose Hessians are evaluated together: a transform holds some hundred nodes for each, several times over.
_AT_ONCE = 256


@final
class ReferenceWithTruth(AbstractReferenceWithTruth):
    """Samples from one reference model, truth from a function; its Jacobian and Hessian by AD.

    Nothing checks here that the function is the expectation of the samples: a reference that steps in time is so up to
    the bias of its steps.

    Attributes:
        reference: what is sampled.
        price: its expectation, `(d,) -> (m,)` or `(d,) -> ()`, twice differentiable.

    Raises:
        ValueError: the function has another number of outputs than the reference.
    """

    reference: AbstractReferenceModel
    price: Callable[[Float[Array, " d"]], Float[Array, " m"] | Float[Array, ""]]

    def __check_init__(self) -> None:
        if not callable(self.price):
            raise TypeError(f"`price` is {type(self.price).__name__}; it must be a function of one input.")
        x = jax.eval_shape(lambda: self.reference.sample(jax.random.key(0), 1).x)
        shape = jax.eval_shape(self.price, jax.ShapeDtypeStruct(x.shape[1:], x.dtype)).shape
        if shape not in {(), (self.reference.dim_out,)} or (shape == () and self.reference.dim_out != 1):
            raise ValueError(
                f"`price` returns shape {shape} for one input, and the reference has {self.reference.dim_out} outputs; "
                "give one number for each of them."
            )

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self.reference.dim_in

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.reference.dim_out

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Samples of the reference."""
        return self.reference.sample(key, n, directions=directions)

    def truth(self, x: Float[Array, "n d"]) -> Samples:
        """Values, Jacobians and Hessians of the price."""

        def price(x: Float[Array, " d"]) -> Float[Array, " m"]:
            return jnp.atleast_1d(self.price(x))

        def slopes(x: Float[Array, " d"]):
            y, dydx = value_and_jacobian(price, x)
            return dydx, (y, dydx)

        # One linearisation gives all three, and a formula is compiled once.
        def derivatives(x: Float[Array, " d"]):
            d2ydx2, (y, dydx) = jax.jacfwd(slopes, has_aux=True)(x)
            return y, dydx, d2ydx2

        return Samples(x, *jax.lax.map(derivatives, x, batch_size=min(x.shape[0], _AT_ONCE)))
