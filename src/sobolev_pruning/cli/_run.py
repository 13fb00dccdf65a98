"""The command `run`: the framework as one study."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .._files import in_words
from ._ending import Failed, Refused, interruptible
from ._resuming import Resume
from ._storing import check_keeps
from ._table import warnings_as_lines
from ._terminal import terminal

_STUDIES = ("bachelier",)


def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Study to run: bachelier.")],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Folder of the run (default: runs/STUDY).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of everything random; replaces the configuration's.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Configuration; every key may be left out.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
    ] = False,
    resume: Resume = False,
) -> None:
    """Run a study: train, prune, fine-tune, evaluate, draw and export."""
    if study not in _STUDIES:
        raise Refused(f"unknown study {study!r}; there is: {', '.join(_STUDIES)}")
    # The numerics take seconds to import; `--help` and refused commands need not wait for them.
    from ..sobolev import DivergedError, ProgressBar
    from ..study import StudyConfig, contents_of_run, run_bachelier, tables

    console = terminal(stderr=True)
    output = Path("runs") / study if output is None else output
    try:
        chosen = StudyConfig() if config is None else StudyConfig.from_toml(config)
        if seed is not None:
            chosen = dataclasses.replace(chosen, seed=seed)
        chosen.check()
        check_keeps("--output", [output / name for name in contents_of_run(output)], {"--config": config})
        progress = ProgressBar(console)
        left = "no summary, no report; --resume goes on"
        with interruptible(output, progress, lambda: f"{_on_disk(output)}; {left}"), warnings_as_lines(console):
            summary = run_bachelier(
                chosen, output, overwrite=overwrite, resume=resume, progress=progress, listener=_Narrator(console)
            )
    except (ValueError, NotADirectoryError, PermissionError) as error:
        raise Refused(str(error)) from None
    except DivergedError as error:
        raise Failed(f"{error} On disk: {_on_disk(output)}") from None
    except OSError as error:
        raise Failed(f"{in_words(error)}. On disk: {_on_disk(output)}") from None
    moved = summary.get("moved")
    where = output if moved is None else Path(moved["to"])
    for table in tables(summary):
        terminal().print(table)
    print(f"{summary['seconds']:.0f} s. Report: {where / 'report.html'}")
    if moved is not None:
        raise Failed(f"{in_words(moved['reason'])}; the run was stored in {where} instead")


def _on_disk(output: Path) -> str:
    from ..study import contents_of_run

    names = contents_of_run(output)
    return f"{output}/ with {', '.join(names)}" if names else "nothing"


class _Narrator:
    """Says on standard error what a run does."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stage(self, stage) -> None:
        from ..study import stage_line

        self._console.print(stage_line(stage), soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(text)
