"""A process that dies, or a disk that is full, at any of the moments at which something is written.

A moment is every call that changes a folder: a file that is made, renamed or removed, a folder that is made or removed,
a change of rights, every write, of which half is done, and every `fsync`. After it nothing changes any more, as if the
process had been killed there, so that what the code does to clean up has no effect.
"""

import builtins
import contextlib
import errno
import io
import os
import sys

RENAMES = ("os.rename", "os.link", "os.symlink")
CHANGES = ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown")
# What needs room on a disk.
NEEDS_ROOM = ("open", "write", "os.mkdir", "fsync")


class Crash(BaseException):
    """The end of a process."""


class _Moments:
    """Counts moments in a folder while it is active."""

    def __init__(self):
        self.folder, self.at, self.full, self.seen, self.is_over = None, None, False, [], False
        sys.addaudithook(self._audit)

    def _audit(self, event, arguments):
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not isinstance(path, int):
                self.point(event, path)
        elif event in RENAMES:
            self.point(event, arguments[0], arguments[1])
        elif event in CHANGES:
            path, within = arguments[0], arguments[-1] if event in ("os.remove", "os.rmdir") else -1
            # Whole folders are removed by names within an open one.
            self.point(event, os.path.join(_of_descriptor(within), os.fsdecode(path)) if within > 0 else path)

    def point(self, kind, *paths, half=None):
        """One moment; the process may end at it."""
        names = [os.path.abspath(os.fsdecode(p)) if not isinstance(p, int) else _of_descriptor(p) for p in paths]
        if self.folder is None or not any(name.startswith(self.folder) for name in names):
            return
        if self.is_over and not (self.full and kind not in NEEDS_ROOM):
            self.end(names[0])
        self.seen.append(f"{kind} {os.path.relpath(names[-1], self.folder)}")
        if self.at == len(self.seen) - 1 and (not self.full or kind in NEEDS_ROOM):
            self.is_over = True
            if half is not None:
                half()
            self.end(names[0])

    def end(self, name):
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        raise Crash


def _of_descriptor(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return "?"


class _HalfWritten(io.FileIO):
    """A file of which a write may do half and then end all."""

    def write(self, data):
        view = memoryview(data).cast("B")
        MOMENTS.point("write", self.fileno(), half=lambda: super(_HalfWritten, self).write(view[: len(view) // 2]))
        return super().write(data)


_open = io.open


def _watched_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
    if not set(mode) & set("wax+"):
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = _HalfWritten(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    stream = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
    return stream if "b" in mode else io.TextIOWrapper(stream, encoding or "utf-8", errors, newline)


def _watched_fsync(descriptor):
    # Nothing is brought to the disk, which takes a while: what ends here is no real machine.
    MOMENTS.point("fsync", descriptor if isinstance(descriptor, int) else descriptor.fileno())


MOMENTS = _Moments()


@contextlib.contextmanager
def moments(folder, at=None, full=False):
    """Count what changes in a folder, and let it end at one moment; yields the list of what was seen.

    Args:
        folder: of all that counts.
        at: number of the moment, from zero; None lets all pass.
        full: the disk is full from then on, in place of a process that dies.
    """
    MOMENTS.at, MOMENTS.full, MOMENTS.seen, MOMENTS.is_over = at, full, [], False
    sync = os.fsync
    io.open = builtins.open = _watched_open
    os.fsync = _watched_fsync
    MOMENTS.folder = os.path.realpath(folder)
    try:
        yield MOMENTS.seen
    finally:
        MOMENTS.folder = None
        io.open = builtins.open = _open
        os.fsync = sync
