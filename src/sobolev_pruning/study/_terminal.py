"""The tables that a run ends with, narrow enough for a terminal of 80 columns."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

_QUANTITIES = ("values", "deltas", "gammas")


def tables(summary: dict[str, Any]) -> list[Table]:
    """R² beside the published values, then the largest errors on both evaluation sets."""
    r2 = _table("R² on the published evaluation set", _QUANTITIES)
    worst = _table("Largest error on the published evaluation set | over the training law", _QUANTITIES)
    for stage in summary["stages"]:
        name = stage["name"]
        if name == "pruned":
            r2.add_section()
            worst.add_section()
        network = short_widths(stage["network"]) if name in ("oversized", "pruned") else ""
        r2.add_row(network, name, *(f"{stage['r2'][q]:.7f}" for q in _QUANTITIES))
        if name in summary["published"]:
            r2.add_row("", "  published", *(f"{summary['published'][name][q]:.6f} " for q in _QUANTITIES), style="dim")
        worst.add_row(
            network,
            name.removeprefix("finetuned_"),
            *(f"{stage['max_error'][q]:.1e} | {stage['training_law']['max_error'][q]:.1e}" for q in _QUANTITIES),
        )
    return [r2, worst]


def short_widths(widths: Sequence[int]) -> str:
    """Widths with equal hidden layers gathered, such as `7-128×6-1`."""
    hidden = widths[1:-1]
    if len(hidden) > 2 and len(set(hidden)) == 1:
        return f"{widths[0]}-{hidden[0]}×{len(hidden)}-{widths[-1]}"
    return "-".join(map(str, widths))


def _table(title: str, quantities: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1))
    table.add_column("network")
    table.add_column("stage")
    for quantity in quantities:
        table.add_column(quantity, justify="right")
    return table
