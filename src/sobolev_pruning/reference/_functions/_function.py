"""A differentiable JAX function as the reference model; a trained network is one."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._compat import NO_DERIVATIVE
from ..._reading import cause
from .._directions import AbstractDirections, HessianProduct
from .._jacobian import value_and_jacobian
from .._reference_model import AbstractReferenceWithTruth
from .._samples import HessianProducts, Samples
from ._cotangents import AT_ONCE, Cotangents, vjps
from ._laws import UniformBox, dimension_of


@final
class FunctionReference(AbstractReferenceWithTruth):
    """Labels from a deterministic function: values, and derivatives by AD.

    With a trained `Surrogate` as the function, this is the teacher of a smaller network ("NN data" in Kichler et al.,
    2024). The labels are free of sampling noise; the teacher's own error stays in them.

    Whole Jacobians take m reverse sweeps or d forward ones, whichever is fewer; where both are many, `cotangents` asks
    for k random combinations of the rows.

    Attributes:
        function: one sample in, one sample out, `(d,) -> (m,)`. Any pytree that can be called, such as a network.
        inputs: draws inputs, `(key, n) -> (n, d)`, such as `UniformBox(lower, upper)`.
        cotangents: `None` for whole Jacobians; `Cotangents(k)` for `Samples.vjps` in their place.

    Raises:
        TypeError: the function or the inputs cannot be called; or, when it is used, JAX cannot trace the function.
    """

    function: Callable[[Float[Array, " d"]], Float[Array, " m"]]
    inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]]
    cotangents: Cotangents | None = None

    def __check_init__(self) -> None:
        for name in ("function", "inputs"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"`{name}` is {type(getattr(self, name)).__name__}; it must be a function. Samples that "
                    "are already there are a `DataSet`."
                )

    @classmethod
    def over(
        cls,
        function: Callable[[Float[Array, " d"]], Float[Array, "..."]],
        lower: Float[Array, " d"] | Float[np.ndarray, " d"],
        upper: Float[Array, " d"] | Float[np.ndarray, " d"],
        *,
        cotangents: Cotangents | None = None,
    ) -> "FunctionReference":
        """A function over a box, sampled uniformly.

        Args:
            function: one sample in, one sample out, `(d,) -> (m,)`, or a scalar, which becomes one output.
            lower: lower end of the box, `(d,)`, in physical units.
            upper: upper end, `(d,)`.
            cotangents: see the class.

        Raises:
            TypeError: JAX cannot trace the function, or not its derivatives; give it to `HostFunction`.
            ValueError: the box is empty or not finite, or the function returns an array of another rank.
        """
        inputs = UniformBox(lower, upper)
        x = jax.ShapeDtypeStruct(inputs.lower.shape, inputs.lower.dtype)
        if callable(function) and getattr(_traced(function, x), "shape", None) == ():
            function = _OneOutput(function)
        reference = cls(function, inputs, cotangents)
        _ = reference.dim_out
        _check_differentiable(function, x)
        return reference

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return dimension_of(self.inputs)

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        _ = self.dim_in  # refuses inputs of another rank, by name
        y = _traced(self.function, jax.eval_shape(lambda: self.inputs(jax.random.key(0), 1)[0]))
        if not isinstance(y, jax.ShapeDtypeStruct):
            hint = " Several numbers become one by `jnp.stack`." if isinstance(y, list | tuple) else ""
            raise ValueError(f"`function` returns {type(y).__name__} for one sample; it must be an array, (m,).{hint}")
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise ValueError(
                f"`function` returns {y.dtype} for one sample; it must return real floating-point numbers, or it has "
                "no derivatives."
            )
        if y.shape == (0,):
            raise ValueError("`function` returns no number for one sample; a reference has at least one output.")
        if len(y.shape) != 1:
            raise ValueError(
                f"`function` returns shape {y.shape} for one sample; it must be (m,). Wrap a scalar function as "
                "`lambda x: f(x)[None]`."
            )
        return y.shape[0]

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Values `(n, m)` and Jacobians `(n, m, d)` at `n` inputs drawn with `key`; Hessians along directions.

        The products of one sample share the linearisation of its Jacobian, so that each costs one tangent of it.

        Raises:
            ValueError: second derivatives of a reference with `cotangents`.
        """
        _ = self.dim_out  # refuses functions of other shapes, by name
        x = self.inputs(key, n)
        further_key = jax.random.fold_in(key, 1)
        if self.cotangents is not None:
            if directions is not None:
                raise ValueError(
                    "`cotangents` are set, and second derivatives of every output are asked for; leave `cotangents` at "
                    "None, or train on values and gradients."
                )
            y, products = vjps(self.function, x, further_key, self.cotangents)
            return Samples(x, y, vjps=products)
        if directions is None:
            # Some at a time: the intermediate values of a large network at all samples would not fit into memory.
            y, dydx = jax.lax.map(self._value_and_jacobian, x, batch_size=min(n, AT_ONCE))
            return Samples(x, y, dydx)
        y, dydx, products = self._linearised(x)
        v = directions.draw(further_key, dydx, products)
        return Samples(x, y, dydx, hvps=HessianProducts(v, products(v)))

    def _value_and_jacobian(self, x: Float[Array, " d"]) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
        return value_and_jacobian(self.function, x)

    def _linearised(self, x: Float[Array, "n d"]) -> tuple[Float[Array, "n m"], Float[Array, "n m d"], HessianProduct]:
        """Values, Jacobians, and a function that multiplies the Hessians by directions."""
        n, _ = x.shape
        if n <= AT_ONCE:
            # All calls of the function, of the directions and of the labels, share what was computed here.
            (y, dydx), tangent = jax.linearize(jax.vmap(self._value_and_jacobian), x)
            return y, dydx, jax.vmap(lambda v: tangent(v)[1], in_axes=1, out_axes=2)

        def products(v: Float[Array, "n k d"]) -> Float[Array, "n m k d"]:
            def at_sample(sample: tuple[Float[Array, " d"], Float[Array, "k d"]]) -> Float[Array, "m k d"]:
                x, v = sample
                _, tangent = jax.linearize(lambda x: self._value_and_jacobian(x)[1], x)
                return jax.vmap(tangent, out_axes=1)(v)

            return jax.lax.map(at_sample, (x, v), batch_size=AT_ONCE)

        y, dydx = jax.lax.map(self._value_and_jacobian, x, batch_size=AT_ONCE)
        return y, dydx, products

    def truth(self, x: Float[Array, "n d"]) -> Samples:
        """Values, Jacobians and Hessians of the function at `x`, whatever `cotangents` are."""

        def at_sample(x: Float[Array, " d"]):
            y, dydx = self._value_and_jacobian(x)
            return y, dydx, jax.jacfwd(lambda x: self._value_and_jacobian(x)[1])(x)

        return Samples(x, *jax.vmap(at_sample)(x))


