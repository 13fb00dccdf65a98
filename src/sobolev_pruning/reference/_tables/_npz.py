"""NumPy's archives of arrays, one array a column."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from ._table import AbstractTable, Chunk


@final
class NpzTable(AbstractTable):
    """An NPZ file whose arrays are columns, `(n,)` or `(n, 1)`.

    Raises:
        ValueError: the file is no archive of arrays, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unit = "row"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if not isinstance(arrays, np.lib.npyio.NpzFile):
                    raise ValueError("it holds one array")
                self.names = list(arrays.files)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not an archive of NumPy arrays, or a damaged one ({error}).") from None

    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """Some rows at a time; the arrays asked for are in memory as a whole."""
        self.check_names(wanted)
        with np.load(self.path, allow_pickle=False) as arrays:
            columns = {name: self._column(name, arrays) for name in wanted}
        lengths = {name: len(column) for name, column in columns.items()}
        first = wanted[0]
        for name, length in lengths.items():
            if length != lengths[first]:
                raise ValueError(
                    f"{self.path}: array '{name}' has {length} rows, but '{first}' has {lengths[first]}; one row of "
                    "every array belongs to one sample."
                )
        for begin in range(0, lengths[first], n_rows):
            part = {name: column[begin : begin + n_rows] for name, column in columns.items()}
            yield Chunk(part, np.arange(begin + 1, begin + 1 + len(part[first])))

    def _column(self, name: str, arrays: np.lib.npyio.NpzFile) -> Float[np.ndarray, " n"]:
        try:
            array = arrays[name]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path}: array '{name}' cannot be read ({error}).") from None
        if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
            raise ValueError(
                f"{self.path}: array '{name}' has shape {array.shape}; a column is (n,). Arrays with more than one "
                "number a sample become samples by `DataSet.from_arrays`."
            )
        array = array.reshape(-1)
        if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
            held = f": row 1 holds {array.tolist()[0]!r}" if len(array) else ""
            raise ValueError(f"{self.path}: array '{name}' is of {array.dtype}, not of real numbers{held}.")
        return array.astype(np.float64)
