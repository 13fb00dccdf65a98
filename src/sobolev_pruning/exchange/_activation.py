"""An activation and its slope as ONNX nodes, translated once from a scalar and then laid over whole layers.

Elementwise ONNX operators broadcast, so the nodes of the scalar serve any shape. The translation is our own. jax2onnx
0.17.1 imports its plugins and example modules at the first call, which cost 6 to 10 seconds and 300 MB for what takes
half a second here, and what it made of `hard_sigmoid`, `selu` and `squareplus` over a batch did not run in onnxruntime.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array

from .._compat import ChangedPrimitiveError, body
from ._operators import CONDITIONS, UntranslatableError, rules


class Node(NamedTuple):
    """One ONNX node without attributes, by the names of its inputs and its output."""

    operator: str
    inputs: list[str]
    output: str


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
        dtype: of the argument, and of every number inside.

    Raises:
        UntranslatableError: it uses a primitive that has no elementwise ONNX counterpart, which is named.
    """
    # Reverse mode, as in the surrogate's gradient: forward mode cannot pass through `jax.custom_vjp`.
    program = jax.make_jaxpr(jax.value_and_grad(lambda v: activation(v)))(jnp.zeros((), dtype))
    walk = _Walk(dtype)
    value, slope = walk.run(program.jaxpr, program.consts, ["argument"])
    if not isinstance(value, str):
        raise UntranslatableError("it does not depend on its argument")
    if not isinstance(slope, str):  # as that of `x + x`
        slope = walk.constant(slope)
    needed, nodes = {value, slope}, []
    for node in reversed(walk.nodes):
        if node.output in needed:
            needed |= set(node.inputs)
            nodes.append(node)
    constants = {name: array for name, array in walk.constants.items() if name in needed}
    return Fragment("argument", value, slope, nodes[::-1], constants)


class _Walk:
    """One walk over a jaxpr. A value is the name of what moves with the argument, or an array that does not."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple[str, ...], str] = {}
        self._conditions: set[str] = set()

    # What the rules use.

    def __call__(self, operator: str, *operands: str) -> str:
        """The result of one node; it is computed once, and not at all for the products by one that AD leaves behind."""
        one = self.number(1.0)
        if operator == "Mul" and operands[0] == one:
            return operands[1]
        if operator in ("Mul", "Div") and operands[1] == one:
            return operands[0]
        key = (operator, *operands)
        if key not in self._known:
            self._known[key] = f"{operator.lower()}_{len(self.nodes)}"
            self.nodes.append(Node(operator, list(operands), self._known[key]))
            if operator in CONDITIONS:
                self._conditions.add(self._known[key])
        return self._known[key]

    def number(self, value: float) -> str:
        """A constant in the surrogate's precision."""
        return self.constant(np.asarray(value, self.dtype))

    def is_condition(self, name: str) -> bool:
        """Whether this is true or false, and not a number."""
        return name in self._conditions or (name in self.constants and self.constants[name].dtype == np.bool_)

    def constant(self, value: Any) -> str:
        """The name of a constant: its digits, which tell apart all numbers of one precision, zeros and NaN too."""
        array = np.asarray(value).reshape(())
        name = repr(array.item())
        self.constants[name] = array
        return name

    # The walk.

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        env |= dict(zip(jaxpr.invars, args, strict=True))

        def read(atom: Literal | Var) -> Any:
            # A literal may be a Python number, whose type only the program tells.
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            env |= dict(zip(eqn.outvars, self._equation(eqn, [read(atom) for atom in eqn.invars]), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, eqn: JaxprEqn, inputs: list[Any]) -> Sequence[Any]:
        primitive = eqn.primitive
        try:
            called = body(eqn)
        except ChangedPrimitiveError as error:
            raise UntranslatableError(f"its primitive {error}") from None
        if called is not None:
            return self.run(called.jaxpr, called.consts, inputs)
        if not any(isinstance(value, str) for value in inputs):
            # JAX folds constants best, with whatever primitives they were made of.
            results = primitive.bind(*inputs, **primitive.get_bind_params(eqn.params))
            return results if primitive.multiple_results else [results]
        try:
            return [self._operation(eqn, inputs)]
        except UntranslatableError as error:
            raise UntranslatableError(f"its primitive `{primitive.name}` {error}") from None

    def _operation(self, eqn: JaxprEqn, inputs: list[Any]) -> Any:
        if eqn.primitive not in rules:
            raise UntranslatableError("has no elementwise ONNX counterpart")
        aval: Any = eqn.outvars[0].aval
        if aval.size != 1:
            raise UntranslatableError(f"makes an array of shape {aval.shape} from a single number")
        if aval.dtype not in (self.dtype, np.bool_):
            raise UntranslatableError(f"computes in {aval.dtype}, inside a surrogate in {self.dtype}")
        # Whole numbers are constants here, such as exponents: those that move were refused where they arose.
        operands = [x if isinstance(x, str) else self.constant(_number_or_condition(x, self.dtype)) for x in inputs]
        result = rules[eqn.primitive](self, *operands, **eqn.params)
        return self.constants.get(result, result)


def _number_or_condition(x: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(x)
    return array if array.dtype == np.bool_ else array.astype(dtype)
