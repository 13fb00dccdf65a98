"""What `prune` and `shrink` share: the model, the table with its columns, and the tolerance."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .._reading import shown
from ._columns import Columns
from ._ending import Refused
from ._table import in_precision, names_of

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Surrogate that `save`, `fit` or a run wrote.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random.")]
Floor = Annotated[int, typer.Option("--floor", metavar="N", help="Nodes that every hidden layer keeps at least.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


def check_seed(seed: int) -> None:
    """Refuse what makes no key."""
    if not 0 <= seed < 2**31:
        raise Refused(f"--seed is {seed}; it must be in [0, {2**31 - 1}]")


def read_model_and_table(
    model: Path, table: Path, columns: Columns, seed: int
) -> tuple[Any, Any, tuple[list[str], list[str]]]:
    """The surrogate, the rows to train on and those to judge by in its precision, and the names of inputs and outputs.

    The rows are divided as `fit` divided them, if that is known (`RowsApart`).

    Raises:
        Refused: the columns are neither given nor stored with the model, or are of another number than its own; or the
            table has too few rows.
        OSError, ValueError: a file cannot be read, or does not hold what it should.
    """
    import jax

    from ..pruning import rows_apart
    from ..reference import DataSet
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
        # What is stored would go on to name the inputs in the old order.
        told = stored.get(option)
        if (
            told is not None
            and names[-1] != names_of(f"--{option}", told)
            and sorted(names[-1]) == sorted(names_of(f"--{option}", told))
        ):
            raise Refused(
                f"--{option} is {shown(text)}, and {model} has them in the order {shown(told)}; keep that order"
            )
        if len(names[-1]) != n:
            raise Refused(f"--{option} names {len(names[-1])} columns; the surrogate has {n} {option}")
    pair = names[0], names[1]
    samples = columns.read(table, pair)
    if samples.n < _FEWEST_ROWS:
        raise Refused(
            f"{table} has {samples.n} rows, too few to train on some and judge by others; give {_FEWEST_ROWS} or more"
        )
    data = DataSet(in_precision(samples, surrogate.network.layers[0].weight.dtype, table, pair))
    rows = rows_apart(surrogate, data, key=jax.random.key(seed), x=samples.x)
    return surrogate, rows, pair


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
    "split": "the split",
    "max_trials": "--max-trials",
    "seconds": "--seconds",
    "dydx": "--derivatives",
    "d2ydx2": "--second-derivatives",
}


def in_words_of_pruning(message: str) -> str:
    """The library's arguments by the names of the options that set them."""
    message = message.replace("`values=1e-5`", "--values 1e-5").replace(", or None for no limit", "")
    message = message.replace("finite and positive, or None", "finite and positive")
    message = message.replace("give samples, or a reference, that have them", "name columns that hold them")
    for argument, option in _OPTIONS.items():
        message = message.replace(f"`{argument}`", option)
        for i in range(16):
            message = message.replace(f"`{argument}[{i}]`", option)
    return message
