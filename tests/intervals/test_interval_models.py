"""Enclosures of whole models: each holds the truth at members of its box, and is not much wider than it must be."""

import itertools

import diffrax
import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, arb_series
from interval_checks import DTYPES
from jax import lax

from sobolev_pruning.intervals import (
    Interval,
    inclusion,
    interval_grad,
    interval_value_and_grad,
    mean_value,
)


def members(box, count=3, seed=0):
    """Corners of a box of one axis, and points within."""
    low, upp = np.asarray(box.lower), np.asarray(box.upper)
    weights = [*itertools.product((0.0, 1.0), repeat=low.size), *np.random.default_rng(seed).random((count, low.size))]
    return [np.clip((low * (1 - np.array(t)) + upp * np.array(t)).astype(low.dtype), low, upp) for t in weights]


def assert_encloses(box, out, truths, excess=0.0, relative=0.0):
    """Every truth lies in the interval, whose width is limited.

    The limit is `excess` times the range of the truths or, of derivatives that hardly vary, `relative` times their
    size, and a thousand roundings.
    """
    low, upp = np.asarray(out.lower, np.float64), np.asarray(out.upper, np.float64)
    for i in np.ndindex(low.shape):
        values = [np.asarray(t, object)[i] for t in truths]
        for value in values:
            assert arb(float(low[i])) <= value, (i, box)
            assert value <= arb(float(upp[i])), (i, box)
        floats = [float(v) for v in values]
        size = (relative + 1000 * float(np.finfo(out.dtype).eps)) * max(map(abs, floats))
        assert upp[i] - low[i] <= excess * (max(floats) - min(floats)) + size, (i, out)


# A path by Euler and Maruyama, with the normals frozen.

STEPS = 252


def path_end(x, normals):
    """S(1) of dS = 0.03·S dt + σ·S dW, for `x = (S(0), σ)`."""
    dtype = x.dtype.type
    drift, root = dtype(0.03 / STEPS), dtype(1 / np.sqrt(STEPS))

    def step(spot, z):
        return spot * (1 + (drift + x[1] * (root * z))), None

    return lax.scan(step, x[0], normals)[0]


def exact_path(x, normals):
    """The end of the path, and its derivatives by spot and volatility."""
    dtype = x.dtype.type
    drift, root = (arb(float(dtype(v))) for v in (0.03 / STEPS, 1 / np.sqrt(STEPS)))
    spot, sigma = (arb(float(v)) for v in x)
    factor, by_sigma = arb(1), arb(0)
    for z in normals:
        noise = root * arb(float(z))
        one = 1 + drift + sigma * noise
        factor, by_sigma = factor * one, by_sigma + noise / one
    return spot * factor, [factor, spot * factor * by_sigma]


@pytest.mark.parametrize("dtype", DTYPES)
def test_euler_maruyama_path(dtype):
    normals = np.random.default_rng(3).normal(size=STEPS).astype(dtype)
    radius = np.array([0.05, 1e-5], dtype)
    box = Interval.from_midpoint(np.array([100.0, 0.2], dtype), radius)
    truths = [exact_path(x, normals) for x in members(box)]
    value, slope = interval_value_and_grad(path_end)(box, jnp.asarray(normals))
    assert_encloses(box, value, [t[0] for t in truths], 1.5)
    assert_encloses(box, slope, [t[1] for t in truths], relative=0.4)
    sharp = mean_value(path_end)(box, jnp.asarray(normals))
    assert_encloses(box, sharp, [t[0] for t in truths], 1.05)


# Prices of calls in closed form, strike 100, one year.


def normal_cdf(x):
    return (1 + lax.erf(x * x.dtype.type(np.sqrt(0.5)))) * x.dtype.type(0.5)


