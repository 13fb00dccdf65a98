"""Activations and their derivatives are recognised, enclosed, and enclosed by their exact ranges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from interval_checks import DTYPES, as_interval, assert_encloses, cast, ends, members, sigmoid

from sobolev_pruning.intervals import Interval, inclusion
from sobolev_pruning.intervals._activations import known_forms
from sobolev_pruning.intervals._critical import CRITICAL


def _gelu(dtype):
    """GELU and its derivatives as JAX computes them: with constants rounded to the dtype, also that of erf'."""
    c, k = cast(np.sqrt(0.5), dtype), cast(2 / np.sqrt(np.pi), dtype)

    def gauss(x):
        return (-(c * x) * (c * x)).exp()

    return (
        lambda x: x / 2 * (-c * x).erfc(),
        lambda x: (-c * x).erfc() / 2 + x / 2 * k * c * gauss(x),
        lambda x: k * c * gauss(x) * (1 - c * c * x * x),
    )  # fmt: skip


def _gelu_tanh(dtype):
    a, b = cast(np.sqrt(2 / np.pi), dtype), cast(0.044715, dtype)

    def parts(x):
        q = a * (x + b * x * x * x)
        return sigmoid(2 * q), 2 * a * (1 + 3 * b * x * x), 12 * a * b * x

    def second(x):
        s, q1, q2 = parts(x)
        r = sigmoid(-2 * a * (x + b * x * x * x))
        return 2 * s * r * q1 + x * (s * r * (r - s) * q1 * q1 + s * r * q2)

    return (
        lambda x: x * parts(x)[0],
        lambda x: parts(x)[0] + x * parts(x)[0] * sigmoid(-2 * a * (x + b * x * x * x)) * parts(x)[1],
        second,
    )  # fmt: skip


def _logistic(x, order):
    s, r = sigmoid(x), sigmoid(-x)
    return (s, s * r, s * r * (r - s))[order]


def _silu(x, order):
    s, r = sigmoid(x), sigmoid(-x)
    return (x * s, s * (1 + x * r), s * r * (2 + x * (r - s)))[order]


def _tanh(x, order):
    s, r = sigmoid(2 * x), sigmoid(-2 * x)
    return (x.tanh(), 4 * s * r, 8 * s * r * (r - s))[order]


def _softplus(x, order):
    if order == 0:
        return (1 + x.exp()).log() if x < 0 else x + (-x).exp().log1p()
    return _logistic(x, order - 1)


def _elu(x, order):
    if x > 0:
        return (x, arb(1), arb(0))[order]
    return x.expm1() if order == 0 else x.exp()


TRUTH = {
    "sigmoid": (jax.nn.sigmoid, lambda dtype, order: lambda x: _logistic(x, order)),
    "tanh": (jnp.tanh, lambda dtype, order: lambda x: _tanh(x, order)),
    "silu": (jax.nn.silu, lambda dtype, order: lambda x: _silu(x, order)),
    "softplus": (jax.nn.softplus, lambda dtype, order: lambda x: _softplus(x, order)),
    "gelu": (functools.partial(jax.nn.gelu, approximate=False), lambda dtype, order: _gelu(dtype)[order]),
    "gelu_tanh": (functools.partial(jax.nn.gelu, approximate=True), lambda dtype, order: _gelu_tanh(dtype)[order]),
    "relu": (
        jax.nn.relu,
        lambda dtype, order: lambda x: (x if x > 0 else arb(0), arb(int(x > 0)), arb(0))[order],
    ),
    "leaky_relu": (
        jax.nn.leaky_relu,
        lambda dtype, order: lambda x: (
            x if x >= 0 else cast(0.01, dtype) * x, arb(1) if x >= 0 else cast(0.01, dtype), arb(0)
        )[order],
    ),
    "elu": (jax.nn.elu, lambda dtype, order: lambda x: _elu(x, order)),
}  # fmt: skip

