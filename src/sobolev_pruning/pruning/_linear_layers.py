"""Layers that are nearly linear: how nearly, and the smaller network without them.

A hidden layer `n = φ(p)` that is replaced by an affine map `s p + c` merges into the layer that it feeds. What that
does to the output is bounded in three steps, all of them rounded outwards and box by box.

1. The pre-activations p are enclosed, and with them the error `e = φ(p) − s p − c` of every node, by the mean-value
   form over 16 pieces of [p]. It has about the size `rad φ'([p]) · rad [p]`.
2. The merged weights are rounded to floats. What they miss of `W₂ diag(s) W₁` and of its bias, times the enclosure of
   what the layer takes, is an error r of the next pre-activations.
3. By the mean-value theorem, `y − ỹ = ∂y/∂n · e + ∂y/∂p' · r` with the derivatives at a point between the two networks:
   at nodes that are moved by a part of −e and −r, which are added to the nodes, as intervals, before the adjoints are
   enclosed. The activation must be continuous, and its derivative the one that JAX has for it.
"""

import math
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..intervals import Decoration, Interval, hull, inclusion
from ..regions import AbstractRegion
from ..surrogate import MLP, Dense, Surrogate
from ._enclosures import check_output_is_a_number, check_region, enclose_at_points

_PIECES = 16
_SLOPES = 33
# Activations are asked for their continuity on [−this, this]; also float32 holds it and its square.
_FAR = 1e15


@final
class MergedLayers(eqx.Module):
    """A network without its nearly linear layers.

    Attributes:
        surrogate: the smaller network, with the units of the original.
        bound: on the largest error of every output over the region, `(m,)`, in physical units of the outputs. It is
            guaranteed: of the exact functions of both networks, with their weights as they are.
        merged: the hidden layers that are gone, by their number in the original.
    """

    surrogate: Surrogate
    bound: Float[Array, " m"]
    merged: tuple[int, ...] = eqx.field(static=True)


def layer_significance(
    surrogate: Surrogate, region: AbstractRegion, *, domain: str = "affine", boxes_at_once: int = 64
) -> Float[Array, "m n_hidden"]:
    """How far every output moves, at most, if one hidden layer is replaced by an affine map: how little it is linear.

    The map is the best for every node over the region, as far as a search over its slopes finds it. The bounds are
    guaranteed, and infinite where nothing is proved; `merge_linear_layers` merges by them.

    Args:
        surrogate: the network, with its units.
        region: in physical units.
        domain: as in `enclose_nodes`.
        boxes_at_once: boxes that are evaluated together; bounds the memory.

    Raises:
        ValueError: the region has another number of inputs than the surrogate, the output of the network is NaN on it,
            or the activation is not proved to be continuous.
    """
    _check(surrogate, region)
    n_hidden = len(surrogate.network.layers) - 1
    bounds = [_without(surrogate, region, i, domain, boxes_at_once)[1] for i in range(n_hidden)]
    return jnp.stack(bounds, axis=1) if bounds else jnp.zeros((surrogate.network.widths[-1], 0))


