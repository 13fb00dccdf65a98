"""Channels are cut out of a network, and the result is checked to be the same program with fewer of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ._fields import Guess, with_sizes_of
from ._groups import Analysis, Group, analyse, analyse_traced, channels_of_group
from ._means import fold_means
from ._program import Call, Program, trace_network


def prune_groups(
    network: PyTree,
    kept: Mapping[Group, Sequence[int]],
    x: PyTree,
    *,
    call: Call | None = None,
    samples: PyTree | None = None,
) -> Any:
    """Remove all channels of some groups but the kept ones.

    The arrays shrink, the sizes that layers keep beside them follow, and the result is an ordinary smaller network of
    the same classes. The removed channels contribute nothing any more; or, if `samples` are given, what they
    contributed on average: the mean goes into the biases that are added to the products with them, where there are
    any. At the borders of a padded convolution the mean over all places is an approximation.

    The smaller network is traced, and its entries must be paired as they were before. If not, it holds a size that
    nobody told (a number in its code, a slice with written bounds), and is refused.

    Args:
        network: what `find_groups` saw.
        kept: for each group to prune, the sorted indices of the channels that stay.
        x: as for `find_groups`.
        call: as for `find_groups`.
        samples: arguments like `x` with one more axis in front, over which means are taken; None drops the channels.

    Raises:
        TypeError: `kept` is not a mapping from groups.
        ValueError: no channel is kept, or one that does not exist; a group belongs to another network; or the smaller
            network does not run as it should, with the place where it goes wrong.
    """
    if not isinstance(kept, Mapping):
        raise TypeError(
            f"`kept` is {type(kept).__name__}; it must map groups to channels, such as `{{group: [0, 2]}}`."
        )
    analysis = analyse(network, x, call)
    removed: dict[tuple[str, int], np.ndarray] = {}
    for group, channels in kept.items():
        channels_of_group(analysis, group)
        gone = np.setdiff1d(np.arange(group.size), _checked(group, channels))
        for s in group.slices:
            at = s.path, s.axis
            removed[at] = np.union1d(removed.get(at, np.empty(0, int)), s.indices[gone].ravel())
    if samples is not None:
        network = fold_means(network, analysis, removed, samples)
    remaining = _remaining(analysis, removed)
    arrays, static = eqx.partition(network, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)
    smaller = [_taken(leaf, axes) for leaf, axes in zip(leaves, remaining, strict=True)]
    shrunk = eqx.combine(jax.tree.unflatten(tree, smaller), static)
    wrong = None
    # A number may have the length of an axis by chance, so no more are changed than must be.
    for guess in Guess:
        pruned = with_sizes_of(network, shrunk, guess)
        difference = _difference(analysis, remaining, pruned, x, call, same_steps=guess is not Guess.NONE)
        if difference is None:
            return pruned
        wrong = wrong or difference
    raise ValueError(
        f"with the channels that `kept` leaves, {wrong} The network may hold a size in its code or in a field, such as "
        "a slice with written bounds; take it from the shape of an array."
    )


def _checked(group: Group, channels: Sequence[int]) -> np.ndarray:
    chosen = np.asarray(channels)
    if chosen.size == 0:
        raise ValueError(f"`kept` keeps no channel of the group of {group.name}; keep 1 to {group.size}.")
    if (
        chosen.ndim != 1
        or not np.issubdtype(chosen.dtype, np.integer)
        or (np.diff(chosen) <= 0).any()
        or chosen[0] < 0
        or chosen[-1] >= group.size
    ):
        raise ValueError(
            f"`kept` has {list(channels)} for the group of {group.name}; channels must be increasing integers in "
            f"[0, {group.size})."
        )
    return chosen


def _remaining(analysis: Analysis, removed: Mapping[tuple[str, int], np.ndarray]) -> list[list[np.ndarray]]:
    """For every parameter and axis, the entries that stay."""
    remaining = []
    for path, array in zip(analysis.traced.paths, analysis.traced.parameters, strict=True):
        axes = [np.setdiff1d(np.arange(n), removed.get((path, axis), ())) for axis, n in enumerate(array.shape)]
        for axis, left in enumerate(axes):
            if left.size == 0 and array.shape[axis]:
                raise ValueError(f"`kept` leaves nothing of axis {axis} of `{path}`; keep a channel that reaches it.")
        remaining.append(axes)
    return remaining


def _taken(array: jax.Array, axes: list[np.ndarray]) -> jax.Array:
    for axis, left in enumerate(axes):
        if left.size < array.shape[axis]:
            array = array.take(left, axis=axis)
    return array


def _difference(
    analysis: Analysis,
    remaining: list[list[np.ndarray]],
    pruned: PyTree,
    x: PyTree,
    call: Call | None,
    *,
    same_steps: bool,
) -> str | None:
    """Where the smaller network does something else: it fails, returns other shapes, or pairs other channels.

    After a guess its steps must be the same as well, or a number of repetitions could have been changed.
    """
    try:
        traced = trace_network(pruned, x, call)
    except Exception as error:  # whatever a user's code may raise
        return f"the network does not run: {type(error).__name__}: {error}"
    before, after = analysis.traced.program, traced.program
    shapes, wanted = ([p.shapes[i] for i in p.outputs] for p in (after, before))
    if shapes != wanted:
        return f"the network returns shapes {shapes} instead of {wanted}."
    if same_steps and _steps(after) != _steps(before):
        return "the network takes other steps."
    again = analyse_traced(traced)
    seen: dict[int, tuple[int, str]] = {}
    for p, path in enumerate(traced.paths):
        origins = analysis.channels_of(analysis.traced.parameter_values[p])
        channels = again.channels_of(traced.parameter_values[p])
        for axis, (origin, left, now) in enumerate(zip(origins, remaining[p], channels, strict=True)):
            # All fixed entries are one: they may be joined with each other.
            then = np.where(analysis.channels.is_fixed[origin], -1, origin)[left]
            place = f"axis {axis} of `{path}`"
            for a, b in zip(now, then, strict=True):
                was, where = seen.setdefault(int(a), (int(b), place))
                if was != b:
                    return f"{place} meets channels of {where} that it did not meet before."
    return None


def _steps(program: Program) -> list[tuple[Any, Any]]:
    return [(step.primitive, step.params.get("length")) for step in program.steps]
