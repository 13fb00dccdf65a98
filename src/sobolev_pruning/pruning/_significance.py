"""Interval adjoint significance: how far a node can move an output, or its gradient, over a region."""

from typing import Literal, final, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._programs import limit_programs
from ..intervals import Interval, Rounding
from ..regions import AbstractRegion
from ..surrogate import Surrogate
from ._enclosures import (
    GradientEnclosures,
    VacuousEnclosureError,
    check_output_is_a_number,
    check_region,
    enclose_gradients,
    enclose_nodes,
    values_and_adjoints,
    with_gradients,
)
from ._traces import check_finite_inputs

Of = Literal["values", "gradients"]


@final
class Significance(eqx.Module):
    """A score of every input and of every node of every hidden layer, per output.

    Higher is more significant. Scores are not negative. Those of `significance` are in physical units of the output:
    node by node an estimate of how far the output, or its gradient, moves if the node is frozen. Other criteria have
    units of their own, and those that know no outputs have one row.

    Attributes:
        inputs: `(m, d)`.
        hidden: one array `(m, n_nodes)` for each hidden layer, first to last.
    """

    inputs: Float[Array, "m d"]
    hidden: tuple[Float[Array, "m _"], ...]

    def of_nodes(self) -> tuple[Float[Array, " _"], ...]:
        """One score for each hidden node: the largest over the outputs."""
        return tuple(jnp.max(scores, axis=0) for scores in self.hidden)

    def of_inputs(self) -> Float[Array, " d"]:
        """One score for each input: the largest over the outputs."""
        return jnp.max(self.inputs, axis=0)


def significance(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    of: Of = "values",
    rounding: Rounding = "nearest",
    domain: str = "affine",
    boxes_at_once: int | None = None,
) -> Significance:
    """Interval adjoint significance of every input and hidden node over a region.

    In one box, the score of node n for output y is `width([n]) · max |∇_[n] [y]|`, width times largest adjoint; over
    many boxes it is the largest score of any of them.

    *Of the gradients* it says how far ∇y moves if the node is frozen, in two parts:

        width([n]) · max ‖∂(∇y) / ∂[n]‖  +  max |∂y / ∂[n]| · max ‖∇[n]‖

    The first is the same measure on the gradient, from interval adjoints of the second order: how far a node moves what
    the others pass on. The second is what the node itself passes on, which is lost with it. Neither will do alone: the
    output is linear in the last hidden layer, so by the first part all of its nodes would score zero, and so would an
    input by which the output is linear. Gradients are with respect to the normalised inputs, and ‖·‖ is the Euclidean
    norm over them, so that scores have the unit of the output, and of a `SobolevLoss`, whatever the inputs' units.

    Args:
        surrogate: the network, with its units.
        region: any of `sobolev_pruning.regions`, in physical units; of an `Ellipsoid`, the aligned box around it. A
            region along the data is seen as such by a relational `domain` alone. In plain intervals, small trust
            regions around samples rank best: `benchmarks/significance_regions.py` has the figures behind their default
            size.
        of: `"values"` of the outputs, or their `"gradients"`; `enclose_gradients` says at which cost.
        rounding: `"nearest"`, since a ranking needs no guarantee, or `"outward"`.
        domain: as in `enclose_nodes`.
        boxes_at_once: as in `enclose_nodes`.

    Raises:
        ValueError: the region has another number of inputs than the surrogate, the output of the network is NaN on
            it, `boxes_at_once` is below 1, or `of` or `domain` is unknown.
        VacuousEnclosureError: an enclosure is unbounded; choose smaller boxes.

    Reference: Kichler et al. (2024); V. Vassiliadis et al., CGO 2016; S. Afghan, U. Naumann, ICCS 2020. The score of
    gradients is our own.
    """
    limit_programs()
    check_region(region)
    check_of(of)
    check_output_is_a_number(surrogate, region)
    options = {"rounding": rounding, "domain": domain, "boxes_at_once": boxes_at_once}
    if of == "values":
        enclosed = enclose_nodes(surrogate, region, **options)
        scores = Significance(
            _largest_score(enclosed.inputs, enclosed.input_adjoints),
            tuple(_largest_score(n, a) for n, a in zip(enclosed.nodes, enclosed.node_adjoints, strict=True)),
        )
    else:
        scores = _of_gradients(enclose_gradients(surrogate, region, **options), surrogate.normalisation.x_scale)
    named = [("the inputs", scores.inputs)] + [(f"hidden layer {i}", s) for i, s in enumerate(scores.hidden)]
    check_bounded(named, "its significance means nothing")
    return scores


