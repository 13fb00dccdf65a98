"""What the commands print on: names and paths of a user appear as they are, on a terminal of any encoding."""

import io
import sys

from rich.console import Console


def terminal(*, stderr: bool = False) -> Console:
    """A console without markup: `cost[/kg]` is the name of a column, and `:key:` not a picture."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def accept_any_text() -> None:
    """Escape what the encoding of the output lacks, such as a path that is not UTF-8, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
