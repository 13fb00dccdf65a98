"""Interval rule for the Cholesky factor `L·Lᵀ = A` of the positive definite members of an interval matrix.

Column by column: every operation by its interval counterpart, where a pivot is positive and the entries of a row are at
most the root of its diagonal entry, since `Σⱼ Lᵢⱼ² = Aᵢᵢ`.

By perturbation: let R be lower triangular with a positive diagonal, an approximate inverse of the factor, and `E =
R·A·Rᵀ − I`. Then `A = R⁻¹(I + E)R⁻ᵀ`, so `L = R⁻¹(I + F)` with the factor `I + F` of `I + E`. F is a fixed point of
`T(F) = low(E − FFᵀ)`, where `low` takes the strictly lower triangle and half the diagonal, and `‖low(S)‖ ≤ ‖S‖/√2` in
the Frobenius norm. With `ε = ‖E‖ ≤ ½`, T maps the ball `‖F‖ ≤ √2·ε < 1` into itself, as `(ε + 2ε²)/√2 ≤ √2·ε`; by
Brouwer's theorem it has a fixed point there, whose `I + F` has a positive diagonal and hence is the factor, which is
unique. So `|F − low(E)| ≤ ‖F‖²/√2 ≤ √2·ε²`. It holds for every member, to first order without loss, where the first
enclosure may double its width with every column.

What the primitive leaves above the diagonal is no part of the factor: JAX masks it, and here it is zero.

Reference for perturbations of this factorization: Higham, Accuracy and Stability, section 10.3.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._products import matmul
from .._registry import defrule, rule_for
from .._solutions import exact, meet, solution, symmetric
from .triangular import lifted


def _sqrt(x: Interval) -> Interval:
    return rule_for(lax.sqrt_p)(x)


def _columns(a: Interval) -> Interval:
    n = a.shape[-1]
    rows = jnp.arange(n)
    on_diagonal = rows[:, None] == rows[None, :]

    def step(s: Interval, j: Array) -> tuple[Interval, Interval]:
        pivot = ia.each(lambda end: lax.dynamic_slice_in_dim(jnp.diagonal(end, axis1=-2, axis2=-1), j, 1, axis=-1), s)
        d = _sqrt(pivot)
        largest = _sqrt(ia.each(lambda end: jnp.diagonal(end, axis1=-2, axis2=-1), s)).upper
        column = ia.div(ia.each(lambda end: lax.dynamic_index_in_dim(end, j, axis=-1, keepdims=False), s), d)
        column = meet(column, symmetric(jnp.maximum(largest, 0)))
        square = ia.power(column, 2)
        outer = ia.mul(ia.each(lambda end: end[..., :, None], column), ia.each(lambda end: end[..., None, :], column))
        outer = ia.choose(lifted(on_diagonal, a), ia.each(lambda end: end[..., None], square), outer)
        here, below = lifted(rows == j, column), lifted(rows > j, column)
        return ia.sub(s, outer), ia.choose(here, d, ia.choose(below, column, ia.point(jnp.zeros((), a.dtype))))

    _, columns = lax.scan(step, a, rows)
    return ia.each(lambda end: jnp.moveaxis(end, 0, -1), columns)


def _perturbed(a: Interval, factor: Array) -> Interval:
    n = a.shape[-1]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape)
    inverse = lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)
    r = exact(jnp.tril(inverse))
    e = ia.sub(matmul(matmul(r, a), ia.each(lambda end: jnp.swapaxes(end, -1, -2), r)), exact(eye))
    flat = exact(e.magnitude.reshape(*a.shape[:-2], n * n, 1))
    squared = matmul(ia.each(lambda end: jnp.swapaxes(end, -1, -2), flat), flat).upper  # ε²
    diagonal = jnp.diagonal(r.lower, axis1=-2, axis2=-1)
    known = (squared <= 0.25) & jnp.all(diagonal > 0, axis=-1)[..., None, None]
    # 1.5 > √2 covers the rounding of the product.
    f = ia.add(_low(e), symmetric(jnp.broadcast_to(jnp.where(known, 1.5 * squared, jnp.inf), a.shape)))
    lower = lifted(jnp.tril(jnp.ones((n, n), bool)), a)
    f = Interval._make(jnp.where(lower, f.lower, 0), jnp.where(lower, f.upper, 0))
    found = solution(r, ia.add(exact(eye), f), factor)
    return Interval._make(jnp.where(known, found.lower, -jnp.inf), jnp.where(known, found.upper, jnp.inf))


def _low(e: Interval) -> Interval:
    """The lower triangle with half the diagonal; halves are exact."""
    half = jnp.eye(e.shape[-1], dtype=bool)

    def ends(end: Array) -> Array:
        return jnp.where(lifted(half, e), 0.5 * end, end)

    return ia.each(ends, e)


def _cholesky(primitive: Primitive, a: Interval, **params: Any) -> Interval:
    n = a.shape[-1]
    if a.size == 0:
        return a
    lower = lifted(jnp.tril(jnp.ones((n, n), bool)), a)
    # Only the lower triangle is read.
    a = ia.each(lambda end: jnp.where(lower, end, jnp.swapaxes(end, -1, -2)), a)
    factor = jnp.tril(primitive.bind(a.midpoint, **params))
    largest = _sqrt(ia.each(lambda end: jnp.diagonal(end, axis1=-2, axis2=-1), a)).upper
    both = meet(_columns(a), _perturbed(a, factor))
    both = meet(both, symmetric(jnp.broadcast_to(jnp.maximum(largest, 0)[..., None], a.shape)))
    return Interval._make(jnp.where(lower, both.lower, 0), jnp.where(lower, both.upper, 0))


defrule(lax.linalg.cholesky_p, _cholesky)