def check_bounded(named: list[tuple[str, Float[Array, "..."]]], consequence: str) -> None:
    """Refuse scores that are not finite.

    Raises:
        VacuousEnclosureError: one is not.
    """
    for name, part in named:
        if not bool(jnp.all(jnp.isfinite(part))):
            raise VacuousEnclosureError(
                f"the enclosure of {name} or of its adjoint is unbounded, so {consequence}. Use smaller boxes, such as "
                "`TrustRegions.around(x, scale=0.003)`."
            )


def check_of(of: str) -> None:
    """Refuse what is neither values nor gradients."""
    if of not in get_args(Of):
        raise ValueError(f"`of` is {of!r}; it must be one of {get_args(Of)}.")


def _largest_score(values: Interval, adjoints: Interval) -> Float[Array, "m _"]:
    return jnp.max(values.width[:, None, :] * adjoints.magnitude, axis=0)


def _of_gradients(enclosed: GradientEnclosures, x_scale: Float[Array, " d"]) -> Significance:
    values = enclosed.values

    def score(n: Interval, adjoints: Interval, mixed: Interval, passed: Float[Array, "#n_boxes k"]):
        moved = n.width[:, None] * jnp.linalg.norm(mixed.magnitude, axis=1)
        return jnp.max(moved + adjoints.magnitude * passed[:, None], axis=0)

    hidden = [
        score(n, adjoints, mixed, jnp.linalg.norm(slopes.magnitude, axis=1))
        for n, adjoints, mixed, slopes in zip(
            values.nodes, values.node_adjoints, enclosed.node_mixed, enclosed.node_slopes, strict=True
        )
    ]
    # An input passes on itself.
    inputs = score(values.inputs, values.input_adjoints, enclosed.input_mixed, x_scale[None])
    return Significance(inputs, tuple(hidden))


def sampled_significance(surrogate: Surrogate, x: Float[Array, "n d"], *, of: Of = "values") -> Significance:
    """The same measure with ranges and adjoints found by sampling: range over the data times largest sampled adjoint.

    It guarantees nothing, and it is the yardstick for what an enclosure adds or loses.

    Args:
        surrogate: the network, with its units.
        x: samples, `(n, d)`, in physical units.
        of: as in `significance`; of gradients, the largest sampled `‖∂(∇y) / ∂n‖` and `‖∂y / ∂n ∇n‖` take part.

    Raises:
        ValueError: `of` is unknown; no samples, or of another number of inputs than the surrogate, or not finite.
    """
    check_of(of)
    check_finite_inputs(surrogate, x)
    return _sampled(surrogate, x) if of == "values" else _sampled_of_gradients(surrogate, x)


@eqx.filter_jit
def _sampled(surrogate: Surrogate, x: Float[Array, "n d"]) -> Significance:
    nodes, x_bar, node_bars = jax.vmap(lambda x: values_and_adjoints(surrogate, x))(x)

    def score(values: Float[Array, "n k"], adjoints: Float[Array, "n m k"]) -> Float[Array, "m k"]:
        return jnp.ptp(values, axis=0)[None] * jnp.max(jnp.abs(adjoints), axis=0)

    return Significance(score(x, x_bar), tuple(score(n, a) for n, a in zip(nodes, node_bars, strict=True)))


@eqx.filter_jit
def _sampled_of_gradients(surrogate: Surrogate, x: Float[Array, "n d"]) -> Significance:
    # Norms are taken sample by sample, so that no array of second derivatives of all samples is kept.
    def sizes(x: Float[Array, " d"]):
        (nodes, x_bar, node_bars), (slopes, x_mixed, node_mixed) = with_gradients(surrogate, x)
        norms = [jnp.linalg.norm(part, axis=0) for part in (x_mixed, *node_mixed)]
        passed = [surrogate.normalisation.x_scale, *(jnp.linalg.norm(part, axis=0) for part in slopes)]
        lost = [jnp.abs(bars) * size[None] for bars, size in zip((x_bar, *node_bars), passed, strict=True)]
        return nodes, norms, lost

    nodes, norms, lost = jax.lax.map(sizes, x, batch_size=min(256, x.shape[0]))

    def score(values: Float[Array, "n k"], norm: Float[Array, "n m k"], lost: Float[Array, "n m k"]):
        return jnp.ptp(values, axis=0)[None] * jnp.max(norm, axis=0) + jnp.max(lost, axis=0)

    inputs, *hidden = (score(*parts) for parts in zip((x, *nodes), norms, lost, strict=True))
    return Significance(inputs, tuple(hidden))
