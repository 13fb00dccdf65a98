"""Where a program is known to be continuous and piecewise differentiable over a box.

A program of continuous steps is continuous. The steps listed here are, with their derivatives, defined for all real
numbers, or wherever an operand keeps away from some points, which is read off its enclosure. What is not listed is not
known to be continuous.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Primitive, primitives

from .._compat import scan_parts, since
from ._inclusion import inclusion
from ._interval import Interval
from ._program import Program, body_of, replay

# Continuous and piecewise differentiable everywhere, in the sense of J. Bolte, E. Pauwels, A mathematical model for
# automatic differentiation in machine learning, 2020: at a kink, the derivative of JAX is that of one of the pieces.
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
    if primitive is lax.scan_p:
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


def proved_continuous(program: Program, rounding: str) -> list[Array] | None:
    """For every output, whether it is continuous and piecewise differentiable over the box.

    Both are understood of the program without declared derivatives; its derivative is defined over the box as well.

    Returns:
        A boolean for every output; None where that can be told from the program alone to be false for all.
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
            if condition is not None and all(map(_is_float, eqn.invars)):
                found.append(inputs[condition[0]])
                conditions.append(condition[1])
            return None

        replay(program.closed, leaves, replace)
        return found

    enclosures = inclusion(operands, rounding=rounding)(*program.leaves)
    holds = [condition(x).all() for condition, x in zip(conditions, enclosures, strict=True)]
    everywhere = jnp.stack([jnp.asarray(True), *holds]).all()
    return [everywhere] * len(program.closed.out_avals)


def without_declared_derivatives(program: Program) -> Program:
    """The same program, to be differentiated step by step.

    A derivative that was declared (`custom_jvp`, `custom_vjp`) or cut off (`stop_gradient`) need not be that of the
    function.
    """

    def replace(eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if eqn.primitive is lax.stop_gradient_p:
            return inputs
        body = body_of(eqn)
        return None if body is None else replay(body, inputs, replace)

    closed = jax.make_jaxpr(lambda *leaves: replay(program.closed, leaves, replace))(*program.closed.in_avals)
    return program._replace(closed=closed)
