"""Evaluation of a formula at exact points, with a running bound of its rounding error.

A `Ball` is a computed value and a bound of its distance from the true one (running error analysis, N. Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.3). The bound is itself computed with fewer than
500 roundings, which the factor 1.01 in `interval` covers in float32 and float64. Cheaper than interval arithmetic
where operands are points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from ._elementary import evaluate, margin
from ._interval import Interval
from ._rounding import around, bracket, format_of, is_outward, outward


@dataclass(frozen=True)
class Ball:
    """A computed value v, at most `relative·|v| + absolute` away from the true one.

    The relative part is a number that is known while tracing, because that saves operations; so may the absolute part
    be. None says that the value is exact.
    """

    value: Array
    absolute: Array | float | None
    relative: float = 0.0

    @property
    def error(self) -> Array | float | None:
        """The bound."""
        if self.absolute is None or not self.relative:
            return self.absolute
        return self.relative * jnp.abs(self.value) + self.absolute

    def __add__(self, other: "Ball") -> "Ball":
        return _rounded(self.value + other.value, _sum([self.error, other.error]))

    def __mul__(self, other: "Ball") -> "Ball":
        a, b = self.absolute, other.absolute
        parts = [
            None if b is None else jnp.abs(self.value) * ((1 + self.relative) * b),
            None if a is None else jnp.abs(other.value) * ((1 + other.relative) * a),
            None if a is None or b is None else a * b,
        ]
        value = self.value * other.value
        relative = (1 + self.relative) * (1 + other.relative) - 1
        # Relative to the rounded product.
        return _rounded(value, _sum(parts), relative * (1 + format_of(value.dtype).eps))

    def __truediv__(self, other: "Ball") -> "Ball":
        """`|a/b − (a + e)/(b + f)| ≤ (|e| + |a/b|·|f|)/(|b| − |f|)`."""
        value = self.value / other.value
        change = _sum([self.error, None if other.error is None else jnp.abs(value) * other.error])
        if change is None:
            return _rounded(value, None)
        distance = jnp.abs(other.value) - (0 if other.error is None else other.error)
        return _rounded(value, jnp.where(distance > 0, change / distance, jnp.inf))

    def __neg__(self) -> "Ball":
        return Ball(-self.value, self.absolute, self.relative)

    def half(self) -> "Ball":
        """Half of it; an exact number may underflow."""
        absolute = 0.0 if self.absolute is None else 0.5 * self.absolute
        return Ball(0.5 * self.value, absolute + 2 * format_of(self.value.dtype).tiny, self.relative)

    def power(self, exponent: int) -> "Ball":
        """A product of `exponent ≥ 1` equal factors."""
        result = self
        for _ in range(exponent - 1):
            result = result * self
        return result

    def interval(self) -> Interval:
        """What the ball encloses."""
        if self.error is None:
            return Interval._make(self.value, self.value)
        if not is_outward():
            return Interval._make(*outward(self.value, self.value))
        return Interval._make(*around(self.value, 1.01 * jnp.asarray(self.error, self.value.dtype)))


def _sum(errors: list[Array | float | None]) -> Array | float | None:
    total = None
    for error in errors:
        if error is not None:
            total = error if total is None else total + error
    return total


def _rounded(value: Array, absolute: Array | float | None, relative: float = 0.0, ulps: float = 0.5) -> Ball:
    """A value that is wrong by what its operands are, and by an operation of its own."""
    fmt = format_of(value.dtype)
    absolute = 4 * fmt.tiny if absolute is None else absolute + 4 * fmt.tiny
    return Ball(value, absolute, relative + 1.01 * ulps * fmt.eps)


def point(x: Array) -> Ball:
    """An exact number."""
    return Ball(x, None)


def rational(value: Fraction, like: Array) -> Ball:
    """An exact rational number, which need not be a float."""
    low, upp = bracket(value, like.dtype)
    near = min((low, upp), key=lambda f: abs(Fraction(f) - value))
    error = bracket(abs(Fraction(near) - value), like.dtype)[1]
    return Ball(jnp.asarray(near, like.dtype), error or None)


def apply(primitive: Primitive, x: Ball, slope: float) -> Ball:
    """An elementary function whose derivative is at most `slope` in absolute value, everywhere."""
    value = evaluate(primitive, x.value)
    return _rounded(value, None if x.error is None else slope * x.error, ulps=margin(primitive, value.dtype))


def sqrt(x: Ball) -> Ball:
    """`√x`: `|√(x + e) − √x| = |e|/(√(x + e) + √x)`."""
    value = lax.sqrt(x.value)
    return _rounded(value, None if x.error is None else jnp.where(value > 0, 1.01 * x.error / value, jnp.inf))


def where(condition: Array, on: Ball, off: Ball) -> Ball:
    """One ball or the other."""
    value = jnp.where(condition, on.value, off.value)
    if on.absolute is None and off.absolute is None:
        return Ball(value, None)
    first, second = (0.0 if ball.absolute is None else ball.absolute for ball in (on, off))
    # Not the larger of both: the other one may be far smaller.
    return Ball(value, jnp.where(condition, first, second), max(on.relative, off.relative))


def exp(x: Ball) -> Ball:
    """`exp(x)`.

    `|exp(x + e) − exp(x)| ≤ exp(x)·(exp(|e|) − 1) ≤ 1.72·exp(x)·|e|` while `|e| ≤ 1`, and at most 1 where both
    arguments are negative. The factor 2 also pays for taking the computed value in place of `exp(x)`.
    """
    value = evaluate(lax.exp_p, x.value)
    if x.error is None:
        return _rounded(value, None, ulps=margin(lax.exp_p, value.dtype))
    far = jnp.where(x.value + x.error <= 0, 1.0, jnp.inf)
    change = jnp.where(x.error <= 1, 2 * value * x.error, far)
    return _rounded(value, change, ulps=margin(lax.exp_p, value.dtype))


def tanh_softplus(x: Array) -> tuple[Ball, Ball]:
    """`t = tanh(log(1 + eˣ))` and `1 − t` at exact points, each accurate where it is small.

    With `E = exp(−|x|)`, they are `(E² + 2E)/(E² + 2E + 2)` and `2/(E² + 2E + 2)` for x < 0, `(1 + 2E)/(1 + 2E + 2E²)`
    and `2E²/(1 + 2E + 2E²)` for x ≥ 0. No term is negative, so relative errors add up to those of E, weighted by at
    most 2 in a numerator and 1 in a denominator, and 2½ of roundings.
    """
    e = evaluate(lax.exp_p, -jnp.abs(x))
    ulps = 3 * margin(lax.exp_p, x.dtype) + 4
    negative = x < 0
    small, square = e * (e + 2), 2 * e * e
    below = jnp.where(negative, small + 2, 1 + 2 * e + square)
    return (
        _rounded(jnp.where(negative, small, 1 + 2 * e) / below, None, ulps=ulps),
        _rounded(jnp.where(negative, 2.0, square) / below, None, ulps=ulps),
    )


def logistic(x: Ball) -> Ball:
    """`σ(x)`: its slope at t is at most ¼ and at most σ(−|t|), so on the ball at most σ(|e| − |x|); it changes by ≤ 1.

    The factor 2 covers the errors of σ and of its argument, where they matter: σ(−t) is zero beyond t = 750.
    """
    value = evaluate(lax.logistic_p, x.value)
    if x.error is None:
        return _rounded(value, None, ulps=margin(lax.logistic_p, value.dtype))
    tiny = format_of(value.dtype).tiny
    slope = 2 * lax.logistic(x.error - jnp.abs(x.value)) + tiny
    change = jnp.where(x.error < jnp.inf, jnp.minimum(jnp.minimum(0.25, slope) * x.error, 1.0), 1.0)
    return _rounded(value, change, ulps=margin(lax.logistic_p, value.dtype))


def horner(coefficients: Sequence[Fraction], x: Ball) -> Ball:
    """`Σ cₖ·xᵏ`; trailing zeros are allowed; leading powers of x are factored out, for relative accuracy at 0."""
    c = list(coefficients)
    shift = 0
    while c and c[0] == 0:
        c.pop(0)
        shift += 1
    while c and c[-1] == 0:
        c.pop()
    if not c:
        return point(jnp.zeros_like(x.value))
    result = rational(c[-1], x.value)
    for coefficient in reversed(c[:-1]):
        result = result * x
        if coefficient:
            result = result + rational(coefficient, x.value)
    for _ in range(shift):
        result = result * x
    return result
