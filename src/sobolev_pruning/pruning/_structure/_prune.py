"""Channels are cut out of a network, and the result is checked to be the same program with fewer of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._commuting import Changed, Numbers, OtherStepsError, Removal, close, evaluate_without, first_difference
from ._fields import Guess, Place, with_sizes_of
from ._groups import Analysis, Group, analyse, analyse_traced, channels_of_group
from ._means import fold_means
from ._program import Call, Traced, trace_network


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

    The smaller network is traced, and every step of its program must do with the entries that stay what it did without
    the removed ones: sums and products run over the others, and so do the means, maxima and variances that
    `Group.mixed_by` names. Each step is compared numerically, so a reshape that puts two heads into one is seen as well
    as a slice with written bounds. What does something else is refused with its operation and its line: the network
    holds a size in its code or in a field. So is a number that the code computes from the number of channels, such as
    the scale `1/√d` of attention, where nothing mixes the channels. A number in the code stays what it is.

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
    removal = removal_of(analysis, removed)

    # Where channels are reduced together, the network with zeros is not what is wanted.
    mixed = any(group.mixed_by for group in kept)

    def tried(guess: Guess, stays: frozenset[Place] = frozenset()) -> _Attempt:
        pruned, renewed = with_sizes_of(network, shrunk, guess, stays)
        try:
            exactly = guess is not Guess.NONE
            numbers = _check(analysis, remaining, removal, pruned, x, call, same_steps=exactly, mixed=mixed)
        except _DifferentError as error:
            return _Attempt(pruned, renewed, str(error), Numbers([], []))
        return _Attempt(pruned, renewed, None, numbers)

    wrong = None
    # A number may have the length of an axis by chance, so no more are changed than must be.
    for guess in Guess:
        attempt = tried(guess)
        # Of several fields one may have the value of a size by chance, such as a number of repetitions.
        others = [] if attempt.wrong is None or len(attempt.renewed) < 2 else attempt.renewed[:_MOST_TRIED]
        attempt = next((a for a in (tried(guess, frozenset({p})) for p in others) if a.wrong is None), attempt)
        if attempt.wrong is None and attempt.numbers.stale:
            # Right where the sum is a sum, as at the end of a network, and not within a normalisation.
            traced = trace_network(attempt.pruned, x, call)
            if _difference_of_results(analysis, traced, removal, _with_zeros(analysis, removal)):
                attempt = replace(attempt, wrong=f"{attempt.numbers.stale[0]}.")
        if attempt.wrong is None:
            if attempt.numbers.changed and attempt.renewed:
                attempt = _with_fewest_sizes(attempt, lambda stays, guess=guess: tried(guess, stays))
            _check_numbers(attempt.numbers.changed, network, kept, x, call)
            return attempt.pruned
        wrong = wrong or attempt.wrong
    raise ValueError(
        f"with the channels that `kept` leaves, {wrong} The network may hold a size in its code or in a field, such as "
        "a number of heads or a slice with written bounds; take it from the shape of an array."
    )


@final
@dataclass(frozen=True)
class _Attempt:
    """A smaller network, the fields that were renewed, what is wrong with it, and what its numbers are."""

    pruned: Any
    renewed: list[Place]
    wrong: str | None
    numbers: Numbers


class _DifferentError(Exception):
    """The smaller network does something else."""


def _with_fewest_sizes(attempt: _Attempt, tried: Callable[[frozenset[Place]], _Attempt]) -> _Attempt:
    """A factor may have the value of a size by chance: whatever the network also runs right without is not renewed."""
    stays: frozenset[Place] = frozenset()
    for place in attempt.renewed:
        other = tried(stays | {place})
        if other.wrong is None and len(other.numbers.stale) <= len(attempt.numbers.stale):
            attempt, stays = other, stays | {place}
    return attempt


def _check_numbers(
    changed: Sequence[Changed], network: PyTree, kept: Mapping[Group, Sequence[int]], x: PyTree, call: Call | None
) -> None:
    """Refuse numbers that are computed from the number of channels where nothing says that channels are mixed."""
    unmixed = {group: channels for group, channels in kept.items() if not group.mixed_by and len(channels) < group.size}
    if not changed or not unmixed:
        return
    if len(unmixed) < len(kept):
        # Those of the mixed groups, such as the count of a mean, may change: what happens without these groups?
        prune_groups(network, unmixed, x, call=call)
        return
    raise ValueError(
        f"with the channels that `kept` leaves, {changed[0]}: the network computes it from the number of channels, and "
        f"with it changes what the others do, although nothing mixes the channels of {next(iter(unmixed)).name}. Write "
        "the number into the code or into a field of the network, or prune whole heads."
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


def removal_of(analysis: Analysis, removed: Mapping[tuple[str, int], np.ndarray]) -> Removal:
    """The channels that go with entries of parameters, by path and axis."""
    gone = np.zeros(analysis.channels.is_fixed.size, bool)
    for path, value in zip(analysis.traced.paths, analysis.traced.parameter_values, strict=True):
        for axis, of in enumerate(analysis.channels_of(value)):
            gone[of[removed.get((path, axis), np.empty(0, int))]] = True
    return Removal(analysis.channels, gone)


def _check(
    analysis: Analysis,
    remaining: list[list[np.ndarray]],
    removal: Removal,
    pruned: PyTree,
    x: PyTree,
    call: Call | None,
    *,
    same_steps: bool,
    mixed: bool,
) -> Numbers:
    """Raise where the smaller network does something else: it fails, pairs other channels, or takes other steps.

    After a guess its steps must be the same, or a number of repetitions could have been changed.

    Returns:
        What is to be said of the numbers in its code.
    """
    try:
        traced = trace_network(pruned, x, call)
    except Exception as error:  # whatever a user's code may raise
        raise _DifferentError(f"the network does not run: {type(error).__name__}: {error}") from None
    before, after = analysis.traced.program, traced.program
    shapes, wanted = ([p.shapes[i] for i in p.outputs] for p in (after, before))
    if shapes != wanted:
        raise _DifferentError(f"the network returns shapes {shapes} instead of {wanted}.")
    again = analyse_traced(traced)
    try:
        wrong, numbers = first_difference(analysis.body, again.body, removal)
    except OtherStepsError:
        if same_steps:
            raise _DifferentError("the network takes other steps.") from None
        # A sum that is written out, entry by entry, leaves nothing out; there zeros show whether it is the same.
        references = (partial(evaluate_without, analysis.body, removal), _with_zeros(analysis, removal))
        found = [_difference_of_results(analysis, traced, removal, reference) for reference in references]
        wrong, numbers = None if None in found else found[0], Numbers([], [])
    if wrong is None and traced.has_own_derivatives and not mixed:
        wrong = _difference_of_derivatives(analysis, traced, removal)
    pairs = _difference_of_pairs(analysis, again, remaining)
    if wrong or pairs:
        raise _DifferentError(" ".join(part for part in (wrong, pairs) if part))
    return numbers


def _difference_of_pairs(analysis: Analysis, again: Analysis, remaining: list[list[np.ndarray]]) -> str | None:
    """Where entries meet that did not meet before."""
    traced = again.traced
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


def _with_zeros(analysis: Analysis, removal: Removal) -> Callable[[list[Any]], list[Any]]:
    """The network with zeros in place of whatever the removed channels own."""
    axes = [analysis.body.axes[i] for i in analysis.traced.parameter_values]

    def evaluate(args: list[Any]) -> list[Any]:
        zeroed = [
            removal.filled(value, a, range(len(a)), np.zeros((), value.dtype))
            for value, a in zip(args, axes, strict=False)
        ]
        return analysis.traced.program.evaluate([*zeroed, *args[len(axes) :]])

    return evaluate


def _difference_of_results(
    analysis: Analysis, traced: Traced, removal: Removal, reference: Callable[[list[Any]], list[Any]]
) -> str | None:
    """Whether a smaller program returns something else than a reference for some arguments and parameters.

    Parameters are moved, since those of a fresh network may be zero and hide a difference.
    """
    whole = analysis.traced

    @jax.jit
    def both(parameters: list[Array], arguments: list[Array]) -> tuple[list[Array], list[Array]]:
        expected = reference([*parameters, *arguments])
        axes = [analysis.body.axes[i] for i in whole.parameter_values]
        smaller = [removal.taken(p, a) for p, a in zip(parameters, axes, strict=True)]
        return expected, traced.program.evaluate([*smaller, *arguments])

    rng = np.random.default_rng(0)
    for _ in range(_TRIALS):
        parameters = [_moved(rng, p) for p in whole.parameters]
        expected, found = both(parameters, [_drawn_argument(rng, a) for a in whole.arguments])
        if not all(close(a, b) for a, b in zip(expected, found, strict=True)):
            return "the network takes other steps, and returns something else than without the removed channels."
    return None


def _difference_of_derivatives(analysis: Analysis, traced: Traced, removal: Removal) -> str | None:
    """Whether rules of derivatives in the code do something else with fewer channels, as the values do not show."""
    whole, axes = analysis.traced, [analysis.body.axes[i] for i in analysis.traced.parameter_values]

    def slopes(network: Traced, parameters: list[Array], arguments: list[Array]) -> list[Array]:
        def total(floats: list[Array | None]) -> Array:
            filled = [a if f is None else f for f, a in zip(floats, arguments, strict=True)]
            outputs = [out for out in network.run(parameters, filled) if eqx.is_inexact_array(out)]
            return sum((jnp.sum(jnp.real(out) ** 2).astype(float) for out in outputs), start=jnp.zeros(()))

        return jax.tree.leaves(jax.grad(total)([a if eqx.is_inexact_array(a) else None for a in arguments]))

    @jax.jit
    def both(parameters: list[Array], arguments: list[Array]) -> tuple[list[Array], list[Array]]:
        zeroed = [
            removal.filled(value, a, range(len(a)), np.zeros((), value.dtype))
            for value, a in zip(parameters, axes, strict=True)
        ]
        smaller = [removal.taken(value, a) for value, a in zip(parameters, axes, strict=True)]
        return slopes(whole, zeroed, arguments), slopes(traced, smaller, arguments)

    rng = np.random.default_rng(0)
    expected, found = both(
        [_moved(rng, p) for p in whole.parameters], [_drawn_argument(rng, a) for a in whole.arguments]
    )
    if all(close(a, b) for a, b in zip(expected, found, strict=True)):
        return None
    return "a rule of `jax.custom_vjp` returns other derivatives than without the removed channels."


# Arguments on which networks with other steps are compared, and fields that are left out of a guess one by one.
_TRIALS, _MOST_TRIED = 3, 8


def _moved(rng: np.random.Generator, parameter: Array) -> Array:
    if not eqx.is_inexact_array(parameter):
        return parameter
    # Upwards, so that what must be positive, such as a variance, remains so.
    u = jnp.asarray(rng.uniform(size=parameter.shape), parameter.dtype)
    return parameter * (1 + 0.3 * u) + 0.05 * u


def _drawn_argument(rng: np.random.Generator, argument: Any) -> Array:
    if jnp.issubdtype(argument.dtype, jnp.floating):
        return jnp.asarray(rng.normal(size=argument.shape), argument.dtype)
    return jnp.zeros(argument.shape, argument.dtype) if isinstance(argument, jax.ShapeDtypeStruct) else argument
