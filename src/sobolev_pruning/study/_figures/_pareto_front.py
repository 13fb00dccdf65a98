"""How small a network may get: parameters against errors of everything that a search has tried."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ._numbers import grouped
from ._style import BLUE, FAINT, INK, MUTED, VERMILLION, inches, log_limits, quiet_log_axis, style

_QUANTITIES = ("values", "gradients", "curvature")
# Exact in the precision at hand is drawn at that precision, not lost.
_LEAST = 1e-14


@style()
def pareto_front(networks: Sequence[Mapping[str, Any]], tolerance: Mapping[str, float]) -> Figure:
    """1 − R² of values, gradients and curvature over the number of parameters, on logarithmic axes.

    Args:
        networks: as in `report.json`: each with `parameters`, `widths`, `errors`, and whether it is `within` the
            tolerance, `on_front` and the `smallest`.
        tolerance: bounds by name; those of `1 − R²` are drawn as lines.
    """
    known = [q for q in _QUANTITIES if any(_is_drawn(n["errors"].get(q)) for n in networks)]
    columns = max(len(known), 1)
    figure = Figure((0.85 + 2.95 * columns, 3.6))
    width, height = figure.get_size_inches()
    grid = inches(figure, 1, columns, left=0.62, right=0.2, top=0.78, bottom=0.52, gap_x=0.46)
    sizes = log_limits(np.array([n["parameters"] for n in networks], np.float64), 0.12)
    for column, quantity in enumerate(known):
        axes = figure.add_subplot(grid[column])
        drawn = [n for n in networks if _is_drawn(n["errors"].get(quantity))]
        bound = tolerance.get(quantity)
        heights = [max(n["errors"][quantity], _LEAST) for n in drawn]
        quiet_log_axis(axes, "x", sizes)
        quiet_log_axis(axes, "y", log_limits(np.array([*heights, *([] if bound is None else [bound])]), 0.6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: grouped(round(size))))
        if bound is not None:
            axes.axhline(bound, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
        front = sorted((n["parameters"], y) for n, y in zip(drawn, heights, strict=True) if n["on_front"])
        # What is reached with so many parameters or fewer; in one quantity alone the front of all need not fall.
        best = np.minimum.accumulate([y for _, y in front])
        axes.step([x for x, _ in front], best, where="post", color=BLUE, lw=1.1, alpha=0.6, zorder=2)
        for network, y in zip(drawn, heights, strict=True):
            face = BLUE if network["within"] else "white"
            edge = BLUE if network["on_front"] else FAINT
            face = face if network["on_front"] or not network["within"] else FAINT
            axes.plot(network["parameters"], y, "o", ms=4.8, mfc=face, mec=edge, mew=1.0, zorder=3)
            if network["smallest"]:
                axes.plot(network["parameters"], y, "o", ms=9.5, mfc="none", mec=VERMILLION, mew=1.4, zorder=4)
                label = f"{'-'.join(map(str, network['widths']))}\n{grouped(network['parameters'])} parameters"
                axes.annotate(
                    label,
                    (network["parameters"], y),
                    xytext=(7, -7),
                    textcoords="offset points",
                    va="top",
                    fontsize=7.5,
                    color=INK,
                    zorder=5,
                )
        axes.set_title(quantity.capitalize())
        axes.set_xlabel("parameters")
        if column == 0:
            axes.set_ylabel("1 − R²  on held-out samples")
    keys = {
        "on the front, within the tolerance": ("o", BLUE, BLUE),
        "on the front, not within": ("o", "white", BLUE),
        "beaten": ("o", "white", FAINT),
    }
    handles = [
        *(Line2D([], [], ls="", marker=m, ms=5, mfc=face, mec=edge) for m, face, edge in keys.values()),
        Line2D([], [], color=MUTED, lw=0.9, ls=(0, (4, 3))),
    ]
    figure.legend(
        handles,
        [*keys, "tolerance"],
        loc="upper left",
        bbox_to_anchor=(0.62 / width, 1 - 0.14 / height),
        ncols=4 if columns > 1 else 2,
        columnspacing=1.8,
        handletextpad=0.5,
    )
    return figure


def _is_drawn(error: float | None) -> bool:
    return error is not None and math.isfinite(error)
