"""What commands that take long share: `--resume`, and the folder that holds what a killed one needs to go on."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import in_words
from .._work import Work, digest_of_file, unfinished, work
from ._ending import Refused
from ._storing import check_writable

Resume = Annotated[bool, typer.Option("--resume", help="Go on where a command that was killed was.")]

# Where results go and how a command is started decides nothing about them.
_NO_FACTS = ("onnx",)
_LONGEST_NAME = 255


def resuming(
    what: str, folder: Callable[[Path], Path], *files: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that may be killed: it gets the option `--resume`, and `here`, the folder of its unfinished work.

    The folder is locked while the command runs and removed when it ends well, or was refused before there was any work.

    Args:
        what: the command does, such as "fit".
        folder: of the work, made of `--output`.
        files: parameters that name files to read; they count by their bytes, all others but outputs by their values.
    """

    def wrapped(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        option = inspect.Parameter("resume", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Resume)
        own = [p.replace(kind=option.kind) for p in signature.parameters.values() if p.name != "here"]

        @functools.wraps(command)
        def called(*, resume: bool, overwrite: bool, output: Path, **given: Any) -> None:
            if folder is beside:
                check_writable(output, "surrogate")
            elif output.exists() and not output.is_dir():
                raise Refused(f"{output} is a file; give a folder for the output")
            place = folder(output)
            if resume and output.is_file() and not unfinished(place):
                raise Refused(f"{output} is there already, and no unfinished {what} that could go on")
            facts = _facts(given, files)
            try:
                with work(place, what, facts, resume=resume, overwrite=overwrite) as here:
                    try:
                        command(overwrite=overwrite or here.is_resumed, output=output, here=here, **given)
                    except Refused:
                        if not here.is_resumed:
                            here.finish()  # it would be refused again
                        raise
                    here.finish()
            except OSError as error:
                lost = "" if isinstance(error, ValueError) else "; give another place by --output"
                raise Refused(f"{in_words(error)}{lost}") from None
            except ValueError as error:
                raise Refused(str(error)) from None

        called.__signature__ = signature.replace(parameters=[*own, option])  # pyright: ignore[reportAttributeAccessIssue]
        called.__annotations__ = {p.name: p.annotation for p in (*own, option)}
        return called

    return wrapped


def _facts(given: dict[str, Any], files: tuple[str, ...]) -> dict[str, Any]:
    facts = {}
    for name, value in given.items():
        if name in files:
            facts[name.upper()] = digest_of_file(value) if value.is_file() else None
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            facts |= _facts({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, ())
        elif name not in _NO_FACTS:
            facts[f"--{name.replace('_', '-')}"] = value
    return facts


def beside(output: Path) -> Path:
    """The folder of unfinished work beside a file."""
    name = f"{output.name}.checkpoint"
    return output.with_name(name if len(os.fsencode(name)) <= _LONGEST_NAME else f"{output.name[:40]}….checkpoint")


def within(output: Path) -> Path:
    """The folder of unfinished work within a folder."""
    return output / "unfinished"


def what_is_left(here: Work, what: str) -> str:
    """For the message of an interruption."""
    return f"{here.folder}/; the same {what} with --resume goes on from it"
