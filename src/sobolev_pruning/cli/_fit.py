"""The command `fit`: from a table to a stored surrogate."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .._reading import shown
from .._work import Work
from ._columns import Columns, Table, in_words_of_the_command, with_columns
from ._ending import Failed, Refused, interruptible
from ._precision import enable_double_precision
from ._resuming import beside, resuming, what_is_left
from ._storing import check_onnx, check_outputs, show_and_store
from ._table import (
    FIRST,
    as_dtype,
    in_precision,
    judgement,
    names_of,
    warnings_as_lines,
)
from ._terminal import terminal


@with_columns
@resuming("fit", beside, "table")
def fit(
    table: Table,
    columns: Columns,
    here: Work,
    order: Annotated[
        int | None,
        typer.Option("--order", help="Train on values (0), gradients (1), curvature (2); 1 where there are gradients."),
    ] = None,
    widths: Annotated[str, typer.Option("--widths", metavar="N,N,…", help="Nodes of the hidden layers.")] = "64,64",
    activation: Annotated[str, typer.Option("--activation", help="Such as silu, tanh or softplus.")] = "silu",
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", help="Of the optimizer (default: 5000, or 200 of second order)."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Rows a step of Adam.")] = 256,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of Adam, at the start.")] = 0.005,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything random.")] = 0,
    validation: Annotated[
        float, typer.Option("--validation", help="Share of the rows to judge by, not trained on.")
    ] = 0.2,
    double: Annotated[bool, typer.Option("--double", help="Train and store in double precision.")] = False,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Of the surrogate.")] = Path(
        "model.safetensors"
    ),
    onnx: Annotated[
        Path | None, typer.Option("--onnx", metavar="FILE", help="Write the surrogate as ONNX, too.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Train a surrogate on a table of values and, where it has them, derivatives; judge and store it."""
    for option, given in (("--inputs", columns.inputs), ("--outputs", columns.outputs)):
        if given is None:
            raise Refused(f"Missing option '{option}'; name the columns")
    names = names_of("--inputs", columns.inputs or ""), names_of("--outputs", columns.outputs or "")
    hidden = _widths(widths)
    _check_numbers(order=order, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    if not 0 < validation < 1:
        raise Refused(f"--validation is {validation:g}; it must lie between 0 and 1")
    check_outputs({"--output": output, "--onnx": onnx}, {"TABLE": table}, overwrite=overwrite)
    check_onnx(onnx)

    enable_double_precision()
    import jax
    import jax.numpy as jnp

    from ..exchange import export_onnx
    from ..reference import ContradictionWarning, DataSet, RowSplit, check_derivatives
    from ..sobolev import DivergedError, ProgressBar
    from ..surrogate import MLP, Normalisation, Surrogate, save

    begin = time.perf_counter()
    console = terminal(stderr=True)
    _, network_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    dtype = jnp.float64 if double else jnp.float32
    try:
        samples = columns.read(table, names, first=order != 0, second=order == 2)
        rows, x = RowSplit.draw(samples.x, validation, seed=seed), samples.x
        samples = in_precision(samples, dtype, table, names)
        if order is None:
            order = 0 if samples.dydx is None else 1
        if order > 0 and samples.dydx is None:
            raise Refused(f"{table}: --order {order} needs columns of first derivatives, such as '{_first_of(names)}'")
        data, held_out = DataSet(samples).split_by(rows, x)
        with warnings_as_lines(console):
            units = Normalisation.from_samples(data.samples, inputs=names[0], outputs=names[1])
            if order > 0:
                for message in check_derivatives(samples, inputs=names[0], outputs=names[1]).messages:
                    warnings.warn(message, ContradictionWarning, stacklevel=1)
        network = MLP.create(
            [len(names[0]), *hidden, len(names[1])], activation=_activation(activation), key=network_key
        )
        start = Surrogate(as_dtype(network, dtype), units).named(inputs=names[0], outputs=names[1])
        start = start.with_provenance(table=table.name, order=str(order), seed=str(seed), split=rows.to_text())
        chosen = _method(network.n_parameters, data.samples, order)
        steps = (5000 if chosen == "Adam" else 200) if steps is None else steps
        for line in _plan(samples.n, data.samples, order, start, chosen, steps):
            console.print(line, soft_wrap=True)
        progress = ProgressBar(console)
        with interruptible(here.folder, progress, lambda: what_is_left(here, "fit")), warnings_as_lines(console):
            warnings.simplefilter("ignore", ContradictionWarning)  # said already, with the names of the columns
            surrogate = _train(start, data, chosen, order, fit_key, steps, batch_size, learning_rate, progress, here)
        judged = judgement(surrogate, held_out.samples, names)
    except (OSError, ImportError, ValueError) as error:
        raise Refused(in_words_of_the_command(str(error))) from None
    except DivergedError as error:
        here.finish()
        raise Failed(str(error)) from None
    results: dict[Path, Callable[[Path], object]] = {output: lambda path: save(surrogate, path)}
    if onnx is not None:
        results[onnx] = lambda path: export_onnx(surrogate, path)
    show_and_store(
        lambda: terminal().print(judged),
        results,
        lambda places: (
            f"{surrogate.network.n_parameters} parameters, {time.perf_counter() - begin:.0f} s. Stored in {places}"
        ),
        overwrite=overwrite,
    )


_WIDEST = 1_000_000


def _widths(text: str) -> list[int]:
    try:
        hidden = [int(part) for part in text.split(",")]
    except ValueError:
        hidden = []
    if not hidden or not 1 <= min(hidden) <= max(hidden) <= _WIDEST:
        raise Refused(
            f"--widths is {shown(text)}; give the nodes of each hidden layer, from 1 to {_WIDEST}, such as 64,64"
        )
    return hidden


def _check_numbers(order: int | None, steps: int | None, batch_size: int, learning_rate: float, seed: int) -> None:
    if order not in (None, 0, 1, 2):
        raise Refused(f"--order is {order}; it must be 0, 1 or 2")
    for option, number in (("--steps", steps), ("--batch-size", batch_size)):
        if number is not None and number < 1:
            raise Refused(f"{option} is {number}; it must be at least 1")
    if not 0 < learning_rate < float("inf"):
        raise Refused(f"--learning-rate is {learning_rate:g}; it must be finite and positive")
    if not 0 <= seed < 2**31:
        raise Refused(f"--seed is {seed}; it must be in [0, {2**31 - 1}]")


def _first_of(names: tuple[Sequence[str], Sequence[str]]) -> str:
    return FIRST.format(output=names[1][0], input=names[0][0])


def _activation(name: str):
    from ..surrogate import ACTIVATIONS

    if name not in ACTIVATIONS:
        raise Refused(f"--activation is {name!r}; it must be one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


# Up to here the Jacobian of all residuals is small, and its normal equations are solved in no time.
_MOST_PARAMETERS, _MOST_NUMBERS = 300, 2**25


def _method(n_parameters: int, samples, order: int) -> str:
    """Second-order optimisation where it is affordable: it reaches what Adam misses."""
    (n, d), m = samples.x.shape, samples.y.shape[1]
    residuals = n * m * (1, 1 + d, 1 + d + d * d)[order]
    if n_parameters <= _MOST_PARAMETERS and residuals * n_parameters <= _MOST_NUMBERS:
        return "Levenberg–Marquardt"
    return "Adam"


def _plan(n_rows: int, samples, order: int, start, method: str, steps: int) -> Iterator[str]:
    """What is going to be done, and with what."""
    used = "values alone" if order == 0 else ("values and gradients", "values, gradients and curvature")[order - 1]
    if samples.weights is not None and samples.weights.y is not None and not samples.weights.y.any():
        used = used.replace("values and ", "").replace("values, ", "")
    left = ", of gradients only to judge by" if order == 0 and samples.dydx is not None else ""
    yield f"{n_rows} rows, {samples.n} to train on and {n_rows - samples.n} to judge by; trains on {used}{left}"
    widths = "-".join(map(str, start.network.widths))
    yield f"network {widths} with {start.network.n_parameters} parameters; {method}, at most {steps} steps"


def _train(
    start, data, method: str, order: int, key, steps: int, batch_size: int, learning_rate: float, progress, here: Work
):
    import optax

    from ..sobolev import Checkpoints, SobolevLoss, ValueLoss, fit, fit_levenberg_marquardt

    loss = ValueLoss() if order == 0 else SobolevLoss(curvature_weight=float(order == 2))
    if method == "Adam":
        result = fit(
            start,
            data,
            loss,
            key=key,
            steps=steps,
            batch_size=min(batch_size, data.samples.n),
            optimizer=optax.adam(optax.cosine_decay_schedule(learning_rate, steps)),
            # A killed fit loses no more than some seconds.
            checkpoints=Checkpoints(here.folder / "checkpoints", every=1, seconds=5.0),
            progress=progress,
        )
    else:
        # Where it is resumed it begins anew, to the same result: it draws nothing.
        result = fit_levenberg_marquardt(start, data.samples, loss, max_steps=steps, progress=progress)
    return result.surrogate
