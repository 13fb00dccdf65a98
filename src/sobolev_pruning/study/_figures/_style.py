"""One look for every picture: palette, type, sizes and the few helpers that all of them use.

Pictures are built on `matplotlib.figure.Figure` alone, without pyplot, so they need no display and leave no global
state behind.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import LogLocator, NullLocator

AnyArray = Array | np.ndarray
"""What a figure accepts as data."""

INK = "#1d2733"
MUTED = "#5f6b7a"
FAINT = "#b9c1cb"
HAIRLINE = "#dde2e8"

# Okabe and Ito's hues (2008), a little darker where they must carry thin lines on white.
BLUE = "#0b66a8"
SKY = "#5aaee0"
GREEN = "#0a8f6c"
ORANGE = "#d98a00"
VERMILLION = "#cf5312"
PURPLE = "#b0608f"
CYCLE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)

SIGNIFICANCE = LinearSegmentedColormap.from_list("significance", ["#e3e9f0", "#9cc3e0", "#2f84bf", "#08335c"])
"""Light for what may go, dark for what matters."""

STAGE_LABELS = {
    "oversized": "oversized",
    "pruned": "pruned",
    "finetuned_vanilla": "vanilla fine-tuning",
    "finetuned_nn_data": "Sobolev on NN data",
    "finetuned_nn_curvature": "with curvature, on NN data",
    "finetuned_reference": "Sobolev on the reference",
}
STAGE_COLOURS = {
    "oversized": MUTED,
    "pruned": VERMILLION,
    "finetuned_vanilla": ORANGE,
    "finetuned_nn_data": BLUE,
    "finetuned_nn_curvature": SKY,
    "finetuned_reference": GREEN,
}

MAX_POINTS = 1500
"""Points in one scatter: more would only cost time and ink.

So few can stay vectors in PDF. An image among vectors is placed to the nearest pixel, which shifts points off the line
that they are to be compared with.
"""

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that a figure looks the same everywhere
    "font.size": 8.0,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "pdf.fonttype": 42,
    "axes.facecolor": "white",
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.0,
    "axes.labelpad": 4.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.0,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 1.3,
}

# matplotlib's settings belong to the process; one thread at a time may borrow them.
_LOCK = threading.RLock()


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Borrow matplotlib's settings for the time of a block or of a decorated function, then put them back.

    Whatever the user has set globally plays no part inside. Threads wait for each other.
    """
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def stage_label(name: str) -> str:
    """A stage as a reader would call it."""
    return STAGE_LABELS.get(name, name.replace("_", " "))


def stage_colour(name: str, index: int) -> str:
    """The colour of a stage, by its name or its label, the same in every picture; others take turns."""
    for stage, colour in STAGE_COLOURS.items():
        if name in (stage, STAGE_LABELS[stage]):
            return colour
    return CYCLE[index % len(CYCLE)]


def inches(
    figure: Figure,
    rows: int,
    columns: int,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    gap_x: float = 0.4,
    gap_y: float = 0.4,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
) -> GridSpec:
    """A grid of axes with margins and gaps in inches.

    Automatic layout would draw every figure several times; these figures know what they hold.

    Args:
        figure: to be divided.
        rows: of the grid.
        columns: of the grid.
        left: margin.
        right: margin.
        top: margin.
        bottom: margin.
        gap_x: between columns.
        gap_y: between rows.
        widths: relative, equal if not given.
        heights: relative, equal if not given.
    """
    width, height = figure.get_size_inches()
    cell_width = (width - left - right - gap_x * (columns - 1)) / columns
    cell_height = (height - top - bottom - gap_y * (rows - 1)) / rows
    return GridSpec(
        rows,
        columns,
        figure,
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=gap_x / cell_width,
        hspace=gap_y / cell_height,
        width_ratios=widths,
        height_ratios=heights,
    )


def quiet_log_axis(axes: Axes, which: str, limits: tuple[float, float], max_ticks: int = 6) -> None:
    """Put one axis on a logarithmic scale with few ticks, at powers of ten, and faint lines at them."""
    # Limits first: on its way to the new scale, matplotlib would look for limits of its own and complain of one point.
    if which == "x":
        axes.set_xlim(*limits)
        axes.set_xscale("log")
        long = axes.xaxis
    else:
        axes.set_ylim(*limits)
        axes.set_yscale("log")
        long = axes.yaxis
    long.set_major_locator(LogLocator(10.0, numticks=max_ticks))
    long.set_minor_locator(NullLocator())
    long.grid(True, color=HAIRLINE, linewidth=0.6)


def log_limits(values: Float[AnyArray, "*shape"], pad: float = 0.25) -> tuple[float, float]:
    """Limits of a logarithmic axis around the positive, finite values, at least a decade apart.

    Args:
        values: what is to be shown, any shape.
        pad: in decades, on both sides.
    """
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat) & (flat > 0)]
    if not flat.size:
        return 0.1, 1.0
    low, high = np.log10(flat.min()) - pad, np.log10(flat.max()) + pad
    if high - low < 1.2:
        low, high = (low + high) / 2 - 0.6, (low + high) / 2 + 0.6
    return float(10**low), float(10**high)


def some(n: int, limit: int = MAX_POINTS) -> Int[np.ndarray, " k"]:
    """At most `limit` rows of `n`, evenly spaced, so that the same data give the same picture."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).astype(int))


def spread(positions: Float[np.ndarray, " k"], gap: float) -> Float[np.ndarray, " k"]:
    """Move labels apart along one axis until neighbours are at least `gap` apart, keeping their order.

    Args:
        positions: where the labels belong, `(k,)`.
        gap: smallest distance, in the same units.
    """
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, np.float64)[order]
    for _ in range(200):
        short = gap - np.diff(placed)
        if not np.any(short > 1e-9 * gap):
            break
        push = np.maximum(short, 0) / 2
        placed[:-1] -= push
        placed[1:] += push
    out = np.empty_like(placed)
    out[order] = placed
    return out
