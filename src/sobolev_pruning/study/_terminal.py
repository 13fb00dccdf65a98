"""The tables that a run ends with, narrow enough for a terminal of 80 columns."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from ._stages import Stage, short_widths
from ._summary import is_published_case

_QUANTITIES = ("values", "deltas", "gammas")


def tables(summary: dict[str, Any]) -> list[Table]:
    """R² beside the published values, then the largest errors on both evaluation sets.

    Another network than the published one has nothing published to stand beside.
    """
    published = summary["published"] if is_published_case(summary) else {}
    r2 = _table("R² on the published evaluation set", _QUANTITIES)
    worst = _table(
        "Largest error on the published evaluation set, and over the training law",
        [f"{where}\n{q}" for where in ("set", "law") for q in _QUANTITIES],
    )
    for stage in summary["stages"]:
        name = stage["name"]
        if name == "pruned":
            r2.add_section()
            worst.add_section()
        network = short_widths(stage["network"]) if name in ("oversized", "pruned") else ""
        r2.add_row(network, name, *(f"{stage['r2'][q]:.7f}" for q in _QUANTITIES))
        if name in published:
            r2.add_row("", "  published", *(f"{published[name][q]:.6f} " for q in _QUANTITIES), style="dim")
        errors = [block["max_error"][q] for block in (stage, stage["training_law"]) for q in _QUANTITIES]
        worst.add_row(network, name.removeprefix("finetuned_"), *(f"{error:.1e}" for error in errors))
    return [r2, worst]


def stage_line(stage: Stage) -> str:
    """What one stage reached, in one line."""
    unexplained = ", ".join(f"{name} {1 - getattr(stage.cube, name).r2:.1e}" for name in _QUANTITIES)
    name = f"{short_widths(stage.widths)} {stage.name}"
    return f"{name:<31}{stage.seconds:5.1f} s  1 − R²: {unexplained}"


def _table(title: str, quantities: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("network")
    table.add_column("stage")
    for quantity in quantities:
        table.add_column(quantity, justify="right")
    return table