# Their natural extension only: sound, and not the range.
NATURAL = {"mish": jax.nn.mish, "selu": jax.nn.selu, "celu": jax.nn.celu, "hard_tanh": jax.nn.hard_tanh}


def derived(f, order: int, mode: str):
    """The elementwise derivative by a reverse sweep with a cotangent, or by forward sweeps."""
    if order == 0:
        return lambda x, c: c * f(x)
    if mode == "reverse":
        inner = derived(f, order - 1, mode)
        return lambda x, c: jax.vjp(lambda x: inner(x, jnp.ones_like(x)), x)[1](c)[0]
    inner = derived(f, order - 1, "forward")
    return lambda x, c: jax.jvp(lambda x: inner(x, jnp.ones_like(x)), (x,), (c,))[1]


def boxes(dtype, n=48):
    """Intervals of moderate and of every other size."""
    rng = np.random.default_rng(1)
    middle, radius = rng.normal(0, 2, n), np.abs(rng.normal(0, 1, n)) * rng.choice([0, 1e-4, 0.3, 2], n)
    a, b = (middle - radius).astype(dtype), (middle + radius).astype(dtype)
    c, d = ends(dtype, 7, n)
    special = [
        (-88.73, -88.73),
        (-3, 0),
        (-np.inf, np.inf),
        (0, np.inf),
        (-np.inf, -5),
        (100, 1e30),
        (-1e30, -100),
        (-750, -0.1),
    ]
    e, f = np.array(special, dtype).T
    return np.concatenate([a, c, e]), np.concatenate([b, d, f])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("name", TRUTH)
def test_activations_are_enclosed_by_their_ranges(name, mode, order, dtype):
    f, truth = TRUTH[name]
    low, upp = boxes(dtype)
    out = inclusion(lambda x: derived(f, order, mode)(x, jnp.ones_like(x)))(as_interval(low, upp))
    value = truth(dtype, order)
    points = members(low, upp, 3)
    assert_encloses(out, lambda x: value(x) if abs(x) < 1e4 else None, [(p,) for p in points])
    # The range itself: every bound is attained, up to rounding, by some point of a fine grid.
    width = np.float64(upp) - np.float64(low)
    for i in np.flatnonzero((np.abs(low) < 30) & (np.abs(upp) < 30) & (width < 20))[:30]:
        grid = [value(arb(float(x))) for x in np.linspace(float(low[i]), float(upp[i]), 400 if width[i] else 1)]
        least, most = min(map(float, grid)), max(map(float, grid))
        allowed = (
            600 * float(np.finfo(dtype).eps) * (1 + max(abs(least), abs(most)))
            + 3e-5 * width[i] ** 2
            + 1e-7 * (width[i] > 0)
        )
        if name in ("relu", "leaky_relu", "elu") and order:
            allowed += 5e-2 * (width[i] > 0)  # the grid misses a jump
        assert least - float(out.lower[i]) <= allowed
        assert float(out.upper[i]) - most <= allowed


def test_silu_over_a_negative_interval_is_its_range():
    # [−0.27846…, 0], of which x·σ(x) in interval arithmetic makes [−1.5, 0].
    minimum = -0.278464542761073795109358739023
    for dtype in DTYPES:
        out = inclusion(jax.nn.silu)(Interval(jnp.asarray([-3.0], dtype), jnp.asarray([0.0], dtype)))
        eps = float(np.finfo(dtype).eps)
        assert minimum - 4 * eps <= float(out.lower[0]) <= minimum
        assert 0 <= float(out.upper[0]) <= 1e-30


