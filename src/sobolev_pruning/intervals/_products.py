"""Bilinear functions of arrays by midpoints and radii: matrix products and convolutions.

`X·Y ⊆ mX·mY ± (|mX|·rY + rX·(|mY| + rY))`, which for an exact factor is the range itself (S. Rump, Fast and parallel
interval arithmetic, BIT 39, 1999). A sum of n products in floats is wrong by at most `γₙ·Σ|aᵢ·bᵢ|` for any order of
summation (Higham, Accuracy and Stability, section 3.1), plus one smallest normal number for every flushed term.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._arithmetic import is_point
from ._interval import Interval
from ._rounding import format_of, gamma, outward


def bilinear_form(product: Callable[[Array, Array], Array], terms: int, x: Interval, y: Interval) -> Interval:
    """Encloses `product(x, y)`: one product for two exact factors more than the plain evaluation, else one or two.

    Args:
        product: Each entry of its result is a sum of at most `terms` products of an entry of `x` and one of `y`.
        terms: That number.
        x: Left factor.
        y: Right factor, of the same dtype.
    """
    dtype = x.dtype
    n = max(terms, 1)
    tiny = format_of(dtype).tiny
    relative = gamma(n + 2, dtype)

    def rounding(m: Array) -> Array:
        # The share of the error bound that the other factor multiplies: flushed to zero, it would be lost.
        return jnp.where(m == 0, jnp.zeros((), dtype), jnp.maximum(relative * jnp.abs(m), tiny))

    mx, rx = midpoint_radius(x)
    my, ry = midpoint_radius(y)
    middle = product(mx, my)
    if rx is None and ry is None:
        radius = relative * product(jnp.abs(mx), jnp.abs(my))
    elif ry is None:
        assert rx is not None
        radius = product(rx + rounding(mx), jnp.abs(my))
    elif rx is None:
        radius = product(jnp.abs(mx), ry + rounding(my))
    else:
        radius = product(jnp.abs(mx), ry + rounding(my)) + product(rx, jnp.abs(my) + ry)
    # The radius is a sum of non-negative terms, each computed with a few more roundings than n.
    radius = radius * (1 + 2 * gamma(n + 8, dtype)) + 8 * n * tiny
    # An unbounded operand has an infinite radius; where that meets a zero, NaN becomes unbounded. So does a middle
    # that overflowed: the radius alone may well be finite.
    known = jnp.isfinite(middle) & ~jnp.isnan(radius)
    radius = jnp.where(known, radius, jnp.inf)
    middle = jnp.where(known, middle, jnp.zeros((), dtype))
    return Interval._make(*outward(middle - radius, middle + radius))


def midpoint_radius(x: Interval) -> tuple[Array, Array | None]:
    """A centre and a bound of the distance to both ends; the radius of a point is None."""
    if is_point(x):
        return x.lower, None
    bounded = jnp.isfinite(x.lower) & jnp.isfinite(x.upper)
    zero = jnp.zeros((), x.dtype)
    low, upp = jnp.where(bounded, x.lower, zero), jnp.where(bounded, x.upper, zero)
    middle = jnp.where(low == upp, low, 0.5 * low + 0.5 * upp)
    _, radius = outward(zero, jnp.maximum(upp - middle, middle - low))
    radius = jnp.where(low == upp, zero, radius)
    return middle, jnp.where(bounded, radius, jnp.inf)


def matmul(x: Interval, y: Interval) -> Interval:
    """`x @ y` of matrices, or of stacks of matrices with the same leading axes."""

    def product(a: Array, b: Array) -> Array:
        # Faster and less precise formats of accelerators would void the error bound.
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST, preferred_element_type=np.dtype(x.dtype))

    return bilinear_form(product, x.shape[-1], x, y)
