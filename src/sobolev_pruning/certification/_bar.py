"""What a user sees while a certification searches."""

from typing import NamedTuple, final

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


class Progress(NamedTuple):
    """How far a certification is.

    Attributes:
        stage: what is enclosed at present, in words.
        share: of the whole time that is spent, in [0, 1].
        excess: the widest range as a multiple of what was found; infinite while nothing is bounded.
        boxes: enclosed in this stage.
    """

    stage: str
    share: float
    excess: float
    boxes: int


@final
class CertificationBar:
    """A bar on standard error: the share of the budget that is spent, and how tight the bounds are.

    Where standard error is no terminal, nothing is drawn. Used as a context manager; its `update` is the `progress`
    of `certify`.

    Args:
        console: where to draw.
        budget: of the whole certification, in words, such as `60s`.
    """

    def __init__(self, console: Console, budget: str) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn(f"{{task.percentage:>3.0f}} % of {budget}", markup=False),
            TextColumn("{task.fields[found]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=1.0, found="")

    def __enter__(self) -> "CertificationBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, state: Progress) -> None:
        """Move the bar."""
        excess = f"{state.excess:.3g}" if state.excess < 1e6 else "unbounded"
        found = f"{state.boxes} boxes, excess {excess}"
        self._bar.update(self._task, completed=state.share, description=state.stage, found=found)
