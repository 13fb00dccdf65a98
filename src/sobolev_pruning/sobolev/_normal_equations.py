"""Normal equations of a loss, accumulated over blocks of samples.

With residuals r(θ) of n samples and J their Jacobian, a step of Gauss–Newton or Levenberg–Marquardt needs `JᵀJ / n`,
`Jᵀr / n` and `‖r‖² / n`, and nothing of the size of J. Blocks of samples are added up in one compiled loop, so memory
is p² for p parameters, for any number of samples. A block of J comes by forward mode, one tangent for each parameter
along one shared linearisation: that costs about as much as the product JᵀJ itself, which no other mode would spare.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..reference import Samples
from ..surrogate import MLP
from ._loss import AbstractLoss

# Of J, in bytes: a block that stays in a core's cache is several times as fast as a larger one (measured at p = 40).
_BLOCK_BYTES = 2**20
_FEWEST_IN_BLOCK = 64
_T = TypeVar("_T")


@final
class Blocks(eqx.Module):
    """Samples in blocks of equal size; the last is filled up with copies that count nothing.

    Attributes:
        samples: every part `(n_blocks, size, ...)`.
        known: 1 for a sample, 0 for what fills up, `(n_blocks, size)`.
        n: number of samples.
    """

    samples: Samples
    known: Float[Array, "n_blocks size"]
    n: int = eqx.field(static=True)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.known.shape[0]

    @property
    def size(self) -> int:
        """Samples of a block."""
        return self.known.shape[1]


@final
class NormalEquations(eqx.Module):
    """`JᵀJ / n`, `Jᵀr / n` and `‖r‖² / n` at some parameters, in double precision on the host.

    Attributes:
        matrix: `(p, p)`.
        gradient: half the gradient of the loss, `(p,)`.
        loss: mean squared norm of the residuals.
    """

    matrix: Float[np.ndarray, "p p"]
    gradient: Float[np.ndarray, " p"]
    loss: float

    @property
    def is_finite(self) -> bool:
        """Whether every number is."""
        return math.isfinite(self.loss) and all(np.all(np.isfinite(part)) for part in (self.gradient, self.matrix))


@final
class LeastSquares:
    """A loss on fixed samples as a function of one vector of parameters, in double precision throughout.

    Small networks end in narrow valleys: their normal equations have condition numbers beyond 10⁷, where single
    precision knows no direction any more. So double precision is switched on for these computations alone, whatever
    JAX's default is; networks of the size that this is for cost little more in it.
    """

    def __init__(
        self, network: MLP, batch: Samples, loss: AbstractLoss, key: PRNGKeyArray | None, ridge: float = 0.0
    ) -> None:
        """Calibrate the loss on all samples, and cut them into blocks.

        Args:
            network: gives structure and start.
            batch: in normalised units.
            loss: calibrated here.
            key: of the loss's random directions; every evaluation uses the same ones.
            ridge: adds `ridge / n ‖θ‖²` to the loss.
        """
        self._ridge = ridge / batch.n
        self._dtype = network.layers[0].weight.dtype
        self._key = key
        with double_precision():
            self._network = as_dtype(network, jnp.float64)
            batch = as_dtype(batch, jnp.float64)
            self._loss = as_dtype(loss, jnp.float64).calibrate(batch)
            first = jax.tree.map(lambda part: part[:1], batch)
            out = jax.eval_shape(lambda: self._loss.residuals(self._network, first, key=key))
            size = block_size(batch.n, network.n_parameters, out.shape[1], 8)
            self._blocks = cut(batch, size)

    @property
    def start(self) -> Float[np.ndarray, " p"]:
        """Parameters of the network that was given."""
        return self.parameters(self._network)

    def parameters(self, network: MLP) -> Float[np.ndarray, " p"]:
        """Those of a network of the same structure, as one vector."""
        leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
        return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])

    def network(self, theta: Float[np.ndarray, " p"]) -> MLP:
        """The network with these parameters, in the precision of the one that was given."""
        with double_precision():
            return as_dtype(unravelled(jnp.asarray(theta), self._network), self._dtype)

    def blocks_of(self, n: int) -> int:
        """How many blocks hold about the first `n` samples."""
        return min(-(-n // self._blocks.size), self._blocks.count)

    def loss(self, theta: Float[np.ndarray, " p"], n_blocks: int | None = None) -> float:
        """Mean squared norm of the residuals of all samples, or of those of the first blocks."""
        count, n = self._counted(n_blocks)
        with double_precision():
            theta_ = jnp.asarray(theta)
            total = float(_loss(theta_, self._network, self._loss, self._blocks, self._key, count))
        return total / n + self._ridge * float(theta @ theta)

    def normal_equations(self, theta: Float[np.ndarray, " p"], n_blocks: int | None = None) -> NormalEquations:
        """Of all samples, or of those of the first blocks."""
        count, n = self._counted(n_blocks)
        with double_precision():
            theta_ = jnp.asarray(theta)
            matrix, gradient, total = _accumulate(theta_, self._network, self._loss, self._blocks, self._key, count)
        return NormalEquations(
            np.asarray(matrix) / n + self._ridge * np.eye(theta.size),
            np.asarray(gradient) / n + self._ridge * theta,
            float(total) / n + self._ridge * float(theta @ theta),
        )

    def _counted(self, n_blocks: int | None) -> tuple[Int[np.ndarray, ""], int]:
        # An array, so that a part of the blocks takes no compilation of its own.
        count = self._blocks.count if n_blocks is None else n_blocks
        return np.asarray(count, np.int32), min(count * self._blocks.size, self._blocks.n)


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """JAX in double precision, also where the user's default is single."""
    with jax.enable_x64(True):
        yield


