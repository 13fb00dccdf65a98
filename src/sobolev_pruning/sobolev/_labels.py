"""Labels of every order as losses compare them: samples on the last axis, unknown ones left out."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from .._columns import DOUBLE
from ..reference import (
    AbstractDirections,
    Axes,
    Gaussian,
    LabelWeights,
    Orthonormal,
    Rademacher,
    Samples,
)

# These choose without looking at gradients.
_BLIND = (Axes, Gaussian, Orthonormal, Rademacher)


@final
class Labels(eqx.Module):
    """Labels of one order.

    Attributes:
        name: of the part of the samples that they are, for messages.
        values: `(*shape, n)`.
        weights: of each; `None` weighs all alike. What has weight zero is not known and may be NaN.
        shared: directions or cotangents, over which squared norms are averaged and not summed.
    """

    name: str = eqx.field(static=True)
    values: Float[Array, "*shape n"]
    weights: Float[Array, "*shape n"] | None = None
    shared: int = eqx.field(static=True, default=1)

    def differences(self, found: Float[Array, "*shape n"] | None) -> Float[Array, "*shape n"]:
        """Weighted differences, whose summed squares over n are the mean squared norm over the known labels.

        With N labels of which K are known, each known one is multiplied by `sqrt(weight N / K)` and each unknown one
        is zero, also where it is NaN; so whole samples count alike whether all their labels are known or not.

        Args:
            found: what the network says; `None` for zero, which leaves the labels.
        """
        if self.weights is None:
            difference = self.values if found is None else found - self.values
        else:
            known = self.weights > 0
            labels = jnp.where(known, self.values, 0)
            difference = labels if found is None else jnp.where(known, found - labels, 0)
            n_known = jnp.maximum(jnp.sum(known, dtype=labels.dtype), 1)
            difference = jnp.sqrt(jnp.where(known, self.weights, 0) * (known.size / n_known)) * difference
        return difference if self.shared == 1 else difference * self.shared**-0.5

    def size(self) -> Float[Array, ""]:
        """Mean squared norm of the labels."""
        return mean_square(self.differences(None))

    def check(self, needed: bool = True) -> None:
        """Refuse labels that overflow, and weights that leave nothing, or that are none; traced ones cannot be seen.

        Args:
            needed: whether some label must be known.

        Raises:
            ValueError: the mean square of the labels overflows, no label has a positive weight, or a weight is negative
                or not finite.
        """
        if isinstance(self.values, Tracer) or isinstance(self.weights, Tracer):
            return
        if self.weights is not None:
            self._check_weights(needed)
        size = self.size()
        # Labels that are not finite themselves are another matter, of which others speak.
        if not bool(jnp.isfinite(size)) and bool(jnp.all(jnp.isfinite(self.differences(None)))):
            raise ValueError(
                f"the squares of `samples.{self.name}` overflow {size.dtype} in normalised units, where labels should "
                "be of size one: some are far larger than the values let expect. Repair those rows or the units of "
                f"those labels, or {DOUBLE}."
            )

    def _check_weights(self, needed: bool) -> None:
        assert self.weights is not None
        if not bool(jnp.all(jnp.isfinite(self.weights) & (self.weights >= 0))):
            raise ValueError(
                f"the weights of `samples.{self.name}` hold numbers that are negative or not finite; a label that is "
                "not known has weight zero."
            )
        if needed and not bool(jnp.any(self.weights > 0)):
            raise ValueError(
                f"the weights of `samples.{self.name}` leave no label: none is known in a whole batch. Give some, "
                "drop the weight of that order from the loss, or, where every Hessian misses some entries, compare "
                "them along `Axes()`."
            )


def value_labels(samples: Samples) -> Labels:
    """Values, `(m, n)`."""
    weights = _weights(samples).y
    return Labels("y", samples.y.T, None if weights is None else weights.T)


def gradient_labels(samples: Samples) -> tuple[Labels, Float[Array, "n c m"] | None]:
    """Jacobians `(d, m, n)`, or products `(d, c, n)` with the cotangents `(n, c, m)` that made them.

    The mean over cotangents of `‖wᵀ ∇y‖²` with `E[w wᵀ] = I` is an unbiased estimate of `‖∇y‖²`.

    Raises:
        ValueError: the samples hold neither.
    """
    weights = _weights(samples).dydx
    if samples.dydx is not None:
        return Labels("dydx", samples.dydx.T, None if weights is None else weights.T), None
    if samples.vjps is None:
        raise ValueError(
            "`samples.dydx` is None: a Sobolev loss needs derivative labels. Give them, or `vjps` along cotangents, or "
            "use `ValueLoss()`."
        )
    w, products = samples.vjps.cotangents, samples.vjps.products
    if weights is not None:
        inverse = jnp.where(weights > 0, 1 / weights, 0)
        noise = jnp.einsum("nmd,ncm->ncd", inverse, w**2)
        blocked = jnp.einsum("nmd,ncm->ncd", (weights <= 0).astype(w.dtype), w**2)
        weights = _along(noise, blocked, jnp.sum(w**2, axis=2)[:, :, None]).T
    return Labels("vjps", products.T, weights, w.shape[1]), w


def curvature_labels(
    samples: Samples, directions: AbstractDirections, key: PRNGKeyArray | None
) -> tuple[Labels, Float[Array, "n k d"]]:
    """Hessian products `(d, m, k, n)` and their directions `(n, k, d)`.

    The samples' own if they hold some. Else whole Hessians are multiplied with directions that are drawn here; without
    a key, with all axes.

    A product `Σ_j H_ij v_j` of labels with variances `1 / w_ij` has the variance `Σ_j v_j² / w_ij`. Its weight is the
    inverse, times `|v|²`: the weight itself where that does not depend on j, and zero where an unknown entry takes
    part.

    Raises:
        ValueError: the samples hold no second derivatives, or the directions need gradients that are not there.
    """
    weights = _weights(samples).d2ydx2
    if samples.hvps is not None:
        v, products = samples.hvps.directions, samples.hvps.products
    elif samples.d2ydx2 is not None:
        hessians = samples.d2ydx2 if weights is None else jnp.where(weights > 0, samples.d2ydx2, 0)

        def multiplied(v: Float[Array, "n k d"]) -> Float[Array, "n m k d"]:
            return jnp.einsum("nmij,nkj->nmki", hessians, v)

        chosen = Axes() if key is None else directions
        v = chosen.draw(jax.random.key(0) if key is None else key, _known_gradients(samples, chosen), multiplied)
        products = multiplied(v)
    else:
        raise ValueError(
            "`samples.d2ydx2` and `samples.hvps` are None: a loss with a `curvature_weight` needs labels of the second "
            "order. Give them, or set that weight to zero."
        )
    if weights is not None:
        inverse = jnp.where(weights > 0, 1 / weights, 0)
        noise = jnp.einsum("nmij,nkj->nmki", inverse, v**2)
        blocked = jnp.einsum("nmij,nkj->nmki", (weights <= 0).astype(v.dtype), v**2)
        weights = jnp.transpose(_along(noise, blocked, jnp.sum(v**2, axis=2)[:, None, :, None]), (3, 1, 2, 0))
    name = "d2ydx2" if samples.hvps is None else "hvps"
    return Labels(name, jnp.transpose(products, (3, 1, 2, 0)), weights, v.shape[1]), v


def mean_square(differences: Float[Array, "*shape n"]) -> Float[Array, ""]:
    """Squared norm at each sample, averaged over the samples."""
    return jnp.sum(differences**2) / differences.shape[-1]


def _weights(samples: Samples) -> LabelWeights:
    return LabelWeights() if samples.weights is None else samples.weights


def _along(
    noise: Float[Array, "*shape"], blocked: Float[Array, "*shape"], norm: Float[Array, "..."]
) -> Float[Array, "*shape"]:
    """Weights of sums of labels from the variances of those, zero where an unknown label takes part."""
    known = (blocked == 0) & (noise > 0)
    return jnp.where(known, norm / jnp.where(known, noise, 1), 0)


def _known_gradients(samples: Samples, directions: AbstractDirections) -> Float[Array, "n m d"]:
    if samples.dydx is None:
        if not isinstance(directions, _BLIND):
            raise ValueError(
                f"`samples.dydx` is None, but `{type(directions).__name__}` chooses directions by the gradients: give "
                "them, or choose `Rademacher`, `Gaussian`, `Orthonormal` or `Axes`."
            )
        return jnp.zeros((samples.n, samples.y.shape[1], samples.x.shape[1]), samples.x.dtype)
    weights = _weights(samples).dydx
    return samples.dydx if weights is None else jnp.where(weights > 0, samples.dydx, 0)
