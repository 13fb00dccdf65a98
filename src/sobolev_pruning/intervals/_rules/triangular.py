"""Interval rule for triangular systems: substitution, met with a verified solution from an approximate inverse.

Substitution replaces each operation by its interval counterpart, so it encloses the solution for every member; a
diagonal entry that contains zero leaves the rows that depend on it unbounded. Its width may double with every row. The
second enclosure (`_solutions.py`) is sharp to first order in the radii, but needs a matrix that is verified to be
regular. Both hold, hence their intersection does.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interval import Interval
from .._registry import defrule
from .._solutions import meet, solution


def _row(x: Array, j: Array) -> Array:
    return lax.dynamic_index_in_dim(x, j, axis=-2, keepdims=True)


def substitution(a: Interval, b: Interval) -> Interval:
    """Forward substitution in `a·x = b` for lower triangular `a (..., n, n)` and `b (..., n, m)`, column by column."""
    n = a.shape[-1]
    rows = jnp.arange(n)[:, None]

    def step(rest: Interval, column: Any) -> tuple[Interval, Interval]:
        j, ends = column
        col = ia.each(lambda end: end[..., None], ia.as_interval(ends))
        x = ia.div(ia.each(lambda end: _row(end, j), rest), ia.each(lambda end: _row(end, j), col))
        next_rest = ia.sub(rest, ia.mul(col, x))
        below = lifted(rows > j, rest)
        return ia.choose(below, next_rest, rest), x

    columns = ia.each(lambda end: jnp.moveaxis(end, -1, 0), a)
    _, x = lax.scan(step, b, (jnp.arange(n), columns.lower if ia.is_point(a) else columns))
    return ia.each(lambda end: jnp.moveaxis(end[..., 0, :], 0, -2), x)


def lifted(mask: Array, x: Interval) -> Array:
    """A mask over the last axes, for all leading ones."""
    return jnp.broadcast_to(mask.reshape(*[1] * (x.ndim - mask.ndim), *mask.shape), x.shape)


def _triangular_solve(
    primitive: Primitive,
    a: Interval,
    b: Interval,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Interval:
    n = a.shape[-1]
    # Every case is made the lower triangular one with the unknown on the right: x·op(a) = b is op(a)ᵀ·xᵀ = bᵀ.
    transposed = transpose_a == left_side
    flipped = lower == transposed
    row, column = jnp.arange(n)[:, None], jnp.arange(n)[None, :]
    identity = jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape)
    read = (row > column) if unit_diagonal else (row >= column)

    def triangle(end: Array) -> Array:
        end = jnp.swapaxes(end, -1, -2) if transposed else end
        end = end[..., ::-1, ::-1] if flipped else end
        return jnp.where(lifted(read, a), end, identity if unit_diagonal else 0)

    def side(end: Array) -> Array:
        end = end if left_side else jnp.swapaxes(end, -1, -2)
        return end[..., ::-1, :] if flipped else end

    def back(end: Array) -> Array:
        end = end[..., ::-1, :] if flipped else end
        return end if left_side else jnp.swapaxes(end, -1, -2)

    a, b = ia.each(triangle, a), ia.each(side, b)
    if n == 0 or b.size == 0:
        return ia.each(back, b)
    inverse = primitive.bind(
        a.midpoint,
        identity,
        left_side=True,
        lower=True,
        transpose_a=False,
        conjugate_a=False,
        unit_diagonal=unit_diagonal,
    )
    return ia.each(back, meet(substitution(a, b), solution(a, b, inverse)))


defrule(lax.linalg.triangular_solve_p, _triangular_solve)
