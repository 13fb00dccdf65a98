"""The table from elementwise JAX primitives to ONNX operators: what is not in it is refused by name.

onnxruntime computes in float32 and float64 what stands here, on any CPU, except where the table says otherwise.

ONNX has no `log1p`, `expm1`, `erfc` and `exp2`, and onnxruntime no float64 kernels of `Erf`, `Atan`, `Tan`, `Sinh`,
`Cosh` and `Asinh`. They are composed of operators that exist, without branches where possible, since `Where` computes
both of its branches. Their errors, in epsilons of either precision, were measured with onnxruntime 1.32 against ball
arithmetic over 1e-8 ≤ |x| ≤ 100. Relative to the result: `exp2` 1, `log1p` 2, `asinh` 2, `atan` 3, `expm1` 4, `sinh`
and `cosh` 12, `tan` 2 where |x| < 1.4. Further out, `tan` reaches 211 in float64, as the sine and cosine of onnxruntime
do near their zeros. Relative to one, the size of their range: `logistic` 1, `erfc` 2, `erf` 3.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial, reduce
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax import lax
from jax.extend.core import Primitive, primitives

from .._compat import since


class UntranslatableError(ValueError):
    """Something in an activation has no counterpart in ONNX; the message says what, for `OnnxExportError` to carry."""


@runtime_checkable  # the tests check annotations
class Graph(Protocol):
    """What a rule needs: operands and results are names."""

    dtype: np.dtype

    def __call__(self, operator: str, *operands: str) -> str:
        """The result of one node."""
        ...

    def number(self, value: float) -> str:
        """A constant in the surrogate's precision."""
        ...

    def is_condition(self, name: str) -> bool:
        """Whether this is true or false, and not a number."""
        ...


Rule = Callable[..., str]

# Operators whose results are conditions.
CONDITIONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not"}

_rules: dict[Primitive, Rule] = {}
rules: Mapping[Primitive, Rule] = MappingProxyType(_rules)


def _define(primitive: Primitive, rule: Rule) -> None:
    assert primitive not in _rules, primitive
    _rules[primitive] = rule


def _direct(operator: str, g: Graph, *operands: str, **_: Any) -> str:
    return g(operator, *operands)


def _numbers_only(operator: str, g: Graph, *operands: str, **_: Any) -> str:
    if any(map(g.is_condition, operands)):
        raise UntranslatableError("takes conditions, and has a counterpart for numbers alone")
    return g(operator, *operands)


for _primitive, _operator in {
    lax.eq_p: "Equal",
    lax.and_p: "And",
    lax.or_p: "Or",
    lax.xor_p: "Xor",
    lax.not_p: "Not",
}.items():
    _define(_primitive, partial(_direct, _operator))

for _primitive, _operator in {
    lax.add_p: "Add",
    primitives.add_jaxvals_p: "Add",
    lax.sub_p: "Sub",
    lax.mul_p: "Mul",
    lax.div_p: "Div",
    lax.neg_p: "Neg",
    lax.max_p: "Max",
    lax.min_p: "Min",
    lax.abs_p: "Abs",
    lax.sign_p: "Sign",
    lax.floor_p: "Floor",
    lax.ceil_p: "Ceil",
    lax.exp_p: "Exp",
    lax.log_p: "Log",
    lax.sqrt_p: "Sqrt",
    lax.tanh_p: "Tanh",
    # Exactly 0 in onnxruntime below -15.8 in float32 and -36.7 in float64.
    lax.logistic_p: "Sigmoid",
    lax.sin_p: "Sin",
    lax.cos_p: "Cos",
    lax.lt_p: "Less",
    lax.le_p: "LessOrEqual",
    lax.gt_p: "Greater",
    lax.ge_p: "GreaterOrEqual",
    # onnxruntime has kernels of these in float32 alone; in float64 it refuses the graph.
    lax.asin_p: "Asin",
    lax.acos_p: "Acos",
    lax.acosh_p: "Acosh",
    lax.atanh_p: "Atanh",
}.items():
    _define(_primitive, partial(_numbers_only, _operator))


def _same(_: Graph, operand: str, **__: Any) -> str:
    return operand


# On a single number these change nothing but its shape, from () to (1,) and the like; elementwise operators broadcast.
for _primitive in (
    lax.broadcast_in_dim_p,
    lax.reshape_p,
    lax.squeeze_p,
    lax.transpose_p,
    lax.reduce_sum_p,
    lax.copy_p,
    lax.stop_gradient_p,
):
    _define(_primitive, _same)


