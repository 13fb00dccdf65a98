"""Enclosures of every node of a network, of its adjoints, and of the derivatives of both, box by box."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..intervals import Interval, Rounding, inclusion
from ..regions import AbstractRegion
from ..surrogate import Surrogate, check_surrogate


class VacuousEnclosureError(ValueError):
    """An enclosure is unbounded, so that no score is meaningful."""


@final
class NodeEnclosures(eqx.Module):
    """Enclosures of all inputs and hidden nodes and of their adjoints, box by box.

    Attributes:
        inputs: `(n_boxes, d)`.
        input_adjoints: of every output with respect to the inputs, `(n_boxes, m, d)`.
        nodes: one `(n_boxes, n_nodes)` for each hidden layer.
        node_adjoints: one `(n_boxes, m, n_nodes)` for each hidden layer.
    """

    inputs: Interval
    input_adjoints: Interval
    nodes: tuple[Interval, ...]
    node_adjoints: tuple[Interval, ...]


@final
class GradientEnclosures(eqx.Module):
    """Enclosures of the derivatives of all nodes and of all adjoints, box by box.

    Derivatives are with respect to the normalised inputs, `∂/∂z = x_scale ∂/∂x`: inputs of different units can be
    added up, as a `SobolevLoss` adds them.

    Attributes:
        values: the nodes and adjoints themselves.
        input_mixed: `∂²y / ∂z ∂x`, how the gradient moves with the inputs, `(n_boxes, d, m, d)`.
        node_slopes: `∂n / ∂z`, one `(n_boxes, d, n_nodes)` for each hidden layer.
        node_mixed: `∂²y / ∂z ∂n`, how the gradient moves with a node; one `(n_boxes, d, m, n_nodes)` for each hidden
            layer.
    """

    values: NodeEnclosures
    input_mixed: Interval
    node_slopes: tuple[Interval, ...]
    node_mixed: tuple[Interval, ...]


def values_and_adjoints(surrogate: Surrogate, x: Float[Array, " d"]):
    """Every hidden node at `x`, and the derivatives of every output with respect to inputs and nodes."""
    zeros = [jnp.zeros(n, x.dtype) for n in surrogate.network.widths[1:-1]]
    y, pullback, nodes = jax.vjp(surrogate.forward, x, zeros, has_aux=True)
    x_bar, node_bars = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
    return nodes, x_bar, tuple(node_bars)


def with_gradients(surrogate: Surrogate, x: Float[Array, " d"]):
    """The same, and its tangents along every normalised input, which come first in their shapes.

    The tangent of an adjoint along an input is the adjoint of the gradient's component: second derivatives commute.
    """

    def along(v: Float[Array, " d"]):
        return jax.jvp(lambda x: values_and_adjoints(surrogate, x), (x,), (v,))

    return jax.vmap(along, out_axes=(None, 0))(jnp.diag(surrogate.normalisation.x_scale).astype(x.dtype))


def enclose_nodes(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int | None = None,
) -> NodeEnclosures:
    """Enclose every hidden node and every adjoint over each box of a region.

    Differentiate first, then read every operation as its interval counterpart: the interval adjoint is the inclusion
    of the reverse-mode derivative (Kichler et al., 2024).

    Args:
        surrogate: the network, with its units.
        region: one box or many, in physical units.
        rounding: `"outward"` guarantees the enclosures; `"nearest"` leaves out the widening by rounding errors, which
            changes no ranking.
        domain: as in `intervals.inclusion`. Affine forms remember how nodes depend on each other; of all domains they
            are the tightest for their time (`benchmarks/tightness.py`). `"interval"` compiles and runs faster, and
            over boxes that are not tiny its enclosures are wider by orders of magnitude.
        boxes_at_once: boxes that are evaluated together, which bounds the memory; if not given, up to 64 and about as
            many as a GiB holds.

    Raises:
        ValueError: the region has another number of inputs than the surrogate, or `boxes_at_once` is below 1.
    """
    at_once = boxes_that_fit(surrogate, domain, 0) if boxes_at_once is None else boxes_at_once
    return NodeEnclosures(
        region.boxes,
        *_adjoints_first(*enclose_at_points(values_and_adjoints, surrogate, region, rounding, domain, at_once)),
    )


def enclose_gradients(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int | None = None,
) -> GradientEnclosures:
    """Enclose every node and adjoint, and their derivatives with respect to the inputs, over each box of a region.

    Interval adjoints of the second order: the inclusion of the reverse-mode derivative's tangents along the d inputs.
    Arguments and errors are those of `enclose_nodes`. A box takes a few times as long in plain intervals; in affine
    forms, where every tangent has symbols of its own, 60 to 200 times as long and 300 times the memory (7-32×3-1 and
    7-128×4-1).
    """
    at_once = boxes_that_fit(surrogate, domain, 1) if boxes_at_once is None else boxes_at_once
    found, tangents = enclose_at_points(with_gradients, surrogate, region, rounding, domain, at_once)
    slopes, input_mixed, node_mixed = tangents
    return GradientEnclosures(NodeEnclosures(region.boxes, *_adjoints_first(*found)), input_mixed, slopes, node_mixed)


# Bytes of a box for every node times the widest layer, times (1 + d)² with gradients: within a seventh of what compiled
# programs ask for with gradients, of 7-32×3-1 to 7-128×6-1 in single precision, and five times as much without.
_BYTES, _MEMORY, _MOST_BOXES = 180, 2**30, 64


def boxes_that_fit(surrogate: Surrogate, domain: str, order: int) -> int:
    """Boxes that a GiB holds about, at most 64; without symbols memory is no concern."""
    if domain == "interval":
        return _MOST_BOXES
    d, *hidden, _ = surrogate.network.widths
    box = _BYTES * (1 + d) ** (2 * order) * sum(hidden) * max(hidden, default=1)
    return max(1, min(_MOST_BOXES, _MEMORY // max(box, 1)))


def _adjoints_first(nodes, x_bar, node_bars):
    return x_bar, nodes, node_bars


@eqx.filter_jit
def enclose_at_points(f, surrogate: Surrogate, region: AbstractRegion, rounding, domain: str, boxes_at_once: int):
    """Enclose `f(surrogate, x)` over each box of a region; the boxes are the leading axis of what comes back."""
    d, boxes, coordinates = surrogate.network.widths[0], region.boxes, region.coordinates
    if boxes.shape[1] != d:
        raise ValueError(f"`region` has {boxes.shape[1]} inputs, the surrogate {d}.")
    if boxes_at_once < 1:
        raise ValueError(f"`boxes_at_once` is {boxes_at_once}; it must be at least 1.")
    params, static = eqx.partition((surrogate, region), eqx.is_array)

    def at_coordinates(params: PyTree, u: Float[Array, " k"]):
        surrogate, region = eqx.combine(params, static)
        return f(surrogate, region.point(u))

    enclosure = inclusion(at_coordinates, rounding=rounding, domain=domain)
    return jax.lax.map(lambda box: enclosure(params, box), coordinates, batch_size=min(boxes_at_once, boxes.shape[0]))


def check_region(region: object) -> None:
    """Refuse what is no region.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(region, AbstractRegion):
        raise TypeError(f"`region` is {type(region).__name__}; it must be a region, such as `TrustRegions.around(x)`.")


