"""Activations by name, and what an activation computes, in bytes that can be compared."""

import enum
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array

from .._compat import NO_DERIVATIVE, body, scan_parts

Activation = Callable[[Array], Array]

# A name in a file selects one of these; it never imports or runs anything else.
STORED: dict[str, Activation] = {
    f"{prefix}.{name}": getattr(module, name)
    for prefix, module, names in (
        (
            "jax.nn",
            jax.nn,
            "celu elu gelu hard_sigmoid hard_silu hard_tanh identity leaky_relu log_sigmoid mish relu relu6 selu "
            "sigmoid silu soft_sign softplus sparse_plus sparse_sigmoid squareplus tanh",
        ),
        ("jax.numpy", jnp, "arctan cos exp sin tanh"),
    )
    for name in names.split()
}

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {name.rpartition(".")[2]: activation for name, activation in STORED.items()}
)
"""Activations by the names that commands, configurations and the estimator know, such as `silu`."""


# All of them are continuous; the slopes of these are not.
KINKED = frozenset({"hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "relu", "relu6", "selu", "sparse_sigmoid"})


def has_kinks(activation: Activation) -> bool:
    """Whether the slope of a known activation jumps."""
    return any(activation is ACTIVATIONS[name] for name in KINKED)


def known_name(activation: Activation) -> str | None:
    """The name of an activation in a file, such as `jax.nn.silu`; None if it has none."""
    return next((name for name, known in STORED.items() if known is activation), None)


def activation_program(activation: Activation, widths: Sequence[int], dtype: np.dtype) -> bytes:
    """What an activation computes: equal for two functions only if their values and derivatives are.

    A known function is its name, with the numbers that `functools.partial` has bound, in every version of JAX. Of any
    other it is the program that JAX traces of its values, its gradient and the derivative of that, so that custom
    derivative rules count; another version of JAX may trace another program.

    Args:
        activation: the function.
        widths: of the arrays that it is applied to.
        dtype: of those arrays.

    Raises:
        ValueError: it calls back to Python, where no program can be read.
    """
    bound = _known_with_numbers(activation)
    if bound is not None:
        return bound.encode()
    parts: list[bytes] = []
    for width in sorted(set(widths)):
        x = jax.ShapeDtypeStruct((width,), dtype)
        parts += _written(jax.make_jaxpr(activation)(x))

        def slope(x: Array) -> Array:
            return jax.grad(lambda x: activation(x).sum())(x)

        def curvature(x: Array) -> Array:
            return jax.jvp(slope, (x,), (jnp.ones_like(x),))[1]

        for derivative in (slope, curvature):
            try:
                program = jax.make_jaxpr(derivative)(x)
            except NO_DERIVATIVE as error:  # that it has none belongs to what it computes
                parts.append(type(error).__name__.encode())
            else:
                parts += _written(program)
    return b"\n".join(parts)


def _known_with_numbers(activation: Activation) -> str | None:
    arguments: dict[str, Any] = {}
    while isinstance(activation, functools.partial) and not activation.args:
        arguments = activation.keywords | arguments
        activation = activation.func
    name = known_name(activation)
    if name is None or not all(isinstance(value, bool | int | float | str) for value in arguments.values()):
        return None
    return f"{name} {json.dumps(arguments, sort_keys=True)}"


def _written(program: ClosedJaxpr | Jaxpr) -> Iterator[bytes]:
    """A program with its variables numbered, and every constant to the bit."""
    numbers: dict[Any, int] = {}

    def atom(x: Any) -> bytes:
        if isinstance(x, Literal):
            return _array(x.val)
        return f"{numbers.setdefault(x, len(numbers))}:{x.aval.str_short()}".encode()

    if isinstance(program, ClosedJaxpr):
        yield from map(_array, program.consts)
        program = program.jaxpr
    yield b" ".join(map(atom, [*program.constvars, *program.invars]))
    for equation in program.eqns:
        if "callback" in equation.primitive.name:
            raise ValueError("the activation calls back to Python, so that it cannot be said what it computes.")
        yield equation.primitive.name.encode()
        # Newer versions of JAX keep what some operations do in objects, not in parameters that can be written.
        called = body(equation)
        if called is not None:
            yield from _written(called)
        elif equation.primitive.name == "scan":
            scan = scan_parts(equation.params)
            yield f"{scan.n_consts} {scan.n_carry}".encode()
        for name, parameter in sorted(equation.params.items()):
            yield name.encode()
            yield from _parameter(parameter)
        yield b" ".join(map(atom, [*equation.invars, *equation.outvars]))
    yield b" ".join(map(atom, program.outvars))


def _parameter(x: Any) -> Iterator[bytes]:
    if isinstance(x, ClosedJaxpr | Jaxpr):
        yield from _written(x)
    elif isinstance(x, list | tuple):
        yield f"{len(x)}".encode()
        for part in x:
            yield from _parameter(part)
    elif isinstance(x, jax.Array | np.ndarray | np.generic):
        yield _array(x)
    elif isinstance(x, str | bool | int | float | complex | np.dtype | enum.Enum) or x is None:
        yield repr(x).encode()
    else:
        # Functions (rules of derivatives, whose programs are traced as well) and objects that say where or how
        # something is computed, not what.
        yield type(x).__name__.encode()


def _array(x: Any) -> bytes:
    array = np.asarray(x)
    return f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
