"""Two ways in which a kink becomes smooth: a sigmoid, and the expectation over the paths."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ._style import BLUE, FAINT, INK, MUTED, ORANGE, SKY, VERMILLION, AnyArray, inches, some, style

_WIDTH_COLOURS = (VERMILLION, ORANGE, SKY, BLUE)


@style()
def payoff_smoothing(
    basket: Float[AnyArray, " n"],
    payoffs: Float[AnyArray, " n"],
    prices: Float[AnyArray, " n"],
    strike: float,
    smoothed: Mapping[str, Float[AnyArray, " n"]],
    *,
    recovered: Float[AnyArray, " n"] | None = None,
) -> Figure:
    """The kink of the payoff with its sigmoidal smoothing, and the price that regression finds among the payoffs.

    Args:
        basket: values of the basket, `(n,)`, in units of today's spot and in any order: at maturity in the left
            panel, at the exposure date in the right one.
        payoffs: one-path payoffs of samples whose basket was `basket` at the exposure date, `(n,)`.
        prices: their conditional expectation at `basket`, `(n,)`.
        strike: in units of the basket.
        smoothed: the smoothed payoff at `basket`, `(n,)`, for each width; the keys label the lines.
        recovered: the price as a surrogate learned it, `(n,)`, drawn over `prices`.
    """
    order = np.argsort(np.asarray(basket))
    b, y, price = (np.asarray(a, np.float64)[order] for a in (basket, payoffs, prices))
    figure = Figure((9.6, 3.7))
    grid = inches(figure, 1, 2, left=0.62, right=0.2, top=0.42, bottom=0.52, gap_x=0.75, widths=[1.0, 1.35])
    left, right = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])

    kink = np.array([min(b[0], strike), strike, max(b[-1], strike)])
    for axes in (left, right):
        axes.plot(kink, np.maximum(kink - strike, 0), color=INK, lw=1.1, zorder=5, label="payoff max(w·S − K, 0)")

    # As far from the strike as the widest smoothing is seen, and no further.
    curves = {label: np.asarray(values, np.float64)[order] for label, values in smoothed.items()}
    gap = np.max([np.abs(c - np.maximum(b - strike, 0)) for c in curves.values()], axis=0) if curves else 0 * b
    seen = np.abs(b - strike)[gap > 0.2 * gap.max()] if np.any(gap > 0) else np.abs(b - strike)
    reach = float(np.max(seen, initial=1e-3))
    for i, (label, curve) in enumerate(curves.items()):
        left.plot(b, curve, color=_WIDTH_COLOURS[i % len(_WIDTH_COLOURS)], lw=1.5, zorder=4 - 0.1 * i, label=label)
    left.set_xlim(strike - reach, strike + reach)
    inside = [c[np.abs(b - strike) <= reach] for c in curves.values()]
    left.set_ylim(min([c.min(initial=0.0) for c in inside], default=0.0) - 0.09 * reach, 0.95 * reach)
    left.set_title("The kink, and its sigmoidal smoothing")
    left.set_xlabel("basket value w·S at maturity T₂  (units of today's spot)")
    left.set_ylabel("payoff  (units of today's spot)")
    left.legend(loc="upper left", labelcolor="linecolor")

    rows = some(len(b))
    right.scatter(b[rows], y[rows], s=5, color=FAINT, alpha=0.75, linewidths=0, label="payoffs, one path each")
    if recovered is None:
        right.plot(b, price, color=BLUE, lw=2.0, zorder=6, label="price: their conditional expectation")
    else:
        found = np.asarray(recovered, np.float64)[order]
        right.scatter(b[rows], found[rows], s=9, color=SKY, linewidths=0, zorder=6, label="price, as regressed")
        right.plot(b, price, color=BLUE, lw=0.9, zorder=7, label="price: their conditional expectation")
    top = float(np.quantile(y, 0.995))
    right.set_xlim(*np.quantile(b, [0.002, 0.998]))
    right.set_ylim(-0.09 * top, 1.08 * top)
    right.set_title("The price, among the payoffs that it is learned from")
    right.set_xlabel("basket value w·S at exposure T₁  (units of today's spot)")
    right.set_ylabel("payoff and price  (units of today's spot)")
    right.legend(loc="upper left", scatterpoints=1)
    for axes in (left, right):
        axes.axvline(strike, color=MUTED, lw=0.7, ls=(0, (1, 2)), zorder=1)
        axes.annotate(
            f"K = {strike:.2f}",
            (strike, 0),
            (3, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="bottom",
            fontsize=7,
            color=MUTED,
        )
    return figure
