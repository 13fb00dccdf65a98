"""Which column of a table holds which label."""

import dataclasses
import itertools
import string
from collections.abc import Mapping, Sequence
from typing import final

from ..._reading import brief
from ._table import AbstractTable

Key = tuple[int, ...]


@final
@dataclasses.dataclass(frozen=True)
class Layout:
    """Columns of every part of the samples, by position: of output k and of the inputs i, j.

    Attributes:
        inputs: names of the d inputs.
        outputs: names of the m outputs.
        labels: by part (`y`, `dydx`, `d2ydx2`; absent where no column holds such labels), the column at (k), (k, i) or
            (k, i, j).
        weights: the column of weights or of standard errors of each column of labels that has one.
        of_errors: whether `weights` are standard errors.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: dict[str, dict[Key, str]]
    weights: dict[str, str]
    of_errors: bool

    @property
    def columns(self) -> list[str]:
        """All columns that are needed, each once."""
        of_labels = itertools.chain.from_iterable(part.values() for part in self.labels.values())
        return list(dict.fromkeys([*self.inputs, *of_labels, *self.weights.values()]))

    def shape(self, part: str) -> tuple[int, ...]:
        """Of one sample's labels of a part."""
        m, d = len(self.outputs), len(self.inputs)
        return {"y": (m,), "dydx": (m, d), "d2ydx2": (m, d, d)}[part]


def lay_out(
    table: AbstractTable,
    inputs: Sequence[str],
    outputs: Sequence[str],
    derivatives: Mapping[tuple[str, str], str] | str | None,
    second_derivatives: Mapping[tuple[str, str, str], str] | str | None,
    weights: Mapping[str, str] | str | None,
    errors: Mapping[str, str] | str | None,
    allow_missing: bool,
    values: bool = True,
) -> Layout:
    """Find the columns; see `read_table` for the arguments.

    Raises:
        ValueError: a column is not there, is given twice, or belongs to no output; the message names it.
    """
    _check_variables(table, inputs, outputs, values, derivatives is not None)
    if not values and derivatives is None:
        raise ValueError("`values=False` leaves nothing to learn from but `derivatives`; give their columns.")
    labels: dict[str, dict[Key, str]] = {"y": {(k,): name for k, name in enumerate(outputs)} if values else {}}
    for part, given, argument, places in (
        ("dydx", derivatives, "derivatives", ("output", "input")),
        ("d2ydx2", second_derivatives, "second_derivatives", ("output", "input", "other")),
    ):
        if given is None:
            continue
        if isinstance(given, str):
            _check_pattern(given, argument, places)
            found = _by_pattern(table, given, inputs, outputs, len(places))
        else:
            found = _by_mapping(given, argument, inputs, outputs, len(places))
        _check_complete(table, found, given, argument, inputs, outputs, len(places), allow_missing)
        labels[part] = found
    of_labels = [name for part in labels.values() for name in part.values()]
    if weights is not None and errors is not None:
        raise ValueError("`weights` and `errors` are both given; a standard error s is the weight 1 / s², so give one.")
    argument, given = ("weights", weights) if errors is None else ("errors", errors)
    found = {} if given is None else _weights(given, argument, of_labels)
    for part in labels.values():
        lacking = [name for name in part.values() if name not in found]
        if 0 < len(lacking) < len(set(part.values())):
            raise ValueError(
                f"`{argument}` has no column for '{lacking[0]}', but for other labels of the same kind; give all or "
                "none of a kind, so that they can be compared."
            )
    layout = Layout(tuple(inputs), tuple(outputs), labels, found, errors is not None)
    table.check_names(layout.columns)
    return layout


def _check_variables(
    table: AbstractTable, inputs: Sequence[str], outputs: Sequence[str], values: bool, has_derivatives: bool
) -> None:
    for argument, names in (("inputs", inputs), ("outputs", outputs)):
        if isinstance(names, str):
            raise ValueError(f"`{argument}` is the text {names!r}; give a list of columns, such as [{names!r}].")
        if not names:
            raise ValueError(f"`{argument}` is empty; name at least one column of {table.path}.")
    seen: set[str] = set()
    for name in [*inputs, *outputs]:
        if name in seen:
            raise ValueError(f"column '{brief(name)}' is named twice among `inputs` and `outputs`; name it once.")
        seen.add(name)
    table.check_names(inputs)
    if not values:
        return
    try:
        table.check_names(outputs)
    except ValueError as error:
        hint = " Of derivatives without values say `values=False`." if has_derivatives else ""
        raise ValueError(f"{error}{hint}") from None


