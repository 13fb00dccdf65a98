"""The channels of a network, and the slices of its parameters that each of them owns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import PyTree

from ._labels import Channels, Labels
from ._program import Call, Traced, trace_network
from ._rules import Body, propagate


@final
@dataclass(frozen=True)
class Slices:
    """What the channels of a group own of one axis of one parameter.

    Attributes:
        path: of the parameter in the network, such as `layers[0].weight`.
        axis: of the parameter.
        indices: along that axis, `(size, count)`: a row for each channel. A channel of a flattened image owns as many
            entries as there are pixels.
        length: of the axis.
    """

    path: str
    axis: int
    indices: np.ndarray
    length: int


@final
@dataclass(frozen=True, eq=False)
class Group:
    """Interchangeable channels: each owns the same kinds of slices, and any of them can be removed.

    Attributes:
        size: number of channels.
        slices: what they own; whoever removes a channel removes all of it.
        mixed_by: where the channels are reduced together, such as by the mean of a layer normalisation, primitive and
            line. If it is empty, a channel whose outgoing weights are zero can be removed without changing the
            function; otherwise removing it changes what the others become. Code that computes with the number of
            channels itself, such as the scale `1/√d` of attention, is not seen here; `prune_groups` refuses it.
    """

    size: int
    slices: tuple[Slices, ...]
    mixed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its first slice, as messages call the group."""
        return f"{self.slices[0].path} axis {self.slices[0].axis}"


@final
@dataclass(frozen=True)
class FixedAxis:
    """An axis of a parameter with entries that cannot be removed.

    Attributes:
        path: of the parameter.
        axis: of the parameter.
        count: how many of its entries are fixed.
        reason: what fixes them.
    """

    path: str
    axis: int
    count: int
    reason: str


