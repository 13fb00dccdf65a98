"""Interval rules for linear systems and for the factorization with pivoting that solves them in floats.

`linear_solve` is what its `solve` computes, which an iterative method computes to some tolerance only. Where `solve` is
proved to be a direct one (`_direct.py`), the result is the solution `x` of `matvec(x) = b`: the matrix of `matvec` is
enclosed, and so is the solution set (`_solutions.py`). Any other `solve` is a program like all others.

`lu` is elimination in intervals; which row is the pivot is known only where one is larger than all others in its column
for certain. Where it is not, what remains is that partial pivoting leaves multipliers of at most 1, and that row i of
the upper factor is at most `2ⁱ` times the largest entry of its column (Higham, Accuracy and Stability, section 9.3).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Literal, Primitive, Var, primitives

from ..._compat import closed
from .. import _arithmetic as ia
from .._direct import is_direct
from .._interpret import Interpreter, Node, point
from .._interval import Interval
from .._ranks import is_exact, winners
from .._registry import UnsupportedPrimitiveError, definteger, defrule, defstructured
from .._rounding import unbounded_if_nan
from .._solutions import meet, solution, symmetric


def _linear_solve(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    lengths, jaxprs = params["const_lengths"], params["jaxprs"]
    solve = closed(jaxprs.solve)
    if not is_direct(inputs, params):
        start = lengths.matvec + lengths.vecmat
        end = sum(lengths)
        return walk.run(solve.jaxpr, solve.consts, [*inputs[start : start + lengths.solve], *inputs[end:]])
    return walk.apply(_solution_set, primitives.linear_solve_p, params, inputs, avals)


def _solution_set(*operands: Any, const_lengths: Any, jaxprs: Any, **params: Any) -> list[Interval]:
    consts = list(operands[: const_lengths.matvec])
    right = list(operands[sum(const_lengths) :])
    if not all(isinstance(b, Interval) and jnp.issubdtype(b.dtype, jnp.floating) for b in right):
        raise UnsupportedPrimitiveError("solves a system of others than floats")
    matvec = closed(jaxprs.matvec)
    along = _along_one_axis(matvec, consts, right)
    return [along] if along is not None else _dense(matvec, consts, right)


def _solve(a: Interval, b: Interval) -> Interval:
    return solution(a, b, jnp.linalg.inv(a.midpoint))


def _dense(matvec: Any, consts: list[Any], right: list[Interval]) -> list[Interval]:
    """The matrix of `matvec`, column by column: its values at the unit vectors."""
    sizes = [b.size for b in right]
    splits = list(np.cumsum(sizes)[:-1])
    dtype = right[0].dtype
    if any(b.dtype != dtype for b in right):
        raise UnsupportedPrimitiveError("solves a system in several formats at once")

    def flat(parts: list[Interval]) -> Interval:
        return Interval._make(
            jnp.concatenate([p.lower.reshape(-1) for p in parts]), jnp.concatenate([p.upper.reshape(-1) for p in parts])
        )

    def column(unit: Array) -> Interval:
        parts = [p.reshape(b.shape) for p, b in zip(jnp.split(unit, splits), right, strict=True)]
        return flat(Interpreter.enclose(matvec, [*consts, *parts]))

    columns = jax.vmap(column)(jnp.eye(sum(sizes), dtype=dtype))
    x = _solve(ia.each(lambda end: end.T, columns), ia.each(lambda end: end[:, None], flat(right)))
    return [
        Interval._make(low.reshape(b.shape), upp.reshape(b.shape))
        for low, upp, b in zip(jnp.split(x.lower[:, 0], splits), jnp.split(x.upper[:, 0], splits), right, strict=True)
    ]


def _along_one_axis(matvec: Any, consts: list[Any], right: list[Interval]) -> Interval | None:
    """The solution if `matvec` is a matrix times an array along one axis, as in `jnp.linalg.solve`; otherwise None.

    The general way would take a matrix of the square of the size.
    """
    jaxpr = matvec.jaxpr
    if len(right) != 1 or not jaxpr.eqns or jaxpr.eqns[0].primitive is not lax.dot_general_p:
        return None
    product, *rest = jaxpr.eqns
    value, moves = product.outvars[0], []
    for eqn in rest:
        # A sum over no axes is left over from transposition.
        nothing = eqn.primitive is lax.reduce_sum_p and not eqn.params["axes"]
        if eqn.invars != [value] or not (nothing or eqn.primitive is lax.transpose_p):
            return None
        value = eqn.outvars[0]
        moves += [] if nothing else [eqn.params["permutation"]]
    if jaxpr.outvars != [value]:
        return None
    *const_vars, unknown = jaxpr.invars
    first, second = product.invars
    x_first = first is unknown
    matrix = second if x_first else first
    if unknown not in product.invars or isinstance(matrix, Literal) or matrix is unknown:
        return None
    a = _constant(matvec, consts, const_vars, matrix)
    contract, batch = product.params["dimension_numbers"]
    if x_first:
        contract, batch = contract[::-1], batch[::-1]
    (a_contract, x_contract), (a_batch, x_batch) = contract, batch
    a_free = [d for d in range(a.ndim) if d not in (*a_contract, *a_batch)]
    x_free = [d for d in range(len(unknown.aval.shape)) if d not in (*x_contract, *x_batch)]
    if len(a_contract) != 1 or len(a_free) != 1 or a.shape[a_free[0]] != a.shape[a_contract[0]]:
        return None
    (b,) = right
    for permutation in reversed(moves):
        b = ia.each(functools.partial(jnp.transpose, axes=tuple(np.argsort(permutation))), b)
    k = len(a_batch)
    if x_first:  # the free axis of the matrix comes last
        b = ia.each(lambda end: jnp.moveaxis(end, -1, k), b)
    n, shape = a.shape[a_contract[0]], b.shape
    a = ia.each(lambda end: jnp.transpose(end, (*a_batch, *a_free, *a_contract)), a)
    b = ia.each(lambda end: end.reshape(*shape[:k], n, -1), b)
    order = tuple(np.argsort((*x_batch, *x_contract, *x_free)))
    return ia.each(lambda end: end.reshape(shape).transpose(order), _solve(a, b))


def _constant(matvec: Any, consts: list[Any], names: list[Var], var: Any) -> Interval:
    known = dict(zip([*names, *matvec.jaxpr.constvars], [*consts, *matvec.consts], strict=True))
    value = known[var]
    return value if isinstance(value, Interval) else point(value)


defstructured(primitives.linear_solve_p, _linear_solve)


def _rows(x: Array, first: Array, second: Array) -> Array:
    """A matrix with two rows exchanged."""
    i = jnp.arange(x.shape[0])
    return x[jnp.where(i == first, second, jnp.where(i == second, first, i))]


def _eliminated(a: Interval) -> tuple[Interval, Array, Array, Array]:
    """One matrix: both factors in one array, pivots, permutation, and whether every pivot was certain."""
    m, n = a.shape
    rows, columns = jnp.arange(m), jnp.arange(n)

    def step(state: Any, k: Array) -> tuple[Any, Array]:
        s, permutation, certain = state
        column = ia.each(lambda end: end[:, k], s)
        size = Interval._make(jnp.where(rows < k, -1, column.mignitude), jnp.where(rows < k, -1, column.magnitude))
        can, must = winners(size)
        pivot = jnp.argmax(can)
        s = ia.each(lambda end: _rows(end, k, pivot), s)
        permutation = _rows(permutation, k, pivot)
        factors = ia.div(ia.each(lambda end: end[:, k], s), ia.each(lambda end: end[k, k], s))
        # A multiplier is at most 1, also where the pivot may be zero.
        factors = meet(factors, Interval._make(jnp.full(m, -1.0, a.dtype), jnp.full(m, 1.0, a.dtype)))
        outer = ia.mul(ia.each(lambda end: end[:, None], factors), ia.each(lambda end: end[k][None, :], s))
        rest = ia.sub(s, outer)
        below = (rows > k)[:, None]
        right, here = (columns > k)[None, :], (columns == k)[None, :]
        s = ia.choose(below & right, rest, ia.choose(below & here, ia.each(lambda end: end[:, None], factors), s))
        return (s, permutation, certain & must[pivot]), pivot.astype(np.int32)

    state = (a, jnp.arange(m, dtype=np.int32), jnp.ones((), bool))
    (s, permutation, certain), pivots = lax.scan(step, state, jnp.arange(min(m, n)))
    return s, pivots, permutation, certain


def _lu(primitive: Primitive, a: Interval, **params: Any) -> list[Interval]:
    m, n = a.shape[-2:]
    batch = a.shape[:-2]
    one = ia.each(lambda end: end.reshape(-1, m, n), a)
    s, pivots, permutation, certain = jax.vmap(_eliminated)(one)
    row, column = jnp.arange(m)[:, None], jnp.arange(n)[None, :]
    # Exact powers, which exp2 does not give; of no use after so many rows.
    growth = np.where(np.arange(m) <= 100, np.ldexp(1.0, np.minimum(np.arange(m), 100)), np.inf)
    largest = jnp.asarray(growth, a.dtype)[None, :, None] * one.magnitude.max(1, keepdims=True)
    unknown = symmetric(jnp.where((row > column)[None], jnp.ones((), a.dtype), largest))
    unknown = Interval._make(*unbounded_if_nan(unknown.lower, unknown.upper))
    s = ia.choose(certain[:, None, None], meet(s, unknown), unknown)
    first = jnp.arange(pivots.shape[1], dtype=np.int32)[None]
    known = certain[:, None]

    def shaped(x: Array, *shape: int) -> Array:
        return x.reshape(*batch, *shape)

    return [
        ia.each(lambda end: shaped(end, m, n), s),
        Interval._make(
            shaped(jnp.where(known, pivots, first), -1), shaped(jnp.where(known, pivots, np.int32(m - 1)), -1)
        ),
        Interval._make(
            shaped(jnp.where(known, permutation, np.int32(0)), m),
            shaped(jnp.where(known, permutation, np.int32(m - 1)), m),
        ),
    ]


defrule(lax.linalg.lu_p, _lu)


def _permutation(primitive: Primitive, pivots: Any, *, permutation_size: int) -> Any:
    if is_exact(pivots):
        return primitive.bind(pivots, permutation_size=permutation_size)
    known = jnp.all(pivots.lower == pivots.upper, axis=-1, keepdims=True)
    order = primitive.bind(pivots.lower, permutation_size=permutation_size)
    return Interval._make(jnp.where(known, order, np.int32(0)), jnp.where(known, order, np.int32(permutation_size - 1)))


defrule(lax.linalg.lu_pivots_to_permutation_p, _permutation)
definteger(lax.linalg.lu_pivots_to_permutation_p, _permutation)
