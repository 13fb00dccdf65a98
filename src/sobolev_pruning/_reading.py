"""What every reader shares: one kind of error for whatever the parser of another library raises, in one short line."""

import contextlib
import json
import os
import reprlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Longer texts in a message bury what it says: about two lines of a terminal, and one for a single value.
_LONGEST_TEXT, _LONGEST_VALUE = 200, 80
# What may be made of any small file, and of every byte of a larger one.
_LARGE, _MOST_PACKED = 2**28, 100


def brief(text: object, longest: int = _LONGEST_TEXT) -> str:
    """A text in one line: what cannot be printed is escaped, and the middle of a long one is left out.

    Args:
        text: such as the name of a file or the message of another library.
        longest: number of characters.
    """
    text = str(text)
    if len(text) > longest:
        half = longest // 2 - 2
        text = f"{text[:half]} … {text[-half:]}"
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)


def cause(error: BaseException) -> str:
    """What kind of error it is and the first line of its message, which others may follow, or none."""
    first = next(iter(str(error).splitlines()), "").rstrip(".")
    return f"{type(error).__name__}: {brief(first)}" if first else type(error).__name__


_values = reprlib.Repr()
_values.maxstring = _values.maxother = _values.maxlong = _LONGEST_VALUE
_values.maxlevel = 3


def shown(value: object) -> str:
    """A value as Python writes it, in at most a line, however large it is."""
    try:
        return brief(_values.repr(value), _LONGEST_VALUE)
    except (ValueError, RecursionError):  # Python refuses to write a whole number of more than 4 300 digits
        return f"{type(value).__name__} of very many digits"


@contextlib.contextmanager
def reading(path: str | os.PathLike, failure: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Make one `ValueError` of whatever a parser of another library raises.

    Such parsers promise little about a damaged file: NumPy alone raises a dozen kinds of error, and a parser written in
    Rust may raise what is not even an `Exception`. The block must hold nothing but the calls of such a parser, or the
    mistakes of this library would be blamed on the file.

    Args:
        path: of the file, for the message, or what else is read, such as "the region".
        failure: what it then is not, such as "not a Parquet file, or a damaged one".
        kind: of the error that is raised.

    Raises:
        ValueError: the block has failed; the message is one line of bounded length.
    """
    try:
        with warnings.catch_warnings():
            # A parser warns of what it makes sense of nevertheless; what comes of that is checked by the reader.
            warnings.simplefilter("ignore")
            yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = getattr(error, "strerror", None) or str(error)
        if not reason or isinstance(error, KeyError):  # the name alone would be a riddle
            reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
        raise kind(f"{brief(path)}: {failure} ({brief(reason)}).") from None


def check_file(path: Path, missing: str) -> None:
    """Refuse what is not a file before anything opens it: a pipe would block, and a device may never end.

    Args:
        path: of any text: one that no file can have, such as one that is too long, is that of a missing file.
        missing: what to say, such as "there is no such table".

    Raises:
        FileNotFoundError: it is not there, or it is a folder or a device.
    """
    if not os.path.isfile(path):  # `Path.is_file` raises where the path is too long
        raise FileNotFoundError(f"{brief(path)}: {missing}.")


def check_expansion(n_stored: int, n_bytes: int) -> None:
    """Refuse what is small on disk and would fill the memory; to be called within `reading`.

    A crafted file may hold gigabytes of zeros in some kilobytes (DEFLATE packs up to 1 032 bytes into one); columns of
    numbers that were measured or computed do not come near a hundredth.

    Args:
        n_stored: bytes in the file.
        n_bytes: bytes that they are said to hold.

    Raises:
        ValueError: they are too many.
    """
    if n_bytes > max(_LARGE, _MOST_PACKED * n_stored):
        raise ValueError(f"{n_stored} bytes are said to hold {n_bytes}")


def from_json(text: str) -> Any:
    """What JSON says; to be called within `reading`.

    Raises:
        ValueError: it is not JSON, or a key stands there twice, of which other readers might take the other value.
        RecursionError: it is nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is given twice")
        return found

    return json.loads(text, object_pairs_hook=once)
