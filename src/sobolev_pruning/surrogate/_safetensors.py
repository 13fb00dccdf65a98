"""Safetensors files whose bytes depend on their content alone."""

import json
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import save as to_bytes


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