def as_dtype(tree: _T, dtype: jnp.dtype | type) -> _T:
    """All floating-point arrays of a pytree in one precision."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)


def unravelled(theta: Float[Array, " p"], network: MLP) -> MLP:
    """A network of the given structure with its parameters from one vector."""
    params, static = eqx.partition(network, eqx.is_inexact_array)
    return eqx.combine(ravel_pytree(params)[1](theta), static)


def block_size(n: int, n_parameters: int, n_residuals: int, n_bytes: int) -> int:
    """Samples of a block, so that its part of J stays small."""
    fitting = _BLOCK_BYTES // (n_parameters * n_residuals * n_bytes)
    return min(max(fitting, _FEWEST_IN_BLOCK), n)


def cut(batch: Samples, size: int) -> Blocks:
    """The samples in blocks of `size`."""
    rest = -batch.n % size

    def blocks(part: Float[Array, "n ..."]) -> Float[Array, "n_blocks size ..."]:
        filled = jnp.pad(part, ((0, rest), *((0, 0) for _ in part.shape[1:])), mode="edge")
        return filled.reshape(-1, size, *part.shape[1:])

    known = jnp.pad(jnp.ones(batch.n, batch.x.dtype), (0, rest)).reshape(-1, size)
    return Blocks(jax.tree.map(blocks, batch), known, batch.n)


def residuals_and_jacobian(
    theta: Float[Array, " p"], network: MLP, loss: AbstractLoss, batch: Samples, key: PRNGKeyArray | None
) -> tuple[Float[Array, "k n"], Float[Array, "p k n"]]:
    """Residuals of a block and their derivatives with respect to every parameter; the samples stand last."""
    residuals, tangent = jax.linearize(lambda t: loss.residuals(unravelled(t, network), batch, key=key).T, theta)
    return residuals, jax.vmap(tangent)(jnp.eye(theta.size, dtype=theta.dtype))


def _block(blocks: Blocks, key: PRNGKeyArray | None, i: Int[Array, ""]):
    batch, known = jax.tree.map(lambda part: part[i], (blocks.samples, blocks.known))
    return batch, known, None if key is None else jax.random.fold_in(key, i)


@eqx.filter_jit
def _accumulate(
    theta: Float[Array, " p"],
    network: MLP,
    loss: AbstractLoss,
    blocks: Blocks,
    key: PRNGKeyArray | None,
    count: Int[Array, ""] | Int[np.ndarray, ""],
) -> tuple[Float[Array, "p p"], Float[Array, " p"], Float[Array, ""]]:
    def add(i: Int[Array, ""], total):
        matrix, gradient, squares = total
        batch, known, block_key = _block(blocks, key, i)
        residuals, jacobian = residuals_and_jacobian(theta, network, loss, batch, block_key)
        residuals, jacobian = residuals * known[None], jacobian * known[None, None]
        r, j = residuals.reshape(-1), jacobian.reshape(theta.size, -1)
        return matrix + j @ j.T, gradient + j @ r, squares + r @ r

    p, dtype = theta.size, theta.dtype
    zeros = (jnp.zeros((p, p), dtype), jnp.zeros(p, dtype), jnp.zeros((), dtype))
    return jax.lax.fori_loop(0, jnp.asarray(count), add, zeros)


@eqx.filter_jit
def _loss(
    theta: Float[Array, " p"],
    network: MLP,
    loss: AbstractLoss,
    blocks: Blocks,
    key: PRNGKeyArray | None,
    count: Int[Array, ""] | Int[np.ndarray, ""],
) -> Float[Array, ""]:
    def add(i: Int[Array, ""], total: Float[Array, ""]) -> Float[Array, ""]:
        batch, known, block_key = _block(blocks, key, i)
        residuals = loss.residuals(unravelled(theta, network), batch, key=block_key)
        return total + jnp.sum((residuals * known[:, None]) ** 2)

    return jax.lax.fori_loop(0, jnp.asarray(count), add, jnp.zeros((), theta.dtype))
