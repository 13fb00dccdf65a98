"""Which entries of a result depend on which entries of the operands.

Marks on entries, small non-negative integers, spread to every entry that depends on them; where several meet, the
largest counts. This is how "undefined" and "discontinuous" travel through a program.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive, primitives

from ._bits import flush_down_p, flush_up_p, order_p
from ._rearrangements import REARRANGEMENTS

MARK = np.int8

# An entry of the result depends on the entries in the same place of the operands (or on a scalar operand).
ELEMENTWISE: frozenset[Primitive] = frozenset(
    {
        getattr(lax, f"{name}_p")
        for name in (
            "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
            "bessel_i1e", "cbrt", "ceil", "clamp", "convert_element_type", "cos", "cosh", "digamma", "div",
            "eq", "eq_to", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma",
            "igammac", "integer_pow", "is_finite", "le", "le_to", "lgamma", "log", "log1p", "logistic", "lt",
            "lt_to", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "polygamma", "pow",
            "reduce_precision", "regularized_incomplete_beta", "rem", "round", "rsqrt", "sign", "sin", "sinh",
            "sqrt", "square", "sub", "tan", "tanh", "xor", "zeta",
        )
    }
    | {primitives.add_jaxvals_p, flush_down_p, flush_up_p, order_p}
)  # fmt: skip

# Entries are moved: the primitive itself moves the marks.
MOVING: frozenset[Primitive] = REARRANGEMENTS | {
    lax.concatenate_p,
    lax.dynamic_slice_p,
    lax.dynamic_update_slice_p,
    lax.gather_p,
    lax.pad_p,
    lax.scatter_p,
    lax.split_p,
    lax.stack_p,
    lax.tile_p,
    lax.unstack_p,
}

# Of these, only with exact indices.
INDEXED: frozenset[Primitive] = frozenset(
    {lax.dynamic_slice_p, lax.dynamic_update_slice_p, lax.gather_p, lax.scatter_p}
)

REDUCING: frozenset[Primitive] = frozenset(
    {
        lax.argmax_p, lax.argmin_p, lax.reduce_and_p, lax.reduce_max_p, lax.reduce_min_p, lax.reduce_or_p,
        lax.reduce_prod_p, lax.reduce_sum_p,
    }
)  # fmt: skip

CUMULATIVE: frozenset[Primitive] = frozenset(
    {lax.cumlogsumexp_p, lax.cummax_p, lax.cummin_p, lax.cumprod_p, lax.cumsum_p}
)


def spread(
    primitive: Primitive,
    marks: list[Array | None],
    operands: list[Any],
    params: dict[str, Any],
    avals: list[Any],
    *,
    unknown: bool,
) -> list[Array | None]:
    """The marks of the results.

    Args:
        primitive: What is applied.
        marks: Marks of every operand, of its shape; None if it has none.
        operands: The operands, for their shapes, and for the values of exact indices.
        params: Parameters of the primitive.
        avals: Shapes of the results.
        unknown: What to do if it is not known which entries depend on which: mark them all with the largest mark, or
            mark none.
    """
    if all(m is None for m in marks):
        return [None] * len(avals)
    (aval, *_) = avals
    if primitive in ELEMENTWISE:
        found = [m for m in marks if m is not None]
        result = found[0]
        for mark in found[1:]:
            result = jnp.maximum(result, mark)
        return [jnp.broadcast_to(result, aval.shape)]
    first = marks[0]
    if primitive in MOVING and not (primitive in INDEXED and any(map(_is_undecided, operands[1:]))):
        moved = [_mark(m, x) for m, x in zip(marks, operands, strict=True)]
        if primitive is lax.gather_p:
            params = {**params, "fill_value": 0}
        results = primitive.bind(*moved, **params)
        return list(results) if primitive.multiple_results else [results]
    if primitive in REDUCING and first is not None:
        return [jnp.max(first, axis=params["axes"], initial=0)]
    if primitive in CUMULATIVE and first is not None:
        return [lax.cummax(first, axis=params["axis"], reverse=params["reverse"])]
    if not unknown:
        return [None] * len(avals)
    worst = largest(marks)
    return [jnp.broadcast_to(worst, a.shape) for a in avals]


def largest(marks: list[Array | None]) -> Array:
    """The largest of all marks."""
    result = jnp.zeros((), MARK)
    for mark in marks:
        if mark is not None and mark.size:
            result = jnp.maximum(result, jnp.max(mark))
    return result


def _is_undecided(operand: Any) -> bool:
    """Whether an operand is a range of integers: only its type is handed to `spread`."""
    return not isinstance(operand, np.ndarray | Array) and jnp.issubdtype(operand.dtype, jnp.integer)


def _mark(mark: Array | None, operand: Any) -> Any:
    if mark is not None:
        return mark
    if isinstance(operand, np.ndarray | Array) and jnp.issubdtype(operand.dtype, jnp.integer):
        return operand  # an exact index
    return jnp.zeros(operand.shape, MARK)


def joined(first: Array | None, second: Array | None) -> Array | None:
    """The larger mark of each entry."""
    if first is None or second is None:
        return first if second is None else second
    return jnp.maximum(first, second)