def _rule(primitive: Primitive) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _define(primitive, rule)
        return rule

    return register


# Conditions and choices.


@_rule(lax.ne_p)
def _ne(g: Graph, x: str, y: str, **_: Any) -> str:
    return g("Not", g("Equal", x, y))


@_rule(lax.is_finite_p)
def _is_finite(g: Graph, x: str) -> str:
    return g("Less", g("Abs", x), g.number(math.inf))


@_rule(lax.select_n_p)
def _select_n(g: Graph, which: str, *cases: str) -> str:
    if len(cases) != 2 or any(map(g.is_condition, cases)):
        raise UntranslatableError("chooses between two numbers alone")
    off, on = cases
    return g("Where", which, on, off)


@_rule(lax.clamp_p)
def _clamp(g: Graph, lower: str, x: str, upper: str) -> str:
    return g("Min", g("Max", x, lower), upper)


@_rule(lax.convert_element_type_p)
def _convert_element_type(g: Graph, x: str, *, new_dtype: Any, **_: Any) -> str:
    if g.is_condition(x) == (new_dtype == np.bool_):
        return x
    if g.is_condition(x):
        return g("Where", x, g.number(1.0), g.number(0.0))
    return g("Not", g("Equal", x, g.number(0.0)))


@_rule(lax.round_p)
def _round(g: Graph, x: str, *, rounding_method: lax.RoundingMethod) -> str:
    if rounding_method != lax.RoundingMethod.TO_NEAREST_EVEN:
        raise UntranslatableError(f"rounds by {rounding_method!r}, and ONNX to even alone")
    return g("Round", x)


# Powers.


@_rule(lax.square_p)
def _square(g: Graph, x: str) -> str:
    return g("Mul", x, x)


def _one_minus_square(g: Graph, x: str) -> str:
    """As JAX does, without cancellation near 1."""
    one = g.number(1.0)
    return g("Mul", g("Add", one, x), g("Sub", one, x))


for _primitive in since("one_minus_square"):
    _define(_primitive, _one_minus_square)


@_rule(lax.integer_pow_p)
def _integer_pow(g: Graph, x: str, *, y: int) -> str:
    """By repeated squaring, as XLA does."""
    factors, power, n = [], x, abs(y)
    while n:
        if n & 1:
            factors.append(power)
        n >>= 1
        if n:
            power = _square(g, power)
    product = reduce(partial(g, "Mul"), factors, g.number(1.0))
    return product if y >= 0 else g("Div", g.number(1.0), product)


@_rule(lax.pow_p)
def _pow(g: Graph, x: str, y: str) -> str:
    return g("Pow", x, y)


@_rule(lax.rsqrt_p)
def _rsqrt(g: Graph, x: str, **_: Any) -> str:
    return g("Div", g.number(1.0), g("Sqrt", x))


@_rule(lax.exp2_p)
def _exp2(g: Graph, x: str, **_: Any) -> str:
    return g("Pow", g.number(2.0), x)


# The exponential and what follows from it.


@_rule(lax.log1p_p)
def _log1p(g: Graph, x: str, **_: Any) -> str:
    """log(1 + x) = log(u) + (x − (u − 1)) / u + O(eps²) for u = fl(1 + x): the first-order effect of rounding 1 + x.

    x − (u − 1) is exact, and zero times infinity would be NaN where u is 0 or infinite; there is nothing to correct.
    """
    one = g.number(1.0)
    u = g("Add", x, one)
    rounded = g("Sub", u, one)
    log = g("Log", u)
    corrected = g("Add", log, g("Div", g("Sub", x, rounded), u))
    return g("Where", g("Equal", rounded, x), log, corrected)


@_rule(lax.expm1_p)
def _expm1(g: Graph, x: str, **_: Any) -> str:
    """exp(x) − 1 = tanh(x / 2) (exp(x) + 1), without cancellation, and right where exp is 0 or infinite."""
    tanh = g("Tanh", g("Mul", x, g.number(0.5)))
    return g("Mul", tanh, g("Add", g("Exp", x), g.number(1.0)))


