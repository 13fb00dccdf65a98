"""What a user sees while a network trains."""

import sys
from typing import Protocol, final, runtime_checkable

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


@runtime_checkable
class ProgressReporter(Protocol):
    """Told about a fit from its start to its end, whatever ends it."""

    def start(self, title: str, n_steps: int) -> None:
        """A fit of `n_steps` begins."""
        ...

    def update(self, n_done: int, losses: np.ndarray) -> None:
        """`n_done` steps are done; `losses` are those since the last update."""
        ...

    def stop(self) -> None:
        """The fit has ended, been interrupted or failed."""
        ...


@final
class Silent:
    """Shows nothing, be it given to a fit, to `shrink` or to `certify`."""

    def __call__(self, state: object) -> None:
        """Show nothing."""

    def start(self, title: str, n_steps: int) -> None:
        """Show nothing."""

    def update(self, n_done: int, losses: np.ndarray) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


@final
class ProgressBar:
    """A bar on standard error with steps, loss, steps a second and remaining time.

    Where standard error is no terminal, nothing is shown.

    Args:
        console: where to draw; standard error if not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._progress: Progress | None = None

    def start(self, title: str, n_steps: int) -> None:
        """Draw an empty bar."""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}", markup=False),
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=n_steps, loss="–")
        self._progress.start()

    def update(self, n_done: int, losses: np.ndarray) -> None:
        """Move the bar and show the mean of the latest losses."""
        if self._progress is not None:
            self._progress.update(self._task, completed=n_done, loss=f"{losses.mean():.3e}")

    def stop(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def reporter(progress: ProgressReporter | None) -> ProgressReporter:
    """What is given; else a bar where standard error is a terminal, and nothing elsewhere."""
    if progress is not None:
        return progress
    return ProgressBar() if sys.stderr is not None and sys.stderr.isatty() else Silent()


@final
class _Rate(ProgressColumn):
    """Steps a second of late; the first chunk, which compiles, does not count."""

    def render(self, task: Task) -> Text:
        """Three digits, once two chunks are done."""
        rate = task.finished_speed or task.speed
        return Text("– steps/s" if rate is None else f"{float(f'{rate:.3g}'):,g} steps/s")
