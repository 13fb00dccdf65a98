"""The primitives that only move entries; each entry of the result is one entry of the operand."""

from jax import lax
from jax.extend.core import Primitive, primitives

from ._batches import batch_first_p

# What returns its operand.
IDENTITIES: frozenset[Primitive] = frozenset(
    {lax.stop_gradient_p, lax.optimization_barrier_p, primitives.copy_p, primitives.name_p, batch_first_p}
)

# What moves or repeats the entries of its one operand; a function of every entry moves with them.
REARRANGEMENTS: frozenset[Primitive] = IDENTITIES | {
    lax.broadcast_in_dim_p,
    lax.reshape_p,
    lax.squeeze_p,
    lax.transpose_p,
    lax.slice_p,
    lax.rev_p,
}
