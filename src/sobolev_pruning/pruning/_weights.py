"""Significance of single weights: how far a weight's term can move an output."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..intervals import Rounding
from ..regions import AbstractRegion
from ..surrogate import Surrogate
from ._enclosures import boxes_that_fit, check_output_is_a_number, check_region, enclose_at_points
from ._significance import check_bounded
from ._traces import check_finite_inputs

WeightScores = tuple[Float[Array, "m _ _"], ...]


def weight_significance(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int | None = None,
) -> WeightScores:
    """Interval adjoint significance of every weight over a region.

    The weight from node j to node i feeds the term `w_ij n_j` into the pre-activation `p_i`. Its score in one box is
    the measure of nodes, applied to that term: `|w_ij| width([n_j]) · max |∇_[p_i] [y]|`; over many boxes it is the
    largest of any of them. A weight of score zero feeds a constant, which a bias can take over, or nothing.

    Arguments and errors are those of `significance`; weights of the first layer are those of the normalised inputs.

    Returns:
        For every layer, the output layer included, scores `(m, n_out, n_in)` in physical units of the outputs.
    """
    check_region(region)
    check_output_is_a_number(surrogate, region)
    at_once = boxes_that_fit(surrogate, domain, 0) if boxes_at_once is None else boxes_at_once
    below, adjoints = enclose_at_points(_layers, surrogate, region, rounding, domain, at_once)
    widths, sizes = [n.width for n in below], [a.magnitude for a in adjoints]
    scores = _worst_box(surrogate, widths, sizes)
    check_bounded([(f"layer {i}", s) for i, s in enumerate(scores)], "the significance of its weights means nothing")
    return scores


def sampled_weight_significance(surrogate: Surrogate, x: Float[Array, "n d"]) -> WeightScores:
    """The same measure by sampling: range of the node over the data times largest sampled adjoint.

    Args:
        surrogate: the network, with its units.
        x: samples, `(n, d)`, in physical units.

    Raises:
        ValueError: no samples, or of another number of inputs than the surrogate, or not finite.
    """
    check_finite_inputs(surrogate, x)
    return _sampled(surrogate, x)


@eqx.filter_jit
def _sampled(surrogate: Surrogate, x: Float[Array, "n d"]) -> WeightScores:
    below, adjoints = jax.vmap(lambda x: _layers(surrogate, x))(x)
    widths = [jnp.ptp(n, axis=0)[None] for n in below]
    return _worst_box(surrogate, widths, [jnp.max(jnp.abs(a), axis=0)[None] for a in adjoints])


def _layers(surrogate: Surrogate, x: Float[Array, " d"]):
    """What every layer takes, and the derivatives of every output with respect to its pre-activations."""
    network, units = surrogate.network, surrogate.normalisation

    def forward(taps: list[Float[Array, " _"]]):
        below = [(x - units.x_mean) / units.x_scale]
        for layer, tap in zip(network.layers[:-1], taps[:-1], strict=True):
            below.append(network.activation(layer(below[-1]) + tap))
        return units.y_mean + units.y_scale * (network.layers[-1](below[-1]) + taps[-1]), below

    y, pullback, below = jax.vjp(forward, [jnp.zeros(n, x.dtype) for n in network.widths[1:]], has_aux=True)
    (adjoints,) = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
    return below, adjoints


@eqx.filter_jit
def _worst_box(
    surrogate: Surrogate, widths: list[Float[Array, "n_boxes _"]], sizes: list[Float[Array, "n_boxes m _"]]
) -> WeightScores:
    def of_layer(weight: Float[Array, "p q"], width: Float[Array, "n_boxes q"], size: Float[Array, "n_boxes m p"]):
        # One box at a time, since an array of all boxes and all weights may not fit.
        def step(best: Float[Array, "m p q"], box: tuple[Float[Array, " q"], Float[Array, "m p"]]):
            return jnp.maximum(best, box[1][:, :, None] * box[0][None, None]), None

        # The region may be of another precision than the network.
        start = jnp.zeros((size.shape[1], *weight.shape), jnp.promote_types(width.dtype, size.dtype))
        return jnp.abs(weight)[None] * jax.lax.scan(step, start, (width, size))[0]

    layers = surrogate.network.layers
    return tuple(of_layer(layer.weight, *found) for layer, *found in zip(layers, widths, sizes, strict=True))
