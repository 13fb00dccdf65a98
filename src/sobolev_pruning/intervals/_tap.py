"""Named intermediate values, and the enclosures of their values and adjoints.

A tap is an identity with a name. To differentiate with respect to it, a zero is added there, and the derivative by
that zero is the adjoint of the tap.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxprs_in_params, primitives

from .._compat import scan_parts
from ._adjoints import check_floats, unit_directions
from ._arguments import check_argnums, check_arithmetic, check_function, differentiated
from ._inclusion import total_inclusion
from ._program import Program, body_of, is_custom, is_interval, replay, source_of, trace

# The line of a tap is the one that calls `tap`.
source_info_util.register_exclusion(__file__)


class Adjoints(NamedTuple):
    """Values and adjoints of the taps of a function.

    Attributes:
        value: What the function returns, of shape `s`.
        taps: The value of every tap, by its name.
        adjoints: d(output)/d(tap) by the name of the tap, of shape `s + tap.shape`.
        inputs: d(output)/d(input), `s + input.shape`, in the structure of the argument, or the tuple of arguments,
            that was asked for; None if none was.
    """

    value: Any
    taps: dict[str, Any]
    adjoints: dict[str, Any]
    inputs: Any = None


class _Tapped(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any
    source: str


def tap(x: Any, name: str) -> Array:
    """Gives an intermediate value a name, and changes nothing else.

    `interval_adjoints` and `adjoints` find the value by that name. It is `jax.ad_checkpoint.checkpoint_name`, so a
    value that was named for a rematerialisation policy is a tap as well.

    Args:
        x: An array of floats.
        name: Its name, unique within the function.

    Raises:
        TypeError: `x` is not an array of floats, or `name` is not a string.

    >>> import jax.numpy as jnp
    >>> def f(x):
    ...     hidden = tap(jnp.tanh(x), "hidden")
    ...     return (hidden**2).sum()
    >>> out = interval_adjoints(f)(Interval(jnp.zeros(2), jnp.ones(2)))
    >>> out.adjoints["hidden"].shape
    (2,)
    """
    if not isinstance(name, str):
        raise TypeError(f"tap: `name` must be a string, got {name!r}. The value comes first: `tap(x, 'hidden')`.")
    if is_interval(x) or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        kind = "an Interval" if is_interval(x) else f"dtype {jnp.result_type(x)}"
        raise TypeError(
            f"tap: `x` must be an array of floats inside of the function to be enclosed, got {kind} for the tap "
            f"{name!r}. Tap every array of a pytree by a name of its own."
        )
    return checkpoint_name(x, name)


def interval_adjoints(
    f: Callable[..., Any],
    names: Sequence[str] | None = None,
    *,
    argnums: int | Sequence[int] | None = None,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Adjoints]:
    """Encloses every tap of a function over a box, and the derivative of the output by every tap, in one program.

    A tap in the body of a `scan` has one value for every step: its enclosures have the axis of the steps in front,
    after the axes of the output.

    Args:
        f: A function that JAX can differentiate in reverse, of pytrees of arrays, which marks values by `tap`; returns
            one array of floats.
        names: The taps that are wanted; None means all.
        argnums: The positional arguments whose adjoints are wanted too.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function of the same arguments, each leaf of which is an `Interval` or, if it is exact, an array. Returns
        `Adjoints` of intervals. `f` is traced once per structure, shape and dtype. May be transformed by `jax.jit`
        and `jax.vmap`.

    Raises:
        TypeError: `f` is not callable; when called, if it does not return one array of floats, or an argument that
            `argnums` names is not of floats.
        ValueError: `names`, `argnums`, `rounding` or `domain` names nothing that exists; when called, if a wanted name
            is used twice, or marks a value in the body of a `while_loop`, in a branch of a `cond` or in a function with
            a derivative of its own, or if there is no tap.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.

    Reference: N. Kichler, S. Afghan, U. Naumann, Towards Sobolev Pruning, PASC '24, doi 10.1145/3659914.3659915.
    """
    check_arithmetic("interval_adjoints", rounding, domain)
    return _adjoints(
        "interval_adjoints", f, names, argnums, functools.partial(total_inclusion, rounding=rounding, domain=domain)
    )


def adjoints(
    f: Callable[..., Any], names: Sequence[str] | None = None, *, argnums: int | Sequence[int] | None = None
) -> Callable[..., Adjoints]:
    """Evaluates every tap of a function at a point, and the derivative of the output by every tap.

    The counterpart of `interval_adjoints` for arrays, with the same arguments, shapes and errors.
    """
    evaluated = _adjoints("adjoints", f, names, argnums, jax.jit)

    @functools.wraps(f, updated=())
    def at_a_point(*args: Any, **kwargs: Any) -> Adjoints:
        if any(map(is_interval, jax.tree.leaves((args, kwargs), is_leaf=is_interval))):
            raise TypeError("adjoints: an argument holds an Interval. Use `interval_adjoints`, or pass a midpoint.")
        return evaluated(*args, **kwargs)

    return at_a_point


def _adjoints(
    caller: str, f: Callable[..., Any], names: Sequence[str] | None, argnums: Any, transform: Callable[..., Any]
) -> Callable[..., Adjoints]:
    check_function(caller, f)
    several = () if argnums is None else check_argnums(caller, argnums)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
        raise TypeError(f"{caller}: `names` must be a sequence of strings, got {names!r}.")

    @jax.jit
    def computed(args: tuple, kwargs: dict[str, Any]) -> Adjoints:
        program = trace(f, args, kwargs)
        if len(program.closed.out_avals) != 1:
            raise TypeError(
                f"{caller}: `f` must return one array, got {len(program.closed.out_avals)}. Stack them, or tap what "
                "else is wanted."
            )
        (out,) = program.closed.out_avals
        check_floats(caller, [out])
        taps = _wanted(caller, _find(program.closed), names)
        positions = program.chosen([i % len(args) for i in several])
        pull = transform(_pull(program, taps, positions))
        if out.shape == ():
            result = pull(jnp.ones((), out.dtype), program.leaves)
        else:
            (units,) = unit_directions([out])
            batch = jax.vmap(pull, in_axes=(0, None))(units, program.leaves)
            values = jax.tree.map(lambda e: e[0], batch[:2])  # the same for every cotangent
            result = (*values, *jax.tree.map(lambda e: e.reshape(out.shape + e.shape[1:]), batch[2:]))
        value, seen, by_tap, by_leaf = result
        inputs = None
        if several:
            like = tuple(args[i] for i in several)
            like = like if isinstance(argnums, Sequence) else like[0]
            inputs = jax.tree.unflatten(jax.tree.structure(like, is_leaf=is_interval), by_leaf)
        return Adjoints(jax.tree.unflatten(program.out_tree, [value]), seen, by_tap, inputs)

    @functools.wraps(f, updated=())
    def tapped(*args: Any, **kwargs: Any) -> Adjoints:
        if several:
            differentiated(caller, f, several, args)
        return computed(args, kwargs)

    return tapped


def _pull(program: Program, taps: dict[str, _Tapped], positions: Sequence[int]) -> Callable[..., Any]:
    """The value, the taps, and the products of a cotangent with the derivatives by taps and leaves."""

    def pull(cotangent: Any, leaves: Any) -> Any:
        def shifted(zeros: dict[str, Array], *chosen: Any) -> Any:
            filled = list(leaves)
            for p, value in zip(positions, chosen, strict=True):
                filled[p] = value
            (value,), seen = _evaluate(program.closed, filled, zeros)
            return value, seen

        # A zero that is known while tracing vanishes in the enclosed program, and widens nothing.
        zeros = {name: jnp.zeros(t.shape, t.dtype) for name, t in taps.items()}
        value, pullback, seen = jax.vjp(shifted, zeros, *(leaves[p] for p in positions), has_aux=True)
        by_tap, *by_leaf = pullback(cotangent)
        return value, seen, by_tap, by_leaf

    return pull


def _evaluate(closed: ClosedJaxpr, args: Sequence[Any], zeros: dict[str, Array]) -> tuple[list[Any], dict[str, Array]]:
    """Evaluates a program with a zero added to every tap; returns its results and the taps."""
    seen: dict[str, Array] = {}

    def replace(eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if eqn.primitive is primitives.name_p and eqn.params["name"] in zeros:
            name = eqn.params["name"]
            seen[name] = inputs[0] + zeros[name]
            return [seen[name]]
        body = body_of(eqn)
        if body is not None and any(name in zeros for name in _find(body)):
            return replay(body, inputs, replace)
        if eqn.primitive is primitives.scan_p:
            inside = {name: zeros[name] for name in _find(scan_parts(eqn.params).body) if name in zeros}
            if inside:
                results, steps = _scan(eqn.params, inputs, inside)
                seen.update(steps)
                return results
        return None

    return replay(closed, args, replace), seen


def _scan(params: dict[str, Any], inputs: list[Any], zeros: dict[str, Array]) -> tuple[list[Any], dict[str, Array]]:
    """A scan whose steps have taps: each step takes its own zeros and hands its own taps out."""
    body, n_consts, n_carry, length, reverse, unroll = scan_parts(params)
    consts, carry, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]

    def step(carry: Any, x: Any) -> Any:
        entries, added = x
        results, seen = _evaluate(body, [*consts, *carry, *entries], added)
        return results[:n_carry], (results[n_carry:], seen)

    last, (ys, seen) = lax.scan(step, carry, (xs, zeros), length=length, reverse=reverse, unroll=unroll)
    return [*last, *ys], seen


def _find(closed: ClosedJaxpr) -> dict[str, list[_Tapped | str]]:
    """All taps of a program by name; a text in the place of a tap says why its adjoint cannot be had."""
    found: dict[str, list[_Tapped | str]] = {}
    for eqn in closed.jaxpr.eqns:
        if eqn.primitive is primitives.name_p:
            aval = eqn.outvars[0].aval
            found.setdefault(eqn.params["name"], []).append(_Tapped(aval.shape, aval.dtype, source_of(eqn)))
            continue
        body = body_of(eqn)
        if body is not None and not is_custom(eqn):
            inner = _find(body)
        elif eqn.primitive is primitives.scan_p:
            scan = scan_parts(eqn.params)
            inner = {name: [_stacked(t, scan.length) for t in ts] for name, ts in _find(scan.body).items()}
        else:
            bodies = [body] if body is not None else [_closed(j) for j in jaxprs_in_params(eqn.params)]
            inner = {name: [_why_not(eqn, t) for t in ts] for b in bodies for name, ts in _find(b).items()}
        for name, tapped in inner.items():
            found.setdefault(name, []).extend(tapped)
    return found


def _closed(jaxpr: Any) -> ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, [None] * len(jaxpr.constvars))


def _stacked(tapped: _Tapped | str, length: int) -> _Tapped | str:
    return tapped if isinstance(tapped, str) else tapped._replace(shape=(length, *tapped.shape))


def _why_not(eqn: JaxprEqn, tapped: _Tapped | str) -> str:
    if isinstance(tapped, str):
        return tapped
    if is_custom(eqn):
        place = "a function with a derivative of its own (`custom_jvp` or `custom_vjp`), which knows nothing of the tap"
        advice = "Tap what goes in or comes out of that function"
    else:
        place = f"the body of `{eqn.primitive.name}`"
        advice = "Tap what goes in or comes out, or write a loop of fixed length as `lax.scan`"
    return f"in {place}, at {tapped.source}. {advice}."


def _wanted(caller: str, found: dict[str, list[_Tapped | str]], names: Sequence[str] | None) -> dict[str, _Tapped]:
    wanted = list(found) if names is None else list(names)
    if not wanted:
        raise ValueError(
            f"{caller}: `f` marks no value, or `names` is empty. Mark one inside of `f`: `tap(x, 'name')`."
        )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{caller}: `names` asks for {missing}, but `f` marks only {sorted(found)}.")
    taps = {}
    for name in wanted:
        values = []
        for place in found[name]:
            if isinstance(place, str):
                raise ValueError(f"{caller}: the tap {name!r} stands {place}")
            values.append(place)
        if len(values) > 1:
            sources = ", ".join(sorted({value.source for value in values}))
            raise ValueError(
                f"{caller}: the name {name!r} marks {len(values)} values ({sources}). Give each a name of its own, "
                f"such as `f'{name}_{{i}}'`, or leave it out of `names`."
            )
        (taps[name],) = values
    return taps
