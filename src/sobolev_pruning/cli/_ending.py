"""How a command ends when it does not end well: one line on standard error, and a status."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, final

from .._files import remove_drafts
from .._reading import brief

# The longest of our own messages have some 400 characters, and a path may have a thousand.
_LONGEST = 2000


@final
class Refused(Exception):
    """Bad input; exit status 2."""


@final
class Failed(Exception):
    """The run itself failed; exit status 1."""


def say(message: str, status: int) -> int:
    """Print one line on standard error, however long or strange the message is; returns the status."""
    print(f"sobolev-pruning: {brief(message, _LONGEST)}", file=sys.stderr)
    return status


def leave(status: int) -> NoReturn:
    """End at once: the interpreter would crash if it were taken down around a compiled step that still runs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextlib.contextmanager
def interruptible(folder: Path | None, progress, on_disk: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C end the work at once, say what is on disk, and exit with 130, as shells report it.

    The handler does all of that itself: an exception that it raised would be lost wherever Python ignores exceptions,
    such as in JAX's callback of the garbage collector.

    Args:
        folder: below which this process writes meanwhile, if it does; what it began there is removed.
        progress: stopped before anything is said.
        on_disk: says what is there.
    """

    def end(*_) -> NoReturn:
        progress.stop()
        if folder is not None:
            remove_drafts(folder)
        leave(say(f"interrupted. On disk: {on_disk()}", 130))

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    earlier = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
