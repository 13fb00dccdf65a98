"""Scrambled Sobol points as normal increments, ordered by a Brownian bridge."""

import math
from functools import lru_cache
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt32
from scipy.stats import qmc

from ._noise import AbstractNoise

_BITS = 32


@final
class SobolNormals(AbstractNoise):
    """Normals from Sobol points, scrambled anew for each key; the first coordinates decide the end of a path.

    One point drives one path. All paths of a batch are one net, and the paths of one sample are a net of their own
    where `n_paths` is a power of two; then the error of their mean falls almost as 1/n for smooth payoffs. The
    scrambling multiplies the bits of each coordinate by a random unit lower triangular matrix and flips them by random
    bits, so that every point alone is uniform: labels are unbiased, and keep the net. It is linear in the direction
    numbers, so a compiled step scrambles them and not the points. The bridge gives the first coordinates, which are the
    best, to the largest moves of the path: its end, then its middle, and so on. Normals of all steps are stored.

    In float32, coordinates have 23 bits, and no normal is larger than 5.3.

    References: S. Joe, F. Kuo, *Constructing Sobol sequences with better two-dimensional projections* (2008), for the
    direction numbers, which SciPy holds; J. Matoušek, *On the L2-discrepancy for anchored boxes* (1998), for the
    scrambling; B. Moskowitz, R. Caflisch, *Smoothness and dimension reduction in quasi-Monte Carlo methods* (1996).
    """

    def draw(self, key: PRNGKeyArray, n: int, n_steps: int, n_noise: int, dtype: jnp.dtype) -> PyTree:
        """Normals of every step, `(n, n_steps, n_noise)`.

        Raises:
            ValueError: a path needs more coordinates than there are direction numbers.
        """
        dim = n_steps * n_noise
        if dim == 0:
            return jnp.zeros((n, n_steps, n_noise), dtype)
        if dim > qmc.Sobol.MAXDIM:
            raise ValueError(
                f"`noise` is SobolNormals, and a path of {n_steps} steps with {n_noise} normals each needs {dim} "
                f"coordinates; there are direction numbers for {qmc.Sobol.MAXDIM}. Use fewer steps or `PseudoRandom()`."
            )
        z = ndtri(_uniform(_points(key, n, dim), dtype)).reshape(n, n_steps, n_noise)
        return jnp.einsum("tj,njr->ntr", jnp.asarray(bridge(n_steps), dtype), z)

    def block(
        self, draw: PyTree, begin: Int[Array, ""] | int, size: int, n_noise: int, dtype: jnp.dtype
    ) -> Float[Array, "size n_noise"]:
        """Some rows of the normals."""
        return jax.lax.dynamic_slice_in_dim(draw, begin, size)


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


def _points(key: PRNGKeyArray, n: int, dim: int) -> UInt32[Array, "n dim"]:
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


def _uniform(points: UInt32[Array, "n dim"], dtype: jnp.dtype) -> Float[Array, "n dim"]:
    """Midpoints of cells as fine as the dtype resolves, so that none is 0 or 1."""
    bits = min(_BITS, jnp.finfo(dtype).nmant)
    return ((points >> (_BITS - bits)).astype(dtype) + 0.5) * 2.0**-bits


@lru_cache(maxsize=16)
def bridge(n_steps: int) -> np.ndarray:
    """Orthogonal matrix `(n_steps, n_steps)` from the normals of a Brownian bridge to those of equal steps.

    Column 0 moves the end of the path, column 1 its middle given the end, and so on, halving the longest gaps first.
    """
    # Row t is the motion at time t as a combination of the normals.
    motion = np.zeros((n_steps + 1, n_steps))
    motion[n_steps, 0] = math.sqrt(n_steps)
    gaps, column = [(0, n_steps)], 1
    while gaps:
        left, right = gaps.pop(0)
        if right - left < 2:
            continue
        middle = (left + right) // 2
        motion[middle] = ((right - middle) * motion[left] + (middle - left) * motion[right]) / (right - left)
        motion[middle, column] = math.sqrt((middle - left) * (right - middle) / (right - left))
        gaps += [(left, middle), (middle, right)]
        column += 1
    return np.diff(motion, axis=0)
