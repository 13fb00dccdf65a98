"""The course of training."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ._style import AnyArray, inches, log_limits, quiet_log_axis, stage_colour, stage_label, style

_QUANTITIES = ("values", "deltas", "gammas")
_BINS = 160


@style()
def loss_curves(
    curves: Mapping[str, Float[AnyArray, " _"]],
    errors: Mapping[str, Mapping[str, tuple[Real[AnyArray, " _"], Real[AnyArray, " _"]]]] | None = None,
) -> Figure:
    """Training losses, and the errors against the truth that they lead to.

    Losses are noisy: the line is the running median, the band holds the middle 80 % of the steps near by. Losses of
    different definitions share the panel for their course, not for their level; the errors compare.

    Args:
        curves: loss of every step, `(steps,)`, by the name of the training.
        errors: by the name of the training, then by `values`, `deltas` and `gammas`: the steps at which the surrogate
            was judged and 1 − R² there, two arrays `(k,)`.
    """
    names = [*curves, *(name for name in errors or {} if name not in curves)]
    colours = {name: stage_colour(name, i) for i, name in enumerate(names)}
    width, split = (9.6, 3.85) if errors else (6.2, 6.0)
    figure = Figure((width, 3.5))
    top, bottom = 0.7, 0.52
    losses = figure.add_subplot(inches(figure, 1, 1, left=0.62, right=width - split, top=top, bottom=bottom)[0])
    shown = []
    for name, curve in curves.items():
        raw = np.asarray(curve, np.float64)
        bins = [b for b in np.array_split(np.arange(len(raw)), min(_BINS, len(raw)) or 1) if b.size]
        if not bins:
            continue
        low, middle, high = np.array([np.quantile(raw[b], [0.1, 0.5, 0.9]) for b in bins]).T
        steps = np.array([b.mean() for b in bins])
        losses.fill_between(steps, low, high, color=colours[name], alpha=0.18, lw=0)
        losses.plot(steps, _running_median(middle), color=colours[name])
        shown += [low, high]
    quiet_log_axis(losses, "y", log_limits(np.concatenate([*shown, [np.nan]]), 0.08))
    losses.set_title("Training loss")
    losses.set_ylabel("loss  (normalised units)")
    _steps_axis(losses)

    if errors:
        grid = inches(figure, 1, 3, left=split + 0.75, right=0.2, gap_x=0.16, top=top, bottom=bottom)
        limits = log_limits(np.concatenate([np.asarray(pair[1]) for of in errors.values() for pair in of.values()]))
        for i, quantity in enumerate(_QUANTITIES):
            axes = figure.add_subplot(grid[i])
            for name, of in errors.items():
                if quantity in of:
                    axes.plot(*(np.asarray(part, np.float64) for part in of[quantity]), color=colours[name])
            quiet_log_axis(axes, "y", limits, 8)
            axes.tick_params(labelleft=i == 0)
            axes.set_title(f"Error of the {quantity}")
            if i == 0:
                axes.set_ylabel("1 − R²  against the truth")
            _steps_axis(axes)
    figure.legend(
        [Line2D([], [], color=colours[name], lw=1.8) for name in names],
        [stage_label(name) for name in names],
        loc="upper left",
        bbox_to_anchor=(0.62 / width, 1 - 0.14 / 3.5),
        ncols=max(len(names), 1),
        labelcolor="linecolor",
    )
    return figure


def _running_median(values: Float[np.ndarray, " k"], reach: int = 2) -> Float[np.ndarray, " k"]:
    """Median over each value and its neighbours up to `reach` away; shorter at the ends."""
    return np.array([np.median(values[max(i - reach, 0) : i + reach + 1]) for i in range(len(values))])


def _steps_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"))
    axes.set_xlabel("step")
