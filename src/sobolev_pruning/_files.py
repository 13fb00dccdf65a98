"""Files that appear whole or not at all, and are on the disk when a call returns.

A file is written as a draft beside its place, brought to the disk, and renamed into it: whoever looks meanwhile, or
after a crash, finds the old file or the new one. While a process writes a draft it holds a lock on it, so that a draft
without a lock was left by a process that died; the next write into that folder removes it.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ._reading import from_json, reading

try:
    import fcntl
except ImportError:  # Windows; drafts of processes that died stay there until somebody removes them
    fcntl = None

# File systems take 255 bytes, some 143; an ending and a number follow.
_LONGEST_STEM = 100

# Short, whatever the target is called, since the target's own name may be as long as the file system allows.
_PREFIX, _DRAFT, _COMPLETE = ".sobolev-pruning-", ".tmp", ".complete"
# Of the files in a complete draft: those that are in place already are known by it.
_NEW = ".new.json"

# Drafts of this process that are not finished, for `remove_drafts`.
_begun: set[Path] = set()


def remove_drafts(folder: Path) -> None:
    """Remove what this process began to write below a folder and could not finish."""
    below = Path(os.path.realpath(folder))
    for draft in [draft for draft in _begun if draft.is_relative_to(below)]:
        _remove(draft)


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Put `data` at `path`, on the disk: there is the old file or the new one, never a part of it.

    - A file that was there keeps its mode and its owner; a new one gets the mode that any new file gets.
    - Of a symbolic link the target is written, and the link stays.
    - A file that has several names (hard links), or whose owner only it can keep, is overwritten in place, since a new
      file would have one name and another owner. A crash in that moment may leave a part of it; therefore the new
      content lies complete beside it until the old is overwritten, as `.sobolev-pruning-….complete`.
    - A device or a pipe is written to directly.

    Args:
        path: of the file; its folder must exist.
        data: the whole content.

    Raises:
        OSError: the file cannot be written (no folder, no permission, a full disk); it names `path`, and what was there
            is unchanged, unless the message says that it was overwritten in part and where the new content lies.
    """
    path = Path(path)
    try:
        there = _stat(path)
        if there is not None and not stat.S_ISREG(there.st_mode):
            if stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            path.write_bytes(data)
            return
        _replace(Path(os.path.realpath(path)), data, there)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def folder_whole(path: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, which takes its place when the block ends, with all its files on the disk, or not at all.

    Args:
        path: of the folder; it must not exist. The folders above it are made.

    Yields:
        The draft of the folder, beside its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _drafted(Path(os.path.realpath(path.parent)), folder=True) as (_, draft):
        yield draft
        for file in draft.rglob("*"):
            _sync(file)
        _sync(draft)
        os.replace(draft, path)
        _sync(path.parent)


@contextlib.contextmanager
def files_together(folder: Path, ours: Callable[[Path], Iterable[Path]]) -> Iterator[Path]:
    """A draft to fill with files that take their places in a folder together, instead of others.

    No file system replaces several files in one step. The complete draft is therefore renamed first, to
    `.sobolev-pruning-….complete`; from then on all new files are there, and what a crash interrupts is brought to its
    end by the next call, or by `finish_together`.

    Args:
        folder: where the files belong, below it as they lie in the draft; it is made if it is missing.
        ours: which files of the folder are replaced; nothing else is ever removed.

    Yields:
        The draft.

    Raises:
        OSError: the files cannot be written; unless they were complete already, all is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finish_together(folder, ours)
    with _drafted(folder, folder=True) as (_, draft):
        yield draft
        new = sorted(os.path.relpath(path, draft) for path in draft.rglob("*") if path.is_file())
        write_whole(draft / _NEW, json.dumps(new).encode())
        for path in draft.rglob("*"):
            _sync(path)
        _sync(draft)
        for name in new:  # what needs room comes before anything is replaced
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, draft.with_suffix(_COMPLETE))
        _sync(folder)
    finish_together(folder, ours)


def finish_together(folder: Path, ours: Callable[[Path], Iterable[Path]]) -> None:
    """Put in place what `files_together` had complete when its process died.

    Raises:
        ValueError: the list of the new files is damaged.
    """
    for complete in [path for path in folder.glob(f"{_PREFIX}*{_COMPLETE}") if path.is_dir()]:
        listed = complete / _NEW
        if listed.exists():  # it goes when all is in place
            with reading(listed, "it does not list what is beside it"):
                kept = {folder / str(name) for name in from_json(listed.read_text("utf-8"))}
            for path in set(ours(folder)) - kept:
                path.unlink()
            new = [path.relative_to(complete) for path in complete.rglob("*") if path.is_file() and path != listed]
            for name in new:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(complete / name, folder / name)
            for path in {folder, *((folder / name).parent for name in new)}:
                _sync(path)
            listed.unlink()
        shutil.rmtree(complete)


def check_can_write(path: str | os.PathLike) -> None:
    """Before any work: raise what `write_whole` would raise, as far as that can be known.

    Raises:
        OSError: there is no such folder, nothing can be made in it, the name is too long, or a folder or a file that is
            write-protected has the name.
    """
    path = Path(path)
    there = _stat(path)
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if there is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if there is None or stat.S_ISREG(there.st_mode):
        with _drafted(Path(os.path.realpath(path)).parent):
            pass


def is_same_file(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    """Whether two paths mean one file, be it by another spelling, a symbolic link or a hard link."""
    with contextlib.suppress(OSError):
        if os.path.samefile(one, other):
            return True
    return os.path.realpath(one) == os.path.realpath(other)


def write_somewhere(path: Path, write: Callable[[Path], object]) -> tuple[Path, OSError | None]:
    """Write a result that must not be lost: at its place, or else at another one where nothing is yet.

    Other places are the working directory, the home directory and the system's directory of temporary files.

    Args:
        path: where it belongs.
        write: writes it to the path that it is given, a file or a folder.

    Returns:
        Where it lies, and why not at its place; None if it does.

    Raises:
        OSError: it cannot be written anywhere.
    """
    try:
        write(path)
        return path, None
    except OSError as error:
        reason = error
    tried = [str(path)]
    for folder in _other_folders():
        place = _unused(folder, path)
        try:
            write(place)
            return place, reason
        except OSError:
            tried.append(str(folder))
    raise OSError(reason.errno, f"{in_words(reason)}; nor can it be written to {', '.join(tried[1:])}") from reason


SHORTENED = "--[0-9a-f]{16}"
"""How a name that `short_stem` has shortened ends, as a regular expression."""


def short_stem(stem: str) -> str:
    """A file's name without its ending, shortened to what any file system takes, and still a name of its own.

    Names are made of the widths of a network, which may have a hundred layers.
    """
    if len(stem) <= _LONGEST_STEM:
        return stem
    return f"{stem[: _LONGEST_STEM // 2]}--{hashlib.sha256(stem.encode()).hexdigest()[:16]}"


def in_words(error: OSError) -> str:
    """An error of the system as one line that begins with the path."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _stat(path: Path) -> os.stat_result | None:
    """What is at a path, links followed; None if there is nothing and something could be made there."""
    try:
        return path.stat()
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            # Of a link it is the folder of the target.
            missing = folder if path.parent.is_dir() else path.parent
            raise FileNotFoundError(errno.ENOENT, f"the folder {missing} does not exist", str(path)) from None
        return None


def _replace(target: Path, data: bytes, there: os.stat_result | None) -> None:
    if there is not None and not os.access(target, os.W_OK):
        # The folder alone decides whether a file can be replaced; who protected it did not want it to be.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with _drafted(target.parent, mode=0o666 if there is None else 0o600) as (file, draft):
        with os.fdopen(os.dup(file), "wb") as stream:
            stream.write(data)
        in_place = there is not None and not (there.st_nlink == 1 and _takes_owner(file, there))
        if there is not None:
            os.chmod(draft, stat.S_IMODE(there.st_mode))
        os.fsync(file)
        if in_place:
            _overwrite(target, data, draft)
        else:
            os.replace(draft, target)
            _sync(target.parent)


def _takes_owner(file: int, there: os.stat_result) -> bool:
    mine = os.fstat(file)
    if (mine.st_uid, mine.st_gid) == (there.st_uid, there.st_gid):
        return True
    try:
        os.chown(file, there.st_uid, there.st_gid)
    except OSError:
        return False
    return True


def _overwrite(target: Path, data: bytes, draft: Path) -> None:
    """Write into a file that is there, with its new content complete beside it meanwhile."""
    with target.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        complete = draft.with_suffix(_COMPLETE)
        os.rename(draft, complete)
        try:
            _sync(target.parent)
            # What needs more room comes first, as long as nothing of the old content is lost.
            stream.write(data[size:])
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(size)
            complete.unlink()
            raise
        try:
            stream.seek(0)
            stream.write(data[:size])
            stream.truncate(len(data))
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise OSError(
                error.errno, f"{error.strerror}: overwritten in part; its new content lies complete in {complete}"
            ) from error
    complete.unlink()


@contextlib.contextmanager
def _drafted(parent: Path, *, mode: int = 0o600, folder: bool = False) -> Iterator[tuple[int, Path]]:
    """An empty draft in a folder, locked while the block runs; what is still there at its end is removed."""
    _remove_abandoned(parent)
    file, draft = _new_draft(parent, mode, folder)
    try:
        yield file, draft
    finally:
        try:
            _remove(draft)
        finally:
            os.close(file)


def _new_draft(parent: Path, mode: int, folder: bool) -> tuple[int, Path]:
    while True:
        draft = parent / f"{_PREFIX}{secrets.token_hex(6)}{_DRAFT}"
        _begun.add(draft)
        try:
            if folder:
                draft.mkdir()
                file = os.open(draft, os.O_RDONLY)
            else:
                file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        except BaseException:
            _begun.discard(draft)
            raise
        # Another process may have taken it for an abandoned one before it was locked.
        if _locked(file) and draft.exists():
            return file, draft
        _remove(draft)
        os.close(file)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)
    _begun.discard(draft)


def _remove_abandoned(parent: Path) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for draft in parent.glob(f"{_PREFIX}*{_DRAFT}"):
            with contextlib.suppress(OSError):
                file = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    if _locked(file, unknown=False):
                        _remove(draft)
                finally:
                    os.close(file)


def _locked(file: int, *, unknown: bool = True) -> bool:
    """Lock an open file, if nobody else has; `unknown` is the answer where the file system has no locks."""
    if fcntl is None:
        return unknown
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unknown
    return True


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    try:
        file = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to and not read, and every folder on Windows
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot do so for folders
            raise
    finally:
        os.close(file)


def _other_folders() -> Iterator[Path]:
    for where in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        # The working directory may be gone, the home unknown, and no directory of temporary files usable.
        with contextlib.suppress(OSError, RuntimeError):
            yield where()


def _unused(folder: Path, path: Path) -> Path:
    # Room for the number, on any file system.
    stem, suffix = path.stem.encode()[:100].decode(errors="ignore"), path.suffix[:40]
    names = (f"{stem}-rescued{k or ''}{suffix}" for k in range(10**6))
    return next(folder / name for name in names if not os.path.lexists(folder / name))
