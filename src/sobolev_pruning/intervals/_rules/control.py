"""Interval rules for primitives that call other programs.

A call is what it calls: `jit`, `remat` and the custom derivative rules are read through, so that normal forms reach
across them (a derivative has been taken already when a function is enclosed).

`scan` encloses its body once, with the carry an interval: by induction over the steps every iterate is enclosed. `cond`
by an undecided index is the hull of the branches that are possible. So is `while`: of all rounds after which the
condition may fail.

A loop that may go on for ever is cut short soundly. If a round maps a box into itself, the box holds all that follows.
`PATIENCE` rounds after the first at which it may have ended, nothing is said of what the rounds change: it is
unbounded.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, primitives

from ..._compat import closed, scan_parts
from .._arithmetic import limits
from .._carried import (
    Carried,
    Traced,
    adopt,
    coerce,
    fixed_point,
    in_band,
    kind_of,
    out_of_band,
    pack,
    trace,
    unpack,
    wider,
)
from .._decoration import DISCONTINUOUS, UNDEFINED
from .._dependence import MARK, largest
from .._interpret import Interpreter, Node, empty_where
from .._interval import Interval
from .._registry import defstructured
from .._ternary import Ternary
from .piecewise import hull_of_possible, possible_cases

# Rounds that are followed one by one since the first after which a loop may have ended.
PATIENCE = 2**14


def _run(walk: Interpreter, body: ClosedJaxpr, consts: Sequence[Node], carried: Sequence[Carried]) -> list[Carried]:
    """Encloses a body, with some operands from the outer walk and some that change."""
    inner = Interpreter(decorated=walk.decorated)
    nodes = [adopt(inner, walk, n) for n in consts]
    avals = [var.aval for var in body.jaxpr.invars[len(consts) :]]
    nodes += [unpack(inner, c, aval) for c, aval in zip(carried, avals, strict=True)]
    return [pack(inner, node) for node in inner.run(body.jaxpr, body.consts, nodes)]


def _nodes(walk: Interpreter, results: Sequence[Carried], avals: Sequence[Any]) -> list[Node]:
    return [unpack(walk, c, aval) for c, aval in zip(results, avals, strict=True)]


# Branches.


def _cond(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    index, *operands = inputs
    bodies = [closed(b) for b in params["branches"]]
    which = walk.in_band(index)
    if not isinstance(which, Interval | Ternary):
        return _nodes(walk, _decided(walk, which, bodies, operands, avals), avals)
    possible = possible_cases(which, len(bodies))
    cases = [_run(walk, body, operands, []) for body in bodies]
    jumps = jnp.stack([jnp.asarray(may, MARK) for may in possible]).sum(0) > 1
    results = []
    for k, aval in enumerate(avals):
        outcomes = [case[k] for case in cases]
        lack = _lack_of_choice(walk, possible, outcomes, index.lack, jumps, aval)
        results.append(out_of_band(hull_of_possible(possible, [in_band(c, aval) for c in outcomes]), lack))
    return _nodes(walk, results, avals)


def _lack_of_choice(
    walk: Interpreter, possible: list[Array], outcomes: list[Carried], which: Array | None, jumps: Array, aval: Any
) -> Array | None:
    if not walk.decorated:
        return None
    lack = jnp.where(jumps, DISCONTINUOUS, 0).astype(MARK)
    if which is not None:
        lack = jnp.maximum(lack, which)
    for may, case in zip(possible, outcomes, strict=True):
        if case.lack is not None:
            lack = jnp.maximum(lack, jnp.where(may, case.lack, 0).astype(MARK))
    return jnp.broadcast_to(lack, aval.shape)


def _decided(
    walk: Interpreter, which: Array, bodies: list[ClosedJaxpr], operands: list[Node], avals: list[Any]
) -> Sequence[Carried]:
    traced = [trace(lambda body=body: _run(walk, body, operands, [])) for body in bodies]
    kinds = [k for k in traced[0].kinds]
    for branch in traced[1:]:
        kinds = [wider(a, b) for a, b in zip(kinds, branch.kinds, strict=True)]

    def uniform(branch: Traced) -> Callable[[], tuple[Carried, ...]]:
        return lambda: tuple(coerce(c, k, a) for c, k, a in zip(branch(), kinds, avals, strict=True))

    return lax.switch(which.astype(jnp.int32), [uniform(branch) for branch in traced])


# Loops of known length.


def _scan(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    body, n_consts, n_carry, length, reverse, unroll = scan_parts(params)
    consts, carry, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]
    stacked = [pack(walk, node) for node in xs]

    def one(carried: tuple[Carried, ...], x: Any) -> list[Carried]:
        return _run(walk, body, consts, [*carried, *x])

    examples = jax.tree.map(lambda v: jnp.zeros(v.shape[1:], v.dtype) if length == 0 else v[0], stacked)
    traced, start = fixed_point(one, [pack(walk, n) for n in carry], [n.aval for n in carry], examples)
    kinds = tuple(map(kind_of, start))

    def step(carried: tuple[Carried, ...], x: Any) -> Any:
        results = traced(carried, x)
        new = tuple(coerce(c, k, n.aval) for c, k, n in zip(results[:n_carry], kinds, carry, strict=True))
        return new, results[n_carry:]

    last, ys = lax.scan(step, start, stacked, length=length, reverse=reverse, unroll=unroll)
    return _nodes(walk, [*last, *ys], avals)


# Loops that end by a condition.


def _while(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    condition, body = closed(params["cond_jaxpr"]), closed(params["body_jaxpr"])
    cond_consts, body_consts, carry = inputs[:n_cond], inputs[n_cond : n_cond + n_body], inputs[n_cond + n_body :]

    def one(carried: tuple[Carried, ...]) -> list[Carried]:
        return _run(walk, body, body_consts, carried)

    body_of, start = fixed_point(one, [pack(walk, n) for n in carry], avals)
    kinds = tuple(map(kind_of, start))
    cond_of = trace(lambda carried: _run(walk, condition, cond_consts, carried), start)

    def advance(carried: tuple[Carried, ...]) -> tuple[Carried, ...]:
        return tuple(coerce(c, k, a) for c, k, a in zip(body_of(carried), kinds, avals, strict=True))

    if cond_of.kinds[0].exact and not cond_of.kinds[0].empty:

        def holds(carried: tuple[Carried, ...]) -> Array:
            return cond_of(carried)[0].value

        last = lax.while_loop(
            lambda carried: holds(carried).any(),
            lambda carried: _chosen(holds(carried), advance(carried), carried),
            start,
        )
        return _nodes(walk, last, avals)
    # What a round hands on unchanged is known, however long the loop goes on.
    constant = [out is in_ for out, in_ in zip(body.jaxpr.outvars, body.jaxpr.invars[n_body:], strict=True)]
    return _nodes(walk, _undecided(walk, condition.out_avals[0], cond_of, advance, start, avals, constant), avals)


def _undecided(
    walk: Interpreter,
    asked: Any,
    cond_of: Traced,
    advance: Callable[[tuple[Carried, ...]], tuple[Carried, ...]],
    start: tuple[Carried, ...],
    avals: list[Any],
    constant: list[bool],
) -> list[Carried]:
    """The hull of what the loop may leave.

    Under `vmap` the condition, of type `asked`, has an entry for each of several loops, and what is carried has their
    axes first. A loop that has ended stays as it was.
    """
    lanes = asked.ndim

    def boxes(carried: Sequence[Carried]) -> list[Any]:
        return [in_band(c, a) for c, a in zip(carried, avals, strict=True)]

    def ask(carried: tuple[Carried, ...]) -> Ternary:
        return in_band(cond_of(carried)[0], asked)

    def join(found: list[Any], carried: Sequence[Carried], may: Array) -> list[Any]:
        return [
            hull_of_possible([_ALWAYS, _over(may, len(old.shape))], [old, new])
            for old, new in zip(found, boxes(carried), strict=True)
        ]

    def going(state: Any) -> Array:
        _, answer, _, _, since, stable = state
        return answer.can_be_true & ~stable & (since < PATIENCE)

    def round_(state: Any) -> Any:
        carried, answer, found, lack, since, _ = state
        goes_on = going(state)
        found = join(found, carried, answer.can_be_false & goes_on)
        since = since + (goes_on & (answer.can_be_false | (since > 0))).astype(jnp.int32)
        new = _chosen(goes_on, advance(carried), carried)
        # A loop that has ended is unchanged, and so are its answer and whether it is stable.
        inside = _all(_inside(a, b, lanes) for a, b in zip(boxes(new), boxes(carried), strict=True))
        stable = jnp.where(goes_on, inside, state[-1])
        return new, ask(new), found, jnp.maximum(lack, largest([c.lack for c in new])), since, stable

    nothing = [_nothing(box) for box in boxes(start)]
    state = (
        start,
        ask(start),
        nothing,
        largest([c.lack for c in start]),
        jnp.zeros(asked.shape, jnp.int32),
        jnp.zeros(asked.shape, bool),
    )
    carried, answer, found, lack, since, stable = lax.while_loop(lambda state: going(state).any(), round_, state)
    found = join(found, carried, answer.can_be_false | stable)
    lost = answer.can_be_true & ~stable
    lack = jnp.maximum(lack, jnp.where((since > 0) | stable, jnp.where(lost, UNDEFINED, DISCONTINUOUS), 0).astype(MARK))
    results = []
    for box, fixed, aval in zip(found, constant, avals, strict=True):
        result = out_of_band(box if fixed else _unknown_where(_over(lost, aval.ndim), box))
        spread = jnp.broadcast_to(_over(lack, aval.ndim), aval.shape)
        results.append(result._replace(lack=spread if walk.decorated else None))
    return results


_ALWAYS = np.ones((), bool)


def _all(conditions: Iterable[Array]) -> Array:
    result = jnp.ones((), bool)
    for condition in conditions:
        result = result & condition
    return result


def _inside(new: Any, old: Any, lanes: int) -> Array:
    """Whether one box lies in the other, for each entry of the first axes."""
    if isinstance(new, Ternary):
        inside = (old.can_be_true | ~new.can_be_true) & (old.can_be_false | ~new.can_be_false)
    else:
        inside = (new.lower > new.upper) | ((old.lower <= new.lower) & (new.upper <= old.upper))
    return jnp.all(inside, axis=tuple(range(lanes, inside.ndim)))


def _over(condition: Array, ndim: int) -> Array:
    """A condition on the first axes of arrays, as one that is broadcast with them."""
    return jnp.expand_dims(condition, tuple(range(condition.ndim, ndim)))


def _chosen(condition: Array, new: tuple[Carried, ...], old: tuple[Carried, ...]) -> tuple[Carried, ...]:
    """The new where the condition holds; of one loop it always does."""
    if condition.ndim == 0:
        return new
    return jax.tree.map(lambda a, b: jnp.where(_over(condition, a.ndim), a, b), new, old)


def _nothing(box: Any) -> Any:
    if isinstance(box, Ternary):
        return Ternary(jnp.zeros(box.shape, bool), jnp.zeros(box.shape, bool))
    return empty_where(jnp.ones(box.shape, bool), box)


def _unknown_where(lost: Array, box: Any) -> Any:
    if isinstance(box, Ternary):
        return Ternary(box.can_be_true | lost, box.can_be_false | lost)
    least, largest = limits(box.dtype)
    return Interval._make(jnp.where(lost, least, box.lower), jnp.where(lost, largest, box.upper))


def _evaluated(law: Callable[..., list[Node]]) -> Callable[..., list[Node]]:
    def evaluated(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
        # Values are evaluated on demand: here, before a body is traced, where they would be known inside alone.
        for node in inputs:
            walk.value(node)
        return law(walk, inputs, params, avals)

    return evaluated


for _primitive, _law in {primitives.cond_p: _cond, primitives.scan_p: _scan, primitives.while_p: _while}.items():
    defstructured(_primitive, _evaluated(_law))
