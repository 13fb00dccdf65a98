"""Work that may be killed and goes on where it was: a folder that says what it belongs to, while it lasts."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import final

from ._files import write_whole
from ._lock import LOCK, locked
from ._reading import brief, from_json
from ._version import __version__

_FILE = "work.json"
# What it is called while what was kept is removed: it tells that the folders beside it are ours.
_ENDED = "ended.json"
# What a command may keep in its folder; nothing else there is ever touched.
_OURS = ("checkpoints", "stages", "trials")
# Facts of other work that a message names.
_MOST_LISTED = 12


class UnfinishedError(FileExistsError, ValueError):
    """Work that was killed lies there, and neither resuming nor replacing it was asked for."""


class OtherWorkError(ValueError):
    """What lies there is other work, or damaged, so that nothing can go on from it."""


def unfinished(folder: Path) -> bool:
    """Whether a folder holds work that was killed."""
    return (folder / _FILE).is_file()


def digest_of_file(path: Path) -> str:
    """Of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@final
class Work:
    """A folder for what a killed run needs to go on; removed when the work is finished.

    Attributes:
        folder: to keep things in.
        is_resumed: whether something may be there from a run that was killed.
    """

    def __init__(self, folder: Path, *, is_resumed: bool) -> None:
        self.folder, self.is_resumed = folder, is_resumed

    def finish(self) -> None:
        """Remove what was kept: first what says that there is work, so that half of it is none."""
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder / _FILE, self.folder / _ENDED)
        for name in _OURS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / _ENDED).unlink(missing_ok=True)


@contextlib.contextmanager
def work(folder: Path, what: str, facts: Mapping[str, object], *, resume: bool, overwrite: bool) -> Iterator[Work]:
    """Begin work or go on with it, with the folder locked against others.

    Args:
        folder: of this library alone; made if it is missing, and removed again with the work.
        what: is done there, such as "fit"; for the messages.
        facts: all that decides the result, by the names that a user knows. The versions of this library and of JAX
            belong to them and need not be given.
        resume: go on with what is there; where nothing is, begin.
        overwrite: begin anew.

    Raises:
        UnfinishedError: there is unfinished work, and neither `resume` nor `overwrite`.
        OtherWorkError: what is there does not belong to these facts, and the message names what differs; or the folder
            is used for something else.
        InUseError: another process is at it.
    """
    told = {name: str(fact) for name, fact in sorted(facts.items())}
    told |= {"version": f"sobolev-pruning {__version__}, JAX {version('jax')}"}
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, f"a {what}"):
            begun = unfinished(folder) and not overwrite
            if begun:
                if not resume:
                    raise UnfinishedError(
                        f"{folder} holds an unfinished {what}; --resume goes on with it, --overwrite begins anew."
                    )
                _compare(folder, what, told)
            here = Work(folder, is_resumed=begun)
            if not begun:
                _check_ours(folder, what)
                here.finish()
                write_whole(folder / _FILE, json.dumps({"facts": told, "digest": _digest(told)}).encode())
            try:
                yield here
            except (ArithmeticError, ValueError):
                if not begun:
                    here.finish()  # it would fail again
                raise
            finally:
                if {path.name for path in folder.iterdir()} <= {_FILE, LOCK}:
                    here.finish()
    finally:
        for path in dict.fromkeys([folder, *made]):
            with contextlib.suppress(OSError):
                path.rmdir()


def _check_ours(folder: Path, what: str) -> None:
    """Refuse a folder where something else goes by the names that would be removed."""
    if (folder / _FILE).is_file() or (folder / _ENDED).is_file():
        return
    foreign = next((name for name in _OURS if (folder / name).exists()), None)
    if foreign is not None:
        raise OtherWorkError(
            f"{folder} already has {foreign!r}, which is not of an unfinished {what}; give a folder that is used for "
            "nothing else."
        )


def _compare(folder: Path, what: str, told: Mapping[str, str]) -> None:
    path = folder / _FILE
    try:
        stored = from_json(path.read_text("utf-8"))
        facts = dict[str, str](stored["facts"])
        whole = stored["digest"] == _digest(facts) and all(isinstance(fact, str) for fact in facts.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        whole, facts = False, {}
    if not whole:
        raise OtherWorkError(f"{path} is damaged or edited, so the {what} cannot go on; --overwrite begins anew.")
    different = [name for name in sorted(told.keys() | facts.keys()) if told.get(name) != facts.get(name)]
    if different:
        pairs = {brief(name): (_short(facts.get(name)), _short(told.get(name))) for name in different[:_MOST_LISTED]}
        listed = ", ".join(f"{name} ({there} there, {here} here)" for name, (there, here) in pairs.items())
        raise OtherWorkError(
            f"the unfinished {what} in {folder} is another one: it differs in {listed}. Resume with the same, or "
            "--overwrite to begin anew."
        )


def _short(fact: str | None) -> str:
    return "absent" if fact is None else brief(fact, 60)


def _digest(facts: Mapping[str, str]) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
