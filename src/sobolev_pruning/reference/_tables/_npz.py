"""NumPy's archives of arrays, one array a column."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from ..._reading import brief, reading, shown
from .._npy import read_member
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
        with reading(path, "not an archive of NumPy arrays, or a damaged one"), zipfile.ZipFile(path) as archive:
            self.names = [name.removesuffix(".npy") for name in archive.namelist()]

    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """Some rows at a time; the arrays asked for are in memory as a whole."""
        self.check_names(wanted)
        columns = {name: self._column(name) for name in wanted}
        lengths = {name: len(column) for name, column in columns.items()}
        first = wanted[0]
        for name, length in lengths.items():
            if length != lengths[first]:
                raise ValueError(
                    f"{self.path}: array '{brief(name)}' has {length} rows, but '{brief(first)}' has "
                    f"{lengths[first]}; one row of every array belongs to one sample."
                )
        for begin in range(0, lengths[first], n_rows):
            part = {name: column[begin : begin + n_rows] for name, column in columns.items()}
            yield Chunk(part, np.arange(begin + 1, begin + 1 + len(part[first])))

    def _column(self, name: str) -> Float[np.ndarray, " n"]:
        with reading(self.path, f"array '{brief(name)}' cannot be read"), zipfile.ZipFile(self.path) as archive:
            array = read_member(archive, name)
        if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
            raise ValueError(
                f"{self.path}: array '{brief(name)}' has shape {array.shape}; a column is (n,). Arrays with more "
                "than one number a sample become samples by `DataSet.from_arrays`."
            )
        array = array.reshape(-1)
        if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
            held = f": row 1 holds {shown(array[0].item())}" if len(array) else ""
            raise ValueError(f"{self.path}: array '{brief(name)}' is of {array.dtype}, not of real numbers{held}.")
        with np.errstate(over="ignore"):  # what becomes infinite is refused with its row
            return array.astype(np.float64)
