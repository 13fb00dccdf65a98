"""Scores of the channels of a group, by three criteria that need no names of layers."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from ...intervals import Interval, Rounding, interval_adjoints, tap
from .._significance import VacuousEnclosureError
from ._groups import Analysis, Group, analyse, channels_of_group, check_group
from ._program import Call, Step, is_argument, path_name


def magnitude_of_groups(network: PyTree, groups: tuple[Group, ...]) -> dict[Group, Float[Array, " _"]]:
    """Euclidean length of all floats that a channel owns: incoming and outgoing weights, biases, statistics.

    Args:
        network: what `find_groups` saw.
        groups: some of its groups, such as `find_groups(network, x).prunable`.

    Returns:
        For each group one score a channel, `(size,)`, in units of the weights.

    Raises:
        ValueError: a group belongs to another network.
    """
    _check_groups(network, groups)
    squares = _by_path(jax.tree.map(lambda leaf: leaf**2 if eqx.is_inexact_array(leaf) else None, network))
    return {group: jnp.sqrt(_owned(squares, group)) for group in groups}


def taylor_of_groups(
    network: PyTree, groups: tuple[Group, ...], loss: Callable[[Any], Float[Array, ""]]
) -> dict[Group, Float[Array, " _"]]:
    """How much a loss would change without a channel, to first order in each of its weights: `Σ (∂L/∂w · w)²`.

    Args:
        network: what `find_groups` saw.
        groups: some of its groups.
        loss: of the network, one number, such as `lambda network: ValueLoss()(network, samples)`.

    Returns:
        For each group one score a channel, `(size,)`, in squared units of the loss.

    Raises:
        ValueError: a group belongs to another network.

    Reference: P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, *Importance Estimation for Neural Network
        Pruning*, CVPR 2019, eq. (8), summed over the weights of a channel.
    """
    _check_groups(network, groups)
    gradient = eqx.filter_grad(loss)(network)
    squares = jax.tree.map(
        lambda leaf, slope: None if slope is None else (leaf * slope) ** 2,
        eqx.filter(network, eqx.is_inexact_array),
        gradient,
    )
    by_path = _by_path(squares)
    return {group: _owned(by_path, group) for group in groups}


def significance_of_groups(
    network: PyTree,
    groups: tuple[Group, ...],
    box: PyTree,
    *,
    call: Call | None = None,
    rounding: Rounding = "nearest",
    domain: str = "interval",
) -> dict[Group, Float[Array, "m _"]]:
    """Interval adjoint significance of every channel over a box of inputs.

    Where a channel enters a product with weights, its entries n have enclosures and adjoints, and
    `Σ width([n]) · max |∇_[n] [y]|` is an estimate of how far an output moves if the channel is frozen there: the sum
    is over the entries, such as the pixels of a channel. A channel that enters several products, such as one of a
    residual network, has the largest score of them. For a dense network these are the scores of `significance`.

    Args:
        network: what `find_groups` saw.
        groups: some of its groups.
        box: an argument like `x` of `find_groups`, whose leaves are `Interval`s, or arrays where they are exact.
        call: as for `find_groups`; must return one array of floats here.
        rounding: `"nearest"`, since a ranking needs no guarantee, or `"outward"`.
        domain: as in `intervals.inclusion`; `"affine"` is much tighter over boxes that are not tiny, and slower.

    Returns:
        For each group `(m, size)` with the m entries of the output, in units of the output.

    Raises:
        VacuousEnclosureError: an enclosure is unbounded; choose a smaller box.
        ValueError: a group belongs to another network, or the network returns several arrays.

    Reference: N. Kichler, S. Afghan, U. Naumann, PASC '24; the rule for channels with many entries is our own.
    """
    x = jax.tree.map(lambda leaf: leaf.midpoint if _is_interval(leaf) else leaf, box, is_leaf=_is_interval)
    analysis = analyse(network, x, call)
    channels = {group: channels_of_group(analysis, group) for group in groups}
    places = {group: _places(analysis, of) for group, of in channels.items()}
    sites = sorted({site for found in places.values() for site in found})

    def tapped(*arguments: Array) -> Array:
        (out,) = analysis.traced.program.evaluate(
            [*analysis.traced.parameters, *arguments],
            lambda number, value: tap(value, _name(number)) if number in sites else value,
        )
        return out

    leaves = [leaf for leaf in jax.tree.leaves(box, is_leaf=_is_interval) if _is_interval(leaf) or is_argument(leaf)]
    enclosed = interval_adjoints(tapped, [_name(site) for site in sites], rounding=rounding, domain=domain)(*leaves)
    scores = {}
    for group, of in channels.items():
        each = [
            _of_channels(
                enclosed.taps[_name(site)].width,
                enclosed.adjoints[_name(site)].magnitude,
                _index_of(of, analysis.channels_of(site)[axis]),
                axis,
                group.size,
            )
            for site, axis in places[group].items()
        ]
        scores[group] = jnp.max(jnp.stack(each), axis=0)
        if not bool(jnp.all(jnp.isfinite(scores[group]))):
            raise VacuousEnclosureError(
                f"the enclosure of a channel of the group of {group.name}, or of its adjoint, is unbounded, so its "
                "significance means nothing. Use a smaller box."
            )
    return scores


def _is_interval(leaf: Any) -> bool:
    return isinstance(leaf, Interval)


def _name(site: int) -> str:
    return f"value {site}"


def _places(analysis: Analysis, channels: np.ndarray) -> dict[int, int]:
    """The values that depend on the input and enter a product along the channels, with the axis of the channels."""
    program = analysis.traced.program
    live = set(program.inputs[len(analysis.traced.paths) :])
    entering: list[tuple[int, int]] = []
    passing: list[tuple[int, int]] = []
    for step in program.steps:
        depends = [i for i in step.inputs if i in live]
        if depends:
            live.update(step.outputs)
        for value, axis in _summed_axes(step):
            if value in live:
                entering.append((value, axis))
        for value in step.outputs:
            if value in live:
                passing.extend((value, axis) for axis in range(len(program.shapes[value])))
    for candidates in (entering, passing[::-1]):
        found = {
            value: axis for value, axis in candidates if np.isin(analysis.channels_of(value)[axis], channels).any()
        }
        if found:
            # Without products, as where channels are averaged at the end, the last value with the channels counts.
            return found if candidates is entering else dict([next(iter(found.items()))])
    raise ValueError("no value that depends on the input has the channels of a group, so they have no significance.")


def _summed_axes(step: Step) -> list[tuple[int, int]]:
    if step.primitive is lax.dot_general_p:
        sums, _ = step.params["dimension_numbers"]
        return [(value, axis) for value, axes in zip(step.inputs, sums, strict=True) for axis in axes]
    if step.primitive is lax.conv_general_dilated_p:
        return [(step.inputs[0], step.params["dimension_numbers"].lhs_spec[1])]
    return []


def _index_of(channels: np.ndarray, along: np.ndarray) -> np.ndarray:
    """For every entry of an axis the place of its channel in a group; one past the last place for other channels."""
    order = np.argsort(channels)
    place = np.minimum(np.searchsorted(channels[order], along), channels.size - 1)
    return np.where(channels[order][place] == along, order[place], channels.size)


def _of_channels(width: Array, magnitude: Array, index: np.ndarray, axis: int, size: int) -> Float[Array, "m size"]:
    entries = (width[(None,) * (magnitude.ndim - width.ndim)] * magnitude).reshape(-1, *width.shape)
    along = jnp.sum(entries, axis=[i for i in range(1, entries.ndim) if i != axis + 1])
    return jnp.zeros((along.shape[0], size + 1), along.dtype).at[:, index].add(along)[:, :size]


def _by_path(network: PyTree) -> dict[str, Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(network)
    return {path_name(path): leaf for path, leaf in leaves if eqx.is_array(leaf)}


def _check_groups(network: PyTree, groups: tuple[Group, ...]) -> None:
    shapes = {path: leaf.shape for path, leaf in _by_path(network).items()}
    for group in groups:
        check_group(group, shapes)


def _owned(squares: dict[str, Array], group: Group) -> Float[Array, " size"]:
    """The sum of what each channel owns; an entry that it owns along two axes counts for both."""
    sums = []
    for s in group.slices:
        if s.path in squares:
            values = squares[s.path]
            along = jnp.sum(values, axis=[i for i in range(values.ndim) if i != s.axis])
            sums.append(jnp.sum(along[s.indices], axis=1))
    return sum(sums[1:], start=sums[0])
