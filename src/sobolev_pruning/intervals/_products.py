"""Sums of products by midpoints and radii: dot products and convolutions.

`X·Y ⊆ mX·mY ± (|mX|·rY + rX·(|mY| + rY))`, which for an exact factor is the range itself (S. Rump, Fast and parallel
interval arithmetic, BIT 39, 1999). So an exact factor costs two float products, an interval one three.

Rounding. A float sum of n products is wrong by at most `γₙ·(|mX|·|mY|)` and n flushed subnormals, for any order of
summation (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). The first is charged to the
radius of one factor, which becomes `r + γ·|m|`, so that it costs no product of its own. The radius is itself a sum of
non-negative terms, and inflated by the relative error of computing it. A sum of midpoints that overflows says nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._arithmetic import is_point
from ._batches import batch_first
from ._interval import Interval
from ._rounding import around, format_of, gamma


class Factor(NamedTuple):
    """A factor of a product.

    Attributes:
        middle: Centres.
        radius: Bounds of the distance to both ends; None if there is none.
        absolute: A further bound of that distance, the same for every entry: an exact array that is known only while
            running may have subnormal entries, which are read as zero.
    """

    middle: Array
    radius: Array | None
    absolute: float


def factor_of(x: Interval) -> Factor:
    """An interval by midpoint and radius. An unbounded one has an infinite radius."""
    if is_point(x):
        return Factor(x.lower, None, 0.0)
    fmt = format_of(x.dtype)
    zero = jnp.zeros((), x.dtype)
    # Of equal ends, this is the end itself.
    middle = x.lower + 0.5 * (x.upper - x.lower)
    radius = jnp.maximum(x.upper - middle, middle - x.lower)
    # NaN where both the middle and an end are infinite.
    bounded = radius < jnp.inf
    # Half an eps for the subtraction, two for these operations, and a difference that was flushed.
    radius = jnp.where(x.lower == x.upper, zero, (1 + 2 * fmt.eps) * radius + 4 * fmt.tiny)
    return Factor(jnp.where(bounded, middle, zero), jnp.where(bounded, radius, jnp.inf), 0.0)


def product_by_midpoints(product: Callable[[Array, Array], Array], x: Factor, y: Factor, n: int) -> Interval:
    """The enclosure of a bilinear function whose entries are sums of at most n products of entries.

    Args:
        product: Evaluates it in floating point.
        x: The first factor.
        y: The second factor.
        n: How many products there are to an entry, at most.
    """
    dtype = x.middle.dtype
    tiny = format_of(dtype).tiny
    relative = gamma(n + 2, dtype)

    def rounding(m: Array) -> Array:
        # The share of the error bound that the other factor multiplies: flushed to zero, it would be lost.
        return jnp.where(m == 0, jnp.zeros((), dtype), jnp.maximum(relative * jnp.abs(m), tiny))

    def summed(a: Array, b: Array) -> Array:
        return batch_first(product(a, b))

    middle = summed(x.middle, y.middle)
    size_x, size_y = jnp.abs(x.middle), jnp.abs(y.middle)
    if x.radius is None and y.radius is None:
        radius = summed(rounding(size_x), size_y)
    elif y.radius is None:
        assert x.radius is not None
        radius = summed(x.radius + rounding(size_x), size_y)
    elif x.radius is None:
        radius = summed(size_x, y.radius + rounding(size_y))
    else:
        radius = summed(size_x, y.radius + rounding(size_y)) + summed(x.radius, size_y + y.radius)
    for absolute, other in ((y.absolute, x), (x.absolute, y)):
        if absolute:
            size = jnp.abs(other.middle) + (other.absolute if other.radius is None else other.radius)
            # Every entry is a sum of n entries of the other factor, at most. What is infinite among them has made the
            # radius infinite already, or meets a zero.
            largest = jnp.max(jnp.where(jnp.isinf(size), 0, size), initial=1)
            radius = radius + absolute * n * largest
    # The radius is a sum of non-negative terms, each computed with a few more roundings than n.
    radius = radius * (1 + 2 * gamma(n + 8, dtype)) + 8 * n * tiny
    # An infinite radius that meets a zero is NaN, and says nothing.
    return Interval._make(*around(middle, radius))


def bilinear_form(product: Callable[[Array, Array], Array], terms: int, x: Interval, y: Interval) -> Interval:
    """The same for two intervals of one dtype; each entry is a sum of at most `terms` products."""
    return product_by_midpoints(product, factor_of(x), factor_of(y), max(terms, 1))


def matmul(x: Interval, y: Interval) -> Interval:
    """`x @ y` of matrices, or of stacks of matrices with the same leading axes."""

    def product(a: Array, b: Array) -> Array:
        # Faster and less precise formats of accelerators would void the error bound.
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST, preferred_element_type=np.dtype(x.dtype))

    return bilinear_form(product, x.shape[-1], x, y)
