"""Lines beside graphs: the residual of every slope encloses what it must, and is not much wider."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interval_checks import DTYPES

from sobolev_pruning.intervals import Interval, _lines, inclusion
from sobolev_pruning.intervals._activations import definitions
from sobolev_pruning.intervals._forms import ONE, Indicator, Polynomial, Variable
from sobolev_pruning.intervals._identities import rsqrt, softplus
from sobolev_pruning.intervals._lines import CELLS, lines_of_form, lines_of_function
from sobolev_pruning.intervals._slopes import derivatives

X = Polynomial.of(Variable(0))
STEP = Polynomial.of(Indicator(Variable(0), Fraction(0), True))


def _sigmoid(t):
    return 0.5 * (1 + np.tanh(t / 2))


# name: (form, the same function in float64)
FORMS = {
    "silu": (definitions("float64")["silu"], lambda t: t * _sigmoid(t)),
    "sigmoid": (definitions("float64")["sigmoid"], _sigmoid),
    "gelu": (definitions("float64")["gelu"], lambda t: np.asarray(jax.nn.gelu(t, approximate=False))),
    "mish": (definitions("float64")["mish"], lambda t: np.asarray(jax.nn.mish(t))),
    "softplus": (softplus(X), lambda t: np.logaddexp(0, t)),
    "parabola": (X * X - X.scaled(Fraction(3)), lambda t: t * t - 3 * t),
    "cubic": (X**3 - X, lambda t: t**3 - t),
    "squareplus": (rsqrt(X * X + ONE), lambda t: 1 / np.sqrt(t * t + 1)),
    "relu": (X * STEP, lambda t: np.maximum(t, 0)),
    "leaky relu": (X * STEP + (X - X * STEP).scaled(Fraction(2)), lambda t: np.where(t > 0, t, 2 * t)),
    "jump": (X + STEP, lambda t: t + (t > 0)),
}


def _boxes(dtype, n=60, seed=3):
    rng = np.random.default_rng(seed)
    middle = rng.normal(0, 3, n).astype(dtype)
    radius = np.exp(rng.normal(-1, 2, n)).astype(dtype)
    radius[:5] = 0
    return Interval(jnp.asarray(middle - radius), jnp.asarray(middle + radius))


def _points(x, count=201):
    low, upp = (np.asarray(end, np.float64) for end in (x.lower, x.upper))
    return low + (upp - low) * np.linspace(0, 1, count)[:, None]


def check_lines(lines, f, x):
    """The residual of several slopes holds all residuals at points, which miss the true ones by rounding only."""
    t = _points(x)
    for slope in (lines.secant(), lines.least_squares(), *lines.tangents(), jnp.zeros_like(x.lower), x.lower):
        residual = lines.residual(slope)
        exact = f(t) - np.asarray(slope, np.float64) * t
        slack = 1e-13 * (1 + np.abs(f(t)) + np.abs(np.asarray(slope) * t))
        assert np.all(np.asarray(residual.lower, np.float64) <= (exact + slack).min(0))
        assert np.all(np.asarray(residual.upper, np.float64) >= (exact - slack).max(0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMS)
def test_residuals_of_forms(name, dtype):
    form, f = FORMS[name]
    x = _boxes(dtype)
    check_lines(lines_of_form(form, x), f, x)


@pytest.mark.parametrize("name", ["silu", "sigmoid", "softplus", "parabola", "relu"])
def test_the_best_line_is_nearly_as_near_as_lines_can_be(name):
    form, f = FORMS[name]
    x = _boxes(np.float64)
    line = lines_of_form(form, x).best()
    t = _points(x, 65)
    slopes = np.linspace(-30, 30, 12001)[:, None, None]
    least = np.ptp(f(t)[None] - slopes * t, axis=1).min(0)
    width = np.asarray(line.residual.upper - line.residual.lower)
    narrow = np.asarray(x.width) < 8
    assert narrow.sum() > 40
    assert np.all(width[narrow] <= 1.2 * least[narrow] + 1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_residuals_of_a_smooth_function(dtype):
    x = _boxes(dtype)
    lines = lines_of_function(inclusion(jnp.sin), inclusion(lambda t: -jnp.sin(t)), x)
    check_lines(lines, np.sin, x)


def test_a_point_and_an_unbounded_interval():
    form, _ = FORMS["silu"]
    x = Interval([1.0, -np.inf, 2.0], [1.0, 3.0, np.inf])
    line = lines_of_form(form, x).best()
    silu = 1.0 / (1 + np.exp(-1.0))
    assert line.residual.lower[0] <= silu - line.slope[0] <= line.residual.upper[0]
    assert not np.isfinite(line.residual.upper[1:] - line.residual.lower[1:]).any()


def test_derivatives_lie_between_the_forms():
    gelu, f = FORMS["gelu"]
    forms = derivatives(gelu, 1)
    assert len(forms) == 2
    values = [
        np.asarray(lines_of_form(form, Interval(jnp.asarray([0.7]), jnp.asarray([0.7])))._samples[0].values.midpoint)[0]
        for form in forms
    ]
    slope = (f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6
    np.testing.assert_allclose(values, slope, rtol=1e-8)
    assert derivatives(X**3, 2) == (X.scaled(Fraction(6)),)


def test_a_wrong_second_derivative_is_caught(monkeypatch):
    form, f = FORMS["silu"]
    x = _boxes(np.float64)
    monkeypatch.setattr(_lines, "derivatives", lambda p, order: (Polynomial.constant(0),))
    with pytest.raises(AssertionError):
        check_lines(_lines.Lines(_lines._shared_samples.__wrapped__(x.lower, x.upper, p=form, is_outward=True)), f, x)


def test_a_forgotten_piece_is_caught(monkeypatch):
    form, f = FORMS["relu"]
    x = _boxes(np.float64)
    whole = _lines.pieces
    monkeypatch.setattr(_lines, "pieces", lambda p, v: whole(p, v)[1:])
    with pytest.raises(AssertionError):
        check_lines(_lines.Lines(_lines._shared_samples.__wrapped__(x.lower, x.upper, p=form, is_outward=True)), f, x)


def test_cells_cover_the_interval():
    x = _boxes(np.float32)
    points, gap = _lines.cells_of(x.lower, x.upper)
    assert points.shape == (CELLS + 1, *x.shape)
    assert np.all(points[0] == x.lower)
    assert np.all(points[-1] == x.upper)
    assert np.all(np.diff(np.asarray(points, np.float64), axis=0) <= np.asarray(gap, np.float64))
