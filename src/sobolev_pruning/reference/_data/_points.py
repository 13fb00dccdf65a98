"""Inputs from a file: comma-separated values, or an array of NumPy."""

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..._reading import check_file, reading, shown
from .._npy import read_member, read_npy


def read_points(path: Path, *, dim: int) -> np.ndarray:
    """Read inputs `(n, d)`.

    Args:
        path: a CSV file with one sample a row, numbers only but for an optional first row of names; an NPY file that
            holds `(n, d)`; or an NPZ file with such an array under the name `x`.
        dim: number of inputs, d.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another kind, or a row, a column or the array is not as it should be; the message says
            which.
    """
    check_file(path, "there is no such file of data")
    readers = {".csv": _read_csv, ".npy": _read_npy, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: data are read from files that end in {', '.join(readers)}.")
    points = readers[path.suffix.lower()](path)
    if points.ndim != 2 or points.shape[1] != dim or points.shape[0] == 0:
        raise ValueError(f"{path}: the data have shape {points.shape}; they must be (n, {dim}), one sample a row.")
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"{path}: row {row + 1}, column {column + 1} holds {points[row, column]}; it must be finite.")
    return points


def _read_csv(path: Path) -> np.ndarray:
    rows: list[list[float]] = []
    for number, row in enumerate(_lines(path), start=1):
        if not row or (number == 1 and not any(map(_is_number, row))):
            continue
        for column, text in enumerate(row, start=1):
            if not _is_number(text):
                raise ValueError(f"{path}: line {number}, column {column} holds {shown(text)}, which is no number.")
        if rows and len(row) != len(rows[0]):
            raise ValueError(f"{path}: line {number} has {len(row)} columns, those before it {len(rows[0])}.")
        rows.append([float(text) for text in row])
    return np.array(rows, np.float64) if rows else np.zeros((0, 0))


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        while True:
            with reading(path, "not a text file of comma-separated values in UTF-8, or a damaged one"):
                line = next(lines, None)
            if line is None:
                return
            yield line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npy(path: Path) -> np.ndarray:
    with reading(path, "not a file of numbers that NumPy can read"):
        array = read_npy(path)
    return _as_floats(array, path)


def _read_npz(path: Path) -> np.ndarray:
    with reading(path, "not a file of inputs"), zipfile.ZipFile(path) as archive:
        if "x.npy" not in archive.namelist():
            raise ValueError(f"it holds no array of the name x, but {shown(archive.namelist())}")
        array = read_member(archive, "x")
    return _as_floats(array, path)


def _as_floats(array: np.ndarray, path: Path) -> np.ndarray:
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise ValueError(f"{path}: the array is of {array.dtype}, not of real numbers.")
    return np.asarray(array, np.float64)
