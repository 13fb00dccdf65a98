"""What the commands that read a table share: its columns, and what is said about a surrogate on it."""

import contextlib
import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .._reading import brief, shown
from ._ending import Failed, Refused

FIRST, SECOND = "d{output}/d{input}", "d2{output}/d{input}d{other}"
"""Patterns of the columns of derivatives where nothing else is said."""


def names_of(option: str, text: str) -> list[str]:
    """Columns, separated by commas; a comma of a name stands in quotation marks, as it does in the table."""
    try:
        (names,) = csv.reader([text], skipinitialspace=True)
    except (csv.Error, ValueError):  # such as more than one line
        names = [""]
    names = [name.strip() for name in names]
    if not all(names):
        raise Refused(f"{option} is {shown(text)}; give columns of the table, separated by commas")
    return names


def has_columns(pattern: str, names: tuple[Sequence[str], Sequence[str]], columns: Sequence[str]) -> bool:
    """Whether a table has any column of derivatives by this pattern."""
    inputs, outputs = names
    return any(pattern.format(output=y, input=x) in columns for y in outputs for x in inputs)


def as_dtype(tree, dtype):
    """All floating-point arrays of a pytree in one precision."""
    import equinox as eqx
    import jax

    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, tree)


def in_precision(samples, dtype, table: Path, names: tuple[Sequence[str], Sequence[str]]):
    """The samples of a table in the precision of a network.

    Raises:
        ValueError: it cannot hold a column; the message names table and column.
    """
    try:
        return samples.astype(dtype, inputs=names[0], outputs=names[1])
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None


@contextlib.contextmanager
def warnings_as_lines(console: Console) -> Iterator[None]:
    """Warnings of the library as one line each, once the work is done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    from ._columns import in_words_of_the_command  # which imports this file

    for message in dict.fromkeys(in_words_of_the_command(str(warning.message)) for warning in caught):
        console.print(f"note: {' '.join(message.split())}", soft_wrap=True, markup=False)


# More derivatives of one output than this are not listed one by one; the worst are.
_MOST_LISTED = 12


def judgement(surrogate, samples, names: tuple[Sequence[str], Sequence[str]], *, sure: bool = True):
    """R² and errors of every output and of each of its derivatives, on rows that were not trained on.

    Args:
        surrogate: what is judged.
        samples: the rows.
        names: of the inputs and of the outputs.
        sure: whether it is known that none of the rows was trained on.

    Raises:
        Failed: the surrogate returns numbers that are not finite.
    """
    import jax
    import numpy as np
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ..metrics import errors_by_column
    from ..reference import Samples

    y, dydx = jax.jit(
        lambda x: jax.lax.map(lambda x: (surrogate(x), surrogate.gradient(x)), x, batch_size=min(samples.n, 1024))
    )(samples.x)
    for what, found in (("values", y), ("derivatives", dydx)):
        bad = ~np.isfinite(np.asarray(found)).reshape(samples.n, -1).all(axis=1)
        if bad.any():
            first = np.asarray(samples.x)[bad][0].tolist()
            raise Failed(
                f"the surrogate returns {what} that are not finite in {bad.sum()} of {samples.n} rows, first at "
                f"{first}; such inputs lie far from those that were trained on, or the training diverged"
            )
    columns = errors_by_column(Samples(samples.x, y, dydx), samples)
    table = Table(
        title=f"On {samples.n} rows {'not trained on' if sure else 'held out now'}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("quantity")
    for name in ("R²", "RMSE", "largest error"):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, errors, place) -> None:
        r2, rmse, largest = (float(part[place]) for part in (errors.r2, errors.rmse, errors.max_error))
        # Values that do not vary, such as those of one row, leave an R² undefined.
        explained = f"{r2:.7f}" if np.isfinite(r2) else "–"
        cells = ("–", "–", "–") if np.isnan(r2) else (explained, f"{rmse:.3g}", f"{largest:.3g}")
        table.add_row(Text(brief(name)), *cells)

    inputs, outputs = names
    for k, output in enumerate(outputs):
        add(output, columns["y"], k)
        if "dydx" not in columns:
            continue
        # The worst first where not all are listed; NaN, a derivative without labels, last.
        order = np.argsort(-columns["dydx"].unexplained[k], kind="stable")
        chosen = range(len(inputs)) if len(inputs) <= _MOST_LISTED else order[:_MOST_LISTED]
        for i in chosen:
            add(f"∂{output}/∂{inputs[i]}", columns["dydx"], (k, i))
        if len(inputs) > _MOST_LISTED:
            table.add_row(f"and {len(inputs) - _MOST_LISTED} derivatives that are better", "", "", "")
    return table
