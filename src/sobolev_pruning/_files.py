"""Files that appear whole or not at all."""

import os
from pathlib import Path


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def remove_drafts(folder: Path) -> None:
    """Remove what this process began to write below a folder and could not finish."""
    for draft in folder.rglob(f".*.{os.getpid()}.tmp"):
        draft.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step: there is the old file or the new one, never a part of it."""
    draft = _draft(path)
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
