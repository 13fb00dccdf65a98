"""The axis that `vmap` adds, moved to the front of a product at once.

The batched product of a matrix and vectors has its batch behind the rows. If it stays there, everything that an
enclosure computes of the product is transposed, entry by entry, when it meets an array with the batch in front. Moved
directly behind the product, it is part of the product.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

batch_first_p = Primitive("batch_first")


def batch_first(x: Array) -> Array:
    """The array itself; an axis that `vmap` adds goes to the front."""
    return batch_first_p.bind(x)


def _batched(x: Any, dims: Any) -> tuple[Array, int]:
    return batch_first_p.bind(jnp.moveaxis(x[0], dims[0], 0)), 0


batch_first_p.def_impl(lambda x: x)
batch_first_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(batch_first_p, lambda _, x: [x])
ad.deflinear2(batch_first_p, lambda cotangent, _: [cotangent])
batching.primitive_batchers[batch_first_p] = _batched
