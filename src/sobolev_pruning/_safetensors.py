"""Safetensors files whose bytes depend on their content alone, and which are read with care."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from ._reading import from_json, reading


def file_of(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, with the metadata in the order in which they are given.

    The library writes tensors in a fixed order and metadata in a random one, which differs from process to process. Its
    file is a header of JSON, after the length of that as eight bytes, and then the numbers; here the metadata are put
    into that header.
    """
    plain = to_bytes(dict(tensors))
    end = 8 + int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(metadata), **json.loads(plain[8:end])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # Numbers begin at a multiple of eight bytes, as in the library's own files.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + plain[end:]


def contents_of(path: Path, most: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the tensors of a file.

    Args:
        path: of the file, which exists.
        most: tensors that it may hold.

    Raises:
        ValueError: it is damaged, describes a tensor twice, or holds more of them.
    """
    with reading(path, "not a safetensors file, or a damaged one"), safe_open(path, framework="numpy") as file:
        if len(file.keys()) > most:
            raise ValueError(f"it holds {len(file.keys())} tensors, more than it can")
        with path.open("rb") as head:
            from_json(head.read(int.from_bytes(head.read(8), "little")).decode())  # each tensor is described once
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
