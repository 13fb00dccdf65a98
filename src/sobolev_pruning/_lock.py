"""One writer at a time: a lock on a folder that two processes or two threads would otherwise both write to."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none, and there two writers are not kept apart
    fcntl = None

LOCK = ".lock"


class InUseError(BlockingIOError, ValueError):
    """Another process, or another thread of this one, writes to the folder."""


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of a folder.

    The system gives the lock back when its holder ends, however that ends, so a killed process leaves a file that binds
    nobody. A file system without locks is used without.

    Args:
        folder: must exist.
        what: goes on there, such as "a fit"; for the message.

    Raises:
        InUseError: it is held; the message has the number of the process that holds it.
    """
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    descriptor = _acquired(path, what)
    try:
        yield
    finally:
        if descriptor is not None:
            # While it is held nobody else can make this file theirs; they may have made another, if it was removed.
            try:
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                        path.unlink()
            finally:
                os.close(descriptor)


def _acquired(path: Path, what: str) -> int | None:
    assert fcntl is not None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            by = f"process {holder}" if holder.isdigit() and int(holder) != os.getpid() else "this process"
            by = by if holder else "another process"
            raise InUseError(
                f"{path.parent} is in use: {what} by {by} writes to it. Wait until that one has ended, or give each a "
                "folder of its own."
            ) from None
        # One that has just been given back may have been removed after it was opened here.
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException as error:  # such as a full disk; the lock would else be held as long as this process lives
            try:
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
            if isinstance(error, OSError) and error.filename is None:
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        os.close(descriptor)
