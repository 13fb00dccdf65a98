"""Where a program is known to be continuous, and where its derivative by JAX bounds its slopes.

A program of continuous steps is continuous. The steps listed here are, with their derivatives, defined for all real
numbers, or wherever an operand keeps away from some points, which is read off its enclosure. What is not listed is not
known to be continuous.

The integral of a derivative along a segment is the difference of the values at its ends if each step has a
*conservative* derivative: at a kink, a mean of the derivatives of the pieces that meet there, by all of its operands
together (Bolte and Pauwels). The chain rule keeps this. It does not suffer a step that gives at a kink what no mean
of the pieces is, since a program may sit on that kink over a whole segment: `max(t, t)` does, and is right, since JAX
gives each operand a half; `clamp(t, t, 2)` gives 0 where the slope is 1. Neither does it suffer a derivative that was
declared, cut off, or that forgets where an index out of bounds was moved to. `differentiable` replaces those steps by
others of the same values.

Reference: J. Bolte, E. Pauwels, A mathematical model for automatic differentiation in machine learning, 2020.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Primitive, jaxpr_as_fun, primitives

from .._compat import scan_parts, since
from ._inclusion import inclusion
from ._interval import Interval
from ._program import Program, body_of, replay, trace

# Continuous everywhere, with a conservative derivative, after `differentiable` has replaced some of them.
TOTAL: frozenset[Primitive] = frozenset(
    {
        lax.abs_p, lax.add_p, lax.asinh_p, lax.atan_p, lax.broadcast_in_dim_p, lax.clamp_p, lax.concatenate_p,
        lax.conv_general_dilated_p, lax.cos_p, lax.cosh_p, lax.cumsum_p, lax.dot_general_p, lax.dynamic_slice_p,
        lax.dynamic_update_slice_p, lax.erf_p, lax.erfc_p, lax.exp2_p, lax.exp_p, lax.expm1_p, lax.logistic_p,
        lax.max_p, lax.min_p, lax.mul_p, lax.neg_p, lax.optimization_barrier_p, lax.pad_p, lax.reduce_sum_p,
        lax.reshape_p, lax.rev_p, lax.sin_p, lax.sinh_p, lax.slice_p, lax.split_p, lax.square_p, lax.squeeze_p,
        lax.stack_p, lax.stop_gradient_p, lax.sub_p, lax.tanh_p, lax.tile_p, lax.transpose_p, lax.unstack_p,
        primitives.add_jaxvals_p, primitives.copy_p, primitives.name_p, *since("one_minus_square"),
    }
)  # fmt: skip

Condition = Callable[[Interval], Array]


def _positive(x: Interval) -> Array:
    return x.lower > 0


def _not_zero(x: Interval) -> Array:
    return (x.lower > 0) | (x.upper < 0)


def _above_minus_one(x: Interval) -> Array:
    return x.lower > -1


def _above_one(x: Interval) -> Array:
    return x.lower > 1


def _within_one(x: Interval) -> Array:
    return (x.lower > -1) & (x.upper < 1)


# The operand that counts, and what makes the function and its derivatives defined and continuous there.
PARTIAL: dict[Primitive, tuple[int, Condition]] = {
    lax.div_p: (1, _not_zero),
    lax.pow_p: (0, _positive),
    lax.log_p: (0, _positive),
    lax.sqrt_p: (0, _positive),
    lax.rsqrt_p: (0, _positive),
    lax.cbrt_p: (0, _not_zero),
    lax.log1p_p: (0, _above_minus_one),
    lax.acosh_p: (0, _above_one),
    lax.acos_p: (0, _within_one),
    lax.asin_p: (0, _within_one),
    lax.atanh_p: (0, _within_one),
    lax.erf_inv_p: (0, _within_one),
}


def _condition(eqn: JaxprEqn) -> tuple[int, Condition] | None:
    if eqn.primitive is lax.integer_pow_p and eqn.params["y"] < 0:
        return 0, _not_zero
    if eqn.primitive is lax.pow_p and not _is_float(eqn.invars[1]):
        return 0, _not_zero  # an integer power, which may be negative
    return PARTIAL.get(eqn.primitive)


def _is_float(atom: Any) -> bool:
    return jnp.issubdtype(atom.aval.dtype, jnp.floating)


def _is_continuous(eqn: JaxprEqn, depends: Sequence[bool]) -> bool:
    """Whether an equation is continuous in the operands that depend on the box, or PARTIAL says where."""
    primitive, params = eqn.primitive, eqn.params
    if not all(map(_is_float, eqn.outvars)):
        return False
    if primitive is lax.convert_element_type_p:
        return _is_float(eqn.invars[0])
    if primitive is lax.select_n_p:
        return not depends[0]
    if primitive is lax.gather_p:
        return not depends[1] and params["mode"] != lax.GatherScatterMode.FILL_OR_DROP
    if primitive is primitives.scan_p:
        body = scan_parts(params).body
        return _walk(body, [True] * len(body.in_avals), partial=False) is not None
    return primitive in TOTAL or primitive in PARTIAL or primitive is lax.integer_pow_p


def _walk(closed: ClosedJaxpr, depends: Sequence[bool], partial: bool = True) -> list[bool] | None:
    """Which results depend on the operands that do; None if an equation on the way is not known to be continuous."""
    known: dict[Any, bool] = dict.fromkeys(closed.jaxpr.constvars, False)
    known.update(zip(closed.jaxpr.invars, depends, strict=True))

    def read(atom: Any) -> bool:
        return not isinstance(atom, Literal) and known[atom]

    for eqn in closed.jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        body = body_of(eqn)
        outputs: list[bool] | None = [any(inputs)] * len(eqn.outvars)
        if body is not None:
            outputs = _walk(body, inputs, partial)
        elif any(inputs) and not (_is_continuous(eqn, inputs) and (partial or _condition(eqn) is None)):
            return None
        if outputs is None:
            return None
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def proved_continuous(program: Program, arithmetic: dict[str, Any]) -> Array | None:
    """Whether a program is continuous over the box, and `differentiable` has a conservative derivative there.

    Returns:
        A boolean; None if the program alone tells that this is not known.
    """
    if _walk(program.closed, [isinstance(x, Interval) for x in program.leaves]) is None:
        return None
    conditions: list[Condition] = []

    def operands(*leaves: Any) -> list[Any]:
        found = []

        def replace(eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
            body = body_of(eqn)
            if body is not None:
                return replay(body, inputs, replace)
            condition = _condition(eqn)
            if condition is not None and _is_float(eqn.invars[condition[0]]):
                found.append(inputs[condition[0]])
                conditions.append(condition[1])
            return None

        replay(program.closed, leaves, replace)
        return found

    enclosures = inclusion(operands, **arithmetic)(*program.leaves)
    holds = [condition(x).all() for condition, x in zip(conditions, enclosures, strict=True)]
    return jnp.stack([jnp.asarray(True), *holds]).all()


def differentiable(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A program of the same values whose derivative by JAX is conservative, if its steps are those listed here.

    Derivatives that were declared (`custom_jvp`, `custom_vjp`) or cut off (`stop_gradient`) need not be those of the
    function, so it is differentiated step by step, in the bodies of loops as well.
    """

    def replace(eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        primitive, params = eqn.primitive, eqn.params
        if primitive is lax.stop_gradient_p:
            return inputs
        if primitive is lax.clamp_p:
            low, x, upp = (jnp.broadcast_to(operand, inputs[1].shape) for operand in inputs)
            return [lax.min(lax.max(low, x), upp)]
        if primitive is lax.gather_p and params["mode"] == lax.GatherScatterMode.PROMISE_IN_BOUNDS:
            # A promise that is broken is clipped, which the transpose of the promise does not know.
            return [primitive.bind(*inputs, **(params | {"mode": lax.GatherScatterMode.CLIP}))]
        if primitive is primitives.scan_p:
            return _scan(eqn, inputs)
        body = body_of(eqn)
        return None if body is None else replay(body, inputs, replace)

    return jax.make_jaxpr(lambda *leaves: replay(closed, leaves, replace))(*closed.in_avals)


def stepwise(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the derivatives of its steps in place of those that were declared for it.

    Args:
        f: A function of pytrees of arrays that JAX can trace.

    Returns:
        A function of the same values. What `jax.custom_jvp`, `jax.custom_vjp` or `jax.lax.stop_gradient` say about its
        derivatives is not used, except inside of branches and of `while_loop`.

    >>> float(jax.grad(stepwise(lambda x: jax.lax.stop_gradient(x) * x))(3.0))
    6.0
    """

    @functools.wraps(f, updated=())
    def steps(*args: Any, **kwargs: Any) -> Any:
        program = trace(f, args, kwargs)
        results = jaxpr_as_fun(differentiable(program.closed))(*program.leaves)
        return jax.tree.unflatten(program.out_tree, results)

    return steps


def _scan(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """A scan whose body is differentiable."""
    body, n_consts, n_carry, length, reverse, unroll = scan_parts(eqn.params)
    step_of = jaxpr_as_fun(differentiable(body))
    consts, carry, xs = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = step_of(*consts, *carry, *x)
        return results[:n_carry], results[n_carry:]

    last, ys = lax.scan(step, carry, xs, length=length, reverse=reverse, unroll=unroll)
    return [*last, *ys]
