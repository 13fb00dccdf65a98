"""Verified solutions of linear systems, from an approximate inverse.

Let `R` be any matrix (an approximate inverse of `A`), `x̃` any vector (an approximate solution), `z = R(b − Ax̃)` and
`E = I − RA`. The error `e = x − x̃` satisfies `e = z + Ee`, hence `(I − |E|)|e| ≤ |z|`. If some `v > 0` has `w = (I −
|E|)v > 0`, then `I − |E|` is an M-matrix: its inverse is not negative, `A` is regular, and `|z| ≤ t·w` gives `|e| ≤
t·v`. Inserted once more: `e ∈ z ± |E|·t·v`. All of this holds for every member of interval data, to first order
without loss: for exact `A` and `E = 0` it is the range.

Reference: S. Rump, Verification methods: rigorous results using floating-point arithmetic, Acta Numerica 19, 2010,
section 10; A. Neumaier, Interval Methods for Systems of Equations, 1990, section 4.1 (M-matrices: section 3.6).
"""

import jax.numpy as jnp
from jax import Array, lax

from . import _arithmetic as ia
from ._interval import Interval
from ._products import matmul
from ._rounding import format_of, outward


def exact(x: Array) -> Interval:
    """A computed array, taken as it is; what is subnormal is replaced by zero, which XLA reads in its place."""
    flushed = jnp.where(jnp.abs(x) < format_of(x.dtype).tiny, jnp.zeros((), x.dtype), x)
    return Interval._make(flushed, flushed)


def meet(x: Interval, y: Interval) -> Interval:
    """The intersection of two enclosures of one value; where they have nothing in common, there is no value."""
    lower, upper = jnp.maximum(x.lower, y.lower), jnp.minimum(x.upper, y.upper)
    nothing = lower > upper
    return Interval._make(jnp.where(nothing, -jnp.inf, lower), jnp.where(nothing, jnp.inf, upper))


def symmetric(bound: Array) -> Interval:
    """`[−bound, bound]`."""
    return Interval._make(-bound, bound)


def solution(a: Interval, b: Interval, inverse: Array) -> Interval:
    """Encloses the solutions of `a·x = b`; unbounded unless `a` is verified to be regular.

    Args:
        a: Matrices, `(..., n, n)`.
        b: Right-hand sides, `(..., n, m)`, with the same leading axes.
        inverse: Approximate inverses of the midpoints of `a`. Any array is sound, a good one is tight.
    """
    n = a.shape[-1]
    r = exact(inverse)
    guess = exact(jnp.matmul(r.lower, b.midpoint))
    z = matmul(r, ia.sub(b, matmul(a, guess)))
    eye = exact(jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape))
    defect = exact(ia.sub(eye, matmul(r, a)).magnitude)
    ones = jnp.ones((*a.shape[:-2], n, 1), a.dtype)
    # Σ Eᵏ·1 approximates (I − |E|)⁻¹·1; w is then 1 less the last term, so it is positive if |E|²¹ is a contraction.
    v = exact(lax.fori_loop(0, 20, lambda _, v: ones + jnp.matmul(defect.lower, v), ones))
    spread = matmul(defect, v)
    w = ia.sub(v, spread).lower
    regular = jnp.all((v.lower > 0) & (w > 0), axis=(-2, -1), keepdims=True)
    safe = jnp.where(regular, w, jnp.ones((), a.dtype))
    t = exact(outward(safe, z.magnitude / safe)[1].max(-2, keepdims=True))
    found = ia.add(guess, ia.add(z, symmetric(ia.mul(t, spread).upper)))
    return Interval._make(jnp.where(regular, found.lower, -jnp.inf), jnp.where(regular, found.upper, jnp.inf))