def black_scholes(spot, sigma):
    strike, rate, discount = (spot.dtype.type(v) for v in (100.0, 0.02, np.exp(-0.02)))
    d = (jnp.log(spot / strike) + rate) / sigma + sigma * spot.dtype.type(0.5)
    return spot * normal_cdf(d) - strike * discount * normal_cdf(d - sigma)


def bachelier(spot, sigma):
    moneyness = spot - spot.dtype.type(100)
    d = moneyness / sigma
    density = jnp.exp(d * d * spot.dtype.type(-0.5)) * spot.dtype.type(1 / np.sqrt(2 * np.pi))
    return moneyness * normal_cdf(d) + sigma * density


def exact_cdf(x, dtype):
    # With the constant that the program has, which is not quite √½.
    return (1 + (x * arb(float(dtype(np.sqrt(0.5))))).erf()) / 2


def exact_black_scholes(spot, sigma, dtype):
    rate, discount = (arb(float(dtype(v))) for v in (0.02, np.exp(-0.02)))
    d = ((spot / 100).log() + rate) / sigma + sigma / 2
    return spot * exact_cdf(d, dtype) - exact_cdf(d - sigma, dtype) * (100 * discount)


def exact_bachelier(spot, sigma, dtype):
    moneyness = spot - 100
    d = moneyness / sigma
    density = (d * d * arb(-0.5)).exp() * arb(float(dtype(1 / np.sqrt(2 * np.pi))))
    return moneyness * exact_cdf(d, dtype) + sigma * density


def greeks(price, x):
    """Price, delta, vega, gamma, as coefficients of Taylor series of balls."""
    dtype = x.dtype.type
    spot, sigma = (arb(float(v)) for v in x)
    along_spot = price(arb_series([spot, 1], 3), arb_series([sigma], 3), dtype)
    along_sigma = price(arb_series([spot], 3), arb_series([sigma, 1], 3), dtype)
    return along_spot[0], along_spot[1], along_sigma[1], 2 * along_spot[2]


# Function, its balls, midpoints and radii of three boxes each: near the money, out of it, in it.
CLOSED_FORMS = {
    "Black-Scholes": (black_scholes, exact_black_scholes, [(100, 0.2), (80, 0.3), (115, 0.25)], (0.5, 0.002)),
    "Bachelier": (bachelier, exact_bachelier, [(100, 20), (85, 30), (115, 25)], (0.5, 0.2)),
}


def closed_form(case, dtype):
    f, exact, middles, radius = CLOSED_FORMS[case]
    boxes = Interval.from_midpoint(np.array(middles, dtype), np.array([radius] * len(middles), dtype))
    truths = [list(zip(*(greeks(exact, x) for x in members(boxes[i])), strict=True)) for i in range(len(middles))]
    return f, boxes, truths


@pytest.mark.parametrize(
    ("case", "dtype"), [("Black-Scholes", np.float32), ("Black-Scholes", np.float64), ("Bachelier", np.float64)]
)
def test_closed_form_prices_and_vegas(case, dtype):
    f, boxes, truths = closed_form(case, dtype)
    price, vega = jax.vmap(interval_value_and_grad(f, 1))(boxes[:, 0], boxes[:, 1])
    for i, greek in enumerate(truths):
        assert_encloses(boxes[i], price[i], greek[0], excess=12)
        assert_encloses(boxes[i], vega[i], greek[2], relative=0.3)


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_closed_form_deltas_and_gammas(case):
    f, boxes, truths = closed_form(case, np.float64)
    delta, gamma = jax.vmap(interval_value_and_grad(jax.grad(f)))(boxes[:, 0], boxes[:, 1])
    for i, greek in enumerate(truths):
        assert_encloses(boxes[i], delta[i], greek[1], relative=0.5)
        assert_encloses(boxes[i], gamma[i], greek[3], relative=1)


# An ordinary differential equation at fixed steps: y' = sin y − a·y.


