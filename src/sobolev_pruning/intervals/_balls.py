"""Evaluation of a formula at exact points, with a running bound of its rounding error.

A `Ball` is a computed value and a bound of its distance from the true one (running error analysis, N. Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.3). The bound is itself computed with fewer than
500 roundings, which the factor 1.01 in `interval` covers in float32 and float64. Cheaper than interval arithmetic
where operands are points.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from ._elementary import evaluate, margin
from ._interval import Interval
from ._rounding import bracket, format_of, is_outward, outward


@dataclass(frozen=True)
class Ball:
    """A computed value and a bound of its error; None says that the value is exact, which saves operations."""

    value: Array
    error: Array | None

    def __add__(self, other: "Ball") -> "Ball":
        return _rounded(self.value + other.value, _sum([self.error, other.error]))

    def __mul__(self, other: "Ball") -> "Ball":
        a, b = self.error, other.error
        parts = [
            None if b is None else jnp.abs(self.value) * b,
            None if a is None else jnp.abs(other.value) * a,
            None if a is None or b is None else a * b,
        ]
        return _rounded(self.value * other.value, _sum(parts))

    def __truediv__(self, other: "Ball") -> "Ball":
        """`|a/b − (a + e)/(b + f)| ≤ (|e| + |a/b|·|f|)/(|b| − |f|)`."""
        value = self.value / other.value
        change = _sum([self.error, None if other.error is None else jnp.abs(value) * other.error])
        if change is None:
            return _rounded(value, None)
        distance = jnp.abs(other.value) - (0 if other.error is None else other.error)
        return _rounded(value, jnp.where(distance > 0, change / distance, jnp.inf))

    def __neg__(self) -> "Ball":
        return Ball(-self.value, self.error)

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
        radius = 1.01 * self.error
        return Interval._make(*outward(self.value - radius, self.value + radius))


def _sum(errors: list[Array | None]) -> Array | None:
    known = [e for e in errors if e is not None]
    return functools.reduce(jnp.add, known) if known else None


def _rounded(value: Array, error: Array | None, ulps: float = 0.5) -> Ball:
    fmt = format_of(value.dtype)
    own = (1.01 * ulps * fmt.eps) * jnp.abs(value) + 4 * fmt.tiny
    return Ball(value, own if error is None else error + own)


def point(x: Array) -> Ball:
    """An exact number."""
    return Ball(x, None)


def rational(value: Fraction, like: Array) -> Ball:
    """An exact rational number, which need not be a float."""
    low, upp = bracket(value, like.dtype)
    near = min((low, upp), key=lambda f: abs(Fraction(f) - value))
    error = bracket(abs(Fraction(near) - value), like.dtype)[1]
    return Ball(jnp.asarray(near, like.dtype), jnp.asarray(error, like.dtype) if error else None)


def apply(primitive: Primitive, x: Ball, slope: float) -> Ball:
    """An elementary function whose derivative is at most `slope` in absolute value, everywhere."""
    value = evaluate(primitive, x.value)
    return _rounded(value, None if x.error is None else slope * x.error, margin(primitive, value.dtype))


def sqrt(x: Ball) -> Ball:
    """`√x`: `|√(x + e) − √x| = |e|/(√(x + e) + √x)`."""
    value = lax.sqrt(x.value)
    return _rounded(value, None if x.error is None else jnp.where(value > 0, 1.01 * x.error / value, jnp.inf))


def where(condition: Array, on: Ball, off: Ball) -> Ball:
    """One ball or the other."""
    errors = [0.0 if ball.error is None else ball.error for ball in (on, off)]
    value = jnp.where(condition, on.value, off.value)
    return Ball(value, None if on.error is off.error is None else jnp.where(condition, *errors))


def exp(x: Ball) -> Ball:
    """`exp(x)`.

    `|exp(x + e) − exp(x)| ≤ exp(x)·(exp(|e|) − 1) ≤ 1.72·exp(x)·|e|` while `|e| ≤ 1`, and at most 1 where both
    arguments are negative. The factor 2 also pays for taking the computed value in place of `exp(x)`.
    """
    value = evaluate(lax.exp_p, x.value)
    if x.error is None:
        return _rounded(value, None, margin(lax.exp_p, value.dtype))
    far = jnp.where(x.value + x.error <= 0, 1.0, jnp.inf)
    change = jnp.where(x.error <= 1, 2 * value * x.error, far)
    return _rounded(value, change, margin(lax.exp_p, value.dtype))


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
        _rounded(jnp.where(negative, small, 1 + 2 * e) / below, None, ulps),
        _rounded(jnp.where(negative, 2.0, square) / below, None, ulps),
    )


def logistic(x: Ball) -> Ball:
    """`σ(x)`: its slope at t is at most ¼ and at most σ(−|t|), so on the ball at most σ(|e| − |x|); it changes by ≤ 1.

    The factor 2 covers the errors of σ and of its argument, where they matter: σ(−t) is zero beyond t = 750.
    """
    value = evaluate(lax.logistic_p, x.value)
    if x.error is None:
        return _rounded(value, None, margin(lax.logistic_p, value.dtype))
    tiny = format_of(value.dtype).tiny
    slope = 2 * lax.logistic(x.error - jnp.abs(x.value)) + tiny
    change = jnp.where(x.error < jnp.inf, jnp.minimum(jnp.minimum(0.25, slope) * x.error, 1.0), 1.0)
    return _rounded(value, change, margin(lax.logistic_p, value.dtype))


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
