"""A run on disk: files appear whole or not at all."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

from .._files import SHORTENED, write_somewhere, write_whole

# Everything that a run may write, by the names that it gives; nothing else in the folder is ever touched.
_FILES = ("config.toml", "metrics.jsonl", "summary.json", "report.html", "surrogate.safetensors", "surrogate.onnx")
_SIZE = rf"\d[\d-]*({SHORTENED})?"
_FOLDERS = {
    "checkpoints": re.compile(
        rf"(\d[\d-]*-(oversized|pruned|diverged|finetuned_[a-z_]+)|\d[\d-]*{SHORTENED})\.safetensors"
    ),
    "figures": re.compile(
        rf"(sample_paths|payoff_smoothing|errors_by_stage(_training_law)?|"
        rf"(significance|network|predictions|training)_{_SIZE})\.(png|pdf)"
    ),
}


class RunExistsError(FileExistsError, ValueError):
    """The output folder holds a run, and overwriting it was not asked for."""


def contents_of_run(path: str | os.PathLike) -> list[str]:
    """What of a run stands in a folder; empty folders and anything else are left out."""
    path = Path(path)
    found = [file.relative_to(path).parts for file in files_of_run(path)]
    return list(dict.fromkeys(parts[0] if len(parts) == 1 else f"{parts[0]}/" for parts in found))


def files_of_run(path: Path) -> list[Path]:
    """The files of an earlier run in a folder, by the names that a run gives."""
    files = [path / name for name in _FILES if (path / name).is_file()]
    for name, ours in _FOLDERS.items():
        files += sorted(file for file in (path / name).glob("*") if ours.fullmatch(file.name) and file.is_file())
    return files


@final
class RunFolder:
    """The folder of one run.

    Args:
        path: of the folder; it is made if it is not there.
        overwrite: the files of an earlier run may be removed, which `begin` does.

    Raises:
        RunExistsError: the folder holds a run and `overwrite` is false.
        NotADirectoryError: the path is a file.
        PermissionError: the folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.moved: OSError | None = None
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{self.path} is a file; give a folder for the output.")
        earlier = contents_of_run(self.path)
        if earlier and not overwrite:
            raise RunExistsError(
                f"{self.path} already holds a run ({earlier[0]}); give another folder, or --overwrite (from Python "
                "`overwrite=True`) to replace it."
            )
        with self._made_ready():
            for name in _FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Remove the files of an earlier run, now that there is something to put in their place.

        Raises:
            PermissionError: one cannot be removed.
        """
        with self._made_ready():
            for file in files_of_run(self.path):
                file.unlink()

    @contextlib.contextmanager
    def _made_ready(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PermissionError(
                f"{self.path} cannot be made ready for a run ({error.strerror}: {error.filename}); give another folder."
            ) from None

    def write(self, name: str, text: str) -> Path:
        """Write a text file, replacing an earlier one in a single step; see `store`."""
        return self.store(name, lambda path: write_whole(path, text.encode()))

    def store(self, name: str, write: Callable[[Path], object]) -> Path:
        """Write a file, or a folder of files, of this run.

        Where that fails (a full disk, a folder that is gone), the run moves to another folder, with all that is there;
        `path` is that folder from then on, and `moved` says why.

        Args:
            name: of the file, below `path`.
            write: writes it to the path that it is given.

        Raises:
            OSError: it cannot be written anywhere.
        """
        try:
            write(self.path / name)
        except OSError as error:
            if self.moved is not None:
                raise
            self.path, _ = write_somewhere(self.path, lambda folder: self._begin_again(folder, name, write, error))
            self.moved = error
        return self.path / name

    def _begin_again(self, folder: Path, name: str, write: Callable[[Path], object], reason: OSError) -> None:
        if folder == self.path:
            raise reason
        for part in _FOLDERS:
            (folder / part).mkdir(parents=True, exist_ok=True)
        for file in files_of_run(self.path):
            with contextlib.suppress(FileNotFoundError):
                write_whole(folder / file.relative_to(self.path), file.read_bytes())
        write(folder / name)
