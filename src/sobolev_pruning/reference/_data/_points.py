"""Inputs from a file: a table, or an array of NumPy."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..._reading import check_file, reading, shown
from .._npy import read_member, read_npy
from .._tables._read import open_table


def read_points(path: Path, *, dim: int, names: Sequence[str] | None = None) -> np.ndarray:
    """Read inputs `(n, d)`.

    Args:
        path: a table as `read_table` reads it, one sample a row, whose text may do without a first row of names; an NPY
            file that holds `(n, d)`; or an NPZ file with such an array under the name `x`, or with a column
            of each name.
        dim: number of inputs, d.
        names: of the inputs. A table whose columns have names must have these, in any order and among others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another kind, or a row, a column or the array is not as it should be; the message says
            which.
    """
    missing = "there is no such file of data"
    check_file(path, missing)
    arrays = {".npy": _read_npy, ".npz": _read_npz}
    ending = path.suffix.lower()
    is_array = ending in arrays and not (ending == ".npz" and _are_columns(path, names))
    points = arrays[ending](path) if is_array else _read_columns(path, missing, names)
    if points.ndim != 2 or points.shape[1] != dim or points.shape[0] == 0:
        raise ValueError(f"{path}: the data have shape {points.shape}; they must be (n, {dim}), one sample a row.")
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"{path}: row {row + 1}, column {column + 1} holds {points[row, column]}; it must be finite.")
    return points


def _are_columns(path: Path, names: Sequence[str] | None) -> bool:
    """Whether an NPZ file is a table, with an array for each input."""
    return names is not None and set(names) <= set(open_table(path).names)


def _read_columns(path: Path, missing: str, names: Sequence[str] | None) -> np.ndarray:
    table = open_table(path, names=False, missing=missing)
    chosen = list(table.names)
    has_names = chosen != [str(i + 1) for i in range(len(chosen))]
    if names is not None and (has_names or set(names) & set(chosen)):
        absent = [name for name in names if name not in chosen]
        if absent:
            raise ValueError(f"{path}: there is no column {shown(absent[0])}; the columns are {shown(chosen)}.")
        chosen = list(names)
    chunks = [np.stack([chunk.columns[name] for name in chosen], 1) for chunk in table.chunks(chosen, 65_536)]
    return np.concatenate([np.zeros((0, len(chosen))), *chunks])


def _read_npy(path: Path) -> np.ndarray:
    with reading(path, "not a file of numbers that NumPy can read"):
        array = read_npy(path)
    return _as_floats(array, path)


def _read_npz(path: Path) -> np.ndarray:
    with reading(path, "not a file of inputs"), zipfile.ZipFile(path) as archive:
        if "x.npy" not in archive.namelist():
            raise ValueError(
                f"it holds no array of the name x, and not one for each input, but {shown(archive.namelist())}"
            )
        array = read_member(archive, "x")
    return _as_floats(array, path)


def _as_floats(array: np.ndarray, path: Path) -> np.ndarray:
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise ValueError(f"{path}: the array is of {array.dtype}, not of real numbers.")
    # What double precision cannot hold becomes infinite, which the caller sees; NumPy's warning names no file.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array, np.float64)
