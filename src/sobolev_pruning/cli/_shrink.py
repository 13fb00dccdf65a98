"""The command `shrink`: the smallest network that a table and a tolerance allow, and the whole front."""

import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from .._work import Work
from ._columns import Columns, Table, in_words_of_the_command, with_columns
from ._ending import Refused, interruptible
from ._precision import enable_double_precision
from ._pruning import (
    Floor,
    Model,
    Overwrite,
    Seed,
    check_seed,
    in_words_of_pruning,
    read_model_and_table,
)
from ._resuming import resuming, what_is_left, within
from ._storing import check_keeps, check_onnx, show_and_store
from ._table import judgement, warnings_as_lines
from ._terminal import terminal


@with_columns
@resuming("search", within, "model", "table")
def shrink(
    model: Model,
    table: Table,
    columns: Columns,
    here: Work,
    values: Annotated[float | None, typer.Option("--values", metavar="E", help="Largest 1 − R² of the values.")] = None,
    gradients: Annotated[
        float | None, typer.Option("--gradients", metavar="E", help="Largest 1 − R² of the gradients.")
    ] = None,
    curvature: Annotated[
        float | None, typer.Option("--curvature", metavar="E", help="Largest 1 − R² of the second derivatives.")
    ] = None,
    largest_value: Annotated[
        float | None, typer.Option("--largest-value", metavar="E", help="Largest error of a value.")
    ] = None,
    largest_gradient: Annotated[
        float | None, typer.Option("--largest-gradient", metavar="E", help="Largest error of a first derivative.")
    ] = None,
    largest_curvature: Annotated[
        float | None, typer.Option("--largest-curvature", metavar="E", help="Largest error of a second derivative.")
    ] = None,
    floor: Floor = 1,
    max_trials: Annotated[int, typer.Option("--max-trials", metavar="N", help="Networks to fine-tune at most.")] = 100,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="Begin no further trial after them.")
    ] = None,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder of surrogates and report.")] = Path(
        "front"
    ),
    onnx: Annotated[bool, typer.Option("--onnx", help="Write every surrogate as ONNX, too.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find the smallest network within a tolerance; store every surrogate on the front, and a report."""
    check_seed(seed)
    check_onnx(output if onnx else None)
    enable_double_precision()
    import jax

    from ..pruning import Candidate, Tolerance, candidate_line
    from ..pruning import shrink as search
    from ..sobolev import Silent
    from ..study import check_front_folder, files_of_front, write_front

    begin = time.perf_counter()
    console = terminal(stderr=True)
    try:
        tolerance = Tolerance(values, gradients, curvature, largest_value, largest_gradient, largest_curvature)
        surrogate, rows, names = read_model_and_table(model, table, columns, seed)
        check_front_folder(output, overwrite=overwrite)
        check_keeps("--output", files_of_front(output), {"MODEL": model, "TABLE": table})

        def tell(candidate: Candidate) -> None:
            console.print(candidate_line(candidate, tolerance), soft_wrap=True)

        with interruptible(output, Silent(), lambda: what_is_left(here, "search")), warnings_as_lines(console):
            if rows.unsure is not None:
                warnings.warn(rows.unsure, stacklevel=1)
            result = search(
                surrogate,
                rows.training,
                tolerance=tolerance,
                key=jax.random.fold_in(jax.random.key(seed), 1),
                held_out=rows.held_out,
                floor=floor,
                max_trials=max_trials,
                seconds=seconds,
                progress=tell,
                checkpoints=here.folder / "checkpoints",
            )
        judging = rows.held_out if result.rows is None or result.rows.unseen is None else result.rows.unseen
        judged = judgement(result.smallest.surrogate, judging, names, sure=rows.unsure is None)
    except (OSError, ImportError, ValueError) as error:
        raise Refused(in_words_of_pruning(in_words_of_the_command(str(error)))) from None
    smallest = result.smallest
    widths = "-".join(map(str, smallest.widths))
    ending = "" if result.complete else "; ended by its limits, there may be a smaller one"
    took = time.perf_counter() - begin
    line = (
        f"{widths}, {smallest.n_parameters} parameters of {result.original.n_parameters}; {len(result.trials)} "
        f"networks tried in {took:.0f} s{ending}."
    )
    show_and_store(
        lambda: (terminal().print(judged), print(line)),
        {output: lambda path: write_front(result, tolerance, took, path, onnx=onnx)},
        lambda place: f"Report: {Path(place) / 'report.html'}",
    )
