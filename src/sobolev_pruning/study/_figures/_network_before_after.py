"""The network that was trained, and the one inside it that stays."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ._numbers import grouped
from ._style import BLUE, FAINT, INK, MUTED, ORANGE, SIGNIFICANCE, VERMILLION, AnyArray, log_limits, style

_EDGES_A_NODE = 1


@style()
def network_before_after(
    before_widths: Sequence[int],
    after_widths: Sequence[int],
    kept: Sequence[Int[AnyArray, " _"] | Sequence[int] | None],
    scores: Sequence[Float[AnyArray, " _"]] | None = None,
    *,
    weights: Sequence[Float[AnyArray, "_ _"]] | None = None,
) -> Figure:
    """The large network with the kept nodes marked, and the small dense network beside it with all its weights.

    Of the large network's weights only a few are drawn, as a texture; the lines between kept nodes are those that
    pruning leaves.

    Args:
        before_widths: nodes of every layer of the large network, inputs and outputs included.
        after_widths: the same of the small one.
        kept: for each hidden layer of the large network the nodes that are kept, or `None` where the layer is removed.
        scores: significance of the nodes of each hidden layer of the large network, which colours them.
        weights: matrices `(n_out, n_in)` of the small network, which give its lines their width and colour.

    Raises:
        ValueError: `kept` does not lead from the one network to the other.
    """
    left_layers = [nodes for nodes in kept if nodes is not None]
    if len(kept) != len(before_widths) - 2 or [len(k) for k in left_layers] != list(after_widths[1:-1]):
        raise ValueError(
            f"`kept` holds {[None if k is None else len(k) for k in kept]} nodes; it must have one entry for each of "
            f"the {len(before_widths) - 2} hidden layers, and those that are not None must match the hidden layers of "
            f"`after_widths`, {list(after_widths[1:-1])}."
        )
    figure = Figure((9.6, 4.7))
    before = figure.add_axes((0.035, 0.15, 0.555, 0.71))
    after = figure.add_axes((0.655, 0.15, 0.32, 0.71))
    _draw_before(figure, before, before_widths, kept, scores)
    _draw_after(figure, after, after_widths, weights)
    for axes, name, widths in ((before, "Oversized", before_widths), (after, "Pruned", after_widths)):
        box = axes.get_position()
        figure.text(box.x0, 0.975, name, fontsize=9.5, weight="bold", va="top")
        figure.text(
            box.x0,
            0.925,
            f"{'-'.join(map(str, widths))}  ·  {grouped(_n_parameters(widths))} parameters",
            fontsize=7.5,
            color=MUTED,
            va="top",
        )
    figure.text(0.624, 0.505, "→", fontsize=20, color=MUTED, ha="center", va="center")
    return figure


def _n_parameters(widths: Sequence[int]) -> int:
    return sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths))


def _column(n: int, pitch: float) -> Float[np.ndarray, " n"]:
    """Heights of `n` nodes in [−1, 1], first on top, `pitch` apart or as far as there is room."""
    half = min(1.0, pitch * (n - 1) / 2)
    return np.linspace(half, -half, n) if n > 1 else np.zeros(1)


def _frame(axes: Axes, widths: Sequence[int], notes: Sequence[str]) -> None:
    """Names and widths of the layers under their columns."""
    axes.set_xlim(-0.45, len(widths) - 0.55)
    axes.set_ylim(-1.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    ordinals = ["inputs", *(str(i) for i in range(1, len(widths) - 1)), "output"]
    axes.set_xticks(range(len(widths)), [f"{n}\n{note}" for n, note in zip(ordinals, notes, strict=True)])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel("layer, and its number of nodes", fontsize=7.5)


def _draw_before(
    figure: Figure,
    axes: Axes,
    widths: Sequence[int],
    kept: Sequence[Int[AnyArray, " _"] | Sequence[int] | None],
    scores: Sequence[Float[AnyArray, " _"]] | None,
) -> None:
    heights = [_column(n, 2 / 9 if i in (0, len(widths) - 1) else 2 / 12) for i, n in enumerate(widths)]
    for i, (a, b) in enumerate(itertools.pairwise(heights)):
        # A few lines a node, by fixed strides, so that the same network gives the same picture.
        few = min(_EDGES_A_NODE, min(len(a), len(b)))
        n = max(len(a), len(b))
        ends = [(j % len(a), (7 * j + (37 * k + 11) * j // 3 + 29 * k) % len(b)) for j in range(n) for k in range(few)]
        axes.add_collection(
            LineCollection(
                [[(i, a[p]), (i + 1, b[q])] for p, q in ends],
                colors=FAINT,
                linewidths=0.3,
                alpha=0.6,
                rasterized=True,
                zorder=1,
            )
        )
    nodes = [
        (0, np.arange(widths[0])),
        *((i + 1, np.asarray(k, int)) for i, k in enumerate(kept) if k is not None),
        (len(widths) - 1, np.arange(widths[-1])),
    ]
    for (i, a), (j, b) in itertools.pairwise(nodes):
        axes.add_collection(
            LineCollection(
                [[(i, heights[i][p]), (j, heights[j][q])] for p in a for q in b],
                colors=VERMILLION,
                linewidths=0.45,
                alpha=0.45,
                zorder=2,
            )
        )
    norm = None
    if scores is not None:
        norm = LogNorm(*log_limits(np.concatenate([np.asarray(s, np.float64) for s in scores]), 0.0))
    for i, n in enumerate(widths):
        x = np.full(n, i)
        if i in (0, len(widths) - 1):
            axes.scatter(x, heights[i], s=34, color=INK, linewidths=0, zorder=4)
            continue
        colours: object = FAINT
        if scores is not None and norm is not None:
            colours = SIGNIFICANCE(norm(np.maximum(np.asarray(scores[i - 1], np.float64), norm.vmin or 0)))
        removed = kept[i - 1] is None
        size = float(np.clip(900 / n, 6, 30))
        axes.scatter(x, heights[i], s=size, c=colours, linewidths=0, zorder=3, alpha=0.35 if removed else 1)
        if not removed:
            chosen = np.asarray(kept[i - 1], int)
            face = colours if isinstance(colours, str) else np.asarray(colours)[chosen]
            axes.scatter(
                x[chosen], heights[i][chosen], s=size + 18, c=face, edgecolors=VERMILLION, linewidths=1.2, zorder=5
            )
    notes = [
        str(widths[0]),
        *(f"{n} → {0 if k is None else len(k)}" for n, k in zip(widths[1:-1], kept, strict=True)),
        str(widths[-1]),
    ]
    _frame(axes, widths, notes)
    if norm is not None:
        bar = figure.add_axes((0.455, 0.945, 0.135, 0.018))
        colourbar = figure.colorbar(ScalarMappable(norm, SIGNIFICANCE), cax=bar, orientation="horizontal")
        colourbar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.xaxis.set_major_locator(LogLocator(10.0, numticks=4))
        bar.xaxis.set_minor_locator(NullLocator())
        bar.tick_params(labelsize=6.5, length=2, pad=1)
        bar.set_ylabel("significance", rotation=0, ha="right", va="center", fontsize=7, labelpad=5)
        bar.set_xlabel("")


def _draw_after(
    figure: Figure,
    axes: Axes,
    widths: Sequence[int],
    weights: Sequence[Float[AnyArray, "_ _"]] | None,
) -> None:
    heights = [_column(n, 2 / 8) for n in widths]
    for i, (a, b) in enumerate(itertools.pairwise(heights)):
        lines = [[(i, p), (i + 1, q)] for q in b for p in a]
        if weights is None:
            axes.add_collection(LineCollection(lines, colors=MUTED, linewidths=0.6, alpha=0.5, zorder=1))
            continue
        w = np.asarray(weights[i], np.float64).ravel()
        size = np.abs(w) / max(np.abs(w).max(initial=0), 1e-300)
        order = np.argsort(size)
        colours = np.where(w[:, None] >= 0, _rgb(BLUE), _rgb(ORANGE))
        axes.add_collection(
            LineCollection(
                [lines[j] for j in order],
                colors=np.column_stack([colours, 0.25 + 0.7 * size])[order],
                linewidths=(0.15 + 2.2 * size)[order],
                zorder=1,
            )
        )
    for i, column in enumerate(heights):
        outer = i in (0, len(widths) - 1)
        axes.scatter(
            np.full(len(column), i),
            column,
            s=34 if outer else 44,
            color=INK if outer else "white",
            edgecolors=INK if outer else VERMILLION,
            linewidths=0 if outer else 1.4,
            zorder=3,
        )
    _frame(axes, widths, [str(n) for n in widths])
    if weights is not None:
        figure.legend(
            [Line2D([], [], color=BLUE, lw=1.8), Line2D([], [], color=ORANGE, lw=1.8)],
            ["weight > 0", "weight < 0"],
            loc="upper right",
            bbox_to_anchor=(0.985, 0.985),
            ncols=1,
            fontsize=7,
            labelcolor=MUTED,
            handlelength=1.2,
        )


def _rgb(colour: str) -> Float[np.ndarray, "3"]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
