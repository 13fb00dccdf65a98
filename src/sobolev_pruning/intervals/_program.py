"""A function as a program: traced once, then evaluated with some of its equations replaced."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.api_util import debug_info
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun, primitives

from .._compat import ChangedPrimitiveError, body
from ._interval import Interval
from ._registry import UnsupportedPrimitiveError

Replace = Callable[[JaxprEqn, list[Any]], Sequence[Any] | None]


def is_interval(x: Any) -> bool:
    """Whether `x` is an interval, which is one leaf of an argument here."""
    return isinstance(x, Interval)


class Program(NamedTuple):
    """A function of leaves, with what is needed to read its arguments and results as the user's pytrees."""

    closed: ClosedJaxpr
    leaves: list[Any]  # of all arguments; an interval is one leaf
    counts: list[int]  # the number of leaves of each positional argument
    out_tree: Any

    def chosen(self, argnums: Sequence[int]) -> list[int]:
        """The positions of the leaves of some positional arguments."""
        starts = [sum(self.counts[:i]) for i in range(len(self.counts))]
        return [starts[i] + k for i in argnums for k in range(self.counts[i])]

    def of(self, positions: Sequence[int], leaves: Sequence[Any]) -> Callable[..., list[Any]]:
        """The program as a function of the leaves at `positions`, the others being those of `leaves`."""

        def function(*values: Any) -> list[Any]:
            return jaxpr_as_fun(self.closed)(*replaced(leaves, positions, values))

        return function


def replaced(items: Sequence[Any], positions: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """A copy of a sequence with other values at some positions."""
    copy = list(items)
    for position, value in zip(positions, values, strict=True):
        copy[position] = value
    return copy


def trace(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Program:
    """Traces `f` at arguments whose leaves may be intervals."""
    leaves, tree = jax.tree.flatten((tuple(args), kwargs), is_leaf=is_interval)
    out_tree = None

    @functools.wraps(f, updated=())
    def flat(*flat_leaves: Any) -> list[Any]:
        nonlocal out_tree
        flat_args, flat_kwargs = jax.tree.unflatten(tree, flat_leaves)
        out, out_tree = jax.tree.flatten(f(*flat_args, **flat_kwargs))
        return out

    closed = jax.make_jaxpr(flat)(*(x.lower if is_interval(x) else x for x in leaves))
    counts = [len(jax.tree.leaves(a, is_leaf=is_interval)) for a in args]
    return Program(closed, leaves, counts, out_tree)


def body_of(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The program that an equation calls, if it does nothing else: of `jit`, `remat`, custom derivative rules.

    Raises:
        UnsupportedPrimitiveError: the equation has parameters that no rule knows.
    """
    try:
        return body(eqn)
    except ChangedPrimitiveError as error:
        source = source_of(eqn)
        place = f" It is used at {source}." if source else ""
        raise UnsupportedPrimitiveError(f"The operation {error}.{place}") from None


def is_custom(eqn: JaxprEqn) -> bool:
    """Whether an equation calls a function whose derivative a user has declared."""
    return eqn.primitive in (primitives.custom_jvp_call_p, primitives.custom_vjp_call_p)


def source_of(eqn: JaxprEqn) -> str:
    """The user's line that an equation comes from."""
    return source_info_util.summarize(eqn.source_info)


def replay(closed: ClosedJaxpr, args: Sequence[Any], replace: Replace) -> list[Any]:
    """Evaluates a program; `replace` is asked for the results of every equation, and may leave it as it is by None."""
    env: dict[Any, Any] = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(closed.jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else env[atom]

    for eqn in closed.jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        outputs = replace(eqn, inputs)
        env.update(zip(eqn.outvars, _alone(eqn, inputs) if outputs is None else outputs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _alone(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    # As a program of one equation, which JAX evaluates with the line that the equation comes from.
    variables = {atom: value for atom, value in zip(eqn.invars, inputs, strict=True) if not isinstance(atom, Literal)}
    operands = list(variables.values())
    names = debug_info("replay", lambda *operands: operands, operands, {})
    names = names._replace(result_paths=("",) * len(eqn.outvars))
    one = Jaxpr((), list(variables), eqn.outvars, [eqn], eqn.effects, names)
    return jaxpr_as_fun(ClosedJaxpr(one, ()))(*operands)
