"""What `prune` and `shrink` share: the model, the table with its columns, and the tolerance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from ._ending import Refused
from ._table import FIRST, SECOND, has_columns, in_precision, names_of

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Surrogate that `save`, `fit` or a run wrote.")]
Table = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, Parquet or NPZ file; one row is one sample.")]
Inputs = Annotated[
    str | None,
    typer.Option("--inputs", metavar="A,B,…", help="Columns of the inputs (default: those that `fit` stored)."),
]
Outputs = Annotated[
    str | None,
    typer.Option("--outputs", metavar="Y,…", help="Columns of the outputs (default: those that `fit` stored)."),
]
Derivatives = Annotated[
    str | None,
    typer.Option("--derivatives", metavar="PATTERN", help=f"Of first derivatives (default: {FIRST}, if there)."),
]
SecondDerivatives = Annotated[
    str | None,
    typer.Option("--second-derivatives", metavar="PATTERN", help=f"Of second ones (default: {SECOND}, if there)."),
]
Errors = Annotated[
    str | None, typer.Option("--errors", metavar="PATTERN", help="Standard errors of labels, as {label}_error.")
]
Weights = Annotated[
    str | None, typer.Option("--weights", metavar="PATTERN", help="Weights of labels, as {label}_weight.")
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Take labels in empty cells as unknown.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random.")]
Floor = Annotated[int, typer.Option("--floor", metavar="N", help="Nodes that every hidden layer keeps at least.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


@final
@dataclass(frozen=True)
class Columns:
    """Options that say what the columns of a table are."""

    inputs: str | None
    outputs: str | None
    derivatives: str | None
    second_derivatives: str | None
    errors: str | None
    weights: str | None
    allow_missing: bool


def check_seed(seed: int) -> None:
    """Refuse what makes no key."""
    if not 0 <= seed < 2**31:
        raise Refused(f"--seed is {seed}; it must be in [0, {2**31 - 1}]")


def read_model_and_table(model: Path, table: Path, columns: Columns) -> tuple[Any, Any, tuple[list[str], list[str]]]:
    """The surrogate, the samples in its precision, and the names of inputs and outputs.

    Raises:
        Refused: the columns are neither given nor stored with the model, or are of another number than its own; or the
            table has too few rows.
        OSError, ValueError: a file cannot be read, or does not hold what it should.
    """
    from ..reference import read_table, table_columns
    from ..surrogate import load

    surrogate = load(model)
    stored = dict(surrogate.provenance)
    widths = surrogate.network.widths
    names: list[list[str]] = []
    for option, given, n in (("inputs", columns.inputs, widths[0]), ("outputs", columns.outputs, widths[-1])):
        text = stored.get(option) if given is None else given
        if text is None:
            raise Refused(f"{model} does not say which columns are its {option}; give --{option}")
        names.append(names_of(f"--{option}", text))
        if len(names[-1]) != n:
            raise Refused(f"--{option} names {len(names[-1])} columns; the surrogate has {n} {option}")
    pair = names[0], names[1]
    there = table_columns(table)
    derivatives, second = columns.derivatives, columns.second_derivatives
    if derivatives is None and has_columns(FIRST, pair, there):
        derivatives = FIRST
    if second is None and SECOND.format(output=names[1][0], input=names[0][0], other=names[0][0]) in there:
        second = SECOND
    samples = read_table(
        table,
        inputs=names[0],
        outputs=names[1],
        derivatives=derivatives,
        second_derivatives=second,
        weights=columns.weights,
        errors=columns.errors,
        allow_missing=columns.allow_missing,
    )
    if samples.n < _FEWEST_ROWS:
        raise Refused(
            f"{table} has {samples.n} rows, too few to train on some and judge by others; give {_FEWEST_ROWS} or more"
        )
    dtype = surrogate.network.layers[0].weight.dtype
    return surrogate, in_precision(samples, dtype, table, pair), pair


_FEWEST_ROWS = 10
_OPTIONS = {
    "values": "--values",
    "gradients": "--gradients",
    "curvature": "--curvature",
    "largest_value": "--largest-value",
    "largest_gradient": "--largest-gradient",
    "largest_curvature": "--largest-curvature",
    "floor": "--floor",
    "nodes": "--keep",
    "max_trials": "--max-trials",
    "seconds": "--seconds",
    "dydx": "--derivatives",
    "d2ydx2": "--second-derivatives",
}


def in_words_of_pruning(message: str) -> str:
    """The library's arguments by the names of the options that set them."""
    message = message.replace("`values=1e-5`", "--values 1e-5").replace(", or None for no limit", "")
    message = message.replace("give samples, or a reference, that have them", "name columns that hold them")
    for argument, option in _OPTIONS.items():
        message = message.replace(f"`{argument}`", option)
        for i in range(16):
            message = message.replace(f"`{argument}[{i}]`", option)
    return message
