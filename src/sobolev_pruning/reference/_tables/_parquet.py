"""Parquet, column by column and some rows at a time."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np

from ..._reading import brief, check_expansion, reading, shown
from ._table import AbstractTable, Chunk


@final
class ParquetTable(AbstractTable):
    """A Parquet file, read with pyarrow.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: the file is no Parquet, or damaged.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise ImportError(
                f"{path}: Parquet is read with pyarrow, not installed here: pip install 'sobolev-pruning[tables]'",
                name="pyarrow",
            )
        from pyarrow import parquet

        self.path = path
        self.unit = "row"
        with reading(path, "not a Parquet file, or a damaged one"):
            self._file = parquet.ParquetFile(path)
            self.names = list(self._file.schema_arrow.names)
            self._n_rows = self._file.metadata.num_rows

    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """Some rows at a time; only the columns asked for are read."""
        import pyarrow as pa

        self.check_names(wanted)
        for name in wanted:
            self._check_type(name)
        with reading(self.path, "the columns cannot be read"):
            check_expansion(self.path.stat().st_size, 8 * self._n_rows * len(wanted))
        begin = 1
        batches = self._file.iter_batches(batch_size=n_rows, columns=list(wanted))
        while True:
            with reading(self.path, f"the table is damaged after row {begin - 1}"):
                batch = next(batches, None)
                # A null becomes NaN, as an empty cell does.
                columns = (
                    {}
                    if batch is None
                    else {
                        name: batch.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
                        for name in wanted
                    }
                )
            if batch is None:
                return
            if batch.num_rows:
                yield Chunk(columns, np.arange(begin, begin + batch.num_rows))
            begin += batch.num_rows

    def _check_type(self, name: str) -> None:
        from pyarrow import types

        kind = self._file.schema_arrow.field(name).type
        if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return
        with reading(self.path, f"column '{brief(name)}' cannot be read"):
            held = self._first_value(name)
        raise ValueError(f"{self.path}: column '{brief(name)}' is of type {brief(kind)}, not of numbers{held}.")

    def _first_value(self, name: str) -> str:
        begin = 1
        for batch in self._file.iter_batches(batch_size=1024, columns=[name]):
            for row, value in enumerate(batch.column(name), start=begin):
                if value.is_valid:
                    return f": row {row} holds {shown(value.as_py())}"
            begin += batch.num_rows
        return ""
