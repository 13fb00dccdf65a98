"""Interval rule for the eigenvalues of the symmetric members of an interval matrix.

Let V hold approximate eigenvectors of the midpoint, `E = VᵀV − I` with `‖E‖∞ ≤ ε < 1`, and `B = VᵀAV`, nearly diagonal.
With d the diagonal of its midpoint and `ρ` the row sums of `|B − diag(d)|`, the matrices `B − diag(d − ρ)` and
`diag(d + ρ) − B` are diagonally dominant, hence positive semidefinite, so that the k-th smallest eigenvalue of B lies
between the k-th smallest of `d − ρ` and of `d + ρ`. By Ostrowski's theorem it is that of A times a number in
`[1 − ε, 1 + ε]`.

Nothing is said of the eigenvectors but that they have length one.

Reference: R. Horn, C. Johnson, Matrix Analysis, 2013, theorems 4.3.1 (Weyl), 4.5.9 (Ostrowski) and 6.1.10 (dominance).
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive, primitives

from .. import _arithmetic as ia
from .._interval import Interval
from .._products import matmul
from .._registry import UnsupportedPrimitiveError, defrule
from .._solutions import exact, symmetric


def _eigh(_: Primitive, a: Interval, *, lower: bool = True, **params: Any) -> tuple[Interval, Interval]:
    if params.get("subset_by_index") is not None:
        raise UnsupportedPrimitiveError("computes some of the eigenvalues; compute all, and choose afterwards")
    n = a.shape[-1]
    a = ia.each(lambda end: _from_triangle(end, lower=lower), a)
    middle = a.midpoint
    usable = jnp.all(jnp.isfinite(middle), axis=(-2, -1))[..., None, None]
    _, vectors = jnp.linalg.eigh(jnp.where(usable, middle, jnp.zeros((), a.dtype)), symmetrize_input=False)
    v, transposed = exact(vectors), exact(jnp.swapaxes(vectors, -1, -2))
    eye = exact(jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape))
    defect = jnp.max(_row_sums(ia.sub(matmul(transposed, v), eye)), axis=-1, keepdims=True)
    b = matmul(matmul(transposed, a), v)
    d = jnp.diagonal(b.midpoint, axis1=-2, axis2=-1)
    rho = exact(_row_sums(ia.sub(b, exact(d[..., None] * eye.lower))))
    ends = ia.sub(exact(d), rho).lower, ia.add(exact(d), rho).upper
    if not params.get("sort_eigenvalues", True):
        raise UnsupportedPrimitiveError("leaves the eigenvalues in no order; sort them")
    low, upp = (jnp.sort(end, axis=-1) for end in ends)
    known = (defect < 0.5) & usable[..., 0] & jnp.all(jnp.isfinite(low) & jnp.isfinite(upp), axis=-1, keepdims=True)
    one = exact(jnp.ones_like(low))
    factor = ia.add(one, symmetric(jnp.broadcast_to(jnp.where(known, defect, jnp.zeros_like(defect)), low.shape)))
    zero = jnp.zeros((), a.dtype)
    values = ia.div(Interval._make(jnp.where(known, low, zero), jnp.where(known, upp, zero)), factor)
    values = Interval._make(jnp.where(known, values.lower, -jnp.inf), jnp.where(known, values.upper, jnp.inf))
    return symmetric(jnp.ones(a.shape, a.dtype)), values


def _from_triangle(x: Array, *, lower: bool) -> Array:
    """The symmetric matrix of which the primitive reads one triangle."""
    part = jnp.tril(x) if lower else jnp.triu(x)
    diagonal = jnp.eye(x.shape[-1], dtype=bool)
    return jnp.where(jnp.broadcast_to(diagonal, x.shape), part, part + jnp.swapaxes(part, -1, -2))


def _row_sums(x: Interval) -> Array:
    """Upper bounds of the sums of the magnitudes in each row."""
    ones = jnp.ones((*x.shape[:-2], x.shape[-1], 1), x.dtype)
    return matmul(exact(x.magnitude), exact(ones)).upper[..., 0]


defrule(primitives.eigh_p, _eigh)
