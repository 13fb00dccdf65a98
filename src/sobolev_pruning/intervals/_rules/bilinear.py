"""Interval rules for products, quotients and dot products.

A product takes its extremes at pairs of ends. A dot product is evaluated by midpoints and radii (`_products.py`).
"""

from typing import Any

import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive

from .. import _arithmetic as ia
from .._interpret import Interpreter, Node
from .._interval import Interval
from .._products import Factor, factor_of, product_by_midpoints
from .._registry import UnsupportedPrimitiveError, defrule, defstructured
from .._rounding import format_of


def _mul(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.mul(x, y)


def _div(_: Primitive, x: Interval, y: Interval, **params: Any) -> Interval:
    return ia.div(x, y)


defrule(lax.mul_p, _mul)
defrule(lax.div_p, _div)


def _dot_general(walk: Interpreter, inputs: list[Node], params: dict[str, Any], avals: list[Any]) -> list[Node]:
    x, y = (_factor(walk, node) for node in inputs)
    (contract, _), _ = params["dimension_numbers"]
    n = max(int(np.prod([x.middle.shape[d] for d in contract])), 1)
    dtype = avals[0].dtype
    x, y = _widened(x, dtype), _widened(y, dtype)

    def dot(a: Array, b: Array) -> Array:
        # Faster and less precise formats of accelerators would void the error bound.
        exact = {"precision": (lax.Precision.HIGHEST, lax.Precision.HIGHEST), "preferred_element_type": np.dtype(dtype)}
        return lax.dot_general_p.bind(a, b, **(params | exact))

    node = walk.new(avals[0], product_by_midpoints(dot, x, y, n))
    walk.mark(lax.dot_general_p, inputs, params, [node])
    return [node]


def _widened(x: Factor, dtype: np.dtype) -> Factor:
    """A factor in the format of the result, which JAX lets differ from that of a factor."""
    if x.middle.dtype == dtype:
        return x
    if np.promote_types(x.middle.dtype, dtype) != dtype:
        raise UnsupportedPrimitiveError(f"returns the product of {x.middle.dtype} in {dtype}; convert it afterwards")
    return Factor(x.middle.astype(dtype), None if x.radius is None else x.radius.astype(dtype), x.absolute)


def _factor(walk: Interpreter, node: Node) -> Factor:
    if node.near is not None:
        return Factor(node.near, None, format_of(node.near.dtype).tiny)
    value = walk.value(node)
    assert isinstance(value, Interval)
    return factor_of(value)


defstructured(lax.dot_general_p, _dot_general)
