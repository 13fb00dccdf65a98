"""`inclusion`: from a function of numbers to a function of intervals."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from ._arguments import check_arguments, check_arithmetic, check_function
from ._arithmetic import limits
from ._decoration import UNBOUNDED, UNDEFINED, Decoration
from ._dependence import MARK
from ._interpret import Interpreter, Node, clean, empty_where, is_float, is_key
from ._interval import Interval
from ._program import is_interval, trace
from ._relational_domains import DOMAINS
from ._rounding import Rounding, rounding_mode, unbounded_if_nan
from ._ternary import Ternary


def inclusion(
    f: Callable[..., Any], *, rounding: str = "outward", domain: str = "interval", decorated: bool = False
) -> Callable[..., Any]:
    """The natural interval extension of a JAX function, sharpened by exact ranges of activations.

    The result contains the range of `f` over the box, where `f` is the *exact function of real numbers* that its jaxpr
    describes, with its float constants taken as they are. A derivative is enclosed by differentiating first:
    `inclusion(jax.grad(f))`.

    The range is that over the points of the box at which all steps of `f` are defined (IEEE 1788-2015, clause 11.2: the
    set-based flavour). Of `log` of a box that reaches below zero, the part above zero counts; where nothing is left,
    the result is empty. Whether `f` was defined, and continuous, on the whole box is told by `decorated=True`. A
    condition that is undecided over the box makes `where`, `cond`, `while_loop`, `sort`, `argmax` and an index take the
    hull of all outcomes that are possible.

    Constants and exact arguments are meant to be finite: an infinite one is a number beyond all others, and a NaN among
    them makes every result unbounded, except for a NaN that is written out in `f` as a scalar: it is taken for any
    number.

    Args:
        f: A function that JAX can trace, of pytrees of arrays. It is traced once per structure, shape and dtype.
        rounding: `"outward"` covers all rounding errors. `"nearest"` leaves the margins out, which is cheaper;
            nothing is then guaranteed, and the result serves for rankings only.
        domain: What is remembered of how values depend on each other, apart from the exact ranges of functions of one
            variable: `"interval"`, nothing; `"affine"`, the dependence on the inputs and on what was rounded or
            bent on the way, which costs several times as much and pays for composed functions, such as networks;
            `"affine-32"`, the same with at most 32 noise symbols, for small boxes; `"backward"`, two planes for every
            value, carried back to the inputs; `"backward-optimised"`, with the best of such planes, at twenty times
            the cost.
        decorated: Whether to return a `Decoration` for every entry as well.

    Returns:
        A function of the same arguments, each leaf of which is an `Interval` or, if it is exact, an array. Returns
        the pytree that `f` returns with an `Interval` in place of every float array. Integers and booleans are
        returned as arrays; a boolean that depends on an interval is returned as a `Ternary`, an integer that does as an
        `Interval` of integers. With `decorated`, returns a pair: that pytree, and one of the same structure with int8
        arrays of `Decoration` values. It is jitted, and may be transformed by `jax.jit`, `jax.vmap` and `jax.grad` and
        used inside of a function that is enclosed.

    Raises:
        TypeError: `f` is not callable; when called: an argument is no array or interval, or `f` computes in a format
            other than float32 and float64.
        ValueError: `rounding` or `domain` is unknown.
        UnsupportedPrimitiveError: when called, if `f` uses an operation that has no interval rule.

    >>> import jax, jax.numpy as jnp
    >>> box = Interval(-jnp.ones(()), jnp.ones(()))
    >>> inclusion(lambda x: x * jax.nn.sigmoid(x))(box).contains(0.0).item()
    True

    Reference: IEEE 1788-2015; R. Moore, R. Kearfott, M. Cloud, Introduction to Interval Analysis, 2009, section 5.4.
    """
    check_function("inclusion", f)
    check_arithmetic("inclusion", rounding, domain)
    return _extension(f, rounding=rounding, domain=domain, decorated=decorated, total=False)


def total_inclusion(
    f: Callable[..., Any], *, rounding: str = "outward", domain: str = "interval"
) -> Callable[..., Any]:
    """The extension of a function that ought to be defined on the whole box.

    Every statement holds for all members of the empty set, so that an empty enclosure would pass for a proof of
    anything. Here all results are unbounded if an entry of one of them is nowhere defined on the box. They are empty
    for an empty box alone.
    """
    return _extension(f, rounding=rounding, domain=domain, decorated=False, total=True)


def _extension(
    f: Callable[..., Any], *, rounding: str, domain: str, decorated: bool, total: bool
) -> Callable[..., Any]:
    @functools.wraps(f, updated=())
    def enclosed(*args: Any, **kwargs: Any) -> Any:
        closed, leaves, _, out_tree = trace(f, args, kwargs)
        walk = Interpreter(decorated=decorated, domain=DOMAINS[domain]())
        nodes, nothing = _inputs(walk, leaves, closed.in_avals)
        with rounding_mode(cast(Rounding, rounding)):
            outputs = walk.run(closed.jaxpr, closed.consts, nodes)
            values = [walk.in_band(node) for node in outputs]
        nan = _any_nan([*closed.consts, *(x for x in leaves if not is_interval(x))])
        if total:
            values = _unknown_if_undefined(values)
        enclosures = jax.tree.unflatten(
            out_tree, [_finished(v, n.aval, nan, nothing) for v, n in zip(values, outputs, strict=True)]
        )
        if not decorated:
            return enclosures
        bounded = functools.reduce(jnp.logical_and, [_bounded(x) for x in leaves if is_interval(x)], jnp.ones((), bool))
        lacks = [
            _decoration(v, n, nan if nothing is None else nan | nothing, bounded)
            for v, n in zip(values, outputs, strict=True)
        ]
        return enclosures, jax.tree.unflatten(out_tree, lacks)

    compiled = jax.jit(enclosed)

    @functools.wraps(f, updated=())
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_arguments(f, args, kwargs)
        return compiled(*args, **kwargs)

    return checked


def _inputs(walk: Interpreter, leaves: list[Any], avals: Sequence[Any]) -> tuple[list[Node], Any]:
    """A node for every argument, and whether the box is empty, for which one empty entry is enough."""
    nodes, nothing = [], None
    for x, aval in zip(leaves, avals, strict=True):
        if not is_interval(x):
            nodes.append(walk.exact(x if is_key(aval) else jnp.asarray(x), aval))
            continue
        if is_float(aval):
            x, empty = clean(x)
        else:
            empty = (x.lower > x.upper).any()
        nodes.append(walk.new(aval, x))
        if empty is not None:
            nothing = empty if nothing is None else nothing | empty
    return nodes, nothing


def _any_nan(exact: list[Any]) -> Any:
    """Whether an exact array holds NaN: functions with bounded ranges would make a bound of it."""
    arrays = [jnp.asarray(x) for x in exact if not jnp.issubdtype(jnp.result_type(x), jax.dtypes.extended)]
    return functools.reduce(jnp.logical_or, [jnp.isnan(x).any() for x in arrays if is_float(x)], jnp.zeros((), bool))


def _finished(value: Any, aval: Any, nan: Any, nothing: Any) -> Any:
    if isinstance(value, Ternary):
        value = Ternary(value.can_be_true | nan, value.can_be_false | nan)
        return value if nothing is None else Ternary(value.can_be_true & ~nothing, value.can_be_false & ~nothing)
    if not isinstance(value, Interval):
        return value
    if is_float(aval):
        lower, upper = unbounded_if_nan(value.lower, value.upper)
        lower, upper = jnp.where(nan, -jnp.inf, lower), jnp.where(nan, jnp.inf, upper)
        value = Interval._make(jnp.broadcast_to(lower, aval.shape), jnp.broadcast_to(upper, aval.shape))
    return value if nothing is None else empty_where(nothing, value)


def _unknown_if_undefined(values: list[Any]) -> list[Any]:
    """All that the values may be, if an entry of one of them is known to be nothing."""
    nowhere = jnp.zeros((), bool)
    for value in values:
        if isinstance(value, Ternary):
            nowhere |= ~(value.can_be_true | value.can_be_false).all()
        elif isinstance(value, Interval):
            nowhere |= (value.lower > value.upper).any()

    def unknown(value: Any) -> Any:
        if isinstance(value, Ternary):
            return Ternary(value.can_be_true | nowhere, value.can_be_false | nowhere)
        if not isinstance(value, Interval):
            return value
        least, largest = limits(value.dtype)
        return Interval._make(jnp.where(nowhere, least, value.lower), jnp.where(nowhere, largest, value.upper))

    return [unknown(value) for value in values]


def _bounded(x: Interval) -> Any:
    return (jnp.isfinite(x.lower) & jnp.isfinite(x.upper)).all()


def _decoration(value: Any, node: Node, undefined: Any, bounded: Any) -> Any:
    """From the marks of the walk to the codes of IEEE 1788."""
    lack = jnp.zeros(node.aval.shape, MARK) if node.lack is None else node.lack
    if isinstance(value, Interval) and is_float(node.aval):
        bounded = bounded & jnp.isfinite(value.lower) & jnp.isfinite(value.upper)
    lack = jnp.maximum(lack, jnp.where(bounded, 0, UNBOUNDED).astype(MARK))
    if node.empty is not None:
        undefined = undefined | (node.empty > 0)
    lack = jnp.where(undefined, UNDEFINED, lack)
    return (int(Decoration.COM) - 4 * lack).astype(jnp.int8)
