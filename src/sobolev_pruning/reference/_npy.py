"""Arrays in NumPy's own format, believed only as far as the file is long."""

import io
import math
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np

from .._reading import check_expansion


def read_npy(path: Path) -> np.ndarray:
    """The array of an NPY file; to be called within `reading`.

    Raises:
        ValueError: among much else that NumPy raises: the header does not describe what follows it.
    """
    return _array(path.read_bytes())


def map_npy(path: Path) -> np.ndarray:
    """The array of an NPY file, mapped into memory; to be called within `reading`."""
    with path.open("rb") as file:
        shape, order, dtype = _header(file, path.stat().st_size)
        return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order=order)


def read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an NPZ file; to be called within `reading`."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in a way that NumPy does not write")
    # Of the whole archive, since a column may well be constant.
    check_expansion(sum(other.compress_size for other in archive.infolist()), member.file_size)
    return _array(archive.read(member))


def _array(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    shape, order, dtype = _header(file, len(data))
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order=order)


def _header(file: io.BytesIO | io.BufferedReader, n_bytes: int) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype]:
    """Shape, order and type, and the file at the first byte of the numbers.

    NumPy would make room for whatever shape is stated, before it looks for the numbers.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"the format of version {version} is not that of an array of numbers")
    shape, is_fortran, dtype = readers[version](file)
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or dtype.itemsize == 0:
        raise ValueError(f"it holds {dtype}, not numbers")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != n_bytes - file.tell():
        raise ValueError(f"its header states the shape {shape} of {dtype}, and {n_bytes - file.tell()} bytes follow")
    return shape, "F" if is_fortran else "C", dtype
