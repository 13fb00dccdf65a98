"""Whether the `solve` of a linear system is a direct method: exact, if its steps are.

`jax.lax.custom_linear_solve` runs any `solve`: substitution with the factors of the matrix, as `jnp.linalg.solve`, but
also ten steps of conjugate gradients, or a preconditioner. A direct method here is made of triangular systems and
rearrangements alone, with matrices that come from an LU or a Cholesky factorization. So it is a product of few
matrices: factors, permutations, their inverses and their transposes; and `matvec` is one of arrays. Neither has numbers
of its own, by which they might differ a little. Whether the one is the inverse of the other is then an identity of
rational functions of the entries, which holds or fails at random entries as it does everywhere, up to a chance of zero.
So it is tried there. What is not recognised is not wrong: it is enclosed as the program that it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal, Primitive, jaxpr_as_fun

from ._program import body_of
from ._rearrangements import REARRANGEMENTS

if TYPE_CHECKING:
    from ._interpret import Node

_MOVES = REARRANGEMENTS | {lax.gather_p}
_FACTORS = frozenset({lax.linalg.lu_p, lax.linalg.cholesky_p})
_SOLVES = _MOVES | _FACTORS | {lax.linalg.triangular_solve_p}
_MULTIPLIES = _MOVES | {lax.dot_general_p, lax.reduce_sum_p}

# Rounding errors of a well-conditioned system stay below, any other product of such factors is far above.
_TOLERANCE = 1e-3


def is_direct(inputs: Sequence["Node"], params: dict[str, Any]) -> bool:
    """Whether the result of a `linear_solve` is the solution of its system.

    Args:
        inputs: What it was applied to: the constants of its four programs, and the right-hand side.
        params: Its parameters.
    """
    lengths, jaxprs = params["const_lengths"], params["jaxprs"]
    matvec, solve = jaxprs.matvec, jaxprs.solve
    if len(solve.out_avals) != len(matvec.out_avals):
        return False
    if not (_consists_of(solve, _SOLVES) and _consists_of(matvec, _MULTIPLIES)):
        return False
    start = lengths.matvec + lengths.vecmat
    operands = [*inputs[: lengths.matvec], *inputs[start : start + lengths.solve]]
    with jax.ensure_compile_time_eval():
        values = _Sample().of(operands)
        if values is None:
            return False
        rng = np.random.default_rng(1)
        x = [jnp.asarray(rng.standard_normal(a.shape), a.dtype) for a in matvec.out_avals]
        b = jaxpr_as_fun(matvec)(*values[: lengths.matvec], *x)
        found = jaxpr_as_fun(solve)(*values[lengths.matvec :], *b)
        return all(bool(jnp.all(jnp.abs(y - t) <= _TOLERANCE)) for y, t in zip(found, x, strict=True))


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _consists_of(closed: ClosedJaxpr, operations: frozenset[Primitive]) -> bool:
    """Whether a program computes floats by these operations alone, without float constants of its own."""
    if any(map(_is_float, closed.consts)):
        return False
    for eqn in closed.jaxpr.eqns:
        body = body_of(eqn)
        if body is not None:
            if not _consists_of(body, operations):
                return False
        elif any(_is_float(var.aval) for var in eqn.outvars) and (
            eqn.primitive not in operations
            or any(isinstance(atom, Literal) and _is_float(atom.aval) for atom in eqn.invars)
        ):
            return False
    return True


class _Sample:
    """Values of nodes at a random point: of what the factors were made of, and of all that follows from it."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._rng = np.random.default_rng(0)

    def of(self, nodes: Sequence["Node"]) -> list[Array] | None:
        """The values of nodes, or None if one is an integer that is known only while running."""
        values = [self._value(node) for node in nodes]
        return None if any(v is None for v in values) else values

    def _value(self, node: "Node") -> Any:
        if node.number not in self._known:
            self._known[node.number] = self._computed(node)
        return self._known[node.number]

    def _computed(self, node: "Node") -> Any:
        origin = node.origin
        if origin is not None and (origin.primitive in _MOVES | _FACTORS or not _is_float(node.aval)):
            operands = self.of(origin.inputs)
            if operands is None:
                return None
            results = origin.primitive.bind(*operands, **origin.primitive.get_bind_params(origin.params))
            return results[origin.result] if origin.primitive.multiple_results else results
        if _is_float(node.aval):
            return self._matrix(node.aval.shape, node.aval.dtype)
        value = node._value
        return None if not node.is_exact or isinstance(value, Tracer) else jnp.asarray(value)

    def _matrix(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A matrix without symmetries, whose factorization exchanges rows, and far from a singular one."""
        value = self._rng.standard_normal(shape)
        if len(shape) >= 2 and shape[-1] == shape[-2]:
            value = value / np.sqrt(shape[-1]) + 4 * np.roll(np.eye(shape[-1]), 1, axis=0)
        return jnp.asarray(value, dtype)
