"""Interval rules for products, quotients and dot products.

A product takes its extremes at pairs of ends. A dot product is evaluated by midpoints and radii (`_products.py`).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interpret import Interpreter, Node
from .._interval import Interval
from .._products import Factor, factor_of, product_by_midpoints
from .._registry import UnsupportedPrimitiveError, defrule, defstructured
from .._rounding import format_of, rounded


def _mul(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.mul(x, y)


def _reciprocal(y: Interval) -> Interval:
    """`1/y`; unbounded where y contains zero."""
    lower, upper = rounded(1 / y.upper, 1 / y.lower)
    # 1/∞ = 0, and 1/y has the sign of y.
    lower = jnp.where(y.lower > 0, jnp.maximum(lower, 0), lower)
    upper = jnp.where(y.upper < 0, jnp.minimum(upper, 0), upper)
    zero = (y.lower <= 0) & (y.upper >= 0)
    # One-sided: 1/[0, b] = [1/b, ∞), 1/[a, 0] = (−∞, 1/a].
    right, left = (y.lower == 0) & (y.upper > 0), (y.upper == 0) & (y.lower < 0)
    lower = jnp.where(zero & ~right, -jnp.inf, lower)
    upper = jnp.where(zero & ~left, jnp.inf, upper)
    return Interval._make(lower, upper)


def _div(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    zero = (y.lower <= 0) & (y.upper >= 0)
    safe = Interval._make(
        jnp.where(zero, jnp.ones((), y.dtype), y.lower), jnp.where(zero, jnp.ones((), y.dtype), y.upper)
    )
    quotients = [_over(a, b) for a in (x.lower, x.upper) for b in (safe.lower, safe.upper)]
    low = upp = quotients[0]
    for quotient in quotients[1:]:
        low, upp = jnp.minimum(low, quotient), jnp.maximum(upp, quotient)
    lower, upper = rounded(low, upp)
    same = ((x.lower >= 0) & (safe.lower > 0)) | ((x.upper <= 0) & (safe.upper < 0))
    opposite = ((x.lower >= 0) & (safe.upper < 0)) | ((x.upper <= 0) & (safe.lower > 0))
    lower = jnp.where(same, jnp.maximum(lower, 0), lower)
    upper = jnp.where(opposite, jnp.minimum(upper, 0), upper)
    through = ia.mul(x, _reciprocal(y))
    lower, upper = jnp.where(zero, through.lower, lower), jnp.where(zero, through.upper, upper)
    # Nothing can be divided by zero alone, not even zero: no number is left, which is unbounded.
    nowhere = (y.lower == 0) & (y.upper == 0)
    return Interval._make(jnp.where(nowhere, -jnp.inf, lower), jnp.where(nowhere, jnp.inf, upper))


def _over(a: Array, b: Array) -> Array:
    # ∞/∞ stands for quotients of large numbers: anything between 0 and ∞, of which 0 comes from the other ends.
    return jnp.where(jnp.isinf(b) & jnp.isinf(a), jnp.sign(a) * jnp.sign(b) * jnp.inf, a / b)


defrule(lax.mul_p, _mul)
defrule(lax.div_p, _div)


def _dot_general(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    x, y = (_factor(walk, node) for node in inputs)
    (contract, _), _ = params["dimension_numbers"]
    n = max(int(np.prod([x.middle.shape[d] for d in contract])), 1)
    dtype = x.middle.dtype
    if y.middle.dtype != dtype:
        raise UnsupportedPrimitiveError(f"multiplies {dtype} by {y.middle.dtype}; convert one of them first")

    def dot(a: Array, b: Array) -> Array:
        # Faster and less precise formats of accelerators would void the error bound.
        exact = {"precision": (lax.Precision.HIGHEST, lax.Precision.HIGHEST), "preferred_element_type": np.dtype(dtype)}
        return lax.dot_general_p.bind(a, b, **(params | exact))

    node = walk.new(avals[0], product_by_midpoints(dot, x, y, n))
    walk.mark(lax.dot_general_p, inputs, params, [node], formed=False)
    return [node]


def _factor(walk: Interpreter, node: Node) -> Factor:
    if node.near is not None:
        return Factor(node.near, None, format_of(node.near.dtype).tiny)
    value = walk.value(node)
    assert isinstance(value, Interval)
    return factor_of(value)


defstructured(lax.dot_general_p, _dot_general)
