"""Interval rules for primitives that only rearrange entries, and for conversions.

Each entry of the result is one entry of an operand, so both ends take the same path and nothing is rounded. Indices are
exact here; `indexing.py` is about those that are not.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive, primitives

from ..._compat import since
from .._arithmetic import is_point
from .._bits import flush_down_p, flush_up_p, order_p
from .._interval import Interval
from .._rearrangements import REARRANGEMENTS
from .._registry import UnsupportedPrimitiveError, definteger, defrule
from .._rounding import format_of, outward, unbounded_if_nan
from .._ternary import Ternary

ONE_OPERAND: frozenset[Primitive] = (REARRANGEMENTS - {lax.optimization_barrier_p}) | {
    lax.tile_p,
    lax.sharding_constraint_p,
}

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


def rearranged(primitive: Primitive, *operands: Any, **params: Any) -> Any:
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


def gathered(primitive: Primitive, *operands: Any, **params: Any) -> Any:
    result = rearranged(primitive, *operands, **params)
    if isinstance(result, Interval) and jnp.issubdtype(result.dtype, jnp.floating):
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


for _primitive in (*ONE_OPERAND, *MANY_OPERANDS):
    defrule(_primitive, gathered if _primitive is lax.gather_p else rearranged)
for _primitive in MANY_RESULTS:
    defrule(_primitive, _many_results)
INDEXED = (lax.gather_p, lax.dynamic_slice_p, lax.dynamic_update_slice_p)
for _primitive in (*ONE_OPERAND, *MANY_OPERANDS):
    if _primitive not in INDEXED:
        definteger(_primitive, rearranged)
for _primitive in MANY_RESULTS:
    definteger(_primitive, _many_results)


def _convert(primitive: Primitive, x: Any, *, new_dtype: Any, **params: Any) -> Any:
    """Conversion rounds to the new format; integers that it holds exactly stay points.

    To an integer format, numbers are truncated towards zero; what may not fit can become any integer.
    """

    def bind(end: Any) -> Any:
        return primitive.bind(end, new_dtype=new_dtype, **params)

    to_float = jnp.issubdtype(new_dtype, jnp.floating)
    if jnp.dtype(new_dtype) == jnp.bool_:
        if isinstance(x, Ternary):
            return x
        if not isinstance(x, Interval):
            return bind(x)
        zero = (x.lower <= 0) & (x.upper >= 0)
        return Ternary((x.lower != 0) | (x.upper != 0), zero)
    if isinstance(x, Ternary):
        return Interval._make(bind(~x.can_be_false), bind(x.can_be_true))
    if not isinstance(x, Interval):
        value = bind(x)
        if x.dtype == bool or jnp.iinfo(x.dtype).bits <= format_of(new_dtype).mantissa:
            return Interval._make(value, value)
        return Interval._make(*outward(value, value))
    if not to_float:
        return bind(x.lower) if is_point(x) else _to_integers(bind, x, jnp.iinfo(new_dtype))
    if is_point(x):
        low = upp = bind(x.lower)
    else:
        low, upp = bind(x.lower), bind(x.upper)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        exact = jnp.iinfo(x.dtype).bits <= format_of(new_dtype).mantissa
    else:
        exact = format_of(new_dtype).mantissa >= format_of(x.dtype).mantissa
    return Interval._make(low, upp) if exact else Interval._make(*outward(low, upp))


def _to_integers(bind: Any, x: Interval, info: Any) -> Interval:
    # The limits of a wide integer format may not be floats: the next smaller ones are safe.
    if jnp.issubdtype(x.dtype, jnp.floating):
        fmt = format_of(x.dtype)
        least, most = (float(np.asarray(v, x.dtype)) * (1 - fmt.eps) for v in (info.min, info.max))
        fits = (x.lower >= least) & (x.upper <= most)
    else:
        source = jnp.iinfo(x.dtype)
        fits = jnp.ones((), bool)
        if source.min < info.min:
            fits &= x.lower >= info.min
        if source.max > info.max:
            fits &= x.upper <= info.max
    low, upp = bind(x.lower), bind(x.upper)
    return Interval._make(
        jnp.where(fits, low, jnp.asarray(info.min, info.dtype)), jnp.where(fits, upp, jnp.asarray(info.max, info.dtype))
    )


defrule(lax.convert_element_type_p, _convert)
definteger(lax.convert_element_type_p, _convert)


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


def _normal_already(primitive: Primitive, x: Interval, **params: Any) -> Interval:
    """No end is subnormal, so a step function that moves nothing but subnormal numbers moves no end."""
    return x


defrule(flush_down_p, _normal_already)
defrule(flush_up_p, _normal_already)


def _order(primitive: Primitive, x: Interval, **params: Any) -> Any:
    low = primitive.bind(x.lower)
    return low if is_point(x) else Interval._make(low, primitive.bind(x.upper))


defrule(order_p, _order)


def _empty(primitive: Primitive, *, dtype: Any, **params: Any) -> Any:
    """Whatever was in memory: nothing is known of it."""
    if jnp.issubdtype(dtype, jnp.floating):
        return Interval.entire(params.get("shape", ()), dtype)
    return primitive.bind(dtype=dtype, **params)


for _primitive in (primitives.empty2_p, *since("empty")):
    defrule(_primitive, _empty)