def explicit_euler(y, rate, times):
    term, solver = diffrax.ODETerm(lambda t, y, rate: jnp.sin(y) - rate * y), diffrax.Euler()

    def step(y, ends):
        return solver.step(term, *ends, y, rate, None, made_jump=False)[0], None

    return lax.scan(step, y, (times[:-1], times[1:]))[0]


def exact_euler(y, rate, times):
    """The end of the polygon, and its derivative by its start."""
    y, slope = arb(float(y)), arb(1)
    for first, last in itertools.pairwise(times):
        h = arb(float(last)) - arb(float(first))
        y, slope = y + h * (y.sin() - rate * y), slope * (1 + h * (y.cos() - rate))
    return y, slope


@pytest.mark.parametrize("dtype", DTYPES)
def test_ode_at_fixed_steps(dtype):
    times = np.linspace(0, 1, 21).astype(dtype)
    box = Interval.from_midpoint(np.array([1.0], dtype), np.array(1e-2, dtype))
    truths = [exact_euler(y[0], 1, times) for y in members(box)]

    def f(y):
        return explicit_euler(y[0], dtype(1), jnp.asarray(times))

    value, slope = interval_value_and_grad(f)(box)
    assert_encloses(box, value, [t[0] for t in truths], 8)
    assert_encloses(box, slope, [[t[1]] for t in truths], 40)
    assert_encloses(box, mean_value(f)(box), [t[0] for t in truths], 1.01)


def test_ode_by_diffrax_at_fixed_steps():
    """Times are multiples of a power of two, so that no condition on them is undecided."""
    times = np.arange(17) / 16
    box = Interval.from_midpoint(np.array([1.0]), np.array(1e-2))

    def f(y):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, rate: jnp.sin(y) - rate * y),
            diffrax.Euler(),
            t0=0.0,
            t1=1.0,
            dt0=1 / 16,
            y0=y,
            args=1.0,
            adjoint=diffrax.DirectAdjoint(),
            max_steps=16,
            throw=False,
        ).ys[0, 0]

    truths = [exact_euler(y[0], 1, times) for y in members(box)]
    value, slope = interval_value_and_grad(f)(box)
    assert_encloses(box, value, [t[0] for t in truths], 8)
    assert_encloses(box, slope, [[t[1]] for t in truths], 40)


# Newton's iteration for a square root.


def newton(a, more):
    def step(state):
        x, k = state
        return x - (x * x - a) / (2 * x), k + 1

    return lax.while_loop(lambda state: more(state, a), step, (jnp.ones_like(a) * 1.5, 0))[0]


NEWTON = {
    "by number of steps": lambda state, a: state[1] < 3,
    # The residuals are 1/4, 7·10⁻³ and 6·10⁻⁶: the condition is decided over the box.
    "by residual": lambda state, a: jnp.abs(state[0] ** 2 - a) > 1e-3,
    "by both": lambda state, a: (jnp.abs(state[0] ** 2 - a) > 1e-3) & (state[1] < 10),
}


@pytest.mark.parametrize("stop", NEWTON)
def test_newton_iteration(stop):
    box = Interval.from_midpoint(np.array([2.0]), np.array(1e-4))
    out = inclusion(lambda a: newton(a[0], NEWTON[stop]))(box)
    truths = []
    for (a,) in members(box):
        x, k = arb(1.5), 0
        while k < 3 if stop == "by number of steps" else abs(x * x - arb(float(a))) > 1e-3:
            x, k = x - (x * x - arb(float(a))) / (2 * x), k + 1
        assert k == (3 if stop == "by number of steps" else 2)
        truths.append(x)
    assert_encloses(box, out, truths, 8)


