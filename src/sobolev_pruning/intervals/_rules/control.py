"""Interval rules for primitives that call other programs.

A call is what it calls: `jit`, `remat` and the custom derivative rules are read through, so that normal forms reach
across them (a derivative has been taken already when a function is enclosed). `scan` encloses its body once, with the
carry an interval: by induction over the steps every iterate is enclosed. `cond` by an undecided index is the hull of
its branches.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Primitive, primitives

from .. import _interpret
from .._arithmetic import hull
from .._interval import Interval, Ternary
from .._registry import UnsupportedPrimitiveError, definline, defrule

# Where each primitive keeps what it calls.
BODIES: dict[Primitive, str] = {
    primitives.jit_p: "jaxpr",
    primitives.closed_call_p: "call_jaxpr",
    primitives.remat_p: "jaxpr",
    primitives.custom_jvp_call_p: "call_jaxpr",
    primitives.custom_vjp_call_p: "call_jaxpr",
}


def _body(name: str) -> Callable[[dict[str, Any]], ClosedJaxpr]:
    return lambda params: _interpret.closed(params[name])


for _primitive, _name in BODIES.items():
    definline(_primitive, _body(_name))


def _enclose(body: ClosedJaxpr, operands: list[Any]) -> list[Any]:
    walk = _interpret.Interpreter()
    avals = [var.aval for var in body.jaxpr.invars]
    nodes = [
        walk.interval(x, aval) if isinstance(x, Interval | Ternary) else walk.exact(x, aval)
        for x, aval in zip(operands, avals, strict=True)
    ]
    return [walk.value(node) for node in walk.run(body.jaxpr, body.consts, nodes)]


def _cond(_: Primitive, index: Any, *operands: Any, branches: Any, **params: Any) -> list[Any]:
    bodies = [_interpret.closed(b) for b in branches]
    if not isinstance(index, Ternary):
        cases = [lambda *args, body=body: _uniform(_enclose(body, list(args))) for body in bodies]
        return list(lax.switch(index, cases, *operands))
    off, on = (_enclose(body, list(operands)) for body in bodies)
    return [_choice(index, a, b) for a, b in zip(off, on, strict=True)]


def _choice(which: Ternary, off: Any, on: Any) -> Any:
    if not isinstance(off, Interval):
        raise UnsupportedPrimitiveError(
            "returns an integer or a condition from a branch that is undecided over the box"
        )
    both = hull(off, on)
    lower = jnp.where(which.can_be_true, both.lower, off.lower)
    upper = jnp.where(which.can_be_true, both.upper, off.upper)
    return Interval._make(
        jnp.where(which.can_be_false, lower, on.lower), jnp.where(which.can_be_false, upper, on.upper)
    )


def _uniform(values: list[Any]) -> tuple[Any, ...]:
    # Branches and iterates must agree in structure: conditions are decided in some and not in others.
    return tuple(Ternary(x, ~x) if not isinstance(x, Interval | Ternary) and x.dtype == bool else x for x in values)


def _scan(
    _: Primitive,
    *operands: Any,
    jaxpr: Any,
    length: int,
    reverse: bool,
    unroll: int,
    num_consts: int | None = None,
    num_carry: int | None = None,
    **params: Any,
) -> list[Any]:
    body = _interpret.closed(jaxpr)
    assert num_consts is not None
    assert num_carry is not None
    consts, carry, xs = (
        list(operands[:num_consts]),
        _uniform(list(operands[num_consts : num_consts + num_carry])),
        list(operands[num_consts + num_carry :]),
    )

    def step(carry: Any, x: Any) -> Any:
        results = _uniform(_enclose(body, [*consts, *carry, *x]))
        return results[:num_carry], results[num_carry:]

    last, ys = lax.scan(step, carry, tuple(xs), length=length, reverse=reverse, unroll=unroll)
    return [*last, *ys]


defrule(primitives.cond_p, _cond)
defrule(primitives.scan_p, _scan)
