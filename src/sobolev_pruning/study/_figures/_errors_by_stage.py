"""The table of the study as a picture: every cell, ours and the published one, on one scale."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ._numbers import grouped
from ._style import (
    BLUE,
    HAIRLINE,
    INK,
    MUTED,
    STAGE_LABELS,
    VERMILLION,
    inches,
    log_limits,
    quiet_log_axis,
    stage_label,
    style,
)

_QUANTITIES = ("values", "deltas", "gammas")
_MARKERS = (("o", BLUE), ("D", VERMILLION))
# Vertical distance between the sizes of one stage, in rows.
_DODGE = 0.26


@style()
def errors_by_stage(
    stages: Sequence[Mapping[str, Any]],
    published: Mapping[str, Mapping[str, float]] | None = None,
    *,
    block: str | None = None,
) -> Figure:
    """1 − R² of values, deltas and gammas after every stage, for every pruned size, beside the published numbers.

    Args:
        stages: as in `summary.json`: each with `name`, `parameters` and `r2`.
        published: R² by the name of the stage and the quantity.
        block: such as `training_law`, to read the errors on that set instead.
    """
    names = [n for n in STAGE_LABELS if any(s["name"] == n for s in stages)]
    names += [n for n in dict.fromkeys(s["name"] for s in stages) if n not in names]
    pruned = [s["parameters"] for s in stages if s["name"] != "oversized"]
    sizes = list(dict.fromkeys(pruned or [s["parameters"] for s in stages]))
    figure = Figure((9.6, 1.35 + 0.36 * max(len(names), 3)))
    height = figure.get_size_inches()[1]
    grid = inches(figure, 1, 3, left=1.5, right=0.2, top=0.75, bottom=0.52, gap_x=0.3)

    def error(r2: float) -> float:
        # Equal to one in the precision at hand is drawn at that precision, not lost.
        return max(1 - r2, 1e-12)

    for column, quantity in enumerate(_QUANTITIES):
        axes = figure.add_subplot(grid[column])
        shown = []
        for row, name in enumerate(names):
            axes.axhline(row, color=HAIRLINE, lw=0.7, zorder=0)
            theirs = (published or {}).get(name, {}).get(quantity)
            if theirs is not None:
                axes.plot(error(theirs), row, "|", ms=15, mew=1.8, color=MUTED, zorder=2)
                shown.append(error(theirs))
            ours = [s for s in stages if s["name"] == name]
            for stage in ours:
                r2 = (stage if block is None else stage[block])["r2"][quantity]
                if name == "oversized" and stage["parameters"] not in pruned:
                    marker, colour, shift = "s", INK, 0.0
                else:
                    # Sizes that reach the same error would hide one another on one line.
                    position = sizes.index(stage["parameters"])
                    shift = _DODGE * (position - (len(sizes) - 1) / 2)
                    marker, colour = _MARKERS[position % len(_MARKERS)]
                axes.plot(
                    error(r2), row + shift, marker, ms=6.5 if marker != "D" else 5.5, mfc=colour, mec="white", mew=0.7
                )
                shown.append(error(r2))
        quiet_log_axis(axes, "x", log_limits(np.array(shown)))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), [stage_label(n) for n in names] if column == 0 else [""] * len(names))
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=7.5)
        axes.spines["left"].set_visible(False)
        axes.set_title(quantity.capitalize())
        axes.set_xlabel("1 − R²  (left is better)")
    handles = [Line2D([], [], ls="", marker="|", ms=11, mew=1.8, color=MUTED)] if published else []
    labels = ["published"] if published else []
    for stage in stages:
        if stage["name"] == "oversized" and stage["parameters"] not in pruned:
            handles.append(Line2D([], [], ls="", marker="s", ms=6, color=INK, mec="white"))
            labels.append(f"oversized, {grouped(stage['parameters'])} parameters")
            break
    for i, size in enumerate(sizes):
        marker, colour = _MARKERS[i % len(_MARKERS)]
        handles.append(Line2D([], [], ls="", marker=marker, ms=6, color=colour, mec="white"))
        labels.append(f"{grouped(size)} parameters")
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.5 / 9.6, 1 - 0.16 / height),
        ncols=len(handles),
        columnspacing=1.8,
        handletextpad=0.3,
    )
    return figure
