"""The command `sobolev-pruning`."""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from typer.exceptions import Abort, Exit, TyperException

from ._files import remove_drafts, write_whole
from ._version import __version__

app = typer.Typer(
    name="sobolev-pruning",
    help="Small neural surrogates that are right in their derivatives.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


_STUDIES = ("bachelier",)


@app.command()
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
) -> None:
    """Run a study: train, prune, fine-tune, evaluate, draw and export."""
    if study not in _STUDIES:
        raise _Refused(f"unknown study {study!r}; there is: {', '.join(_STUDIES)}")
    # The numerics take seconds to import; `--help` and refused commands need not wait for them.
    from .sobolev import DivergedError, ProgressBar
    from .study import ConfigError, RunExistsError, StudyConfig, run_bachelier, tables

    console = Console(stderr=True, highlight=False)
    output = Path("runs") / study if output is None else output
    try:
        chosen = StudyConfig() if config is None else StudyConfig.from_toml(config)
        if seed is not None:
            chosen = dataclasses.replace(chosen, seed=seed)
        chosen.check()
        progress = ProgressBar(console)
        with _interruptible(output, progress):
            summary = run_bachelier(chosen, output, overwrite=overwrite, progress=progress, listener=_Narrator(console))
    except (ConfigError, RunExistsError, NotADirectoryError, PermissionError) as error:
        raise _Refused(str(error)) from None
    except DivergedError as error:
        raise _Failed(f"{error} On disk: {_on_disk(output)}") from None
    for table in tables(summary):
        Console(highlight=False).print(table)
    print(f"{summary['seconds']:.0f} s. Report: {output / 'report.html'}")


@app.command()
def certify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Surrogate that `save` or a run wrote.")],
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="LOW:HIGH,…|FILE",
            help="Ranges of the inputs, separated by commas, or a file of data (CSV, NPY, NPZ) to lay a region around.",
        ),
    ],
    shape: Annotated[
        str, typer.Option("--shape", help="Of a region around data: box, aligned (with their axes) or ellipsoid.")
    ] = "box",
    scale: Annotated[float, typer.Option("--scale", help="Size of a region around data; 1 holds them all.")] = 1.0,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Such as 60s or 5m, without compilation.")
    ] = "60s",
    order: Annotated[int, typer.Option("--order", help="Derivatives to enclose: 1, or 2 for curvature.")] = 2,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="MODEL", help="Another surrogate; bounds the largest difference to it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.json", help="Write the certificate there as well.")
    ] = None,
) -> None:
    """Prove ranges, errors, monotonicity and convexity of a surrogate over a region; store the certificate in it."""
    from .certification import CertificationBar, tables
    from .certification import certify as prove
    from .surrogate import load, save

    console = Console(stderr=True, highlight=False)
    seconds = _seconds(budget)
    _enable_double_precision()
    try:
        surrogate = load(model)
        chosen = _region(region, surrogate, shape, scale)
        others = {} if against is None else {against.name: load(against)}
        for path in (model, output):
            if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
                raise _Refused(f"{path}: cannot be written; the certificate would be lost")
        with CertificationBar(console, budget) as bar:
            certificate = prove(surrogate, chosen, against=others, seconds=seconds, order=order, progress=bar.update)
        save(surrogate, model, certificate=certificate)
        if output is not None:
            write_whole(output, certificate.to_json().encode())
    except (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, TypeError) as error:
        raise _Refused(str(error)) from None
    for table in tables(certificate):
        Console(highlight=False).print(table)
    print(f"{certificate.boxes} boxes in {certificate.seconds:.0f} s. Stored in {model}")


def _enable_double_precision() -> None:
    """Models may be in either precision; those in single precision stay so."""
    import jax

    jax.config.update("jax_enable_x64", True)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        raise _Refused(f"--budget is {text!r}; give a time such as 60s, 5m or 1h") from None
    if not (0 < seconds < float("inf")):
        raise _Refused(f"--budget is {text!r}; it must be positive")
    return seconds


_SHAPES = ("box", "aligned", "ellipsoid")


def _region(text: str, surrogate, shape: str, scale: float):
    """The region that the options describe."""
    import jax.numpy as jnp
    import numpy as np

    from .reference import read_points
    from .regions import AlignedBox, Box, Ellipsoid

    d, dtype = surrogate.network.widths[0], surrogate.network.layers[0].weight.dtype
    if shape not in _SHAPES:
        raise _Refused(f"--shape is {shape!r}; it must be one of {', '.join(_SHAPES)}")
    if ":" in text and not Path(text).exists():
        pairs = [part.split(":") for part in text.split(",")]
        try:
            ends = np.array([[float(low), float(high)] for low, high in pairs])
        except ValueError:
            raise _Refused(f"--region is {text!r}; give LOW:HIGH for each input, separated by commas") from None
        if len(ends) != d:
            raise _Refused(f"--region has {len(ends)} ranges; the surrogate has {d} inputs")
        return Box(*(jnp.asarray(end, dtype) for end in ends.T))
    points = jnp.asarray(read_points(Path(text), dim=d), dtype)
    return {"box": Box, "aligned": AlignedBox, "ellipsoid": Ellipsoid}[shape].around(points, scale)


class _Refused(Exception):
    """Bad input; exit status 2."""


class _Failed(Exception):
    """The run itself failed; exit status 1."""


@contextlib.contextmanager
def _interruptible(output: Path, progress) -> Iterator[None]:
    """Let Ctrl-C end the run at once, say what is on disk, and exit with 130, as shells report it.

    The handler does all of that itself: an exception that it raised would be lost wherever Python ignores exceptions,
    such as in JAX's callback of the garbage collector.
    """

    def leave(*_) -> NoReturn:
        progress.stop()
        remove_drafts(output)
        _leave(_say(f"interrupted. On disk: {_on_disk(output)}; no summary, no report", 130))

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    earlier = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _on_disk(output: Path) -> str:
    from .study import contents_of_run

    names = contents_of_run(output)
    return f"{output}/ with {', '.join(names)}" if names else "nothing"


class _Narrator:
    """Says on standard error what a run does."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stage(self, stage) -> None:
        from .study import stage_line

        self._console.print(stage_line(stage), soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(text)


def main() -> None:
    """Entry point: one line on standard error for what goes wrong, never a traceback for bad input."""
    try:
        app(prog_name="sobolev-pruning", standalone_mode=False)
        status = 0
    except TyperException as error:
        status = _say(error.format_message(), 2)
    except _Refused as error:
        status = _say(str(error), 2)
    except _Failed as error:
        status = _say(str(error), 1)
    except (Abort, KeyboardInterrupt):
        _leave(_say("interrupted", 130))
    sys.exit(status)


def _leave(status: int) -> NoReturn:
    """End at once: the interpreter would crash if it were taken down around a compiled step that still runs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say(message: str, status: int) -> int:
    print(f"sobolev-pruning: {' '.join(message.split())}", file=sys.stderr)
    return status
