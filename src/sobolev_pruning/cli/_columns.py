"""The options that say what the columns of a table are, declared once for all commands that read one."""

import dataclasses
import functools
import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, final

import typer

from ._ending import Refused
from ._table import FIRST, SECOND, has_columns, names_of

Table = Annotated[
    Path,
    typer.Argument(metavar="TABLE", help="CSV, TSV (also .gz), Parquet or NPZ file; one row is one sample."),
]
Names = tuple[list[str], list[str]]


def _option(name: str, metavar: str | None, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help)


@final
@dataclasses.dataclass(frozen=True)
class Columns:
    """What the options say of a table; a command takes them by `with_columns`."""

    inputs: Annotated[
        str | None, _option("--inputs", "A,B,…", "Columns of the inputs; prune and shrink know those of `fit`.")
    ] = None
    outputs: Annotated[
        str | None, _option("--outputs", "Y,…", "Columns of the outputs; prune and shrink know those of `fit`.")
    ] = None
    derivatives: Annotated[
        str | None,
        _option(
            "--derivatives",
            "PATTERN|C=Y/A,…",
            f"Of first derivatives: a pattern (default: {FIRST}, if there) or names: delta=price/spot,vega=price/vol",
        ),
    ] = None
    second_derivatives: Annotated[
        str | None,
        _option(
            "--second-derivatives",
            "PATTERN|C=Y/A/B,…",
            f"Of second derivatives: a pattern ({SECOND}) or names, as gamma=price/spot/spot.",
        ),
    ] = None
    errors: Annotated[
        str | None,
        _option("--errors", "PATTERN|C=L,…", "Standard errors of labels, as {label}_error or price_se=price."),
    ] = None
    weights: Annotated[
        str | None, _option("--weights", "PATTERN|C=L,…", "Weights of labels, as {label}_weight or w=price.")
    ] = None
    allow_missing: Annotated[bool, _option("--allow-missing", None, "Take labels in empty cells as unknown.")] = False
    gradients_only: Annotated[
        bool, _option("--gradients-only", None, "The table has no values; outputs are names for the derivatives.")
    ] = False
    missing: Annotated[
        str | None, _option("--missing", "M,M,…", "Cells without value beside the usual ones, such as -999,?")
    ] = None
    separator: Annotated[
        str | None, _option("--separator", "C", "Between cells of a text, if it cannot be found (tab for tabs).")
    ] = None
    decimal: Annotated[str | None, _option("--decimal", ".|,", "Decimal sign of a text, if it cannot be found.")] = None
    comment: Annotated[str | None, _option("--comment", "C", "Begins lines of a text that are left out.")] = None
    unit_row: Annotated[bool, _option("--unit-row", None, "The line below the names holds units.")] = False

    def read(self, table: Path, names: Names, *, first: bool = True, second: bool | None = None) -> Any:
        """The samples of a table, in double precision.

        Args:
            table: the file.
            names: of inputs and outputs.
            first: whether derivatives are looked for under their usual names where none are given.
            second: whether second ones are; None where there is one of them.

        Raises:
            Refused: an option cannot be understood.
            OSError, ValueError: the table cannot be read, or does not hold what it should.
        """
        from ..reference import CsvFormat, read_table, table_columns

        inputs, outputs = names
        missing = () if self.missing is None else tuple(names_of("--missing", self.missing))
        separator = "\t" if self.separator in ("tab", "\\t") else self.separator
        csv = CsvFormat(separator, self.decimal, self.comment, missing, self.unit_row or None)
        csv = None if csv == CsvFormat() else csv
        if csv is not None and table.suffix.lower() in (".parquet", ".npz"):
            given = ("separator", "decimal", "comment", "missing", "unit_row")
            option = next(f"--{name.replace('_', '-')}" for name in given if getattr(self, name))
            raise Refused(f"{option} is for tables in text, which {table} is not; leave it out")
        there = table_columns(table, csv=csv)
        derivatives, seconds = self.derivatives, self.second_derivatives
        if derivatives is None and first and has_columns(FIRST, names, there):
            derivatives = FIRST
        if second is None:
            second = SECOND.format(output=outputs[0], input=inputs[0], other=inputs[0]) in there
        if seconds is None and second:
            seconds = SECOND
        return read_table(
            table,
            inputs=inputs,
            outputs=outputs,
            derivatives=_mapping("--derivatives", derivatives, [outputs, inputs]),
            second_derivatives=_mapping("--second-derivatives", seconds, [outputs, inputs, inputs]),
            weights=_by_label("--weights", self.weights, there),
            errors=_by_label("--errors", self.errors, there),
            allow_missing=self.allow_missing,
            values=not self.gradients_only,
            csv=csv,
        )


def with_columns(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `columns` becomes one option for each field of `Columns`."""
    signature = inspect.signature(command)
    fields = dataclasses.fields(Columns)
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values() if p.name != "columns"]
    needed = [p for p in own if p.default is inspect.Parameter.empty]
    parameters = [*needed, *options, *(p for p in own if p not in needed)]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(columns=Columns(**{field.name: given.pop(field.name) for field in fields}), **given)

    # What Typer makes the options from.
    called.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


_DOUBLE = "compute in double precision (`jax_enable_x64`)"
_ARGUMENTS = "|".join(field.name for field in dataclasses.fields(Columns))


def in_words_of_the_command(message: str) -> str:
    """The library's arguments by the names of the options that set them: `separator=';'` as --separator ';'."""
    message = message.replace("`values=False`", "--gradients-only")

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        return f"--{name.replace('_', '-')}" + ("" if value in (None, "True") else f" {value}")

    return re.sub(rf"`({_ARGUMENTS})(?:=([^`]*))?`", option, message.replace(_DOUBLE, "give `fit` --double"))


def _mapping(option: str, text: str | None, variables: Sequence[Sequence[str]]) -> Any:
    """A pattern as it is; names such as `delta=price/spot` as `{(price, spot): delta}`."""
    if text is None or not _is_mapping(text):
        return text
    keys = [("/".join(key), key) for key in itertools.product(*variables)]
    return _read_mapping(option, text, keys, "COLUMN=" + "/".join(["OUTPUT", *["INPUT"] * (len(variables) - 1)]))


def _by_label(option: str, text: str | None, columns: Sequence[str]) -> Any:
    """A pattern as it is; names such as `price_se=price` as `{price: price_se}`."""
    if text is None or not _is_mapping(text):
        return text
    return _read_mapping(option, text, [(name, name) for name in columns], "COLUMN=LABEL")


def _is_mapping(text: str) -> bool:
    return "{" not in text and "=" in text


def _read_mapping(option: str, text: str, keys: Sequence[tuple[str, Any]], form: str) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for item in names_of(option, text):
        # A name may hold the signs that stand between names, so all readings are tried.
        readings = [(key, item[: -len(end) - 1].strip()) for end, key in keys if item.endswith(f"={end}")]
        readings = [(key, column) for key, column in readings if column]
        if len(readings) != 1:
            why = "can be read in several ways; rename a column" if readings else f"is not {form} of names given"
            raise Refused(f"{option} has {item!r}, which {why}")
        key, column = readings[0]
        if key in found:
            raise Refused(f"{option} has both {found[key]!r} and {column!r} for {'/'.join(key)}; give one")
        found[key] = column
    return found
