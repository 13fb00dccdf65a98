"""Values on their way into and out of loops and branches.

What enters a loop has to have one structure for all of its rounds: exact or a range, with or without marks. The
structure is found by tracing the body, and again with whatever the body made wider, until nothing changes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from . import _arithmetic as ia
from ._bits import normalised
from ._dependence import MARK
from ._interpret import Interpreter, Node, empty_where, is_float
from ._interval import Interval
from ._registry import UnsupportedPrimitiveError
from ._ternary import Ternary, ternary


class Carried(NamedTuple):
    """What a node is made of: a pytree whose structure says what is known of it while tracing."""

    value: Any
    empty: Array | None
    lack: Array | None


class Kind(NamedTuple):
    """The structure of a `Carried`."""

    exact: bool
    empty: bool
    lack: bool


def pack(walk: Interpreter, node: Node) -> Carried:
    """A node as arrays; a point is one array."""
    value = walk.value(node)
    if node.near is not None:
        value = node.near
    elif isinstance(value, Interval) and ia.is_point(value):
        value = value.lower
    return Carried(value, node.empty, node.lack)


def unpack(walk: Interpreter, carried: Carried, aval: Any) -> Node:
    """The node again, in a walk of its own."""
    value = carried.value
    node = walk.new(aval, value) if isinstance(value, Interval | Ternary) else walk.exact(value, aval)
    node.empty, node.lack = carried.empty, carried.lack
    return node


def adopt(walk: Interpreter, outer: Interpreter, node: Node) -> Node:
    """A node of an outer walk that does not change inside of a body: what is known of it stays known."""
    inner = unpack(walk, pack(outer, node), node.aval)
    if node.form is not None and node.form.value is not None:
        inner.form = node.form
    inner.infinite, inner.real = node.infinite, node.real
    value = outer.value(node)
    if isinstance(value, Interval) and not isinstance(value.lower, Tracer):
        inner._value = value
    return inner


def kind_of(carried: Carried) -> Kind:
    """The structure of what is carried."""
    exact = not isinstance(carried.value, Interval | Ternary)
    return Kind(exact, carried.empty is not None, carried.lack is not None)


def wider(first: Kind, second: Kind) -> Kind:
    """The structure that holds what either holds."""
    return Kind(first.exact and second.exact, first.empty or second.empty, first.lack or second.lack)


def coerce(carried: Carried, kind: Kind, aval: Any) -> Carried:
    """The same in a wider structure."""
    value, empty, lack = carried
    if not kind.exact and not isinstance(value, Interval | Ternary):
        if is_float(aval):
            value = Interval._make(*normalised(value, value))
        elif aval.dtype == bool:
            value = ternary(value)
        elif jnp.issubdtype(aval.dtype, jnp.integer):
            value = Interval._make(value, value)
        else:
            raise UnsupportedPrimitiveError(
                f"makes a {aval.dtype} depend on a condition that is undecided over the box"
            )
    zeros = jnp.zeros(aval.shape, MARK)
    return Carried(
        value,
        zeros if kind.empty and empty is None else empty,
        zeros if kind.lack and lack is None else lack,
    )


def in_band(carried: Carried, aval: Any) -> Any:
    """The enclosure, as an interval or a pair, with the empty set where it is nowhere defined."""
    value = coerce(carried, Kind(False, False, False), aval).value
    if carried.empty is None:
        return value
    empty = carried.empty > 0
    if isinstance(value, Ternary):
        return Ternary(value.can_be_true & ~empty, value.can_be_false & ~empty)
    return empty_where(empty, value)


def out_of_band(value: Any, lack: Array | None = None) -> Carried:
    """An enclosure that may be empty, as a value and marks."""
    if isinstance(value, Ternary):
        return Carried(value, (~(value.can_be_true | value.can_be_false)).astype(MARK), lack)
    empty = value.lower > value.upper
    zero = jnp.zeros((), value.dtype)
    filled = Interval._make(jnp.where(empty, zero, value.lower), jnp.where(empty, zero, value.upper))
    return Carried(filled, empty.astype(MARK), lack)


class Traced(NamedTuple):
    """A function of arrays that has been traced: call it with the leaves of its arguments."""

    call: Callable[..., list[Array]]
    tree: Any
    kinds: tuple[Kind, ...]

    def __call__(self, *args: Any) -> tuple[Carried, ...]:
        return jax.tree.unflatten(self.tree, self.call(*jax.tree.leaves(args)))


def trace(body: Callable[..., Sequence[Carried]], *args: Any) -> Traced:
    """Traces a function of pytrees that returns what is carried.

    Args:
        body: The function.
        args: Examples of its arguments.
    """
    leaves, in_tree = jax.tree.flatten(args)
    found: dict[str, Any] = {}

    def flat(*flat_args: Any) -> Any:
        results = tuple(body(*jax.tree.unflatten(in_tree, flat_args)))
        found["kinds"] = tuple(map(kind_of, results))
        out, found["tree"] = jax.tree.flatten(results)
        return out

    closed: ClosedJaxpr = jax.make_jaxpr(flat)(*leaves)
    return Traced(jaxpr_as_fun(closed), found["tree"], found["kinds"])


def fixed_point(
    body: Callable[..., Sequence[Carried]], carry: Sequence[Carried], avals: Sequence[Any], *rest: Any
) -> tuple[Traced, tuple[Carried, ...]]:
    """Widens the structure of a carry until a body keeps it.

    Args:
        body: Takes the carry and `rest`, returns the carry followed by anything else.
        carry: The carry before the first round.
        avals: Types of the carry.
        rest: Examples of the other arguments.

    Returns:
        The body, and the carry in the structure that it keeps.
    """
    kinds = tuple(map(kind_of, carry))
    while True:
        start = tuple(coerce(c, k, a) for c, k, a in zip(carry, kinds, avals, strict=True))
        traced = trace(body, start, *rest)
        found = tuple(wider(k, new) for k, new in zip(kinds, traced.kinds[: len(kinds)], strict=True))
        if found == kinds:
            return traced, start
        kinds = found
