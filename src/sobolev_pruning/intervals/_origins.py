"""What the operations that made a value say about it: its sign, and how its entries are laid out.

A node of the walk remembers the primitive that made it and the nodes that went in. Nodes that hold the same value, as
their normal forms prove, count as one.
"""

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend.core import Primitive, primitives

from ._forms import Variable
from ._interval import Interval
from ._rearrangements import IDENTITIES, REARRANGEMENTS
from ._registry import UnsupportedPrimitiveError, rule_for

if TYPE_CHECKING:
    from ._interpret import Node

# Of a node whose value was not yet looked for.
UNTRIED: Final[Any] = object()

# What is positive if all operands are.
_POSITIVE = REARRANGEMENTS | {
    lax.reduce_sum_p,
    lax.reduce_max_p,
    lax.reduce_min_p,
    lax.add_p,
    primitives.add_jaxvals_p,
    lax.mul_p,
    lax.div_p,
    lax.max_p,
    lax.min_p,
    lax.sqrt_p,
    lax.rsqrt_p,
    lax.square_p,
    lax.abs_p,
    lax.integer_pow_p,
}


# Operations whose results are equal if their operands and the texts of their parameters are.
_COMPARED = (_POSITIVE - {lax.slice_p, primitives.name_p}) | {
    lax.exp_p,
    lax.log_p,
    lax.sub_p,
    lax.neg_p,
    lax.is_finite_p,
    lax.select_n_p,
    lax.convert_element_type_p,
}


class Origin(NamedTuple):
    """The operation that made a value, and which of its results it is."""

    primitive: Primitive
    inputs: tuple["Node", ...]
    params: dict[str, Any]
    result: int = 0


def is_positive(node: "Node | None", depth: int = 12) -> bool:
    """Whether every value of the node is a positive real number (of the exact function: exp never is zero)."""
    if node is None:
        return False
    if node.form is not None and node.form.value is not None:
        return node.form.value > 0
    known = known_value(node)
    if known is not None and np.all(np.asarray(known.lower) > 0):
        return True
    origin = node.origin
    if origin is None or not depth:
        return False
    if origin.primitive in (lax.exp_p, lax.logistic_p):
        return True
    # A sum of nothing is zero.
    return origin.primitive in _POSITIVE and all(n.aval.size and is_positive(n, depth - 1) for n in origin.inputs)


def known_value(node: "Node", depth: int = 24) -> Interval | None:
    """The enclosure, computed while tracing, of what is made of arrays that are known by then; else None."""
    if node.known is UNTRIED:
        node.known = None
        origin = node.origin
        if origin is not None and origin.inputs and depth:
            operands = [known_value(n, depth - 1) for n in origin.inputs]
            if all(x is not None for x in operands):
                node.known = _applied(origin, operands)
    elif node.known is not None and not isinstance(node.known, Interval):  # an array
        array = np.asarray(node.known)
        # Subnormal numbers are read as zero.
        usable = np.all(np.isfinite(array) & ((array == 0) | (np.abs(array) >= np.finfo(array.dtype).tiny)))
        with jax.ensure_compile_time_eval():
            known = jnp.asarray(array)
        node.known = Interval._make(known, known) if usable else None
    return node.known


def _applied(origin: Origin, operands: list[Any]) -> Interval | None:
    try:
        with jax.ensure_compile_time_eval():
            results = rule_for(origin.primitive)(*operands, **origin.params)
    except UnsupportedPrimitiveError:
        return None
    result = results[origin.result] if origin.primitive.multiple_results else results
    return result if isinstance(result, Interval) and not isinstance(result.lower, Tracer) else None


def is_constant(node: "Node | None", depth: int = 12) -> bool:
    """Whether the node is computed from numbers that are written in the program."""
    if node is None:
        return False
    if node.form is not None and node.form.value is not None:
        return True
    inputs = node.origin.inputs if node.origin is not None else ()
    return bool(inputs) and depth > 0 and all(is_constant(n, depth - 1) for n in inputs)


class Layout(NamedTuple):
    """A value that repeats another: axis k of it runs along axis `axes[k]` of the root, or along none."""

    root: "Node"
    axes: tuple[int | None, ...]


def layout_of(node: "Node", nodes: dict[Variable, "Node"]) -> Layout:
    """The value of which a node repeats the entries, through identities, broadcasts, and axes of size one."""
    node = same_as(node, nodes)
    shape = node.aval.shape
    inner: tuple[int | None, ...] | None = None
    origin = node.origin
    if origin is not None and origin.inputs:
        (source, *_) = origin.inputs
        old = source.aval.shape
        if origin.primitive in IDENTITIES:
            inner = tuple(range(len(old)))
        elif origin.primitive is lax.broadcast_in_dim_p:
            position = {axis: k for k, axis in enumerate(origin.params["broadcast_dimensions"])}
            inner = tuple(position.get(axis) for axis in range(len(shape)))
        elif origin.primitive in (lax.reshape_p, lax.squeeze_p) and _long(old) == _long(shape):
            kept = iter([k for k, n in enumerate(old) if n != 1])
            inner = tuple(next(kept) if n != 1 else None for n in shape)
        elif origin.primitive is lax.reduce_sum_p and all(old[k] == 1 for k in origin.params["axes"]):
            if source.origin is not None and source.origin.primitive is lax.exp_p:
                return Layout(node, tuple(k if n != 1 else None for k, n in enumerate(shape)))  # a sum of its own
            inner = tuple(k for k in range(len(old)) if k not in origin.params["axes"])
        if inner is not None:
            root, axes = layout_of(source, nodes)
            return Layout(root, tuple(None if k is None else axes[k] for k in inner))
    return Layout(node, tuple(k if n != 1 else None for k, n in enumerate(shape)))


def _long(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]


def same_as(node: "Node", nodes: dict[Variable, "Node"]) -> "Node":
    """The node whose variable is the form of this one, if there is one."""
    lone = node.form.lone_atom if node.form is not None else None
    other = nodes.get(lone) if isinstance(lone, Variable) else None
    return other if other is not None and other.aval.shape == node.aval.shape else node


def is_same(first: "Node", second: "Node", nodes: dict[Variable, "Node"], depth: int = 12) -> bool:
    """Whether two nodes hold the same value: proved by identity, by their forms, or by equal operations on the same."""
    first, second = same_as(first, nodes), same_as(second, nodes)
    if first is second:
        return True
    if first.aval.shape != second.aval.shape or first.aval.dtype != second.aval.dtype:
        return False
    if first.form is not None and first.form == second.form:
        return True
    if first.infinite and second.infinite:
        return first.infinite == second.infinite
    a, b = first.origin, second.origin
    if a is None or b is None or not depth or a.primitive is not b.primitive or a.primitive not in _COMPARED:
        return False
    pairs = zip(a.inputs, b.inputs, strict=True)
    return str(a.params) == str(b.params) and all(is_same(x, y, nodes, depth - 1) for x, y in pairs)
