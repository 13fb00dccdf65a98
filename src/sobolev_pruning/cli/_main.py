"""The command and its entry point."""

import sys
from typing import Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException

from .._version import __version__
from ._certify import certify
from ._ending import Failed, Refused, leave, say
from ._fit import fit
from ._prune import prune
from ._run import run
from ._shrink import shrink
from ._terminal import accept_any_text

app = typer.Typer(
    name="sobolev-pruning",
    help="Small neural surrogates that are right in their derivatives.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


_NO_MEMORY = "this machine does not have enough memory for that; use a smaller network or fewer rows"


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(f"sobolev-pruning {__version__}")
        raise Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Small neural surrogates that are right in their derivatives."""


for _command in (run, fit, prune, shrink, certify):
    app.command()(_command)


def main() -> None:
    """Entry point: one line on standard error for what goes wrong, never a traceback for bad input."""
    accept_any_text()
    try:
        app(prog_name="sobolev-pruning", standalone_mode=False)
        status = 0
    except TyperException as error:
        status = say(error.format_message(), 2)
    except Refused as error:
        status = say(str(error), 2)
    except Failed as error:
        status = say(str(error), 1)
    except MemoryError:
        status = say(_NO_MEMORY, 1)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # how JAX says it, whose own class need not be imported here
            raise
        status = say(_NO_MEMORY, 1)
    except (Abort, KeyboardInterrupt):
        leave(say("interrupted", 130))
    sys.exit(status)
