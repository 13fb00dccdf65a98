"""What the reference model simulates."""

import numpy as np
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ._style import BLUE, FAINT, INK, MUTED, ORANGE, SIGNIFICANCE, AnyArray, inches, some, spread, style

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@style()
def sample_paths(
    times: Float[AnyArray, " n_times"],
    paths: Float[AnyArray, "n n_times d"],
    weights: Float[AnyArray, " d"],
    strike: float,
    exposure_date: float,
    *,
    scenario: int = 0,
    max_paths: int = 140,
) -> Figure:
    """Sample paths of the SDE: one scenario asset by asset, and many of the basket with its law at both dates.

    Args:
        times: in years, from today to the maturity T₂, `(n_times,)`.
        paths: spots in units of today's spot, `(n, n_times, d)`.
        weights: shares of the assets in the basket, `(d,)`.
        strike: in units of the basket.
        exposure_date: T₁, in years.
        scenario: which path is shown asset by asset.
        max_paths: of the basket; the histograms take them all.
    """
    t = np.asarray(times, np.float64)
    spots = np.asarray(paths, np.float64)
    w = np.asarray(weights, np.float64)
    baskets = spots @ w
    shown = some(len(baskets), max_paths)
    figure = Figure((9.6, 3.9))
    grid = inches(figure, 1, 2, left=0.62, right=1.72, top=0.45, bottom=0.52, gap_x=0.95, widths=[3.0, 4.1])
    one = figure.add_subplot(grid[0])
    many = figure.add_subplot(grid[1], sharey=one)
    law = figure.add_subplot(inches(figure, 1, 1, left=8.08, right=0.2, top=0.45, bottom=0.52)[0], sharey=one)

    visible = np.concatenate([baskets[shown].ravel(), spots[scenario].ravel()])
    low, high = visible.min(), visible.max()
    one.set_ylim(low - 0.04 * (high - low), high + 0.12 * (high - low))
    low, high = one.get_ylim()

    # Single assets, as thick and as dark as they weigh.
    share = w / w.max()
    for i in np.argsort(w):
        one.plot(t, spots[scenario, :, i], color=SIGNIFICANCE(0.25 + 0.55 * share[i]), lw=0.6 + 1.1 * share[i])
    one.plot(t, baskets[scenario], color=INK, lw=2.0)
    ends = np.append(spots[scenario, -1], baskets[scenario, -1])
    names = [f"S{i + 1}".translate(_SUBSCRIPTS) for i in range(len(w))] + ["w·S"]
    for end, place, name in zip(ends, spread(ends, 0.047 * (high - low)), names, strict=True):
        strong = name == "w·S"
        one.annotate(
            name,
            (t[-1], end),
            (t[-1] + 0.02 * (t[-1] - t[0]), place),
            va="center",
            fontsize=7,
            color=INK if strong else MUTED,
            weight="bold" if strong else "normal",
            annotation_clip=False,
        )
    one.set_title("One path: the assets and their basket")
    one.set_ylabel("spot  (units of today's spot)")

    # Many baskets, in the colour of what they pay.
    paid = baskets[:, -1] > strike
    for group, colour, depth in ((~paid, FAINT, 1), (paid, BLUE, 2)):
        rows = shown[group[shown]]
        many.add_collection(
            LineCollection(
                [np.column_stack([t, baskets[row]]) for row in rows],
                colors=colour,
                linewidths=0.5,
                alpha=0.55 if colour == FAINT else 0.4,
                zorder=depth,
                rasterized=True,
            )
        )
    many.set_title("Many paths of the basket")
    many.set_ylabel("basket w·S  (units of today's spot)")

    for axes in (one, many):
        axes.set_xlim(t[0], t[-1])
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("time  (years)")
        axes.axhline(strike, color=ORANGE, lw=1.0, zorder=3)
        for date, name in ((exposure_date, "T₁ exposure"), (t[-1], "T₂ maturity")):
            axes.axvline(date, color=INK, lw=0.8, ls=(0, (1, 2)), zorder=3)
            axes.text(
                date - 0.012 * (t[-1] - t[0]),
                high,
                name,
                ha="right",
                va="top",
                fontsize=7,
                color=INK,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85},
            )
    many.text(
        t[0] + 0.015 * (t[-1] - t[0]),
        strike + 0.012 * (high - low),
        f"strike K = {strike:.2f}",
        color=ORANGE,
        fontsize=7,
        va="bottom",
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )

    edges = np.linspace(low, high, 41).tolist()
    at_exposure = baskets[:, np.argmin(np.abs(t - exposure_date))]
    law.hist(at_exposure, edges, density=True, orientation="horizontal", color=FAINT, alpha=0.6, label="at T₁")
    law.hist(baskets[:, -1], edges, density=True, orientation="horizontal", histtype="step", color=BLUE, label="at T₂")
    law.axhline(strike, color=ORANGE, lw=1.0)
    law.legend(loc="upper right")
    law.set_title("Its law")
    law.spines["left"].set_visible(False)
    law.tick_params(axis="y", length=0)
    law.set_xlabel("density")
    law.set_xticks([])
    law.tick_params(labelleft=False)
    many.tick_params(labelleft=True)
    return figure
