"""Prediction against truth, quantity by quantity and stage by stage."""

import textwrap
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...reference import Samples
from ._numbers import r_squared
from ._style import HAIRLINE, INK, MUTED, AnyArray, inches, some, stage_colour, stage_label, style

_ROWS = {
    "values": "value y\n(units of today's spot)",
    "deltas": "delta Σᵢ ∂y/∂xᵢ\n(per unit of spot)",
    "gammas": "gamma Σᵢⱼ ∂²y/∂xᵢ∂xⱼ\n(per squared unit of spot)",
}


def _quantities(samples: Samples) -> dict[str, Float[np.ndarray, " n"]]:
    """The first output with its derivatives in the direction in which all spots move together."""
    if samples.dydx is None or samples.d2ydx2 is None:
        raise ValueError("samples without `dydx` or `d2ydx2` cannot be drawn: the figure shows deltas and gammas.")
    return {
        "values": np.asarray(samples.y, np.float64)[:, 0],
        "deltas": np.asarray(samples.dydx, np.float64)[:, 0].sum(-1),
        "gammas": np.asarray(samples.d2ydx2, np.float64)[:, 0].sum((-2, -1)),
    }


@style()
def predictions(
    truth: Samples,
    stages: Mapping[str, Samples],
    weights: Float[AnyArray, " d"],
    title: str,
    *,
    r2: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Values, deltas and gammas of every stage over the basket value, with the truth as a hairline.

    Since the weights sum to one, the sum of the deltas and the sum of the Hessian's entries are the basket's delta and
    gamma; both are drawn. Points beyond the panel are drawn as triangles at its edge, and counted.

    Args:
        truth: exact values, Jacobians and Hessians, in physical units. They are taken to depend on the basket alone,
            as those of the model do: the hairline joins them in its order.
        stages: predictions at the same inputs, one column each; the keys name the stages.
        weights: shares of the assets in the basket, `(d,)`.
        title: of the figure.
        r2: R² to write into the panels, by stage and by `values`, `deltas` and `gammas`; that of what is drawn where
            it is not given.

    Raises:
        ValueError: samples without first or second derivatives.
    """
    basket = np.asarray(truth.x, np.float64) @ np.asarray(weights, np.float64)
    deviation = basket.std()
    standardised = (basket - basket.mean()) / (deviation if deviation > 0 else 1.0)
    exact = _quantities(truth)
    order = np.argsort(standardised)
    rows = some(len(basket))
    x = standardised[rows]
    width = 0.85 + 1.72 * max(len(stages), 2)
    figure = Figure((width, 5.4))
    grid = inches(figure, 3, len(stages), left=0.8, right=0.12, top=0.72, bottom=0.52, gap_x=0.1, gap_y=0.14)
    for column, (name, samples) in enumerate(stages.items()):
        found = _quantities(samples)
        colour = stage_colour(name, column)
        for row, (quantity, label) in enumerate(_ROWS.items()):
            axes = figure.add_subplot(grid[row, column])
            true, drawn = exact[quantity], found[quantity][rows]
            low, high = true.min(), true.max()
            span = high - low if high > low else 1.0
            # Room above for the number, and for errors of a third of the range on both sides.
            floor, ceiling = low - 0.3 * span, high + 0.45 * span
            axes.scatter(x, np.clip(drawn, floor, ceiling), s=4, color=colour, alpha=0.6, linewidths=0)
            for outside, edge, marker in ((drawn > ceiling, ceiling, "^"), (drawn < floor, floor, "v")):
                axes.scatter(
                    x[outside],
                    np.full(outside.sum(), edge),
                    s=7,
                    marker=marker,
                    color=colour,
                    linewidths=0,
                    clip_on=False,
                )
            axes.plot(standardised[order], true[order], color=INK, lw=0.8, zorder=3)
            axes.set_ylim(floor, ceiling)
            margin = 0.03 * np.ptp(standardised) or 1.0
            axes.set_xlim(standardised.min() - margin, standardised.max() + margin)
            given = None if r2 is None else r2.get(name, {}).get(quantity)
            number = _fraction_explained(true, found[quantity]) if given is None else given
            n_outside = int(((drawn > ceiling) | (drawn < floor)).sum())
            note = f"R² = {r_squared(number)}"
            if n_outside:
                note += f"\n{100 * n_outside / len(drawn):.{0 if n_outside > 0.1 * len(drawn) else 1}f} % outside"
            axes.text(
                0.035,
                0.965,
                note,
                transform=axes.transAxes,
                va="top",
                fontsize=7,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
            )
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.axhline(0, color=HAIRLINE, lw=0.7, zorder=0)
            axes.tick_params(labelleft=column == 0, labelbottom=row == 2)
            if column == 0:
                axes.set_ylabel(label, fontsize=7.5)
                axes.yaxis.set_label_coords(-0.5 / axes.get_position().width / width, 0.5)
            if row == 0:
                axes.set_title(textwrap.fill(stage_label(name), 20), color=colour, fontsize=8)
    left, right = 0.8 / width, 1 - 0.12 / width
    figure.supxlabel(
        "basket value w·x  (standard deviations from its mean)",
        x=(left + right) / 2,
        y=0.13 / 5.4,
        va="bottom",
        fontsize=8,
        color=MUTED,
    )
    figure.suptitle(title, x=left, y=1 - 0.14 / 5.4, ha="left", va="top", fontsize=9.5, weight="bold")
    figure.text(right, 1 - 0.16 / 5.4, "—  truth     ●  prediction", ha="right", va="top", fontsize=7.5, color=MUTED)
    return figure


def _fraction_explained(true: Float[np.ndarray, " n"], found: Float[np.ndarray, " n"]) -> float:
    spread = np.sum((true - true.mean()) ** 2)
    return float(1 - np.sum((true - found) ** 2) / spread) if spread > 0 else float("nan")
