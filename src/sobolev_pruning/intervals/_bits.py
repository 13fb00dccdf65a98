"""Subnormal numbers and the order of floats, read from their bits.

XLA on a CPU reads subnormal numbers as zero, in comparisons, `maximum` and `minimum` as well, and flushes subnormal
results. What has to tell them from zero looks at the bits. These are primitives of their own, so that a function that
uses them can itself be enclosed (`inclusion` inside of `inclusion`) and differentiated.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ._rounding import format_of


def _primitive(name: str, implementation: Callable[[Array], Array], integer: bool) -> Primitive:
    primitive = Primitive(name)
    primitive.def_impl(implementation)

    def abstract(x):
        return x.update(dtype=format_of(x.dtype).bits, weak_type=False) if integer else x

    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(implementation, multiple_results=False))
    batching.defvectorized(primitive)
    if integer:
        ad.primitive_jvps[primitive] = partial(_without_tangent, primitive)
    else:  # the identity, but for subnormal numbers
        ad.defjvp(primitive, lambda tangent, x: tangent)
    return primitive


def _without_tangent(primitive: Primitive, primals: Any, _: Any) -> tuple[Array, Any]:
    value = primitive.bind(*primals)
    return value, ad.Zero(jax.typeof(value).to_tangent_aval())


def _is_subnormal(x: Array) -> Array:
    fmt = format_of(x.dtype)
    magnitude = lax.bitcast_convert_type(x, fmt.bits) & np.iinfo(fmt.bits).max
    return (magnitude > 0) & (magnitude < (1 << fmt.mantissa))


def _flushed_down(x: Array) -> Array:
    tiny = format_of(x.dtype).tiny
    return jnp.where(_is_subnormal(x), jnp.where(jnp.signbit(x), -tiny, 0.0).astype(x.dtype), x)


def _flushed_up(x: Array) -> Array:
    tiny = format_of(x.dtype).tiny
    return jnp.where(_is_subnormal(x), jnp.where(jnp.signbit(x), -0.0, tiny).astype(x.dtype), x)


def _order(x: Array) -> Array:
    fmt = format_of(x.dtype)
    bits = lax.bitcast_convert_type(x, fmt.bits)
    # Of negative floats, larger magnitudes come first; −0 equals 0.
    return jnp.where(bits < 0, np.iinfo(fmt.bits).min - bits, bits)


flush_down_p = _primitive("flush_down", _flushed_down, integer=False)
flush_up_p = _primitive("flush_up", _flushed_up, integer=False)
order_p = _primitive("order", _order, integer=True)


def flush_down(x: Array) -> Array:
    """The largest number at or below each entry that is not subnormal."""
    return flush_down_p.bind(x)


def flush_up(x: Array) -> Array:
    """The smallest number at or above each entry that is not subnormal."""
    return flush_up_p.bind(x)


def order(x: Array) -> Array:
    """Integers in the order of the entries, subnormal ones included; those of NaN mean nothing."""
    return order_p.bind(x)


def at_most(x: Array, y: Array) -> Array:
    """`x ≤ y`, also for subnormal numbers; false for NaN."""
    return (order(x) <= order(y)) & ~(jnp.isnan(x) | jnp.isnan(y))


def normalised(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Widens subnormal ends to zero or the smallest normal number, and NaN ends to infinity."""
    low, upp = flush_down(lower), flush_up(upper)
    return jnp.where(jnp.isnan(low), -jnp.inf, low), jnp.where(jnp.isnan(upp), jnp.inf, upp)
