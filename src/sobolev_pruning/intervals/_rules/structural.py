"""Interval rules for primitives that only rearrange entries.

Each entry of the result is one entry of an operand, so both ends take the same path and nothing is rounded. Indices
must be
exact: an index that depends on an interval is an integer that depends on one, which no rule produces.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive, primitives

from .._arithmetic import is_point
from .._interval import Interval, Ternary
from .._registry import UnsupportedPrimitiveError, defrule
from .._rounding import format_of, outward, unbounded_if_nan

ONE_OPERAND: tuple[Primitive, ...] = (
    lax.broadcast_in_dim_p,
    lax.reshape_p,
    lax.squeeze_p,
    lax.transpose_p,
    lax.slice_p,
    lax.rev_p,
    lax.tile_p,
    lax.stop_gradient_p,
    primitives.copy_p,
    primitives.name_p,
    lax.sharding_constraint_p,
)

MANY_OPERANDS: tuple[Primitive, ...] = (
    lax.concatenate_p,
    lax.stack_p,
    lax.pad_p,
    lax.dynamic_slice_p,
    lax.dynamic_update_slice_p,
    lax.gather_p,
)

MANY_RESULTS: tuple[Primitive, ...] = (lax.split_p, lax.unstack_p, lax.optimization_barrier_p, lax.device_put_p)


def _ends(operands: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    lower, upper = [], []
    for x in operands:
        match x:
            case Interval():
                lower.append(x.lower)
                upper.append(x.upper)
            case Ternary():
                lower.append(x.can_be_true)
                upper.append(x.can_be_false)
            case _:
                lower.append(x)
                upper.append(x)
    return lower, upper


def _rearranged(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    intervals = [x for x in operands if isinstance(x, Interval)]
    ternaries = [x for x in operands if isinstance(x, Ternary)]
    if ternaries and any(not isinstance(x, Ternary) and x.dtype == bool for x in operands):
        operands = tuple(Ternary(x, ~x) if not isinstance(x, Ternary) and x.dtype == bool else x for x in operands)
    lower, upper = _ends(operands)
    low = primitive.bind(*lower, **params)
    if ternaries:
        return Ternary(low, primitive.bind(*upper, **params))
    if all(map(is_point, intervals)):
        return Interval._make(low, low)
    return Interval._make(low, primitive.bind(*upper, **params))


def _gathered(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    result = _rearranged(primitive, *operands, **params)
    if isinstance(result, Interval):
        # An index out of bounds may have filled an entry with NaN.
        return Interval._make(*unbounded_if_nan(result.lower, result.upper))
    return result


def _many_results(primitive: Primitive, *operands: Any, **params: Any) -> list[Any]:
    lower, upper = _ends(operands)
    lows, upps = primitive.bind(*lower, **params), primitive.bind(*upper, **params)
    kinds = operands if len(operands) == len(lows) else operands * len(lows)
    return [
        Interval._make(low, upp) if isinstance(x, Interval)
        else Ternary(low, upp) if isinstance(x, Ternary)
        else low
        for x, low, upp in zip(kinds, lows, upps, strict=True)
    ]  # fmt: skip


for _primitive in ONE_OPERAND + MANY_OPERANDS:
    defrule(_primitive, _gathered if _primitive is lax.gather_p else _rearranged)
for _primitive in MANY_RESULTS:
    defrule(_primitive, _many_results)


def _convert(primitive: Primitive, x: Any, *, new_dtype: Any, **params: Any) -> Any:
    """Conversion rounds to the new format; integers that it holds exactly stay points."""
    to_float = jnp.issubdtype(new_dtype, jnp.floating)
    if jnp.issubdtype(new_dtype, jnp.complexfloating):
        raise UnsupportedPrimitiveError("makes a complex number, and there are no complex intervals")

    def bind(end: Any) -> Any:
        return primitive.bind(end, new_dtype=new_dtype, **params)

    if isinstance(x, Ternary):
        if to_float:
            return Interval._make(bind(~x.can_be_false), bind(x.can_be_true))
        return x  # 0, 1 or undecided: `cond` understands it, arithmetic does not
    if not isinstance(x, Interval):
        value = bind(x)
        if x.dtype == bool or jnp.iinfo(x.dtype).bits <= format_of(new_dtype).mantissa:
            return Interval._make(value, value)
        return Interval._make(*outward(value, value))
    if not to_float:
        if is_point(x):
            return bind(x.lower)
        raise UnsupportedPrimitiveError(
            f"turns an interval into {jnp.dtype(new_dtype).name}, but integers have no intervals"
        )
    if is_point(x):
        low = upp = bind(x.lower)
    else:
        low, upp = bind(x.lower), bind(x.upper)
    if format_of(new_dtype).mantissa >= format_of(x.dtype).mantissa:
        return Interval._make(low, upp)
    return Interval._make(*outward(low, upp))


defrule(lax.convert_element_type_p, _convert)


def _iota(primitive: Primitive, *operands: Any, **params: Any) -> Interval:
    """0, 1, 2, …, exact as long as the format holds every integer up to the length."""
    value = primitive.bind(*operands, **params)
    if max(value.shape) <= 2 ** (format_of(value.dtype).mantissa + 1):
        return Interval._make(value, value)
    return Interval._make(*outward(value, value))


defrule(lax.iota_p, _iota)


def _bits(primitive: Primitive, x: Any, **params: Any) -> Any:
    if isinstance(x, Interval) and not is_point(x):
        raise UnsupportedPrimitiveError("reads the bits of an interval, which has none")
    value = primitive.bind(x.lower if isinstance(x, Interval) else x, **params)
    return Interval._make(value, value) if jnp.issubdtype(value.dtype, jnp.floating) else value


defrule(lax.bitcast_convert_type_p, _bits)
