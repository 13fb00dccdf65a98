"""From the columns of a table to samples with weights."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._columns import Moments
from ..._reading import brief, check_file
from .._cast import cast, check_kept
from .._samples import LabelWeights, Samples
from ._csv import CsvTable
from ._format import CsvFormat
from ._layout import Layout, lay_out
from ._npz import NpzTable
from ._parquet import ParquetTable
from ._table import AbstractTable, Chunk

_TEXTS = (".csv", ".tsv", ".txt")
# By what a name ends with, the usual ones first.
_KINDS = {
    ".csv": CsvTable,
    ".npz": NpzTable,
    ".parquet": ParquetTable,
    **dict.fromkeys((*_TEXTS[1:], *(f"{ending}.gz" for ending in _TEXTS)), CsvTable),
}
_INFINITE = "repair or remove those rows, and change the units of numbers beyond 1.8e308"
_AT_ONCE = 65_536


def table_columns(path: str | os.PathLike, *, csv: CsvFormat | None = None) -> list[str]:
    """Names of the columns of a table, in their order.

    Args:
        path: of the file.
        csv: how a text file is written, as for `read_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the table is Parquet, and pyarrow is not installed.
        ValueError: the file is of another kind, or damaged.
    """
    return list(open_table(path, csv).names)


def read_table(
    path: str | os.PathLike,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    derivatives: Mapping[tuple[str, str], str] | str | None = None,
    second_derivatives: Mapping[tuple[str, str, str], str] | str | None = None,
    weights: Mapping[str, str] | str | None = None,
    errors: Mapping[str, str] | str | None = None,
    allow_missing: bool = False,
    values: bool = True,
    csv: CsvFormat | None = None,
) -> Samples:
    """Read samples from a CSV, Parquet or NPZ file by the names of its columns.

    One row is one sample. A text file (CSV, TSV, also compressed by gzip) is in UTF-8 and names its columns in the
    first line; see `CsvFormat` for the rest. A Parquet file needs the extra `tables`; an NPZ file holds one array
    `(n,)` for each column. Columns that are not named are not read.

    A cell has no value where it is empty or NaN (in text also where it says -, NA, N/A, null or none). Inputs must have
    values. A label without value is refused, unless its weight is zero or `allow_missing` is set; it then has weight
    zero and the value zero. Nothing else is filled or dropped.

    Args:
        path: of the file; its ending says what it is.
        inputs: columns of the d inputs.
        outputs: columns of the m outputs.
        derivatives: columns of the first derivatives, as `{(output, input): column}` or as a pattern with the names of
            the variables, such as `"d{output}/d{input}"`. None reads no derivatives.
        second_derivatives: columns of the second derivatives, as `{(output, input, input): column}` or as a pattern
            such as `"d2{output}/d{input}d{other}"`. They are symmetric: one order of the inputs is enough.
        weights: columns of the weights of labels, as `{column of labels: column of weights}` or as a pattern such as
            `"{label}_weight"`; not negative, and zero where a label is not known.
        errors: columns of the standard errors s of labels, in place of weights, which then are `1 / s²`.
        allow_missing: take labels without value as unknown, and derivatives without column as well.
        values: whether the table has columns of the outputs. Else these are names of what the derivatives are of, and
            a surrogate is determined up to a constant for each.
        csv: how a text file is written, where that cannot be found in the file.

    Returns:
        The samples in the file's units, in JAX's default precision. Their weights have mean one over the known labels
        of a kind (values, first, second derivatives), and are None where all are known and weigh alike.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the table is Parquet, and pyarrow is not installed.
        ValueError: a column is missing, is named twice, holds no numbers, infinite ones or no values, or the table is
            empty or damaged; the message names the file, the column and the rows.
    """
    table = open_table(path, csv)
    layout = lay_out(table, inputs, outputs, derivatives, second_derivatives, weights, errors, allow_missing, values)
    chunks = list(table.chunks(layout.columns, _AT_ONCE))
    columns = {
        name: np.concatenate([np.zeros(0), *(chunk.columns[name] for chunk in chunks)]) for name in layout.columns
    }
    places = np.concatenate([np.zeros(0, np.int64), *(chunk.places for chunk in chunks)])
    rows = _Rows(table, layout, Chunk(columns, places), allow_missing)
    return rows.samples(_Survey(table, layout, [rows]))


def stream_table(
    path: str | os.PathLike,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    derivatives: Mapping[tuple[str, str], str] | str | None = None,
    second_derivatives: Mapping[tuple[str, str, str], str] | str | None = None,
    weights: Mapping[str, str] | str | None = None,
    errors: Mapping[str, str] | str | None = None,
    allow_missing: bool = False,
    values: bool = True,
    csv: CsvFormat | None = None,
    rows_at_once: int = _AT_ONCE,
) -> Iterator[Samples]:
    """The samples of a table that outgrows memory, some rows at a time and in their order.

    `MappedDataSet.write(folder, stream_table(…))` makes of them a reference model that stays on disk. The table is read
    twice: once to check every row and to learn the mean of the weights, before anything is returned, and then once for
    the samples. Of an NPZ file the columns asked for are in memory all the while.

    Args:
        path: as for `read_table`, like all arguments but the last.
        inputs: columns of the d inputs.
        outputs: columns of the m outputs.
        derivatives: columns of the first derivatives.
        second_derivatives: columns of the second derivatives.
        weights: columns of the weights.
        errors: columns of the standard errors.
        allow_missing: take labels without value as unknown.
        values: whether the table has columns of the outputs.
        csv: how a text file is written.
        rows_at_once: bounds the memory.

    Raises:
        FileNotFoundError, ImportError, ValueError: as `read_table`; counts in the messages are those of
            `rows_at_once` rows.
    """
    if rows_at_once < 1:
        raise ValueError(f"`rows_at_once` is {rows_at_once}; it must be at least 1.")
    table = open_table(path, csv)
    layout = lay_out(table, inputs, outputs, derivatives, second_derivatives, weights, errors, allow_missing, values)

    def rows() -> Iterator[_Rows]:
        return (_Rows(table, layout, chunk, allow_missing) for chunk in table.chunks(layout.columns, rows_at_once))

    survey = _Survey(table, layout, rows())
    return (part.samples(survey) for part in rows())


def open_table(
    path: str | os.PathLike,
    csv: CsvFormat | None = None,
    *,
    names: bool = True,
    missing: str = "there is no such table",
) -> AbstractTable:
    """The reader of a table, by how the name of its file ends.

    Args:
        path: of the file.
        csv: how a text file is written.
        names: whether a text file must name its columns.
        missing: what to say of a file that is not there.
    """
    path = Path(path)
    check_file(path, missing)
    kind = next((kind for ending, kind in _KINDS.items() if path.name.lower().endswith(ending)), None)
    if kind is None:
        raise ValueError(f"{path}: tables are read from files that end in {', '.join(_KINDS)}.")
    if kind is CsvTable:
        return CsvTable(path, csv, names=names)
    if csv not in (None, CsvFormat()):
        raise ValueError(f"{path}: `csv` says how a text file is written, and this is none; leave it out.")
    return kind(path)


class _Rows:
    """Rows of a table whose every number has been checked.

    Attributes:
        known: by part, `(n, …)`, whether a label is known.
        raw: by part, `(n, …)`, the weights before they are scaled.
    """

    def __init__(self, table: AbstractTable, layout: Layout, chunk: Chunk, allow_missing: bool) -> None:
        self._table, self._layout, self._places = table, layout, chunk.places
        for name in layout.columns:
            self._refuse(name, np.isinf(chunk.columns[name]), "an infinite value", _INFINITE)
        for name in layout.inputs:
            self._refuse(name, np.isnan(chunk.columns[name]), "no value", "inputs must be known; remove those rows")
        n = len(chunk.places)
        self._x = np.stack([chunk.columns[name] for name in layout.inputs], axis=1)
        self._labels: dict[str, Float[np.ndarray, "n ..."]] = {}
        self.known: dict[str, Bool[np.ndarray, "n ..."]] = {}
        self.raw: dict[str, Float[np.ndarray, "n ..."]] = {}
        for part, columns in layout.labels.items():
            shape = (n, *layout.shape(part))
            values, weights = np.zeros(shape), np.zeros(shape)
            for key, name in columns.items():
                value = chunk.columns[name]
                weight = self._weight(name, chunk, np.isnan(value))
                if not allow_missing:
                    self._refuse(
                        name,
                        np.isnan(value) & (weight > 0),
                        "no value",
                        "remove those rows, or take those labels as unknown: `allow_missing=True`",
                    )
                values[:, *key] = np.nan_to_num(value, nan=0.0)
                weights[:, *key] = np.where(np.isnan(value), 0.0, weight)
            self._labels[part], self.raw[part], self.known[part] = values, weights, weights > 0

    def _weight(self, name: str, chunk: Chunk, is_missing: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Of a column of labels, before it is scaled; what a label without value has there plays no part."""
        if name not in self._layout.weights:
            return np.ones(len(chunk.places))
        column = self._layout.weights[name]
        given = chunk.columns[column]
        self._refuse(
            column,
            np.isnan(given) & ~is_missing,
            "no value",
            f"'{brief(name)}' has one there; give its weight or its error",
        )
        # Unknown with unknown weight: without a value nothing would say whether it was meant to be known.
        given = np.where(np.isnan(given), 1.0, given)
        if not self._layout.of_errors:
            self._refuse(column, given < 0, "a negative weight", "weights are zero or positive")
            return given
        self._refuse(column, given <= 0, "a standard error that is not positive", "labels without noise need no errors")
        with np.errstate(over="ignore"):
            weights = given**-2.0
        bad = ~np.isfinite(weights) | (weights == 0)
        self._refuse(column, bad, "a standard error whose inverse square overflows", "change the units of that label")
        return weights

    def _refuse(self, name: str, bad: Bool[np.ndarray, " n"], what: str, remedy: str) -> None:
        if bad.any():
            count, where = int(bad.sum()), self._table.where(self._places[bad])
            raise ValueError(
                f"{self._table.path}: column '{brief(name)}' holds {what} in {count} of {len(bad)} rows, {where}; "
                f"{remedy}."
            )

    def samples(self, survey: "_Survey") -> Samples:
        """The rows with their weights scaled."""
        x = self._cast("x", self._x)
        labels = {part: self._cast(part, values) for part, values in self._labels.items()}
        weights = None
        if survey.scales:
            weights = LabelWeights(
                **{part: self._cast("weights", self.raw[part] / scale) for part, scale in survey.scales.items()}
            )
        return Samples(x, labels["y"], labels.get("dydx"), labels.get("d2ydx2"), weights=weights)

    def _cast(self, part: str, values: Float[np.ndarray, "n ..."]) -> Float[Array, "n ..."]:
        """In JAX's default precision, which holds the columns: the survey has seen to it."""
        dtype = jnp.zeros(()).dtype
        return cast(part, values, dtype) if part == "weights" else jnp.asarray(values, dtype)

    def moments(self) -> dict[str, Moments]:
        """Of the known numbers of every part, their trailing axes flattened."""
        found = {"x": Moments.of(self._x)}
        for part, values in self._labels.items():
            flat = len(values), math.prod(values.shape[1:])
            found[part] = Moments.of(values.reshape(flat), self.known[part].reshape(flat))
        return found


class _Survey:
    """What only all rows together can tell.

    Attributes:
        scales: by part, the mean of the weights of the known labels; without the parts where all labels are known and
            none has a weight of its own.
    """

    def __init__(self, table: AbstractTable, layout: Layout, rows: Iterable[_Rows]) -> None:
        n_rows = 0
        moments: dict[str, Moments] = {}
        sums = dict.fromkeys(layout.labels, 0.0)
        counts = {part: np.zeros(layout.shape(part), np.int64) for part in layout.labels}
        for part_of_rows in rows:
            for part, known in part_of_rows.known.items():
                sums[part] += float(part_of_rows.raw[part].sum())
                counts[part] += known.sum(axis=0)
            for part, found in part_of_rows.moments().items():
                moments[part] = moments[part].merged(found) if part in moments else found
            n_rows += len(part_of_rows.known["y"])
        if n_rows == 0:
            raise ValueError(f"{table.path}: the table is empty; it has columns, but no rows.")
        for part, columns in layout.labels.items():
            for key, name in columns.items():
                if counts[part][key] == 0:
                    raise ValueError(
                        f"{table.path}: column '{brief(name)}' holds no label that is known (all {n_rows} are missing "
                        "or weigh nothing); leave it out, or repair it."
                    )
        _check_kept(table, layout, moments)
        self.scales = {
            part: sums[part] / float(counts[part].sum()) if counts[part].any() else 1.0
            for part, columns in layout.labels.items()
            if not np.all(counts[part] == n_rows) or not layout.weights.keys().isdisjoint(columns.values())
        }


def _check_kept(table: AbstractTable, layout: Layout, moments: Mapping[str, Moments]) -> None:
    """Before numbers are cast to JAX's default precision."""
    for part, found in moments.items():
        shape = (len(layout.inputs),) if part == "x" else layout.shape(part)
        labels = {(i,): name for i, name in enumerate(layout.inputs)} if part == "x" else layout.labels[part]
        try:
            check_kept(part, found, jnp.zeros(()).dtype, shape, [labels.get(key, "") for key in np.ndindex(*shape)])
        except ValueError as error:
            raise ValueError(f"{table.path}: {error}") from None