# What JAX raises where a function asks a traced value for its number: NumPy, SciPy and `math`, `float(x)`, `if x > 0`.
_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_REMEDY = (
    "Write it with `jax.numpy` and `jax.lax`, or give it to `HostFunction(function, inputs, n_outputs)`, which calls "
    "it outside of JAX and takes derivatives from you or by differences."
)


def _traced(function: Callable[..., Any], x: Any) -> Any:
    """Shape and type of what a function of one sample returns.

    Raises:
        TypeError: JAX cannot trace it.
    """
    try:
        return jax.eval_shape(function, x)
    except _UNTRACEABLE as error:
        raise TypeError(f"JAX cannot trace `function` ({cause(error)}). {_REMEDY}") from error
    except TypeError as error:
        # Assignment into an array, formatting a number, a `range`, a result that is no array; others are its own.
        if not any(word in str(error) for word in ("JAX", "Tracer", "Only integer scalar arrays")):
            raise
        raise TypeError(f"JAX cannot trace `function` ({cause(error)}). {_REMEDY}") from error


def _check_differentiable(function: Callable[..., Any], x: Any) -> None:
    """Refuse early what has values but no derivatives, such as a callback, or a `while_loop` in reverse.

    Raises:
        TypeError: it is such a function.
    """
    try:
        jax.eval_shape(lambda x: value_and_jacobian(function, x), x)
    except NO_DERIVATIVE as error:
        raise TypeError(f"JAX cannot differentiate `function` ({cause(error)}). {_REMEDY}") from error


@final
class _OneOutput(eqx.Module):
    """A scalar function as one of a single output."""

    function: Callable[[Float[Array, " d"]], Float[Array, ""]]

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " m"]:
        return jnp.asarray(self.function(x))[None]
