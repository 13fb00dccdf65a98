"""What the commands that read a table share: its columns, and what is said about a surrogate on it."""

import contextlib
import csv
import warnings
from collections.abc import Iterator, Sequence

from rich.console import Console

from ._ending import Refused

FIRST, SECOND = "d{output}/d{input}", "d2{output}/d{input}d{other}"
"""Patterns of the columns of derivatives where nothing else is said."""


def names_of(option: str, text: str) -> list[str]:
    """Columns, separated by commas; a comma of a name stands in quotation marks, as it does in the table."""
    (names,) = csv.reader([text], skipinitialspace=True)
    names = [name.strip() for name in names]
    if not all(names):
        raise Refused(f"{option} is {text!r}; give columns of the table, separated by commas")
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


@contextlib.contextmanager
def warnings_as_lines(console: Console) -> Iterator[None]:
    """Warnings of the library as one line each, once the work is done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        console.print(f"note: {' '.join(str(warning.message).split())}", soft_wrap=True, markup=False)


def judgement(surrogate, samples, outputs: Sequence[str]):
    """R² and errors of values and gradients of every output, against the labels of rows that were not trained on."""
    import jax
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ..study import measure

    y, dydx = jax.jit(
        lambda x: jax.lax.map(lambda x: (surrogate(x), surrogate.gradient(x)), x, batch_size=min(samples.n, 1024))
    )(samples.x)
    table = Table(title=f"On {samples.n} rows not trained on", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("quantity")
    for name in ("R²", "RMSE", "largest error"):
        table.add_column(name, justify="right", no_wrap=True)
    for k, output in enumerate(outputs):
        for name, found, labels, part in ((output, y, samples.y, "y"), (f"∇{output}", dydx, samples.dydx, "dydx")):
            if labels is None:
                continue
            given = None if samples.weights is None else getattr(samples.weights, part)
            known = None if given is None else given[:, k] > 0
            if known is not None and not bool(known.any()):
                table.add_row(name, "–", "–", "–")
                continue
            errors = measure(found[:, k], labels[:, k], known)
            table.add_row(name, f"{errors.r2:.7f}", f"{errors.rmse:.3g}", f"{errors.max_error:.3g}")
    return table


_OPTIONS = {
    "`allow_missing=True`": "--allow-missing",
    **{
        f"`{name}`": f"--{name.replace('_', '-')}"
        for name in ("inputs", "outputs", "derivatives", "second_derivatives", "weights", "errors")
    },
}


def in_words_of_the_command(message: str) -> str:
    """The library's arguments by the names of the options that set them."""
    for argument, option in _OPTIONS.items():
        message = message.replace(argument, option)
    return message
