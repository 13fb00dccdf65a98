"""Error margins of XLA's elementary functions.

An entry is twice the largest error that `benchmarks/ulp_error.py` measured, in units of `eps·|result|`, over short
and long arrays: for float32 a strided sweep of all bit patterns, for float64 random and adversarial samples.
*Measured*, not proved.
"""

from typing import NamedTuple

from jax import Array, lax
from jax.extend.core import Primitive
from jax.typing import DTypeLike

from ._rounding import format_of


class Margin(NamedTuple):
    """Relative errors in units of eps; absolute errors below the smallest normal number are added by `outward`."""

    float32: float
    float64: float


# Printed by `python benchmarks/ulp_error.py 60000` on a CPU, doubled and rounded up, and at least 4 where no proof is
# at hand.
MARGINS: dict[Primitive, Margin] = {
    lax.exp_p: Margin(4, 4),
    lax.exp2_p: Margin(70, 720),
    lax.expm1_p: Margin(6, 6),
    lax.log_p: Margin(4, 4),
    lax.log1p_p: Margin(4, 240),
    lax.tanh_p: Margin(5, 8),
    lax.logistic_p: Margin(4, 4),
    lax.erf_p: Margin(4, 4),
    lax.erfc_p: Margin(66, 520),
    lax.sin_p: Margin(4, 4),
    lax.cos_p: Margin(4, 4),
    lax.tan_p: Margin(4, 4),
    lax.sinh_p: Margin(26, 500),
    lax.cosh_p: Margin(26, 500),
    lax.atan_p: Margin(6, 5),
    lax.asin_p: Margin(4, 4),
    lax.acos_p: Margin(4, 4),
    lax.asinh_p: Margin(4, 4),
    lax.acosh_p: Margin(4, 4),
    lax.atanh_p: Margin(4, 144),
    lax.cbrt_p: Margin(4, 6),
    lax.rsqrt_p: Margin(4, 4),
    lax.pow_p: Margin(32, 32),
    lax.sqrt_p: Margin(0.5, 0.5),  # correctly rounded
}


def margin(primitive: Primitive, dtype: DTypeLike) -> float:
    """The margin of a primitive in units of `eps·|result|`."""
    return float(MARGINS[primitive][0 if format_of(dtype).mantissa == 23 else 1])


# Primitives that carry an `accuracy`; the margins hold for the default.
_WITH_ACCURACY = {
    lax.exp_p, lax.exp2_p, lax.expm1_p, lax.log_p, lax.log1p_p, lax.logistic_p, lax.tanh_p, lax.sin_p,
    lax.cos_p, lax.tan_p, lax.sqrt_p, lax.rsqrt_p, lax.cbrt_p,
}  # fmt: skip


def evaluate(primitive: Primitive, x: Array) -> Array:
    """An elementary function of floats, with the accuracy that its margin was measured for."""
    return primitive.bind(x, accuracy=None) if primitive in _WITH_ACCURACY else primitive.bind(x)
