"""Activations and their derivatives are recognised, enclosed, and enclosed by their exact ranges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, arb_series
from interval_checks import DTYPES, as_interval, assert_encloses, cast, ends, members, sigmoid

from sobolev_pruning.intervals import Interval, inclusion
from sobolev_pruning.intervals._activations import known_forms
from sobolev_pruning.intervals._critical import CRITICAL
from sobolev_pruning.intervals._evaluators import cut_of


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


def _series(f):
    """A smooth function and its derivatives by arithmetic of Taylor series."""

    def value(x, order):
        return f(arb_series([x, 1], 3))[order] * (1, 1, 2)[order]

    return value


def _pieces(*parts):
    """A function on pieces `(up to where, whether that is included, f)`; what a tie of max is, is a piece."""

    def value(x, order):
        for end, included, f in parts:
            if end is None or x < end or (included and x == end):
                return f(x, order) if callable(f) else arb(f[order])
        raise AssertionError("the last piece has no end")

    return value


def _of_orders(*functions):
    return lambda x, order: functions[order](x)


def _constant(c):
    return lambda x, order: arb(c) if order == 0 else arb(0)


def _line(a, b=0):
    return lambda x, order: (a * x + b, arb(a), arb(0))[order]


def _softplus(s):
    # A series is expanded where exp does not overflow the precision.
    return (1 + s.exp()).log() if s[0] < 0 else s + (1 + (-s).exp()).log()


def _mish(s):
    square = 1 / (1 + s.exp()) ** 2
    return s * (1 - square) / (1 + square)


def _silu(x, order):
    return _series(lambda s: s * sigmoid(s))(x, order)


def _erf(dtype):
    k = cast(2 / np.sqrt(np.pi), dtype)
    return (lambda x: x.erf(), lambda x: k * (-x * x).exp(), lambda x: -2 * k * x * (-x * x).exp())


def _erfc(dtype):
    _, first, second = _erf(dtype)
    return (lambda x: x.erfc(), lambda x: -first(x), lambda x: -second(x))


def _normal_cdf(dtype):
    c = cast(np.sqrt(0.5), dtype)
    _, first, second = _erf(dtype)
    return (
        lambda x: (-c * x).erfc() / 2,
        lambda x: c * first(c * x) / 2,
        lambda x: c * c * second(c * x) / 2,
    )  # fmt: skip


def _normal_pdf(dtype):
    return lambda s: (-(cast(2 * np.pi, dtype).log() + s * s) / 2).exp()


def _selu(dtype):
    alpha, scale = (cast(v, dtype) for v in (1.6732632423543772848170429916717, 1.0507009873554804934193349852946))
    # `scale * elu(x, alpha)`
    return _pieces((0, True, _series(lambda s: scale * (alpha * (s.exp() - 1)))), (None, False, _line(scale)))


def _hard_silu(x, order):
    if abs(x) >= 3:
        return arb(0) if x < 0 else _line(1)(x, order)
    return (x * (x + 3) / 6, (2 * x + 3) / 6, arb(1) / 3)[order]


_HALF = arb(1) / 2

# Name: the function, and its truth of a dtype: a function of a point and an order. Ties of maximum and minimum are
# counted half by JAX.
TRUTH = {
    "sigmoid": (jax.nn.sigmoid, lambda dtype: _series(sigmoid)),
    "tanh": (jnp.tanh, lambda dtype: _series(lambda s: 1 - 2 * sigmoid(-2 * s))),
    "silu": (jax.nn.silu, lambda dtype: _silu),
    "swish": (lambda x: x * jax.nn.sigmoid(1.75 * x), lambda dtype: _series(lambda s: s * sigmoid(arb(1.75) * s))),
    "softplus": (jax.nn.softplus, lambda dtype: _series(_softplus)),
    "log_sigmoid": (jax.nn.log_sigmoid, lambda dtype: _series(lambda s: -_softplus(-s))),
    "logaddexp": (lambda x: jnp.logaddexp(x, jnp.zeros_like(x)), lambda dtype: _series(_softplus)),
    "mish": (jax.nn.mish, lambda dtype: _series(_mish)),
    "gelu": (functools.partial(jax.nn.gelu, approximate=False), lambda dtype: _of_orders(*_gelu(dtype))),
    "gelu_tanh": (functools.partial(jax.nn.gelu, approximate=True), lambda dtype: _of_orders(*_gelu_tanh(dtype))),
    "erf": (jax.scipy.special.erf, lambda dtype: _of_orders(*_erf(dtype))),
    "erfc": (jax.scipy.special.erfc, lambda dtype: _of_orders(*_erfc(dtype))),
    "normal_pdf": (jax.scipy.stats.norm.pdf, lambda dtype: _series(_normal_pdf(dtype))),
    "normal_cdf": (jax.scipy.stats.norm.cdf, lambda dtype: _of_orders(*_normal_cdf(dtype))),
    "relu": (jax.nn.relu, lambda dtype: _pieces((0, True, (0, 0, 0)), (None, False, _line(1)))),
    "maximum": (
        lambda x: jnp.maximum(x, 0),
        lambda dtype: _pieces((0, False, (0, 0, 0)), (0, True, (0, _HALF, 0)), (None, False, _line(1))),
    ),
    "abs": (
        jnp.abs,
        lambda dtype: _pieces((0, False, _line(-1)), (None, False, _line(1))),
    ),
    "leaky_relu": (
        jax.nn.leaky_relu,
        lambda dtype: _pieces((0, False, _line(cast(0.01, dtype))), (None, False, _line(1))),
    ),
    "relu6": (
        jax.nn.relu6,
        lambda dtype: _pieces((0, True, (0, 0, 0)), (6, False, _line(1)), (None, False, _constant(6))),
    ),
    "hard_tanh": (
        jax.nn.hard_tanh,
        lambda dtype: _pieces((-1, False, _constant(-1)), (1, True, _line(1)), (None, False, _constant(1))),
    ),
    "hard_sigmoid": (
        jax.nn.hard_sigmoid,
        lambda dtype: _pieces(
            (-3, True, (0, 0, 0)), (3, False, _line(arb(1) / 6, _HALF)), (None, False, _constant(1))
        ),
    ),
    "hard_silu": (jax.nn.hard_silu, lambda dtype: _hard_silu),
    "elu": (
        jax.nn.elu,
        lambda dtype: _pieces((0, True, _series(lambda s: s.exp() - 1)), (None, False, _line(1))),
    ),
    "celu": (
        jax.nn.celu,
        lambda dtype: _pieces(
            (0, False, _series(lambda s: s.exp() - 1)), (0, True, (0, 1, arb(1) / 4)), (None, False, _line(1))
        ),
    ),
    "selu": (jax.nn.selu, _selu),
    "soft_sign": (
        jax.nn.soft_sign,
        lambda dtype: _pieces(
            (0, False, _series(lambda s: s / (1 - s))), (None, False, _series(lambda s: s / (1 + s)))
        ),
    ),
    "squareplus": (jax.nn.squareplus, lambda dtype: _series(lambda s: (s + (s * s + 4).sqrt()) / 2)),
}  # fmt: skip

# Where derivatives of some of them jump, and on either side.
_JUMPS = [kink + step for kink in (-3, -1, 0, 1, 3, 6) for step in (-1e-9, 0, 1e-9)]


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
@pytest.mark.parametrize("name", TRUTH)
def test_activations_are_enclosed_by_their_ranges(name, order, dtype):
    f, of_dtype = TRUTH[name]
    low, upp = boxes(dtype, 24)
    modes = [derived(f, order, mode) for mode in (["reverse", "forward"] if order else ["value"])]
    enclosures = inclusion(lambda x: [g(x, jnp.ones_like(x)) for g in modes])(as_interval(low, upp))
    truth = functools.cache(lambda x: of_dtype(dtype)(arb(x), order))
    for out in enclosures:
        points = [(p,) for p in members(low, upp, 3, 3)]
        assert_encloses(out, lambda x: truth(float(x)) if abs(x) < 1e4 else None, points)
        # The range itself: every bound is attained, up to rounding, by some point of a fine grid.
        width = np.float64(upp) - np.float64(low)
        for i in np.flatnonzero((np.abs(low) < 30) & (np.abs(upp) < 30) & (width < 20))[:16]:
            grid = np.linspace(float(low[i]), float(upp[i]), 200 if width[i] else 1)
            grid = [truth(float(x)) for x in [*grid, *(x for x in _JUMPS if low[i] <= x <= upp[i])]]
            least, most = min(map(float, grid)), max(map(float, grid))
            allowed = (
                600 * float(np.finfo(dtype).eps) * (1 + max(abs(least), abs(most)))
                + 1.2e-4 * width[i] ** 2
                + 1e-7 * (width[i] > 0)
            )
            assert least - float(out.lower[i]) <= allowed
            assert float(out.upper[i]) - most <= allowed


# Kinks inside, at ends, and boxes that are a kink; what JAX's derivative is there.
KINKS = {
    "maximum": (lambda x: jnp.maximum(x, 0), [(-1, 2, 0, 1), (-1, 0, 0, 0.5), (0, 2, 0.5, 1), (0, 0, 0.5, 0.5)]),
    "minimum": (lambda x: jnp.minimum(x, 1), [(0, 2, 0, 1), (0, 1, 0.5, 1), (1, 2, 0, 0.5), (1, 1, 0.5, 0.5)]),
    "abs": (jnp.abs, [(-1, 2, -1, 1), (-1, 0, -1, 1), (0, 2, 1, 1), (0, 0, 1, 1)]),
    "clip": (lambda x: jnp.clip(x, -1, 1), [(-2, 2, 0, 1), (-1, 1, 0.5, 1), (2, 3, 0, 0), (-0.5, 0.5, 1, 1)]),
    "relu": (jax.nn.relu, [(-1, 2, 0, 1), (-1, 0, 0, 0), (0, 2, 0, 1), (0, 0, 0, 0)]),
    "relu6": (jax.nn.relu6, [(-1, 7, 0, 1), (6, 7, 0, 0), (0, 6, 0, 1), (1, 2, 1, 1)]),
    "hard_tanh": (jax.nn.hard_tanh, [(-2, 2, 0, 1), (-1, 1, 1, 1), (1, 2, 0, 1), (-np.inf, np.inf, 0, 1)]),
    "threshold that is no float": (
        lambda x: jnp.maximum(3 * x, 1), [(0, 1, 0, 3), (1, np.inf, 3, 3), (-1, 0, 0, 0), (-np.inf, 0.3, 0, 0)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINKS)
def test_derivatives_at_kinks_are_exact(name, dtype):
    f, cases = KINKS[name]
    low, upp, least, most = np.array(cases, dtype).T
    out = inclusion(lambda x: derived(f, 1, "reverse")(x, jnp.ones_like(x)))(as_interval(low, upp))
    eps = np.finfo(dtype).eps
    assert np.all(np.asarray(out.lower) <= least)
    assert np.all(np.asarray(out.upper) >= most)
    assert np.all(least - np.asarray(out.lower) <= 4 * eps)
    assert np.all(np.asarray(out.upper) - most <= 8 * eps)


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


def test_a_slope_and_its_function_share_their_exponentials():
    def slope(x):
        return jax.vjp(jax.nn.silu, x)[1](jnp.ones_like(x))[0]

    def exponentials(f):
        x = np.linspace(-1, 1, 8, dtype=np.float32)
        program = jax.jit(inclusion(f)).lower(as_interval(x, x + np.float32(0.5))).compile()
        return program.as_text().count(" exponential(")

    assert exponentials(lambda x: (jax.nn.silu(x), slope(x))) == exponentials(slope) > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_critical_points_lie_within_the_cut(dtype):
    """Beyond it, σ, exp and erfc are taken at the cut, and what they leave is below a hundredth of the margin."""
    cut, tiny = cut_of(np.dtype(dtype)), float(np.finfo(dtype).tiny)
    assert all(abs(arb(u)) < cut for (of, _), points in CRITICAL.items() for u, _ in points if of == dtype)
    assert 1000 * arb(cut) ** 3 * (-arb(cut)).exp() < arb(tiny) / 100


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
def test_slopes_keep_their_sign_in_the_left_tail(name, dtype):
    x = np.array([-5.0, -8.0, -12.0], dtype)
    slope = inclusion(lambda x: derived(TRUTH[name][0], 1, "reverse")(x, jnp.ones_like(x)))(as_interval(x, x))
    assert np.all(np.asarray(slope.upper) < 0)
    assert np.all(np.asarray(slope.width) <= 1e3 * np.finfo(dtype).eps * np.asarray(slope.magnitude))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["silu", "softplus", "gelu", "gelu_tanh"])
def test_large_arguments_do_not_blow_up(name, dtype):
    x = np.array([1e3, 1e6, 1e9, 1e12], dtype)
    value = inclusion(TRUTH[name][0])(as_interval(x, x))
    slope = inclusion(lambda x: derived(TRUTH[name][0], 1, "reverse")(x, jnp.ones_like(x)))(as_interval(x, x))
    assert np.all(np.asarray(value.width) <= 50 * np.finfo(dtype).eps * x)
    assert np.all(np.asarray(slope.width) <= 50 * np.finfo(dtype).eps)
