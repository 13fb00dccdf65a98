"""Directions along which a reference varies most: learned from its gradients, or from its Hessians."""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ._directions import AbstractDirections, HessianProduct, check_count, check_fits


@final
class PrincipalComponents(AbstractDirections):
    """Leading eigenvectors of the second moment `mean(∇y ∇yᵀ)` of the gradients of the batch.

    They span the space on which a function of many inputs really depends (its active subspace). It is the second
    moment and not the covariance: a gradient that is the same everywhere matters, too. All samples of a batch share
    the directions. What varies outside of them is not seen.

    Each has length `sqrt(k)`, so that the mean over the k directions of `‖H v‖²` is the squared norm of H on their
    span.

    Attributes:
        count: k, at most d; `explaining` decides it by a share of explained variance.

    Raises:
        ValueError: the count is below 1, or (by `draw`) above the number of inputs.

    References: P. Constantine, *Active Subspaces*, SIAM 2015, section 3.1; B. Huge, A. Savine, *Axes that matter: PCA
    with a difference*, Risk 2021; Kichler et al. (2024).
    """

    count: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count(self.count)

    @classmethod
    def explaining(cls, gradients: Float[Array, "n m d"], share: float) -> "PrincipalComponents":
        """As few components as explain a share of the mean squared norm of some gradients.

        The number is decided here, once and outside of `jit`, because a compiled step needs fixed shapes.

        Args:
            gradients: of the reference at some samples, in the units in which directions will be drawn.
            share: of the sum of all eigenvalues, in (0, 1].

        Raises:
            ValueError: the share is out of range, or the gradients are traced, not finite or all zero.
        """
        if not 0 < share <= 1:
            raise ValueError(f"`share` is {share}; it must lie in (0, 1].")
        if isinstance(gradients, Tracer):
            raise ValueError(
                "`gradients` are traced: a number of directions cannot depend on them inside of `jit`. Call "
                "`explaining` before, on a batch of samples."
            )
        values = np.asarray(jnp.linalg.eigvalsh(_second_moment(gradients)), np.float64)[::-1]
        if not np.all(np.isfinite(values)):
            raise ValueError("`gradients` hold numbers that are not finite; remove those samples.")
        if not values[0] > 0:
            raise ValueError("`gradients` are zero everywhere and have no leading directions; use `Rademacher`.")
        explained = np.cumsum(np.maximum(values, 0.0))
        # Rounding must not ask for more components than there are, nor for one more where the share is met exactly.
        enough = explained >= (share - 8 * float(jnp.finfo(gradients.dtype).eps)) * explained[-1]
        return cls(int(np.argmax(enough)) + 1)

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """The same components at every sample, `(n, k, d)`, the leading one first; the key plays no part."""
        n, _, d = gradients.shape
        check_fits(self.count, d)
        _, vectors = jnp.linalg.eigh(_second_moment(gradients))
        leading = vectors[:, ::-1][:, : self.count].T
        return jnp.broadcast_to(math.sqrt(self.count) * leading[None], (n, self.count, d))


@final
class LeadingCurvature(AbstractDirections):
    """Leading singular vectors of the Hessian of each sample, by randomised subspace iteration.

    Of several outputs the Hessians are stacked: the directions are eigenvectors of `Σⱼ Hⱼ²`. Every sample has its own,
    since in a mean Hessian curvatures of opposite signs cancel, and what cancels still has to be learned.

    Only products with the Hessian are used, `(iterations + 1) (count + oversampling)` of them besides the `count` that
    are labels, or d where `count + oversampling` reaches d and the result is exact. Otherwise the part of other singular
    vectors in the result falls with the ratio of the largest singular value that is left out to the smallest that is
    wanted, to the power of `iterations`.

    Each has length `sqrt(k)`, as those of `PrincipalComponents`.

    Attributes:
        count: k, directions of every sample, at most d.
        oversampling: further directions that are carried along and dropped at the end; not negative.
        iterations: products by which the random start is turned towards the leading directions; at least 1.

    Raises:
        ValueError: a number is out of range, or (by `draw`) the count is above the number of inputs.

    Reference: N. Halko, P.-G. Martinsson, J. Tropp, *Finding Structure with Randomness*, SIAM Review 53 (2011),
    algorithms 4.4 and 5.1.
    """

    count: int = eqx.field(static=True, default=1)
    oversampling: int = eqx.field(static=True, default=4)
    iterations: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        check_count(self.count)
        if self.oversampling < 0:
            raise ValueError(f"`oversampling` is {self.oversampling}; it must be zero or positive.")
        if self.iterations < 1:
            raise ValueError(f"`iterations` is {self.iterations}; it must be at least 1.")

    def draw(
        self, key: PRNGKeyArray, gradients: Float[Array, "n m d"], products: HessianProduct
    ) -> Float[Array, "n k d"]:
        """Leading singular vectors of every sample, `(n, k, d)`, the first one first."""
        n, m, d = gradients.shape
        check_fits(self.count, d)
        width = min(self.count + self.oversampling, d)
        if width == d:
            basis = jnp.broadcast_to(jnp.eye(d, dtype=gradients.dtype)[None], (n, d, d))
        else:
            start, *mixing = jax.random.split(key, self.iterations + 1)
            basis = jax.random.normal(start, (n, width, d), gradients.dtype)
            for mixing_key in mixing:
                # Hessians are symmetric, so the products of each lie in the row space of the stack. Random combinations
                # of all m·width of them span its leading part again, whatever the outputs' signs.
                mixture = jax.random.normal(mixing_key, (n, m, width, width), gradients.dtype)
                basis = _orthonormal(jnp.einsum("nmqd,nmqp->npd", products(basis), mixture))
        # Rayleigh–Ritz: within the span, the singular vectors of the stack are those of its products with the basis.
        image = products(basis)
        _, rotation = jnp.linalg.eigh(jnp.einsum("nmqd,nmpd->nqp", image, image))
        leading = rotation[:, :, ::-1][:, :, : self.count]
        return math.sqrt(self.count) * jnp.einsum("nqk,nqd->nkd", leading, basis)


def _second_moment(gradients: Float[Array, "n m d"]) -> Float[Array, "d d"]:
    rows = gradients.reshape(-1, gradients.shape[-1])
    return rows.T @ rows / rows.shape[0]


def _orthonormal(rows: Float[Array, "n k d"]) -> Float[Array, "n k d"]:
    """Orthonormal rows with the same span, sample by sample."""
    frames, _ = jnp.linalg.qr(jnp.swapaxes(rows, 1, 2))
    return jnp.swapaxes(frames, 1, 2)
