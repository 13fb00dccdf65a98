"""Checkpoints of a fit: whole or not at all, and known by the fit that they belong to.

A checkpoint is a safetensors file that appears when it is complete, so a process that is killed leaves the ones before
it as they are. It holds arrays and JSON; nothing in it is executed when it is read.
"""

import contextlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import numpy as np

from .._digest import digest
from .._files import write_whole
from .._lock import locked
from .._reading import cause, from_json, reading
from .._safetensors import contents_of, file_of
from ._course import Course

_NAME = re.compile(r"fit-\d{3}-\d{12}\.safetensors")
_FORMAT = 3
# What a file takes beside its arrays, generously.
_OVERHEAD = 2**16
# Arrays of the state of any optimiser, and none of a file that was made to fill the memory.
_MOST_ARRAYS = 100_000


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written, or could not be read and an older one was taken."""


@final
class Checkpoints(eqx.Module):
    """Where and how often `fit` stores its whole state.

    A fit with the same arguments and the same folder goes on from the newest checkpoint, and ends with the same bits as
    one that was never interrupted. In a folder that holds another fit's it refuses to start. A fit that has ended is
    read back.

    Attributes:
        folder: for this fit alone; made if it is missing. Several processes of one fit must all see it.
        every: steps between two checkpoints, rounded up to whole chunks.
        keep: how many are kept; with at least two, a damaged one is not the last.
        seconds: between two checkpoints at least, but for the last.

    Raises:
        ValueError: a number below 1, or negative seconds.
    """

    folder: Path = eqx.field(static=True, converter=Path)
    every: int = eqx.field(static=True, default=1000)
    keep: int = eqx.field(static=True, default=2)
    seconds: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 1.")
        if not self.seconds >= 0:
            raise ValueError(f"`seconds` is {self.seconds}; it must be zero or positive.")


@final
class Store:
    """The checkpoints of one fit.

    Args:
        checkpoints: where and how often.
        fingerprint: of the fit.
    """

    def __init__(self, checkpoints: Checkpoints, fingerprint: Mapping[str, Any]) -> None:
        self._folder = Path(os.path.abspath(checkpoints.folder))
        self._every, self._keep, self._seconds = checkpoints.every, checkpoints.keep, checkpoints.seconds
        self._next_write = 0.0
        self._fingerprint = dict(fingerprint)
        self._last: tuple[int, int] | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Keep every other fit out of the folder; the processes of one fit share it, and the first holds the lock.

        Raises:
            InUseError: another fit is in it.
            OSError: the folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError("permission denied")
        except OSError as error:
            raise OSError(
                f"checkpoints cannot be written to {self._folder} ({error}); nothing has been trained. Give "
                "`Checkpoints` a folder that can be written to."
            ) from error
        with locked(self._folder, "a fit") if jax.process_index() == 0 else contextlib.nullcontext():
            yield

    def resume(self, start: Course, n_steps: int) -> Course:
        """The newest course that can be read, or `start` if there is none, which is then stored.

        Args:
            start: before the first step.
            n_steps: of the whole fit, whose losses must find room as well.

        Raises:
            ValueError: the folder belongs to another fit, or none of its checkpoints can be read.
            OSError: the folder has too little room, or nothing can be written to it.
        """
        self._prepare(start, n_steps)
        found = self._newest_first()
        for path in found:
            try:
                about, arrays = _read(path)
            except (ValueError, OSError) as error:
                warnings.warn(
                    f"{str(error).rstrip('.')}; the checkpoint before it is tried.",
                    CheckpointWarning,
                    stacklevel=3,
                )
                continue
            self._compare(path, about["fingerprint"])
            if about["environment"] != _environment():
                warnings.warn(
                    f"the checkpoint {path} was written by {about['environment']}, and this is {_environment()}: the "
                    "fit goes on, but may end with other bits than one that was never interrupted.",
                    CheckpointWarning,
                    stacklevel=3,
                )
            course = start.unpacked(arrays, about["facts"])
            self._last = (course.attempt, course.step)
            return course
        if found:
            raise ValueError(
                f"none of the {len(found)} checkpoints in {self._folder} can be read; remove the folder to start anew."
            )
        try:
            self._write(start)
        except OSError as error:
            raise OSError(
                f"no checkpoint can be written to {self._folder} ({cause(error)}); "
                "nothing has been trained. Give `Checkpoints` a folder on another disk."
            ) from error
        return start

    def save(self, course: Course, *, ended: bool = False) -> None:
        """Store a course if it is time for it, and then remove the oldest beyond those that are kept.

        Where that fails there is a warning and the fit goes on: it holds all in memory, the last good checkpoint is as
        it was, and the next one is tried when it is due.
        """
        now = (course.attempt, course.step)
        if self._last == now or not (ended or self._is_due(course)):
            return
        try:
            self._write(course)
        except OSError as error:
            warnings.warn(
                f"no checkpoint was written after {course.step} steps ({cause(error)}); "
                f"those before are kept in {self._folder}. Make room on the disk.",
                CheckpointWarning,
                stacklevel=3,
            )

    def _is_due(self, course: Course) -> bool:
        if self._last is None or self._last[0] != course.attempt:
            return True
        return course.step - self._last[1] >= self._every and time.monotonic() >= self._next_write

    def _prepare(self, start: Course, n_steps: int) -> None:
        arrays, _ = start.packed()
        n_bytes = sum(array.nbytes for array in arrays.values())
        best = sum(leaf.nbytes for leaf in jax.tree.leaves(start.weights.params))
        # One more than is kept exists while it is written.
        wanted = (self._keep + 1) * (n_bytes + best + 16 * n_steps + _OVERHEAD)
        free = shutil.disk_usage(self._folder).free
        if free < wanted:
            raise OSError(
                f"{self._folder} has {free / 2**20:.1f} MiB left, and {self._keep + 1} checkpoints take up to "
                f"{wanted / 2**20:.1f} MiB; nothing has been trained. Make room, or keep fewer."
            )

    def _newest_first(self) -> list[Path]:
        return sorted((path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)

    def _compare(self, path: Path, stored: Mapping[str, Any]) -> None:
        names = [name for name in self._fingerprint if stored.get(name) != self._fingerprint[name]]
        if names:
            different = ", ".join(f"`{name}`{self._difference(name, stored.get(name))}" for name in names)
            raise ValueError(
                f"the checkpoint {path} belongs to another fit, with a different {different}. Resume with the same "
                "arguments, or give each fit a folder of its own."
            )

    def _difference(self, name: str, stored: Any) -> str:
        """Numbers can be told; digests tell nothing."""
        mine = self._fingerprint[name]
        return f" ({stored} there, {mine} here)" if isinstance(mine, int) and isinstance(stored, int) else ""

    def _write(self, course: Course) -> None:
        arrays, facts = course.packed()
        # Checked before any of it is believed.
        about: dict[str, Any] = {"format": _FORMAT, "environment": _environment()}
        about |= {"fingerprint": self._fingerprint, "facts": facts}
        about["digest"] = _digest(arrays, about)
        path = self._folder / _name(course.attempt, course.step)
        if jax.process_index() == 0:
            write_whole(path, file_of(arrays, {"about": json.dumps(about)}))
        self._last = (course.attempt, course.step)
        self._next_write = time.monotonic() + self._seconds
        if jax.process_index() == 0:
            # Newer ones are those that could not be read; they are not this fit's to count.
            for old in [other for other in self._newest_first() if other.name <= path.name][self._keep :]:
                old.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a checkpoint says in JSON, and its arrays.

    Raises:
        ValueError: it is not whole, or not what was written.
    """
    metadata, arrays = contents_of(path, _MOST_ARRAYS)
    with reading(path, "the checkpoint cannot be read"):
        about = dict(from_json(metadata["about"]))
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}, and this version reads {_FORMAT}")
        if about.pop("digest") != _digest(arrays, about):
            raise ValueError("what it holds is not what was written")
        written = _name(about["facts"]["attempt"], about["facts"]["step"])
        if path.name != written:
            raise ValueError(f"it was written as {written}")
    return about, arrays


def _environment() -> str:
    return f"JAX {jax.__version__} on {jax.default_backend()}"


def _name(attempt: int, step: int) -> str:
    return f"fit-{attempt:03d}-{step:012d}.safetensors"


def _digest(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """Of all that decides how a fit goes on: the arrays with their names, the numbers, and whose they are."""
    names = sorted(arrays)
    return digest([arrays[name] for name in names], json.dumps([names, about], sort_keys=True))
