"""Sobol points, scrambled anew for each key, within a compiled program.

The scrambling multiplies the bits of each coordinate by a random unit lower triangular matrix and flips them by random
bits: every point alone is uniform, and together they remain a net. It is linear in the direction numbers, so those are
scrambled and not the points.

References: S. Joe, F. Kuo, *Constructing Sobol sequences with better two-dimensional projections* (2008), for the
direction numbers, which SciPy holds; J. Matoušek, *On the L2-discrepancy for anchored boxes*, J. Complexity 14 (1998).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32
from scipy.stats import qmc

_BITS = 32


@lru_cache(maxsize=16)
def _direction_numbers(n_bits: int, dim: int) -> np.ndarray:
    """Direction numbers of SciPy's sequence, `(n_bits, dim)`.

    In the order of the Gray code the point of number `2^(k+1) − 1` is direction number k alone.
    """
    engine = qmc.Sobol(dim, scramble=False, bits=_BITS)
    numbers, position = [], 0
    for k in range(n_bits):
        wanted = 2 ** (k + 1) - 1
        engine.fast_forward(wanted - position)
        numbers.append(engine.random(1)[0] * 2.0**_BITS)
        position = wanted + 1
    return np.array(numbers).reshape(n_bits, dim).astype(np.uint32)


def scrambled_bits(key: PRNGKeyArray, n: int, dim: int) -> UInt32[Array, "n dim"]:
    """The first `n` points as 32-bit fractions, scrambled."""
    n_bits = max(n - 1, 1).bit_length()
    matrix_key, shift_key = jax.random.split(key)
    directions = jnp.asarray(_direction_numbers(n_bits, dim))
    # Bit number p of the result, from the top, is the parity of a random choice of the bits above it and itself.
    bit = jnp.asarray([1 << (_BITS - 1 - p) for p in range(_BITS)], jnp.uint32)
    above = jnp.asarray([(1 << _BITS) - (1 << (_BITS - p)) for p in range(_BITS)], jnp.uint32)
    rows = (jax.random.bits(matrix_key, (_BITS, dim), jnp.uint32) & above[:, None]) | bit[:, None]
    parity = jax.lax.population_count(rows[:, None] & directions[None]) & jnp.uint32(1)
    # Every bit is set once, so that a sum is a disjunction.
    scrambled = jnp.sum(parity * bit[:, None, None], 0, dtype=jnp.uint32)
    numbers = jnp.arange(n, dtype=jnp.uint32)
    points = jnp.broadcast_to(jax.random.bits(shift_key, (dim,), jnp.uint32)[None], (n, dim))
    for k in range(n_bits):
        chosen = ((numbers >> k) & 1).astype(bool)
        points = points ^ jnp.where(chosen[:, None], scrambled[k][None], jnp.uint32(0))
    return points


def scrambled_sobol(key: PRNGKeyArray, n: int, dim: int, dtype: jnp.dtype) -> Float[Array, "n dim"]:
    """The first `n` points of a newly scrambled sequence, midpoints of cells as fine as the dtype: none is 0 or 1."""
    points = scrambled_bits(key, n, dim)
    bits = min(_BITS, jnp.finfo(dtype).nmant)
    return ((points >> (_BITS - bits)).astype(dtype) + 0.5) * 2.0**-bits
