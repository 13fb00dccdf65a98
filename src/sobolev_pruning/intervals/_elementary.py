"""Elementary functions with known error: which code evaluates them, and the margins of what it returns.

XLA's own functions are used where they are good. In float64 many are not, and exp, log and others are wanted to a
fraction of an ulp; there, and for the worst in float32, `_accurate.py` evaluates them as a sum of two floats. `bounds`
is what rules use, `evaluate` and `margin` what estimates of errors use.

A margin is twice the largest error that `benchmarks/rounding_margins.py` measured, rounded up (table:
`docs/margins.md`). *Measured*, not proved.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.typing import DTypeLike

from . import _accurate
from ._rounding import format_of, is_outward, outward, rounded_quotient, rounded_sum


class Margin(NamedTuple):
    """Relative errors in units of `eps·|result|`, of the sum of two floats where `_accurate.py` evaluates.

    Absolute errors up to `ABSOLUTE` times the smallest normal number are left out of both, and covered by `bounds`.
    """

    float32: float
    float64: float

    def of(self, dtype: DTypeLike) -> float:
        """The error in one of the formats."""
        return float(self.float32 if format_of(dtype).mantissa == 23 else self.float64)


# Some implementations flush more than the result (asin of twice the smallest normal number is 0), and low parts of sums
# of two floats are flushed earlier than what they belong to.
ABSOLUTE = 4

# XLA reduces float64 arguments modulo π/2 to an absolute error of 2⁻⁹²·⁴, measured at the floats that come nearest to
# multiples of π/2 (by continued fractions); up to this argument, to less than half an ulp. Doubled, rounded up.
LARGE_ANGLE = 2.0**24
REDUCTION = 2.0**-91

# What XLA evaluates has a margin of at least 2, what `_accurate.py` evaluates of at least ¼.
MARGINS: dict[Primitive, Margin] = {
    lax.exp_p: Margin(6, 0.25),
    lax.exp2_p: Margin(0.5, 0.25),
    lax.expm1_p: Margin(8, 0.25),
    lax.log_p: Margin(4, 0.25),
    lax.log1p_p: Margin(4, 0.25),
    lax.tanh_p: Margin(6, 0.25),
    lax.logistic_p: Margin(4, 0.25),
    lax.erf_p: Margin(8, 1),
    lax.erfc_p: Margin(1, 1),
    lax.sin_p: Margin(4, 2),
    lax.cos_p: Margin(4, 2),
    lax.tan_p: Margin(4, 2.5),
    lax.sinh_p: Margin(0.25, 0.25),
    lax.cosh_p: Margin(0.25, 0.25),
    lax.atan_p: Margin(6, 0.25),
    lax.asin_p: Margin(4, 2.5),
    lax.acos_p: Margin(4, 2.5),
    lax.asinh_p: Margin(5, 0.25),
    lax.acosh_p: Margin(6, 0.25),
    lax.atanh_p: Margin(4, 0.25),
    lax.cbrt_p: Margin(0.25, 0.25),
    lax.rsqrt_p: Margin(4, 2),
    lax.pow_p: Margin(1, 0.75),
    lax.integer_pow_p: Margin(0.25, 0.25),
    lax.sqrt_p: Margin(0.5, 0.5),  # correctly rounded
}

_BOTH = {lax.cbrt_p, lax.exp2_p, lax.sinh_p, lax.cosh_p, lax.erfc_p, lax.pow_p, lax.integer_pow_p}
_ONLY_FLOAT64 = {
    lax.exp_p, lax.expm1_p, lax.log_p, lax.log1p_p, lax.tanh_p, lax.logistic_p, lax.erf_p, lax.atan_p, lax.asinh_p,
    lax.acosh_p, lax.atanh_p,
}  # fmt: skip


def is_accurate(primitive: Primitive, dtype: DTypeLike) -> bool:
    """Whether `_accurate.py` evaluates the function in this format."""
    return primitive in _BOTH or (primitive in _ONLY_FLOAT64 and format_of(dtype).mantissa == 52)


def margin(primitive: Primitive, dtype: DTypeLike) -> float:
    """The margin of what `evaluate` returns, in units of `eps·|result|`."""
    measured = MARGINS[primitive].of(dtype)
    # The first of two floats is their sum, correctly rounded.
    return measured + 0.51 if is_accurate(primitive, dtype) else measured


def evaluate(primitive: Primitive, *x: Array, **params: Any) -> Array:
    """An elementary function of floats, as its margin was measured.

    Args:
        primitive: A key of `MARGINS`.
        *x: Operands of one shape and dtype.
        **params: Those of the primitive, without `accuracy`; `y` of an integer power.
    """
    if is_outward() and is_accurate(primitive, x[0].dtype):
        return accurate_p.bind(*x, function=primitive.name, **params)[0]
    return _plain(primitive, *x, **params)


def _plain(primitive: Primitive, *x: Array, **params: Any) -> Array:
    # The function of that name, which fills in the default accuracy, for which the margins hold.
    return getattr(lax, primitive.name)(*x, **params)


def bounds(primitive: Primitive, low: tuple[Array, ...], upp: tuple[Array, ...], **params: Any) -> tuple[Array, Array]:
    """A bound of `f(*low)` from below and a bound of `f(*upp)` from above.

    Args:
        primitive: A key of `MARGINS`.
        low: Operands at which the lower bound is wanted.
        upp: Operands at which the upper bound is wanted; the same object as `low` where f is evaluated once.
        **params: As in `evaluate`.
    """
    dtype = low[0].dtype
    fmt = format_of(dtype)
    same = all(a is b for a, b in zip(low, upp, strict=True))
    if not (is_outward() and is_accurate(primitive, dtype)):
        at_low = evaluate(primitive, *low, **params)
        at_upp = at_low if same else evaluate(primitive, *upp, **params)
        if primitive is lax.sqrt_p:
            return rounded_quotient(at_low, at_upp)
        ulps, absolute = MARGINS[primitive].of(dtype), ABSOLUTE * fmt.tiny
        if primitive in (lax.sin_p, lax.cos_p, lax.tan_p) and fmt.mantissa == 52:
            lower, _ = outward(at_low, at_low, ulps=ulps, absolute=_reduction_error(primitive, low[0], at_low))
            _, upper = outward(at_upp, at_upp, ulps=ulps, absolute=_reduction_error(primitive, upp[0], at_upp))
            return lower, upper
        return outward(at_low, at_upp, ulps=ulps, absolute=absolute)
    relative = MARGINS[primitive].of(dtype) * fmt.eps * (1 + 8 * fmt.eps)

    def parts(x: tuple[Array, ...]) -> tuple[Array, Array]:
        high, rest = accurate_p.bind(*x, function=primitive.name, **params)
        return high, jnp.where(jnp.isinf(high), jnp.zeros((), dtype), rest)

    at_low = parts(low)
    at_upp = at_low if same else parts(upp)
    # What overflowed inwards is beyond the largest number, up to the margin.
    high = jnp.minimum(at_low[0], fmt.max), jnp.maximum(at_upp[0], -fmt.max)
    error = [relative * jnp.abs(h) + (ABSOLUTE + 2) * fmt.tiny for h in high]
    return rounded_sum(high, (at_low[1] - error[0], at_upp[1] + error[1]))


def _reduction_error(primitive: Primitive, x: Array, value: Array) -> Array:
    """What an error of the reduced argument does: the slope is at most 1, and `1 + tan²` for tangent."""
    # The margin of 1.01 is that of the computed tangent.
    slope = 1.01 * (1 + value * value) if primitive is lax.tan_p else jnp.ones_like(value)
    return jnp.where(jnp.abs(x) >= LARGE_ANGLE, REDUCTION, 0.0) * slope + ABSOLUTE * format_of(x.dtype).tiny


# The functions of `_accurate.py` are one primitive, so that they can be differentiated as what they compute, and
# enclosed as that when inclusions are nested.
accurate_p = Primitive("accurate")
accurate_p.multiple_results = True

PRIMITIVES: dict[str, Primitive] = {primitive.name: primitive for primitive in (*_BOTH, *_ONLY_FLOAT64)}


def _function(*x: Array, function: str, **params: Any) -> tuple[Array, Array]:
    return _accurate.FUNCTIONS[function](*x, **params)


@cache
def _compiled(function: str, params: tuple[tuple[str, Any], ...]) -> Callable[..., tuple[Array, Array]]:
    return jax.jit(partial(_function, function=function, **dict(params)))


def _impl(*x: Array, function: str, **params: Any) -> tuple[Array, Array]:
    return _compiled(function, tuple(sorted(params.items())))(*x)


def _jvp(primals: Any, tangents: Any, *, function: str, **params: Any) -> tuple[list[Array], list[Any]]:
    plain = partial(_plain, PRIMITIVES[function], **params)
    values = list(accurate_p.bind(*primals, function=function, **params))
    _, tangent = jax.jvp(plain, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))
    return values, [tangent, jnp.zeros_like(tangent)]


def _batched(x: Any, dims: Any, **params: Any) -> tuple[list[Array], list[int]]:
    size = next(v.shape[d] for v, d in zip(x, dims, strict=True) if d is not None)
    front = [
        jnp.broadcast_to(v, (size, *v.shape)) if d is None else jnp.moveaxis(v, d, 0)
        for v, d in zip(x, dims, strict=True)
    ]
    return list(accurate_p.bind(*front, **params)), [0, 0]


accurate_p.def_impl(_impl)
accurate_p.def_abstract_eval(lambda *x, **_: [x[0], x[0]])
mlir.register_lowering(accurate_p, mlir.lower_fun(_function, multiple_results=True))
ad.primitive_jvps[accurate_p] = _jvp
batching.primitive_batchers[accurate_p] = _batched
