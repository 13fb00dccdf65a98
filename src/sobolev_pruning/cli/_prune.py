"""The command `prune`: one step of dense pruning with its fine-tuning."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

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
from ._storing import check_onnx, check_outputs, show_and_store
from ._table import judgement, warnings_as_lines
from ._terminal import terminal


@with_columns
def prune(
    model: Model,
    table: Table,
    columns: Columns,
    keep: Annotated[
        str,
        typer.Option("--keep", metavar="N,N,…|N", help="Nodes of each hidden layer, or one number for all together."),
    ],
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune/--no-fine-tune", help="Train the pruned network on the table.")
    ] = True,
    floor: Floor = 1,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Of the surrogate.")] = Path(
        "pruned.safetensors"
    ),
    onnx: Annotated[
        Path | None, typer.Option("--onnx", metavar="FILE", help="Write the surrogate as ONNX, too.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Remove the least significant nodes, fine-tune what is left on a table, judge and store it."""
    check_seed(seed)
    nodes = _nodes(keep)
    check_outputs({"--output": output, "--onnx": onnx}, {"MODEL": model, "TABLE": table}, overwrite=overwrite)
    check_onnx(onnx)
    enable_double_precision()
    import jax

    from ..exchange import export_onnx
    from ..pruning import Overall, PerLayer, prune_iteratively
    from ..sobolev import Silent
    from ..surrogate import save

    console = terminal(stderr=True)
    try:
        surrogate, rows, names = read_model_and_table(model, table, columns, seed)
        n_hidden = len(surrogate.network.widths) - 2
        target = Overall(nodes[0]) if len(nodes) == 1 < n_hidden else PerLayer(tuple(nodes))
        with interruptible(None, Silent(), lambda: "nothing"), warnings_as_lines(console):
            if rows.unsure is not None:
                warnings.warn(rows.unsure, stacklevel=1)
            result = prune_iteratively(
                surrogate,
                rows.training,
                target,
                key=jax.random.fold_in(jax.random.key(seed), 1),
                steps=1,
                floor=floor,
                fine_tuning=None if fine_tune else _as_it_is,
                held_out=rows.held_out,
            )
        if result.held:
            raise Refused("the fine-tuning of the pruned network diverged; keep more nodes, or give --no-fine-tune")
        pruned = result.final.surrogate.with_provenance(pruned_from=model.name)
        judged = judgement(pruned, rows.held_out, names, sure=rows.unsure is None)
    except (OSError, ImportError, ValueError) as error:
        raise Refused(in_words_of_pruning(in_words_of_the_command(str(error)))) from None
    widths = ["-".join(map(str, s.network.widths)) for s in (surrogate, pruned)]
    results: dict[Path, Callable[[Path], object]] = {output: lambda path: save(pruned, path)}
    if onnx is not None:
        results[onnx] = lambda path: export_onnx(pruned, path)
    show_and_store(
        lambda: terminal().print(judged),
        results,
        lambda places: f"{widths[0]} to {widths[1]}, {pruned.network.n_parameters} parameters. Stored in {places}",
        overwrite=overwrite,
    )


def _nodes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise Refused(f"--keep is {text!r}; give the nodes of each hidden layer, such as 8,8, or one number") from None


def _as_it_is(surrogate, reference, *, key):
    return surrogate