def test_newton_that_may_stop_at_several_steps():
    # Over this box the second residual is on both sides of the tolerance: one iterate or the next is returned.
    box = Interval.from_midpoint(np.array([2.0]), np.array(1e-2))

    def more(state, a):
        return (jnp.abs(state[0] ** 2 - a) > 7e-3) & (state[1] < 4)

    out = inclusion(lambda a: newton(a[0], more))(box)
    for (a,) in members(box, count=20):
        x = arb(1.5)
        while abs(x * x - arb(float(a))) > arb(7e-3):
            x = x - (x * x - arb(float(a))) / (2 * x)
        assert arb(float(out.lower)) <= x <= arb(float(out.upper))
    assert float(out.width) < 1


# A convolutional network: two layers of 3×3 kernels, tanh, a mean over the picture, a linear layer.


def convolutional(x, weights):
    for kernel in weights[:-1]:
        x = jnp.tanh(lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME")[0])
    return weights[-1] @ x.mean((1, 2))


def exact_convolutional(x, weights):
    layer = [[[arb(float(v)) for v in row] for row in channel] for channel in x]
    for kernel in weights[:-1]:
        n = len(layer[0])

        def entry(o, i, j, layer=layer, kernel=kernel, n=n):
            total = arb(0)
            for c, di, dj in itertools.product(range(len(layer)), range(3), range(3)):
                if 0 <= i + di - 1 < n and 0 <= j + dj - 1 < n:
                    total += layer[c][i + di - 1][j + dj - 1] * arb(float(kernel[o, c, di, dj]))
            return total.tanh()

        layer = [[[entry(o, i, j) for j in range(n)] for i in range(n)] for o in range(kernel.shape[0])]
    means = [sum((v for row in channel for v in row), arb(0)) / (len(channel) ** 2) for channel in layer]
    return [sum((arb(float(w)) * m for w, m in zip(row, means, strict=True)), arb(0)) for row in weights[-1]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_convolutional_network(dtype):
    rng = np.random.default_rng(5)
    shapes = [(3, 1, 3, 3), (2, 3, 3, 3), (2, 2)]
    weights = [(rng.normal(size=s) / np.sqrt(np.prod(s[1:]))).astype(dtype) for s in shapes]
    middle = rng.normal(size=(1, 4, 4)).astype(dtype)
    box = Interval.from_midpoint(middle, np.array(1e-2, dtype))
    low, upp = np.asarray(box.lower), np.asarray(box.upper)
    points = [np.where(rng.random(middle.shape) < 0.5, low, upp) for _ in range(3)] + [middle]
    value = inclusion(convolutional)(box, weights)
    slope = interval_grad(lambda x: convolutional(x, weights)[0])(box)
    plain = jax.vmap(jax.grad(lambda x: convolutional(x, weights)[0]))(jnp.asarray(np.stack(points)))
    for x, derivative in zip(points, plain, strict=True):
        for i, truth in enumerate(exact_convolutional(x, weights)):
            assert arb(float(value.lower[i])) <= truth <= arb(float(value.upper[i]))
        margin = 100 * np.finfo(dtype).eps  # of the plain derivative
        assert bool(((slope.lower <= derivative + margin) & (derivative - margin <= slope.upper)).all())
    assert float(value.width.max()) < 0.2
    assert float(slope.width.max()) < 0.1


def test_the_balls_are_precise():
    assert flint.ctx.prec >= 200


@pytest.mark.parametrize(
    "derivative",
    [jax.jacrev, jax.jacfwd, lambda f: lambda x: jax.vmap(jax.vjp(f, x)[1])(jnp.array([[1.0, -2.0]]))[0]],
    ids=["reverse", "forward", "mapped pullback"],
)
def test_a_piecewise_function_of_a_batch_keeps_its_form(derivative):
    """`norm.cdf` has two pieces that meet at ±1; taken for unrelated, its derivative jumps there by 0.24."""
    f = derivative(lambda x: jax.scipy.stats.norm.cdf((x - 1.1) / 0.2))
    box = Interval.from_midpoint(jnp.array([0.9, 1.3]), 1e-6)
    assert float(jnp.max(inclusion(f)(box).width)) < 1e-4
