"""Scrambled Sobol points as normal increments, ordered by a Brownian bridge."""

import math
from functools import lru_cache
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from scipy.stats import qmc

from .._sobol_points import scrambled_sobol
from ._noise import AbstractNoise


@final
class SobolNormals(AbstractNoise):
    """Normals from Sobol points, scrambled anew for each key; the first coordinates decide the end of a path.

    One point drives one path. All paths of a batch are one net, and the paths of one sample are a net of their own
    where `n_paths` is a power of two; then the error of their mean falls almost as 1/n for smooth payoffs. Every point
    alone is uniform, so labels are unbiased. The bridge gives the first coordinates, which are the
    best, to the largest moves of the path: its end, then its middle, and so on. Normals of all steps are stored.

    In float32, coordinates have 23 bits, and no normal is larger than 5.3.

    Reference: B. Moskowitz, R. Caflisch, *Smoothness and dimension reduction in quasi-Monte Carlo methods* (1996).
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
        z = ndtri(scrambled_sobol(key, n, dim, dtype)).reshape(n, n_steps, n_noise)
        return jnp.einsum("tj,njr->ntr", jnp.asarray(bridge(n_steps), dtype), z)

    def block(
        self, draw: PyTree, begin: Int[Array, ""] | int, size: int, n_noise: int, dtype: jnp.dtype
    ) -> Float[Array, "size n_noise"]:
        """Some rows of the normals."""
        return jax.lax.dynamic_slice_in_dim(draw, begin, size)


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