def check_output_is_a_number(surrogate: Surrogate, region: AbstractRegion) -> None:
    """Refuse a network whose output is NaN on the region, as far as samples show.

    Looked at in the middle and at two corners of every box. An enclosure alone would not tell: that of a function
    which is undefined on a part of a box speaks of the other part, and that of NaN is merely unbounded.

    Raises:
        TypeError: it is no surrogate.
        ValueError: an output is NaN there.
    """
    check_surrogate(surrogate)
    if region.dim != surrogate.network.widths[0]:
        return  # refused with better words by what is to be enclosed
    box = region.coordinates
    u = jnp.concatenate([box.midpoint, box.lower, box.upper])
    x, y, counts = _at(surrogate, region, u)
    bad = np.asarray(counts) & np.isnan(np.asarray(y)).any(axis=1)
    if bad.any():
        at = int(bad.argmax())
        raise ValueError(
            f"the output of the network is {np.asarray(y)[at].tolist()} at {np.asarray(x)[at].tolist()}, a point of "
            "the region, so no enclosure of it has a meaning. Repair the weights, or keep the region where the network "
            "is defined."
        )


@eqx.filter_jit
def _at(surrogate: Surrogate, region: AbstractRegion, u: Float[Array, "n k"]):
    """Points, outputs, and whether each belongs to the region."""

    def one(u: Float[Array, " k"]):
        x, inside = region.point(u), region.inside(u)
        return x, surrogate(x), jnp.ones((), bool) if inside is None else inside

    return jax.vmap(one)(u)
