"""Interval adjoint significance: how far a node can move an output over a region."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..intervals import Interval, Rounding, inclusion
from ..regions import AbstractRegion
from ..surrogate import Surrogate


class VacuousEnclosureError(ValueError):
    """An enclosure is unbounded, so that no score is meaningful."""


@final
class Significance(eqx.Module):
    """A score of every input and of every node of every hidden layer, per output.

    Higher is more significant. Scores are not negative and in physical units of the output: node by node an estimate
    of how far the output moves if the node is frozen.

    Attributes:
        inputs: `(m, d)`.
        hidden: one array `(m, n_nodes)` for each hidden layer, first to last.
    """

    inputs: Float[Array, "m d"]
    hidden: tuple[Float[Array, "m _"], ...]

    def of_nodes(self) -> tuple[Float[Array, " _"], ...]:
        """One score for each hidden node: the largest over the outputs."""
        return tuple(jnp.max(scores, axis=0) for scores in self.hidden)


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


def _values_and_adjoints(surrogate: Surrogate, x: Float[Array, " d"]):
    """Every hidden node at `x`, and the derivatives of every output with respect to inputs and nodes."""
    zeros = [jnp.zeros(n, x.dtype) for n in surrogate.network.widths[1:-1]]
    y, pullback, nodes = jax.vjp(surrogate.forward, x, zeros, has_aux=True)
    x_bar, node_bars = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype))
    return nodes, x_bar, tuple(node_bars)


@eqx.filter_jit
def enclose_nodes(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int = 64,
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
        boxes_at_once: boxes that are evaluated together; bounds the memory.

    Raises:
        ValueError: the region has another number of inputs than the surrogate, or `boxes_at_once` is below 1.
    """
    d, boxes, coordinates = surrogate.network.widths[0], region.boxes, region.coordinates
    if boxes.shape[1] != d:
        raise ValueError(f"`region` has {boxes.shape[1]} inputs, the surrogate {d}.")
    if boxes_at_once < 1:
        raise ValueError(f"`boxes_at_once` is {boxes_at_once}; it must be at least 1.")
    params, static = eqx.partition((surrogate, region), eqx.is_array)

    def at_coordinates(params: PyTree, u: Float[Array, " k"]):
        surrogate, region = eqx.combine(params, static)
        return _values_and_adjoints(surrogate, region.point(u))

    enclosure = inclusion(at_coordinates, rounding=rounding, domain=domain)
    nodes, x_bar, node_bars = jax.lax.map(
        lambda box: enclosure(params, box), coordinates, batch_size=min(boxes_at_once, boxes.shape[0])
    )
    return NodeEnclosures(boxes, x_bar, nodes, node_bars)


def significance(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int = 64,
) -> Significance:
    """Interval adjoint significance of every input and hidden node over a region.

    In one box, the score of node n for output y is `width([n]) · max |∇_[n] [y]|`, width times largest adjoint; over
    many boxes it is the largest score of any of them.

    Args:
        surrogate: the network, with its units.
        region: any of `sobolev_pruning.regions`, in physical units; of an `Ellipsoid`, the aligned box around it. A
            region along the data is seen as such by a relational `domain` alone. In plain intervals, small trust
            regions around samples rank best: `benchmarks/significance_regions.py` has the figures behind their default
            size.
        rounding: `"nearest"`, since a ranking needs no guarantee, or `"outward"`.
        domain: as in `enclose_nodes`.
        boxes_at_once: boxes that are evaluated together; bounds the memory.

    Raises:
        ValueError: the region has another number of inputs than the surrogate, `boxes_at_once` is below 1, or `domain`
            is unknown.
        VacuousEnclosureError: an enclosure is unbounded or NaN; choose smaller boxes.

    Reference: Kichler et al. (2024); V. Vassiliadis et al., CGO 2016; S. Afghan, U. Naumann, ICCS 2020.
    """
    if not isinstance(region, AbstractRegion):
        raise TypeError(f"`region` is {type(region).__name__}; it must be a region, such as `TrustRegions.around(x)`.")
    enclosed = enclose_nodes(surrogate, region, rounding=rounding, domain=domain, boxes_at_once=boxes_at_once)
    scores = Significance(
        _largest_score(enclosed.inputs, enclosed.input_adjoints),
        tuple(_largest_score(n, a) for n, a in zip(enclosed.nodes, enclosed.node_adjoints, strict=True)),
    )
    for name, part in [("the inputs", scores.inputs)] + [(f"hidden layer {i}", s) for i, s in enumerate(scores.hidden)]:
        if not bool(jnp.all(jnp.isfinite(part))):
            raise VacuousEnclosureError(
                f"the enclosure of {name} or of its adjoint is unbounded, so its significance means nothing. Use "
                "smaller boxes, such as `TrustRegions.around(x, scale=0.003)`."
            )
    return scores


def _largest_score(values: Interval, adjoints: Interval) -> Float[Array, "m _"]:
    return jnp.max(values.width[:, None, :] * adjoints.magnitude, axis=0)


@eqx.filter_jit
def sampled_significance(surrogate: Surrogate, x: Float[Array, "n d"]) -> Significance:
    """The same measure with ranges and adjoints found by sampling: range over the data times largest sampled adjoint.

    It guarantees nothing, and it is the yardstick for what an enclosure adds or loses.

    Args:
        surrogate: the network, with its units.
        x: samples, `(n, d)`, in physical units.
    """
    nodes, x_bar, node_bars = jax.vmap(lambda x: _values_and_adjoints(surrogate, x))(x)

    def score(values: Float[Array, "n k"], adjoints: Float[Array, "n m k"]) -> Float[Array, "m k"]:
        return jnp.ptp(values, axis=0)[None] * jnp.max(jnp.abs(adjoints), axis=0)

    return Significance(score(x, x_bar), tuple(score(n, a) for n, a in zip(nodes, node_bars, strict=True)))