def _check_pattern(pattern: str, argument: str, places: Sequence[str]) -> None:
    try:
        fields = [field for _, *field in string.Formatter().parse(pattern) if field[0] is not None]
        found = ["".join(part or "" for part in field) for field in fields]
    except ValueError:
        found = []
    if sorted(found) != sorted(places):
        wanted = ", ".join(f"{{{place}}}" for place in places)
        raise ValueError(f"`{argument}` is the pattern {pattern!r}; it must hold {wanted}, each once, and no others.")


def _by_pattern(
    table: AbstractTable, pattern: str, inputs: Sequence[str], outputs: Sequence[str], n_places: int
) -> dict[Key, str]:
    """The columns of that pattern that are there; of second derivatives one order of the inputs is enough."""
    found: dict[Key, str] = {}
    there = set(table.names)
    for k, *indices in itertools.product(range(len(outputs)), *[range(len(inputs))] * (n_places - 1)):
        ends = (indices[0], indices[-1])  # the same where there is one input
        for i, j in (ends, ends[::-1]):
            name = pattern.format(output=outputs[k], input=inputs[i], other=inputs[j])
            if name in there:
                found[(k, *indices)] = name
                break
    return found


def _by_mapping(
    given: Mapping[tuple[str, ...], str], argument: str, inputs: Sequence[str], outputs: Sequence[str], n_places: int
) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for key, name in given.items():
        if not isinstance(key, tuple) or len(key) != n_places:
            wanted = "(output, input)" if n_places == 2 else "(output, input, input)"
            raise ValueError(f"`{argument}` has the key {key!r}; keys are {wanted}, values are columns.")
        output, *of_inputs = key
        for variable, kind, known in [(output, "output", outputs), *((i, "input", inputs) for i in of_inputs)]:
            if variable not in known:
                raise ValueError(
                    f"`{argument}` has the key {key!r}, but there is no {kind} '{variable}'; the {kind}s are "
                    f"{', '.join(known)}."
                )
        k, indices = outputs.index(output), [inputs.index(name) for name in of_inputs]
        found[(k, *indices)] = name
    # A Hessian is symmetric: what is given in one order of the inputs only is known in the other.
    for (k, *indices), name in list(found.items()):
        found.setdefault((k, *indices[::-1]), name)
    return found


def _check_complete(
    table: AbstractTable,
    found: Mapping[Key, str],
    given: Mapping[tuple[str, ...], str] | str,
    argument: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    n_places: int,
    allow_missing: bool,
) -> None:
    seen: dict[str, Key] = {}
    for key, name in found.items():
        # A Hessian is symmetric, so both orders of its inputs are one derivative.
        key = (key[0], *sorted(key[1:]))
        if seen.setdefault(name, key) != key:
            both = " and ".join(str((outputs[k], *(inputs[i] for i in indices))) for k, *indices in (seen[name], key))
            raise ValueError(
                f"{table.path}: `{argument}` takes the column '{brief(name)}' for both {both}; a column holds one "
                "derivative."
            )
    lacking = []
    for k, *indices in itertools.product(range(len(outputs)), *[range(len(inputs))] * (n_places - 1)):
        if (k, *indices) not in found:
            names = [inputs[i] for i in indices]
            of_pattern = (
                given.format(output=outputs[k], input=names[0], other=names[-1]) if isinstance(given, str) else ""
            )
            lacking.append(f"'{of_pattern}'" if of_pattern else str((outputs[k], *names)))
    if lacking and not (allow_missing and found):
        shown = ", ".join(lacking[:3]) + (f", … ({len(lacking)} in all)" if len(lacking) > 3 else "")
        what = "there is no column" if isinstance(given, str) else "no column is named for"
        allowed = "; `allow_missing=True` takes them as unknown" if found else ""
        raise ValueError(f"{table.path}: {what} {shown}, which `{argument}` asks for{allowed}.")


def _weights(given: Mapping[str, str] | str, argument: str, of_labels: Sequence[str]) -> dict[str, str]:
    if isinstance(given, str):
        _check_pattern(given, argument, ("label",))
        return {label: given.format(label=label) for label in of_labels}
    for label in given:
        if label not in of_labels:
            raise ValueError(
                f"`{argument}` has the key '{label}', which is no column of labels; those are {', '.join(of_labels)}."
            )
    return dict(given)