@final
@dataclass(frozen=True)
class Groups:
    """All that can be pruned of a network, and all that cannot.

    Iterating goes over `prunable`.

    Attributes:
        prunable: groups of channels, in the order of the parameters in the network.
        fixed: axes that are fixed in part or as a whole.
    """

    prunable: tuple[Group, ...]
    fixed: tuple[FixedAxis, ...]

    def __iter__(self) -> Iterator[Group]:
        return iter(self.prunable)

    def __len__(self) -> int:
        return len(self.prunable)

    def of(self, path: str, axis: int = 0) -> Group:
        """The group that owns an axis of a parameter.

        Args:
            path: of the parameter, such as `layers[0].weight`.
            axis: of the parameter; the first one of a weight has its outputs.

        Raises:
            ValueError: nothing of the axis can be pruned, and why; several groups share it; or there is no such axis.
        """
        found = [g for g in self.prunable if any((s.path, s.axis) == (path, axis) for s in g.slices)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(group.name for group in found)
            raise ValueError(f"axis {axis} of `{path}` is shared by {len(found)} groups ({names}); take one of those.")
        for entry in self.fixed:
            if (entry.path, entry.axis) == (path, axis):
                raise ValueError(f"axis {axis} of `{path}` cannot be pruned: it {entry.reason}.")
        known = sorted({s.path for g in self.prunable for s in g.slices} | {entry.path for entry in self.fixed})
        raise ValueError(f"`path` and `axis` name axis {axis} of `{path}`; the network has {known}.")


@final
@dataclass(frozen=True)
class Analysis:
    """A traced network with its channels.

    Attributes:
        traced: the network as a program.
        body: its program with the atoms of every value.
        channels: of those atoms.
    """

    traced: Traced
    body: Body
    channels: Channels

    def channels_of(self, value: int) -> list[np.ndarray]:
        """The channel of every entry of every axis of a value."""
        return [self.channels.of[atoms] for atoms in self.body.axes[value]]


def analyse(network: PyTree, x: PyTree, call: Call | None) -> Analysis:
    """Trace a network and find out what belongs together."""
    return analyse_traced(trace_network(network, x, call))


def analyse_traced(traced: Traced) -> Analysis:
    """What belongs together in a network that is traced."""
    program, labels = traced.program, Labels()
    inputs = [labels.fresh_axes(program.shapes[i]) for i in program.inputs]
    used = {i for step in program.steps for i in step.inputs} | set(program.outputs)
    for number, axes in zip(program.inputs, inputs, strict=True):
        for atoms in axes:
            if number not in traced.parameter_values:
                labels.pin(atoms, "is that of an input")
            elif number not in used:
                labels.pin(atoms, "belongs to a parameter that the network does not use")
            elif atoms.size == 1:
                labels.pin(atoms, "has one entry alone")
    body = propagate(labels, program, inputs)
    for number in program.outputs:
        for atoms in body.axes[number]:
            labels.pin(atoms, "is that of an output")
    return Analysis(traced, body, labels.resolve())


def find_groups(network: PyTree, x: PyTree, *, call: Call | None = None) -> Groups:
    """Find what can be pruned of any network, from the program that it runs.

    The network is traced once. Every primitive of its program says which entries of which axes it pairs; entries of
    parameters that are paired, however far apart, must go together. Neither the classes of the layers nor their order
    matter.

    Axes of the input and of the output are fixed, and so is what a primitive without a rule, such as a fast Fourier
    transform, touches: `Groups.fixed` names the primitive and its line.

    Args:
        network: a pytree with JAX arrays, such as an Equinox module, or a pair of a module and its state.
        x: an argument of the right shape, a pytree of arrays or of `jax.ShapeDtypeStruct`.
        call: how the network is evaluated, `call(network, x)`; by default `network(x)`. It returns arrays. For a
            module with a state, `lambda pair, x: pair[0](x, pair[1])[0]`.

    Raises:
        TypeError: the network cannot be called.
        ValueError: the network holds no arrays.
    """
    return groups_of(analyse(network, x, call))


def groups_of(analysis: Analysis) -> Groups:
    """Channels with the same kinds of slices, together."""
    traced, channels = analysis.traced, analysis.channels
    owned: dict[int, dict[tuple[int, int], list[int]]] = {}
    fixed = []
    for p, (path, value) in enumerate(zip(traced.paths, traced.parameter_values, strict=True)):
        for axis, of in enumerate(analysis.channels_of(value)):
            held = channels.is_fixed[of]
            if held.any():
                fixed.append(FixedAxis(path, axis, int(held.sum()), channels.reason(int(of[held][0]))))
            for index in np.nonzero(~held)[0]:
                owned.setdefault(int(of[index]), {}).setdefault((p, axis), []).append(int(index))
    alike: dict[Any, list[int]] = {}
    for channel, slices in owned.items():
        kind = tuple((*place, len(indices)) for place, indices in slices.items())
        alike.setdefault(kind, []).append(channel)
    groups = []
    for kind, members in alike.items():
        slices = tuple(
            Slices(
                traced.paths[p],
                axis,
                np.array([owned[channel][p, axis] for channel in members]),
                traced.program.shapes[traced.parameter_values[p]][axis],
            )
            for p, axis, _ in kind
        )
        mixed = tuple(sorted({source for channel in members for source in channels.mixed.get(channel, ())}))
        groups.append(Group(len(members), slices, mixed))
    return Groups(tuple(groups), tuple(fixed))


def check_group(group: object, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a group of a network whose parameters, by path, have other shapes.

    Raises:
        TypeError: it is not a group.
        ValueError: the network has other parameters.
    """
    if not isinstance(group, Group):
        raise TypeError(f"a group is {type(group).__name__}; it must be one of those that `find_groups` returns.")
    for s in group.slices:
        shape = shapes.get(s.path, ())
        if s.axis >= len(shape) or shape[s.axis] != s.length:
            raise ValueError(
                f"the group of {group.name} has {s.length} entries on axis {s.axis} of `{s.path}`, and this network "
                f"{f'has shape {shape} there' if s.path in shapes else 'has no such array'}. Call `find_groups` on "
                "this network."
            )


def channels_of_group(analysis: Analysis, group: Group) -> np.ndarray:
    """The channels of a group, `(size,)`, in an analysis of the network that it was found in.

    Raises:
        TypeError: it is not a group.
        ValueError: the network has other parameters.
    """
    places = dict(zip(analysis.traced.paths, analysis.traced.parameter_values, strict=True))
    check_group(group, {path: analysis.traced.program.shapes[place] for path, place in places.items()})
    first = group.slices[0]
    return analysis.channels_of(places[first.path])[first.axis][first.indices[:, 0]]