def merge_linear_layers(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    tolerance: float,
    domain: str = "affine",
    boxes_at_once: int = 64,
) -> MergedLayers:
    """Replace hidden layers that are nearly linear over a region by affine maps, merged into the layers they feed.

    Layers are tried in the order of `layer_significance`, as long as the sum of the bounds stays within the tolerance;
    every bound is that of the network which the merges before have left.

    Args:
        surrogate: the network, with its units.
        region: over which the error is bounded, in physical units. Smaller regions have straighter layers.
        tolerance: largest error that is allowed in any output, in physical units of the outputs.
        domain: as in `enclose_nodes`.
        boxes_at_once: boxes that are evaluated together; bounds the memory.

    Returns:
        The network, which may be the original, and the bound of its error.

    Raises:
        ValueError: as `layer_significance`, or the tolerance is negative or infinite.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"`tolerance` is {tolerance}; it must be finite, zero or positive, in units of the outputs.")
    worst = np.max(layer_significance(surrogate, region, domain=domain, boxes_at_once=boxes_at_once), axis=0)
    total = jnp.zeros(surrogate.network.widths[-1], surrogate.network.layers[0].weight.dtype)
    merged: list[int] = []
    for layer in np.argsort(worst, kind="stable").tolist():
        if worst[layer] > tolerance:
            break
        position = layer - sum(before < layer for before in merged)
        network, bound = _without(surrogate, region, position, domain, boxes_at_once)
        # A sum of bounds is rounded as they are, upwards.
        sum_of_bounds = jnp.nextafter(total + bound, jnp.full_like(total, jnp.inf)) if merged else bound
        if bool(jnp.all(sum_of_bounds <= tolerance)):
            surrogate = Surrogate(network, surrogate.normalisation, surrogate.provenance)
            total = sum_of_bounds
            merged.append(layer)
    return MergedLayers(surrogate, total, tuple(sorted(merged)))


def _check(surrogate: Surrogate, region: AbstractRegion) -> None:
    check_region(region)
    check_output_is_a_number(surrogate, region)
    activation, dtype = surrogate.network.activation, surrogate.network.layers[0].weight.dtype
    far = jnp.full((), _FAR, dtype)
    _, decoration = inclusion(activation, decorated=True)(Interval(-far, far))
    # The mean-value theorem needs it.
    if int(decoration) < Decoration.DAC:
        raise ValueError(
            f"the activation {getattr(activation, '__name__', activation)!r} is not proved to be continuous, and the "
            "error of a merged layer cannot be bounded without; remove layers by `prune` instead."
        )


def _without(
    surrogate: Surrogate, region: AbstractRegion, layer: int, domain: str, boxes_at_once: int
) -> tuple[MLP, Float[Array, " m"]]:
    """The network with one hidden layer merged into the next, and the bound of the error that this makes."""
    network = surrogate.network
    first, second = network.layers[layer : layer + 2]
    below, pre = enclose_at_points(
        eqx.Partial(_nodes_around, layer), surrogate, region, "outward", domain, boxes_at_once
    )
    if not bool(jnp.all(pre.is_bounded)):
        return network, jnp.full(network.widths[-1], jnp.inf, first.weight.dtype)
    slope = _best_slopes(network, pre)
    error = _errors(network, slope, pre)
    middle = (jnp.min(error.lower, axis=0) + jnp.max(error.upper, axis=0)) / 2
    joined = _joined(first, second, slope, middle)
    error, rounding = _misses(first, second, joined, slope, middle, error, below)
    bound = _bound(surrogate, region, layer, error, rounding, domain, boxes_at_once)
    layers = (*network.layers[:layer], joined, *network.layers[layer + 2 :])
    return MLP(layers, network.activation), bound


def _nodes_around(layer: int, surrogate: Surrogate, x: Float[Array, " d"]):
    """What a layer takes, and its pre-activations."""
    units = surrogate.normalisation
    nodes = (x - units.x_mean) / units.x_scale
    for before in surrogate.network.layers[:layer]:
        nodes = surrogate.network.activation(before(nodes))
    return nodes, surrogate.network.layers[layer](nodes)


@eqx.filter_jit
def _best_slopes(network: MLP, pre: Interval) -> Float[Array, " k"]:
    """For every node, the slope of the line that is nearest to the activation over its pre-activations.

    The best of a grid between the least and the largest slope of its chords. A choice that is not the best makes the
    bound larger, and not less sound.
    """
    share = jnp.linspace(0, 1, _PIECES + 1, dtype=pre.dtype)
    p = pre.lower[None] + share[:, None, None] * (pre.upper - pre.lower)[None]
    value = network.activation(p)
    run = jnp.diff(p, axis=0)
    at_middle = jax.vmap(jax.vmap(jax.grad(network.activation)))(pre.midpoint)[None]
    chords = jnp.where(run > 0, jnp.diff(value, axis=0) / jnp.where(run > 0, run, jnp.ones_like(run)), at_middle)
    least, most = jnp.min(chords, axis=(0, 1)), jnp.max(chords, axis=(0, 1))

    def with_error(share: Float[Array, ""]):
        slope = least + share * (most - least)
        return slope, jnp.ptp(value - slope[None, None] * p, axis=(0, 1))

    slopes, errors = jax.lax.map(with_error, jnp.linspace(0, 1, _SLOPES, dtype=pre.dtype))
    return jnp.take_along_axis(slopes, jnp.argmin(errors, axis=0)[None], axis=0)[0]


@eqx.filter_jit
def _errors(network: MLP, slope: Float[Array, " k"], pre: Interval) -> Interval:
    """Enclosures of `φ(p) − s p` over every box, `(n_boxes, k)`."""

    def slopes(p: Float[Array, "n_boxes k"]):
        return jax.jvp(network.activation, (p,), (jnp.ones_like(p),))[1]

    def form(value: Array, gradient: Array, p: Array, middle: Array, slope: Array) -> Array:
        return value - slope * middle + (gradient - slope) * (p - middle)

    def piece(k: Array) -> Interval:
        # Neighbours compute the end that they share alike, so that no point is lost between them.
        p = Interval(_cut(pre, k), _cut(pre, k + 1))
        middle = Interval.point(p.midpoint)
        value, gradient = inclusion(network.activation)(middle), inclusion(slopes)(p)
        line = Interval.point(jnp.broadcast_to(slope, pre.shape))
        return inclusion(form)(value, gradient, p, middle, line)

    found = jax.lax.map(piece, jnp.arange(_PIECES))
    return Interval(jnp.min(found.lower, axis=0), jnp.max(found.upper, axis=0))


def _cut(x: Interval, k: Array) -> Float[Array, "n_boxes n"]:
    """The k-th of the points that cut intervals into pieces, increasing in k, the ends of the intervals among them."""
    share = k.astype(x.dtype) / _PIECES
    inner = jnp.clip(x.lower + share * (x.upper - x.lower), x.lower, x.upper)
    return jnp.where(k == 0, x.lower, jnp.where(k == _PIECES, x.upper, inner))


def _joined(first: Dense, second: Dense, slope: Float[Array, " k"], middle: Float[Array, " k"]) -> Dense:
    """`W₂ (s (W₁ x + b₁) + c) + b₂`, in double precision on the host."""
    parts = [np.asarray(a, np.float64) for a in (first.weight, first.bias, second.weight, second.bias, slope, middle)]
    w1, b1, w2, b2, s, c = parts
    dtype = first.weight.dtype
    return Dense(jnp.asarray(w2 @ (s[:, None] * w1), dtype), jnp.asarray(w2 @ (s * b1 + c) + b2, dtype))


@eqx.filter_jit
def _misses(
    first: Dense,
    second: Dense,
    joined: Dense,
    slope: Float[Array, " k"],
    middle: Float[Array, " k"],
    error: Interval,
    below: Interval,
) -> tuple[Interval, Interval]:
    """What the nodes miss, `(n_boxes, k)`, and what the next pre-activations miss for rounded weights."""

    def misses(e: Float[Array, " k"], n: Float[Array, " q"], parts: PyTree):
        first, second, joined, slope, middle = parts
        weight = second.weight @ (slope[:, None] * first.weight) - joined.weight
        bias = second.weight @ (slope * first.bias + middle) + second.bias - joined.bias
        return e - middle, weight @ n + bias

    # As intervals, since what is known exactly might be evaluated in floats.
    parts = jax.tree.map(Interval.point, (first, second, joined, slope, middle))
    return jax.vmap(inclusion(misses), in_axes=(0, 0, None))(error, below, parts)


@eqx.filter_jit
def _bound(
    surrogate: Surrogate,
    region: AbstractRegion,
    layer: int,
    error: Interval,
    rounding: Interval,
    domain: str,
    boxes_at_once: int,
) -> Float[Array, " m"]:
    params, static = eqx.partition((surrogate, region), eqx.is_array)

    def adjoints(params: PyTree, u: Float[Array, " j"], moved: Float[Array, " k"], shifted: Float[Array, " q"]):
        surrogate, region = eqx.combine(params, static)
        network, units = surrogate.network, surrogate.normalisation
        _, pre = _nodes_around(layer, surrogate, region.point(u))

        def output(moved: Float[Array, " k"], shifted: Float[Array, " q"]):
            y = network.layers[layer + 1](network.activation(pre) + moved) + shifted
            for after in network.layers[layer + 2 :]:
                y = after(network.activation(y))
            return units.y_mean + units.y_scale * y

        return jax.jacrev(output, argnums=(0, 1))(moved, shifted)

    enclosed = inclusion(adjoints, domain=domain)
    total = inclusion(lambda by_node, e, by_next, r: by_node @ e + by_next @ r)

    def in_box(box: tuple[Interval, Interval, Interval]):
        u, e, r = box
        zeros = [Interval.point(jnp.zeros_like(part.lower)) for part in (e, r)]
        by_node, by_next = enclosed(params, u, hull(-e, zeros[0]), hull(-r, zeros[1]))
        return total(by_node, e, by_next, r).magnitude

    size = min(boxes_at_once, error.shape[0])
    worst = jnp.max(jax.lax.map(in_box, (region.coordinates, error, rounding), batch_size=size), axis=0)
    return jnp.where(jnp.isnan(worst), jnp.inf, worst)
