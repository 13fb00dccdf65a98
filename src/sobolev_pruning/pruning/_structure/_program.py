"""A network as one flat list of primitive steps, whatever calls it was written with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, primitives
from jaxtyping import Array, PyTree

from ..._compat import body

Call = Callable[[Any, Any], Any]


@final
@dataclass(frozen=True)
class Step:
    """One primitive operation on numbered values.

    Attributes:
        primitive: what is done.
        params: its parameters.
        inputs: numbers of the operands.
        outputs: numbers of the results.
        source: the user's line that it comes from; empty where JAX has forgotten it.
    """

    primitive: Primitive
    params: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    source: str

    @property
    def name(self) -> str:
        """The primitive and its line, as messages call it."""
        return f"`{self.primitive.name}` at {self.source}" if self.source else f"`{self.primitive.name}`"


@final
@dataclass(frozen=True)
class Program:
    """Steps in order of evaluation; values are numbered.

    Attributes:
        steps: what is done.
        shapes: of every value.
        dtypes: of every value.
        constants: values that are known, by number.
        inputs: numbers of the arguments.
        outputs: numbers of the results.
    """

    steps: list[Step]
    shapes: list[tuple[int, ...]]
    dtypes: list[Any]
    constants: dict[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def evaluate(
        self, args: Sequence[Any], visit: Callable[[int, Any], Any] = lambda value, computed: computed
    ) -> list[Any]:
        """The results; `visit` is shown every value with its number as soon as it is known, and may replace it."""
        env: dict[int, Any] = dict(self.constants)
        env.update(zip(self.inputs, args, strict=True))
        for step in self.steps:
            results = apply(step, [env[i] for i in step.inputs])
            env.update((number, visit(number, value)) for number, value in zip(step.outputs, results, strict=True))
        return [env[i] for i in self.outputs]


def apply(step: Step, operands: Sequence[Any]) -> list[Any]:
    """The results of one step."""
    results = step.primitive.bind(*operands, **step.params)
    return list(results) if step.primitive.multiple_results else [results]


@final
@dataclass(frozen=True)
class Traced:
    """A network at one argument.

    Attributes:
        program: takes the arrays of the network, then those of the argument.
        paths: of the arrays of the network in its pytree.
        parameters: those arrays.
        arguments: the arrays of the argument.
        run: the program as a function of both, with the derivatives that the code gives it.
        has_own_derivatives: whether reverse-mode derivatives come from rules in the code (`jax.custom_vjp`).
    """

    program: Program
    paths: tuple[str, ...]
    parameters: list[Array]
    arguments: list[Any]
    run: Callable[[Sequence[Any], Sequence[Any]], list[Any]]
    has_own_derivatives: bool

    @property
    def parameter_values(self) -> tuple[int, ...]:
        """Numbers of the network's arrays among the values of the program."""
        return self.program.inputs[: len(self.paths)]


def call_directly(network: Any, x: Any) -> Any:
    """The network is itself the function."""
    return network(x)


def is_argument(leaf: Any) -> bool:
    """Whether a leaf of the argument is an array, or stands for one."""
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def trace_network(network: PyTree, x: PyTree, call: Call | None) -> Traced:
    """Trace `call(network, x)`, by default `network(x)`."""
    if call is None:
        if not callable(network):
            raise TypeError(
                f"`network` is {type(network).__name__}, which cannot be called. Say how it is used by `call`, such as "
                "`call=lambda network, x: network[0](x)`."
            )
        call = call_directly
    parameters, static = eqx.partition(network, eqx.is_array)
    leaves, tree = jax.tree_util.tree_flatten_with_path(parameters)
    if not leaves:
        raise ValueError("`network` holds no JAX arrays, so it has nothing to prune.")

    varied, fixed = eqx.partition(x, is_argument)
    arguments, argument_tree = jax.tree.flatten(varied)

    def flat(arrays: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        model = eqx.combine(jax.tree.unflatten(tree, arrays), static)
        out = call(model, eqx.combine(jax.tree.unflatten(argument_tree, arguments), fixed))
        return [leaf for leaf in jax.tree.leaves(out) if eqx.is_array(leaf)]

    arrays = [leaf for _, leaf in leaves]
    closed = jax.make_jaxpr(flat)(arrays, arguments)
    paths = tuple(path_name(path) for path, _ in leaves)
    return Traced(flatten(closed), paths, arrays, arguments, flat, _has_own_derivatives(closed.jaxpr))


def _has_own_derivatives(jaxpr: Jaxpr) -> bool:
    inner = (jaxpr for eqn in jaxpr.eqns for jaxpr in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr))
    return any(eqn.primitive is primitives.custom_vjp_call_p for eqn in jaxpr.eqns) or any(
        _has_own_derivatives(j.jaxpr if isinstance(j, ClosedJaxpr) else j) for j in inner if _is_jaxpr(j)
    )


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, Jaxpr | ClosedJaxpr)


def path_name(path: tuple[Any, ...]) -> str:
    """Where an array stands in a pytree, such as `layers[0].weight`."""
    return jax.tree_util.keystr(path).lstrip(".")


def flatten(closed: ClosedJaxpr) -> Program:
    """All calls of a program are written out in their place."""
    flat = Program([], [], [], {}, (), ())
    env = {variable: _new(flat, variable) for variable in closed.jaxpr.invars}
    inputs = tuple(env[variable] for variable in closed.jaxpr.invars)
    outputs = _write_out(flat, closed.jaxpr, closed.consts, env)
    return Program(flat.steps, flat.shapes, flat.dtypes, flat.constants, inputs, tuple(outputs))


def _value(literal: Any) -> np.ndarray:
    # A bare number would take the precision that JAX is set to, not that of the program.
    return np.asarray(literal.val, literal.aval.dtype)


def _new(flat: Program, atom: Any) -> int:
    flat.shapes.append(tuple(atom.aval.shape))
    flat.dtypes.append(atom.aval.dtype)
    return len(flat.shapes) - 1


def _constant(flat: Program, atom: Any, value: Any) -> int:
    number = _new(flat, atom)
    flat.constants[number] = value
    return number


def _write_out(
    flat: Program, jaxpr: Jaxpr, consts: Sequence[Any], env: Mapping[Any, int], caller: str = ""
) -> list[int]:
    known = dict(env)
    for variable, value in zip(jaxpr.constvars, consts, strict=True):
        known[variable] = _constant(flat, variable, value)

    def read(atom: Any) -> int:
        return _constant(flat, atom, _value(atom)) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        inputs = tuple(map(read, eqn.invars))
        called = body(eqn)
        # What JAX's own functions consist of has no line of the user's; the call of the function has.
        source = source_info_util.summarize(eqn.source_info) or caller
        if called is None:
            outputs = [_new(flat, variable) for variable in eqn.outvars]
            flat.steps.append(Step(eqn.primitive, eqn.params, inputs, tuple(outputs), source))
        else:
            inner = called.jaxpr
            outputs = _write_out(flat, inner, called.consts, dict(zip(inner.invars, inputs, strict=True)), source)
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