def test_a_function_called_silu_is_not_taken_for_silu():
    def silu(x):
        return x * jax.nn.sigmoid(x) * jax.nn.sigmoid(x)

    out = inclusion(jax.jit(silu))(Interval(jnp.array([-3.0]), jnp.array([3.0])))
    assert float(out.upper[0]) >= 3 / (1 + np.exp(-3)) ** 2
    almost = inclusion(lambda x: x * jax.nn.sigmoid(x) * 1.0000001 - 0.01 * x)(
        Interval(jnp.array([-3.0]), jnp.array([3.0]))
    )
    x = np.linspace(-3, 3, 1001)
    values = x / (1 + np.exp(-x)) * 1.0000001 - 0.01 * x
    assert float(almost.lower[0]) <= values.min()
    assert values.max() <= float(almost.upper[0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x / (1 + jnp.exp(-x)),
        lambda x: 2.0 * x * (0.5 + 0.5 * jnp.tanh(x / 2)) / 2.0,
        lambda x: x - x * jax.nn.sigmoid(-x),
        lambda x: x * jax.grad(lambda y: jnp.log1p(jnp.exp(y)).sum())(x),
    ],
    ids=["quotient", "tanh", "complement", "softplus"],
)
def test_silu_is_recognised_however_it_is_written(f):
    box = Interval(jnp.array([-3.0]), jnp.array([0.0]))
    out = inclusion(f)(box)
    assert abs(float(out.lower[0]) + 0.278464542761073795) < 1e-14
    assert float(out.upper[0]) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", NATURAL)
def test_other_activations_are_sound(name, order, dtype):
    def f(x):
        return derived(NATURAL[name], order, "reverse")(x, jnp.ones_like(x))

    low, upp = boxes(dtype)
    keep = (np.abs(low) < 50) & (np.abs(upp) < 50)
    low, upp = low[keep], upp[keep]
    out = inclusion(f)(as_interval(low, upp))
    for point in members(low, upp, 5):
        value = np.asarray(f(jnp.asarray(point)), np.float64)
        slack = 64 * float(np.finfo(dtype).eps) * (1 + np.abs(value))
        assert np.all(np.asarray(out.lower) <= value + slack)
        assert np.all(value - slack <= np.asarray(out.upper))


@pytest.mark.parametrize("cotangent", ["positive", "mixed"])
@pytest.mark.parametrize("name", ["silu", "tanh", "softplus", "gelu", "gelu_tanh", "sigmoid"])
def test_a_cotangent_multiplies_the_range(name, cotangent):
    f = TRUTH[name][0]
    box = Interval(jnp.array([-2.0, -1.0, 0.3]), jnp.array([1.0, 4.0, 0.4]))
    c = (
        Interval(jnp.array([1.0] * 3), jnp.array([2.0] * 3))
        if cotangent == "positive"
        else Interval(jnp.array([-1.0] * 3), jnp.array([2.0] * 3))
    )
    slope = inclusion(lambda x: derived(f, 1, "reverse")(x, jnp.ones_like(x)))(box)
    product = inclusion(lambda a, b: a * b)(c, slope)
    out = inclusion(derived(f, 1, "reverse"))(box, c)
    assert np.allclose(out.lower, product.lower, rtol=1e-12)
    assert np.allclose(out.upper, product.upper, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_critical_points_are_zeros_of_the_derivative(dtype):
    """The printed decimals, against an independent evaluation: p' changes sign across each point."""
    for name, _ in known_forms(dtype):
        if name.startswith("silu") and name.count("'") < 2:
            order = name.count("'")
            for u, value in CRITICAL[dtype, name]:
                at, step = arb(u), arb("1e-20")
                left, right = _silu(at - step, order + 1), _silu(at + step, order + 1)
                assert (left < 0 and right > 0) or (left > 0 and right < 0)
                assert abs(_silu(at, order) - arb(value)) < arb("1e-25")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["silu", "softplus", "gelu", "gelu_tanh"])
def test_large_arguments_do_not_blow_up(name, dtype):
    x = np.array([1e3, 1e6, 1e9, 1e12], dtype)
    value = inclusion(TRUTH[name][0])(as_interval(x, x))
    slope = inclusion(lambda x: derived(TRUTH[name][0], 1, "reverse")(x, jnp.ones_like(x)))(as_interval(x, x))
    assert np.all(np.asarray(value.width) <= 50 * np.finfo(dtype).eps * x)
    assert np.all(np.asarray(slope.width) <= 50 * np.finfo(dtype).eps)
