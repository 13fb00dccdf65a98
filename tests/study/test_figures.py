"""Every picture is drawn, labelled and legible, also for the smallest and the emptiest of data."""

import itertools
import threading

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from sobolev_pruning.reference import Samples
from sobolev_pruning.study._figures import (
    errors_by_stage,
    loss_curves,
    network_before_after,
    payoff_smoothing,
    predictions,
    sample_paths,
    save_figures,
    significance,
)
from sobolev_pruning.study._figures._numbers import r_squared, scientific
from sobolev_pruning.study._figures._style import spread, style

STAGES = (
    "oversized",
    "pruned",
    "finetuned_vanilla",
    "finetuned_nn_data",
    "finetuned_nn_curvature",
    "finetuned_reference",
)
D = 7
RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(D))


def smooth_samples(n: int = 300, wrong: float = 0.0) -> Samples:
    """Samples of a logistic function of the basket, with an error of relative size `wrong`."""
    x = np.random.default_rng(1).uniform(0.5, 1.5, (n, D))
    s = (1 + wrong) / (1 + np.exp(-6 * (x @ WEIGHTS - 1)))
    noise = wrong * np.random.default_rng(2).normal(size=n)
    gradient = (6 * s * (1 - s) + noise)[:, None] * WEIGHTS
    hessian = (36 * s * (1 - s) * (1 - 2 * s) + 9 * noise)[:, None, None] * WEIGHTS[:, None] * WEIGHTS
    return Samples(*map(jnp.asarray, (x, s[:, None], gradient[:, None], hessian[:, None])))


def paths(n: int, n_times: int = 41) -> tuple[np.ndarray, np.ndarray]:
    moves = 0.04 * np.random.default_rng(3).normal(size=(n, n_times, D))
    return np.linspace(0, 2, n_times), 1 + np.cumsum(moves, axis=1)


def scores(n_layers: int, width: int = 128, zeros: int = 0) -> list[np.ndarray]:
    out = [np.exp(np.random.default_rng(i).normal(-3, 2, width)) for i in range(n_layers)]
    for layer in out:
        layer[:zeros] = 0
    return out


def stages(names=STAGES, parameters=(83713, 433, 40)) -> list[dict]:
    def stage(name: str, n: int, error: float) -> dict:
        return {
            "name": name,
            "parameters": n,
            "r2": {"values": 1 - error, "deltas": 1 - 3 * error, "gammas": 1 - 30 * error},
        }

    out = [stage(name, parameters[0], 3e-4) for name in names if name == "oversized"]
    return out + [
        stage(name, n, 10.0**-i) for n in parameters[1:] for i, name in enumerate(names, 1) if name != "oversized"
    ]


PUBLISHED = {name: {"values": 0.9995, "deltas": 0.998, "gammas": 0.99} for name in STAGES if "vanilla" not in name}
BASKET = RNG.normal(1, 0.3, 400)
PAYOFF = np.maximum(BASKET - 1.1, 0)
SMOOTHED = {f"width {h}": (BASKET - 1.1) / (1 + np.exp(-(BASKET - 1.1) / h)) for h in (0.01, 0.05, 0.1)}
CURVES = {name: np.exp(-np.arange(500) / s) + 0.1 for name, s in (("vanilla", 90), ("Sobolev, reference", 40))}
ERRORS = {
    name: {q: (np.arange(1, 20) * 25, 10.0 ** -np.linspace(1, p, 19)) for q in ("values", "deltas", "gammas")}
    for name, p in (("vanilla", 3), ("Sobolev, reference", 6))
}
BEFORE = [D, *[128] * 6, 1]
EIGHT = [np.arange(8) * 13] * 6
THREE = [[1, 60, 120], None, None, None, None, [3, 4, 127]]

CASES = {
    "sample_paths": lambda: sample_paths(*paths(300), WEIGHTS, 1.1, 1.0),
    "sample_paths-one_asset_one_path": lambda: sample_paths(paths(1)[0], paths(1)[1][:, :, :1], np.ones(1), 1.1, 1.0),
    "payoff_smoothing": lambda: payoff_smoothing(BASKET, PAYOFF, PAYOFF, 1.1, SMOOTHED),
    "payoff_smoothing-recovered": lambda: payoff_smoothing(BASKET, PAYOFF, PAYOFF, 1.1, SMOOTHED, recovered=PAYOFF),
    "payoff_smoothing-no_widths": lambda: payoff_smoothing(BASKET, PAYOFF, PAYOFF, 1.1, {}),
    "predictions": lambda: predictions(
        smooth_samples(), {n: smooth_samples(wrong=0.3 / 9**i) for i, n in enumerate(STAGES)}, WEIGHTS, "7-3-3-1"
    ),
    "predictions-one_stage": lambda: predictions(
        smooth_samples(), {"mine": smooth_samples()}, WEIGHTS, "A title", r2={"mine": {"deltas": 0.123456}}
    ),
    "loss_curves": lambda: loss_curves(CURVES),
    "loss_curves-with_errors": lambda: loss_curves(CURVES, ERRORS),
    "loss_curves-one_step": lambda: loss_curves({"short": np.ones(1)}),
    "significance": lambda: significance(WEIGHTS, scores(6, zeros=9), EIGHT),
    "significance-layers_removed": lambda: significance(WEIGHTS, scores(6), THREE, ["asset"] * D),
    "significance-nothing_kept_nothing_significant": lambda: significance(np.zeros(D), [np.zeros(4)]),
    "network": lambda: network_before_after(BEFORE, [D, *[8] * 6, 1], EIGHT, scores(6)),
    "network-layers_removed": lambda: network_before_after(
        BEFORE, [D, 3, 3, 1], THREE, scores(6, zeros=128), weights=[np.eye(3, D), np.zeros((3, 3)), np.ones((1, 3))]
    ),
    "network-no_scores": lambda: network_before_after([2, 4, 1], [2, 1, 1], [[0]]),
    "errors_by_stage": lambda: errors_by_stage(stages(), PUBLISHED),
    "errors_by_stage-one_stage": lambda: errors_by_stage(stages(["finetuned_reference"], (0, 40))),
    "errors_by_stage-perfect": lambda: errors_by_stage(
        [{"name": "oversized", "parameters": 5, "r2": {"values": 1.0, "deltas": 1.0, "gammas": 1.0}}]
    ),
}


