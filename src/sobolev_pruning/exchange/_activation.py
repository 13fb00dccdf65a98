"""An activation and its slope as ONNX nodes, translated once from a scalar and then laid over whole layers.

jax2onnx translates a batched network faithfully, but at a symbolic batch size every constant inside an activation
becomes a chain of Shape, Gather, Concat, Reshape and Expand nodes (247 nodes for three layers of CELU, 76 here), and
with `hard_sigmoid`, `selu` and `squareplus` these chains are wrong (measured with 0.17.1). A scalar function has no
such chains, and elementwise ONNX operators broadcast, so the nodes of the scalar serve any shape.
"""

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array

OPSET = 17

# Operators without axes, reductions or shapes of their own: what they do to a scalar they do to every entry.
_ELEMENTWISE = frozenset(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Greater "
    "GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mul Neg Not Or "
    "Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Tan Tanh Where Xor".split()
)


class Node(NamedTuple):
    """One ONNX node, by the names of its inputs and outputs."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: list


class Fragment(NamedTuple):
    """Nodes that map `argument` to `value` and `slope`; the slope may also be a constant."""

    argument: str
    value: str
    slope: str
    nodes: list[Node]
    constants: dict[str, np.ndarray]


def activation_name(activation: Callable[[Array], Array]) -> str:
    """What to call an activation in messages and metadata."""
    if isinstance(activation, functools.partial):
        arguments = ", ".join([*map(str, activation.args), *(f"{k}={v}" for k, v in activation.keywords.items())])
        return f"{activation_name(activation.func)}({arguments})"
    return getattr(activation, "__name__", type(activation).__name__)


def translate(activation: Callable[[Array], Array], dtype: np.dtype) -> Fragment:
    """The value and the slope of an activation as one fragment of elementwise ONNX nodes.

    Args:
        activation: maps a scalar to a scalar.
        dtype: of the argument.

    Raises:
        NotImplementedError: jax2onnx cannot translate it, or not into elementwise operators.
    """
    import jax2onnx  # seconds, and hundreds of modules: only for those who export
    from onnx import numpy_helper

    # Tracing here, and not inside of jax2onnx, leaves plain primitives for it: it replaces functions of `jax.nn` while
    # it traces, and its replacements have their own ideas of derivatives.
    function = jaxpr_as_fun(jax.make_jaxpr(jax.value_and_grad(lambda v: activation(v)))(jnp.zeros((), dtype)))
    with _quiet(), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        try:
            graph = jax2onnx.to_onnx(function, [()], opset=OPSET, enable_double_precision=dtype == np.float64).graph
        except Exception as error:  # jax2onnx raises many types, with the primitive in the message
            raise NotImplementedError(f"jax2onnx cannot translate it ({error})") from error
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [Node(n.op_type, list(n.input), list(n.output), list(n.attribute)) for n in graph.node]
    argument, (value, slope) = graph.input[0].name, (output.name for output in graph.output)
    moving = {argument}
    for node in nodes:
        if moving & set(node.inputs):
            moving |= set(node.outputs)
    if value not in moving:
        raise NotImplementedError("it does not depend on its argument")
    if slope not in moving:
        # As that of `x + x`, which is computed from constants and would not have the shape of a batch.
        slope, constants["constant_slope"] = "constant_slope", np.asarray(function(jnp.zeros((), dtype))[1])
    return _simplified(Fragment(argument, value, slope, nodes, constants))


def _simplified(fragment: Fragment) -> Fragment:
    """Without products by one and copies, which reverse-mode AD leaves behind, and without unused constants."""
    same: dict[str, str] = {}
    nodes = []
    for node in fragment.nodes:
        inputs = [same.get(name, name) for name in node.inputs]
        rest = [name for name in inputs if not np.all(fragment.constants.get(name, 0) == 1)]
        if node.operator == "Identity":
            same[node.outputs[0]] = inputs[0]
        elif node.operator == "Mul" and len(rest) < 2:
            same[node.outputs[0]] = rest[0] if rest else inputs[0]
        elif node.operator in _ELEMENTWISE:
            # A sum of two has more, and more optimised, kernels under its other name.
            operator = "Add" if node.operator == "Sum" and len(inputs) == 2 else node.operator
            nodes.append(Node(operator, inputs, node.outputs, node.attributes))
        else:
            raise NotImplementedError(f"it needs the ONNX operator {node.operator}, which is not elementwise")
    value, slope = (same.get(name, name) for name in (fragment.value, fragment.slope))
    used = {slope, *(name for node in nodes for name in node.inputs)}
    constants = {name: array.reshape(()) for name, array in fragment.constants.items() if name in used}
    return Fragment(fragment.argument, value, slope, nodes, constants)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what jax2onnx and onnx_ir log, warn of and print; none of it is for our users."""
    loggers = [logging.getLogger(name) for name in ("jax2onnx", "onnx_ir", "absl")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
