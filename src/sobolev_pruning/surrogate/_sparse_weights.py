"""Weights that are mostly zero, in fewer bytes: the others, and where they are."""

import math
from collections.abc import Mapping

import numpy as np

# What one more tensor takes in the header of a safetensors file: its name, type, shape and offsets as JSON.
_ENTRY = 96

# A few bytes of a crafted file would otherwise ask for any number of zeros; weights of larger networks are stored as
# they are.
MOST_UNPACKED = 2**26


def packed(name: str, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The smallest of three forms of a weight `(n_out, n_in)`, as tensors of a file.

    - `name`: the array itself;
    - `name.values` and `name.bits`: what is not zero, row by row, and one bit for each entry, eight a byte;
    - `name.values` and `name.gaps`: the same values, and how many zeros stand before each of them since the last one,
      in as few bytes as the longest gap needs. That is less than the bits where fewer than one in eight is left.

    What counts as zero is all bits zero, so that a negative zero comes back as such.

    Args:
        name: of the tensor.
        weight: contiguous, of any type of 4 or 8 bytes.
    """
    flat = weight.ravel()
    there = flat.view(f"u{flat.itemsize}") != 0
    values, positions = flat[there], np.flatnonzero(there)
    if not len(values):
        return {name: weight}
    gaps = np.diff(positions, prepend=-1) - 1
    gaps = gaps.astype(np.min_scalar_type(int(gaps.max())))
    forms = [
        {name: weight},
        {f"{name}.values": values, f"{name}.bits": np.packbits(there)},
        {f"{name}.values": values, f"{name}.gaps": gaps},
    ]
    return min(forms, key=lambda form: sum(part.nbytes + _ENTRY for part in form.values()))


def unpacked(tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a file, with every weight as the array itself.

    Args:
        tensors: as `packed` made them, beside others.
        shapes: of the weights, by name, beside others.

    Raises:
        ValueError: values and positions do not belong together, or not to that shape.
    """
    found = dict(tensors)
    room = MOST_UNPACKED
    for name, shape in shapes.items():
        if f"{name}.values" not in found:
            continue
        values = found.pop(f"{name}.values")
        n = math.prod(shape)
        room -= n
        if room < 0:
            raise ValueError(f"`{name}` is damaged: a network of that size is stored with all of its zeros.")
        if f"{name}.bits" in found:
            positions = _set_bits(found.pop(f"{name}.bits"), n)
        else:
            positions = _after_gaps(found.pop(f"{name}.gaps", None))
        if values.ndim != 1 or positions is None or len(positions) != len(values) or np.any(positions >= n):
            raise ValueError(f"`{name}` is damaged: its values and their positions do not fit the shape {shape}.")
        flat = np.zeros(n, values.dtype)
        flat[positions] = values
        found[name] = flat.reshape(shape)
    return found


def _set_bits(bits: np.ndarray, n: int) -> np.ndarray | None:
    if bits.dtype != np.uint8 or bits.shape != (-(-n // 8),):
        return None
    return np.flatnonzero(np.unpackbits(bits))


def _after_gaps(gaps: np.ndarray | None) -> np.ndarray | None:
    # Signed or longer ones could go back, or overflow.
    if gaps is None or gaps.ndim != 1 or gaps.dtype not in (np.uint8, np.uint16, np.uint32):
        return None
    return np.cumsum(gaps.astype(np.int64) + 1) - 1