@_rule(lax.cosh_p)
def _cosh(g: Graph, x: str, **_: Any) -> str:
    """The factor ½ stands in the exponent: it is finite wherever the result is."""
    half = g.number(math.log(0.5))
    return g("Add", g("Exp", g("Add", x, half)), g("Exp", g("Sub", half, x)))


@_rule(lax.sinh_p)
def _sinh(g: Graph, x: str, **_: Any) -> str:
    """sinh = tanh cosh, without cancellation."""
    return g("Mul", g("Tanh", x), _cosh(g, x))


@_rule(lax.tan_p)
def _tan(g: Graph, x: str, **_: Any) -> str:
    return g("Div", g("Sin", x), g("Cos", x))


@_rule(lax.asinh_p)
def _asinh(g: Graph, x: str, **_: Any) -> str:
    """sign(x) log1p(a + a / (1/a + √(1 + 1/a²))) for a = |x|: no square overflows that matters."""
    a, one = g("Abs", x), g.number(1.0)
    inverse = g("Div", one, a)
    root = g("Sqrt", g("Add", one, _square(g, inverse)))
    return g("Mul", g("Sign", x), _log1p(g, g("Add", a, g("Div", a, g("Add", inverse, root)))))


# The error functions. In float64, by the midpoint rule of step h for the integral (Hunter and Regan, 1972)
#
#     erfc(x) = x/π exp(−x²) ∫ exp(−t²) / (t² + x²) dt
#             = 2 / (1 + exp(2πx/h)) + x exp(−x²) Σ cₙ / (x² + pₙ) + O(exp(−π²/h²)),
#     pₙ = ((n + ½) h)²,  cₙ = 2h/π exp(−pₙ),  n = 0, 1, …
#
# The first term is the residue at the pole t = ix. The sum ends where exp(−pₙ) is below exp(−π²/h²) ≈ 7e-18. Both
# terms minus one are odd, so the formula holds for every real x, and erf = 1 − erfc is tanh(πx/h) minus the sum: exact
# at zero too. Beyond ±30 nothing changes any more, and squares would overflow.
_STEP = 0.5
_MIDPOINTS = [((n + 0.5) * _STEP) ** 2 for n in range(12)]


def _clipped(g: Graph, x: str, bound: float) -> str:
    return g("Max", g("Min", x, g.number(bound)), g.number(-bound))


def _midpoint_sum(g: Graph, x: str) -> str:
    square = _square(g, x)
    terms = [
        g("Div", g.number(2 * _STEP / math.pi * math.exp(-p)), g("Add", square, g.number(p)))
        for p in reversed(_MIDPOINTS)
    ]
    return g("Mul", g("Mul", x, g("Exp", g("Neg", square))), reduce(partial(g, "Add"), terms))


@_rule(lax.erf_p)
def _erf(g: Graph, x: str) -> str:
    if g.dtype == np.float32:
        return g("Erf", x)
    x = _clipped(g, x, 30.0)
    return g("Sub", g("Tanh", g("Mul", x, g.number(math.pi / _STEP))), _midpoint_sum(g, x))


@_rule(lax.erfc_p)
def _erfc(g: Graph, x: str, **_: Any) -> str:
    if g.dtype == np.float32:
        return g("Sub", g.number(1.0), g("Erf", x))
    x = _clipped(g, x, 30.0)
    residue = g("Sigmoid", g("Mul", x, g.number(-2 * math.pi / _STEP)))
    return g("Add", g("Mul", residue, g.number(2.0)), _midpoint_sum(g, x))


@_rule(lax.atan_p)
def _atan(g: Graph, x: str, **_: Any) -> str:
    """In float64, the angle is halved three times, tan(θ/2) = tan θ / (1 + √(1 + tan² θ)), to at most π/16.

    There the Taylor series of eleven terms is exact to 2e-17. Beyond ±1e20 the result no longer changes.
    """
    if g.dtype == np.float32:
        return g("Atan", x)
    one = g.number(1.0)
    tangent = _clipped(g, x, 1e20)
    for _halving in range(3):
        tangent = g("Div", tangent, g("Add", one, g("Sqrt", g("Add", one, _square(g, tangent)))))
    square = _square(g, tangent)
    series = g.number(1 / 21)
    for n in reversed(range(10)):
        series = g("Add", g("Mul", series, square), g.number((-1) ** n / (2 * n + 1)))
    return g("Mul", g("Mul", tangent, g.number(8.0)), series)