@pytest.fixture(params=CASES, scope="module")
def figure(request) -> Figure:
    return CASES[request.param]()


def texts(figure: Figure) -> list[tuple[str, np.ndarray]]:
    """What is written in a figure, with the corners of its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = [
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (axis.get_major_ticks() + axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    ]
    # Ticks outside of the view keep their label but are not drawn.
    drawn = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False)
        for label in (tick.label1, tick.label2)
        if min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    }
    hidden = {id(label) for label in ticks} - drawn
    return [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()).extents)
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden
    ]


def test_every_panel_is_labelled(figure):
    assert figure.axes
    for axes in figure.axes:
        assert axes.get_xlabel() or figure.get_supxlabel() or axes.get_ylabel()
        on_its_left = axes.get_shared_y_axes().get_siblings(axes)
        row = [other for other in figure.axes if other.get_position().y0 == axes.get_position().y0]
        if axes.get_yticks().size:
            names = [label.get_text() for other in row for label in other.get_yticklabels()]
            speak_for_themselves = any(name.isalpha() or " " in name for name in names)
            assert speak_for_themselves or any(other.get_ylabel() for other in [*on_its_left, *row])


def test_nothing_is_cut_and_nothing_overlaps(figure):
    width, height = figure.get_size_inches() * figure.dpi
    found = texts(figure)
    assert found
    for text, (x0, y0, x1, y1) in found:
        assert -1 <= x0, text
        assert -1 <= y0, text
        assert x1 <= width + 1, text
        assert y1 <= height + 1, text
    for (a, (ax0, ay0, ax1, ay1)), (b, (bx0, by0, bx1, by1)) in itertools.combinations(found, 2):
        overlap = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
        # Boxes hold the room for accents and descenders; a pixel or two of it may be shared.
        assert min(overlap) < 2.5, (a, b)


def test_the_overlap_check_sees_an_overlap():
    figure = Figure((2, 2))
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.5, "two")
    with pytest.raises(AssertionError):
        test_nothing_is_cut_and_nothing_overlaps(figure)


def test_given_r2_is_written():
    written = [text for text, _ in texts(CASES["predictions-one_stage"]())]
    assert f"R² = {r_squared(0.123456)}" in written


def test_outliers_are_counted():
    wild = smooth_samples(wrong=20.0)
    written = " ".join(t for t, _ in texts(predictions(smooth_samples(), {"wild": wild}, WEIGHTS, "t")))
    assert "% outside" in written


def test_what_cannot_be_drawn_is_refused():
    x = jnp.ones((3, D))
    with pytest.raises(ValueError, match="without `dydx` or `d2ydx2`"):
        predictions(smooth_samples(), {"s": Samples(x, jnp.ones((3, 1)))}, WEIGHTS, "t")
    with pytest.raises(ValueError, match="`kept` holds"):
        network_before_after([2, 4, 4, 1], [2, 1, 1], [[0], [1]])


def test_files_are_written_and_reproducible(tmp_path):
    images = save_figures({"a": CASES["network-no_scores"]()}, tmp_path / "first")
    save_figures({"a": CASES["network-no_scores"]()}, tmp_path / "second")
    assert images["a"][:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(p.name for p in (tmp_path / "first").iterdir()) == ["a.pdf", "a.png"]
    assert (tmp_path / "first" / "a.png").read_bytes() == images["a"]
    for name in ("a.png", "a.pdf"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_global_settings_are_left_alone():
    before = dict(matplotlib.rcParams)
    CASES["loss_curves"]()
    assert dict(matplotlib.rcParams) == before


def test_threads_do_not_disturb_each_other():
    seen = []

    def draw():
        with style():
            seen.append(matplotlib.rcParams["font.size"])
        CASES["errors_by_stage"]()

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [8.0] * 4


def test_spread_keeps_order_and_distance():
    placed = spread(np.array([0.0, 0.01, 5.0, 0.0]), 1.0)
    assert np.all(np.diff(np.sort(placed)) >= 1 - 1e-6)
    assert np.argmax(placed) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.999545, "0.999 545"),
        (0.9999987, "0.999 998 7"),
        (1 - 2.4e-11, "0.999 999 999 976"),
        (0.9024704, "0.902 470"),
        (1.0, "1"),
        (1 - 1e-16, "1"),
        (-3.214, "−3.21"),
        (-1.5e7, "−1.5·10⁷"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_r_squared_shows_its_distance_from_one(value, text):
    assert r_squared(value, separator=" ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0345, "0.035"), (9.99, "10"), (-2.5e-7, "−2.5·10⁻⁷"), (1234.0, "1234"), (2e9, "2.0·10⁹")],
)
def test_scientific(value, text):
    assert scientific(value) == text
