"""A mark behind which XLA computes a value once.

XLA on a CPU computes cheap operations again in every consumer, and consumers of consumers, so that a chain of steps
with its derivative grows exponentially, in the time to compile and to run; `lax.optimization_barrier` is gone by then.
A division was not seen to be computed again. So a value is divided by a one of which XLA does not know that it is one;
`benchmarks/inclusion_cost.py` shows what becomes of a chain.
"""

import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

from ._arithmetic import each
from ._interval import Interval


def once(x: Array) -> Array:
    """The array itself."""
    if not isinstance(x, Tracer):
        return x
    return x / jnp.where(jnp.isnan(x), jnp.asarray(2, x.dtype), jnp.asarray(1, x.dtype))


def computed_once(x: Interval) -> Interval:
    """The interval itself."""
    return each(once, x)
