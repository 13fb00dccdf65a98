"""Which inputs and which nodes the output depends on, over the whole of the region that was looked at."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ._style import BLUE, FAINT, INK, MUTED, VERMILLION, AnyArray, inches, log_limits, quiet_log_axis, style

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@style()
def significance(
    inputs: Float[AnyArray, " d"],
    hidden: Sequence[Float[AnyArray, " _"]],
    kept: Sequence[Int[AnyArray, " _"] | Sequence[int] | None] | None = None,
    input_names: Sequence[str] | None = None,
) -> Figure:
    """Significance of every input as bars, and of every node sorted within its layer.

    Args:
        inputs: scores of the inputs, `(d,)`, in units of the price.
        hidden: scores of the nodes of each hidden layer, `(n_l,)`, in the same units. Scores of zero, which a
            logarithmic scale has no place for, are drawn hollow at its foot.
        kept: for each hidden layer the nodes that pruning keeps, or `None` where it removes the layer; nothing is
            marked if not given.
        input_names: names of the inputs, x₁ … x_d if not given.
    """
    scores = np.asarray(inputs, np.float64)
    layers = [np.asarray(layer, np.float64) for layer in hidden]
    names = input_names or [f"x{i + 1}".translate(_SUBSCRIPTS) for i in range(len(scores))]
    columns = max(len(layers), 1)
    width = 2.75 + 1.12 * columns + (0.3 if columns > 3 else 1.2)
    figure = Figure((width, 3.5))
    top, bottom = 0.68, 0.55

    bars = figure.add_subplot(inches(figure, 1, 1, left=0.5, right=width - 2.05, top=top, bottom=bottom)[0])
    bars.barh(np.arange(len(scores)), scores, height=0.62, color=BLUE, linewidth=0)
    bars.set_yticks(np.arange(len(scores)), names)
    bars.set_ylim(len(scores) - 0.45, -0.55)
    bars.set_xlim(0, 1.08 * scores.max() if scores.max(initial=0) > 0 else 1.0)
    bars.tick_params(axis="y", length=0, labelcolor=INK, labelsize=7.5)
    bars.spines["left"].set_visible(False)
    bars.locator_params(axis="x", nbins=3)
    bars.grid(True, axis="x", color="white", linewidth=0.8)
    bars.set_axisbelow(False)
    bars.set_title("Inputs")
    bars.set_xlabel("significance")
    bars.set_ylabel("input")

    low, high = log_limits(np.concatenate([*layers, [np.nan]]))
    if any(np.any(layer <= 0) for layer in layers):
        low /= 10  # a foot for the zeros and their number
    grid = inches(figure, 1, columns, left=2.75, right=0.15, gap_x=0.12, top=top, bottom=bottom)
    for i, layer in enumerate(layers):
        axes = figure.add_subplot(grid[i])
        order = np.argsort(-layer, kind="stable")
        chosen = np.zeros(len(layer), bool)
        of_layer = None if kept is None else kept[i]
        if of_layer is not None:
            chosen[np.asarray(of_layer, int)] = True
        rank = np.arange(1, len(layer) + 1)
        height = np.maximum(layer[order], low)
        marked, none = chosen[order], layer[order] <= 0
        axes.scatter(rank[~marked & ~none], height[~marked & ~none], s=5, color=FAINT, linewidths=0)
        axes.scatter(
            rank[none], height[none], s=7, facecolors="white", edgecolors=FAINT, linewidths=0.6, clip_on=False, zorder=3
        )
        axes.vlines(rank[marked], low, height[marked], color=VERMILLION, lw=0.5, alpha=0.45)
        axes.scatter(rank[marked], height[marked], s=14, color=VERMILLION, linewidths=0, zorder=4, clip_on=False)
        quiet_log_axis(axes, "y", (low, high))
        axes.set_xlim(1 - 0.06 * len(layer), len(layer) + 0.06 * len(layer))
        axes.set_xticks(sorted({1, len(layer)}))
        axes.tick_params(labelleft=i == 0)
        axes.set_title(f"Layer {i + 1}")
        if i == 0:
            axes.set_ylabel("significance  (units of the price)")
        if kept is not None:
            axes.text(
                0.97,
                0.985,
                "layer removed" if of_layer is None else f"{chosen.sum()} of {len(layer)}",
                transform=axes.transAxes,
                ha="right",
                va="top",
                fontsize=7,
                color=MUTED if of_layer is None else VERMILLION,
            )
        if none.any():
            axes.text(
                0.97, 0.035, f"{none.sum()} are zero", transform=axes.transAxes, ha="right", fontsize=6.5, color=MUTED
            )
    middle = (2.75 + (width - 0.15)) / 2 / width
    figure.supxlabel(
        "nodes of the layer, most significant first", x=middle, y=0.16 / 3.5, va="bottom", fontsize=8, color=MUTED
    )
    if kept is not None:
        figure.legend(
            [Line2D([], [], ls="", marker="o", ms=ms, mew=0, color=c) for ms, c in ((3.2, FAINT), (4.2, VERMILLION))],
            ["removed", "kept"],
            loc="upper right",
            bbox_to_anchor=(1 - 0.15 / width, 1 - 0.12 / 3.5),
            ncols=2,
            labelcolor=[MUTED, VERMILLION],
            handletextpad=0,
            columnspacing=1,
        )
    return figure
