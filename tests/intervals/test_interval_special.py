"""Rules of special functions, angles, remainders and formats: they enclose, and are narrow at points."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import acb, arb
from interval_checks import DTYPES, as_interval, assert_encloses, assert_tight, members
from jax import lax

from sobolev_pruning.intervals import Interval, inclusion, rule_for
from sobolev_pruning.intervals._bits import normalised
from sobolev_pruning.intervals._rounding import unbounded_if_nan
from sobolev_pruning.intervals._rules import special
from sobolev_pruning.intervals._special_constants import (
    BESSEL_I1E_MAXIMUM,
    EULER_GAMMA,
    LGAMMA_MINIMA,
    PI,
    ZETA_MINUS_ONE,
)

POLES = tuple(float(-n) for n in range(40))


class Case(NamedTuple):
    """How a primitive is tested.

    `spans`: where each operand is usual; `moderate`: where a point must give a narrow result, of `ulps` eps; `at`:
    numbers to be met by ends and members: poles, critical points, the points where formulas change.
    """

    truth: Callable[..., arb | None]
    spans: tuple[tuple[float, float], ...]
    moderate: tuple[tuple[float, float], ...]
    ulps: float
    at: tuple[float, ...] = ()
    params: tuple[tuple[str, Any], ...] = ()
    fixed: float | None = None


def _lgamma(x: arb) -> arb | None:
    return None if x <= 0 and x.is_integer() else acb(x).lgamma().real


def _digamma(x: arb) -> arb | None:
    return None if x <= 0 and x.is_integer() else x.digamma()


def _polygamma(n: arb, x: arb) -> arb | None:
    order = int(float(n))
    if order == 0:
        return _digamma(x)
    if x <= 0 or x > 1e4:
        return None
    return (-1) ** (order + 1) * n.fac() * acb(n + 1).zeta(acb(x)).real


def _zeta(s: arb, q: arb) -> arb | None:
    return acb(s).zeta(acb(q)).real if 1 < s < 300 and 0 < q < 1e4 else None


def _i1e(x: arb) -> arb | None:
    return x.bessel_i(arb(1)) * (-abs(x)).exp() if abs(x) < 1e5 else None


def _i0e(x: arb) -> arb | None:
    return x.bessel_i(arb(0)) * (-abs(x)).exp() if abs(x) < 1e5 else None


def _igamma(a: arb, x: arb) -> arb | None:
    return x.gamma_lower(a, 1) if 0 < a < 1e3 and 0 <= x < 2e3 else None


def _igammac(a: arb, x: arb) -> arb | None:
    return x.gamma_upper(a, 1) if 0 < a < 1e3 and 0 < x < 2e3 else None


def _beta(a: arb, b: arb, x: arb) -> arb | None:
    return x.beta_lower(a, b, 1) if 1e-3 < a < 60 and 1e-3 < b < 60 and 0 < x < 1 else None


def _atan2(y: arb, x: arb) -> arb | None:
    return None if x == 0 and y == 0 else arb.atan2(y, x)


def _rem(x: arb, y: arb) -> arb | None:
    if y == 0:
        return None
    return arb(float(np.fmod(float(x), float(y))))


def _half(x: arb) -> arb | None:
    """float16 without subnormal numbers."""
    if abs(x) < 6e-5:
        return arb(0)
    return None if abs(x) > 65000 or abs(x) < 6.2e-5 else arb(float(np.float16(float(x))))


WIDE = (-20.0, 20.0)
PEAK = float(BESSEL_I1E_MAXIMUM[0])
MINIMA = tuple(float(at) for at, _ in LGAMMA_MINIMA)
SPECIAL: dict[jax.extend.core.Primitive, Case] = {
    lax.lgamma_p: Case(_lgamma, ((-12, 12),), ((-3.4, 9),), 250, (*POLES, *MINIMA, 1, 2, 2.5, 8.5, -8.5, 1e-30, 1e20)),
    lax.digamma_p: Case(_digamma, ((-12, 12),), ((0.5, 12),), 60, (*POLES, *MINIMA, 2.5, 8.5, -8.5, 1e-30, 1e20)),
    lax.polygamma_p: Case(_polygamma, ((0, 20),), ((0.5, 10),), 300, (0, 1, 100), fixed=1.0),
    lax.zeta_p: Case(_zeta, ((0.5, 12), (-0.5, 5)), ((1.5, 5), (0.5, 5)), 300, (0, 1, 1.001)),
    lax.erf_inv_p: Case(
        lambda x: x.erfinv() if abs(x) < 1 else None, ((-1.1, 1.1),), ((-0.95, 0.95),), 300, (-1, 0, 0.0625, 0.5, 1)
    ),
    lax.bessel_i0e_p: Case(_i0e, (WIDE,), ((0.1, 20),), 40, (0, 8)),
    lax.bessel_i1e_p: Case(_i1e, (WIDE,), ((0.1, 20),), 80, (0, 8, PEAK, -PEAK)),
    lax.igamma_p: Case(_igamma, ((-1, 15), (-1, 20)), ((0.5, 30), (0.5, 30)), 1500, (0, 1, 8.5)),
    lax.igammac_p: Case(_igammac, ((-1, 15), (-1, 20)), ((0.5, 30), (0.5, 30)), 1500, (0, 1, 8.5)),
    lax.regularized_incomplete_beta_p: Case(
        _beta, ((-1, 15), (-1, 15), (-0.1, 1.1)), ((0.5, 20), (0.5, 20), (0.05, 0.95)), 3000, (0, 1, 8.5)
    ),
    lax.atan2_p: Case(_atan2, ((-3, 3), (-3, 3)), ((0.1, 3), (0.1, 3)), 20, (0, 1)),
    lax.rem_p: Case(_rem, (WIDE, (-5, 5)), (WIDE, (0.5, 5)), 0, (0, 1, 3)),
    lax.nextafter_p: Case(lambda x, y: None, (WIDE, WIDE), (WIDE, WIDE), 2, (0, 1)),
    lax.reduce_precision_p: Case(
        _half, (WIDE,), ((0.1, 20),), 1e13, (0, 1, 65504.0), (("exponent_bits", 5), ("mantissa_bits", 10))
    ),
}  # fmt: skip
# Compiling these takes long.
SLOW = (lax.igamma_p, lax.igammac_p, lax.regularized_incomplete_beta_p)

BOXES, POINTS = 70, 24


def operand(case: Case, k: int, dtype, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of every kind, and then points of moderate size."""
    low, high = case.spans[k]
    middle = rng.uniform(low, high, BOXES)
    marked = rng.random(BOXES) < 0.4
    if case.at:
        middle[marked] = rng.choice(case.at[:12] if low < 0 else case.at, BOXES)[marked]
    radius = np.abs(rng.normal(0, 1, BOXES)) * rng.choice([0, 0, 1e-6, 1e-2, 1, 0.1 * (high - low)], BOXES)
    lower, upper = (middle - radius).astype(dtype), (middle + radius).astype(dtype)
    side = rng.random(BOXES)
    lower = np.where((side < 0.1) & marked, dtype(middle), lower)  # one end at a special point
    upper = np.where((side > 0.9) & marked, dtype(middle), upper)
    lower, upper = np.where(side < 0.04, dtype(-np.inf), lower), np.where(side > 0.96, dtype(np.inf), upper)
    points = rng.uniform(*case.moderate[k], POINTS).astype(dtype)
    return np.concatenate([np.minimum(lower, upper), points]), np.concatenate([np.maximum(lower, upper), points])


def check(primitive, dtype, seed: int) -> None:
    """One compiled evaluation over boxes and points, against balls."""
    case = SPECIAL[primitive]
    rng = np.random.default_rng(seed)
    operands = [operand(case, k, dtype, rng) for k in range(len(case.spans))]
    truth = case.truth
    if primitive is lax.nextafter_p:
        truth = partial(_neighbour, dtype)
    if case.fixed is not None:
        constant = np.full(BOXES + POINTS, case.fixed, dtype)
        operands.insert(0, (constant, constant))
    out = jax.jit(lambda *xs: rule_for(primitive)(*(clean(x) for x in xs), **dict(case.params)))(
        *(as_interval(*pair) for pair in operands)
    )
    each = [
        [*members(*pair, seed, 4), *(np.clip(np.full_like(pair[0], c), *pair) for c in case.at)] for pair in operands
    ]
    count = max(map(len, each))
    combinations = [tuple(rng.permutation(len(e))[0] for e in each) for _ in range(2 if len(each) > 1 else 0)]
    combinations += [tuple(i if len(each) == 1 else rng.integers(len(e)) for e in each) for i in range(min(count, 60))]
    corners = [tuple((i >> k) & 1 for k in range(len(each))) for i in range(2 ** len(each))]
    assert_encloses(out, truth, [tuple(e[i] for e, i in zip(each, c, strict=True)) for c in corners + combinations])
    assert_tight(out[BOXES:], truth, [tuple(pair[0][BOXES:] for pair in operands)], case.ulps)


def clean(x: Interval) -> Interval:
    return Interval._make(*normalised(x.lower, x.upper))


def _neighbour(dtype, x: arb, y: arb) -> arb:
    return arb(float(np.nextafter(dtype(float(x)), dtype(float(y)))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", [p for p in SPECIAL if p not in SLOW], ids=str)
def test_special_rules_enclose_and_are_tight(primitive, dtype, monkeypatch):
    monkeypatch.setattr(flint.ctx, "prec", 200)
    check(primitive, dtype, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_polygamma_of_several_orders(dtype):
    n, x = np.array([0.0, 2.0, 7.0, 3.0], dtype), np.array([0.3, 1.0, 4.5, 30.0], dtype)
    f = jax.jit(lambda n, x: rule_for(lax.polygamma_p)(Interval.point(n), x))
    out = f(n, as_interval(x, x * dtype(1.25)))
    for member in (x, x * dtype(1.1), x * dtype(1.25)):
        assert_encloses(out, _polygamma, [(n, member)])
    assert float((out.width / out.magnitude).max()) < 0.99
    below = f(n, as_interval(-x, x))
    # Derivatives of odd order are positive everywhere; nothing is said of the others across a pole.
    assert below.lower.tolist() == [-np.inf, -np.inf, 0, 0]
    assert below.upper.tolist() == [np.inf] * 4


def test_constants_are_what_they_are_called():
    for k, text in enumerate(ZETA_MINUS_ONE, 2):
        assert abs(arb(text) - (arb(k).zeta() - 1)) < arb(text) * 1e-29
    for at, value in LGAMMA_MINIMA:
        assert (arb(at) * (1 - arb(1e-29))).digamma() * (arb(at) * (1 + arb(1e-29))).digamma() < 0
        assert abs(acb(arb(at)).lgamma().real - arb(value)) < abs(arb(value)) * 1e-28
    at, value = map(arb, BESSEL_I1E_MAXIMUM)
    assert abs(_i1e(at) - value) < 1e-28
    assert abs(at.bessel_i(arb(0)) / at.bessel_i(arb(1)) - (1 + 1 / at)) < 1e-27
    assert abs(arb(PI) - arb.pi()) < 1e-28
    assert abs(arb(EULER_GAMMA) - arb.const_euler()) < 1e-29


def _grid(values) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(a, b) for a in values for b in values if a <= b]
    return tuple(np.array(v, float) for v in zip(*pairs, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_angles_of_all_small_boxes(dtype):
    lows, upps = _grid([-2, -1, 0, 1, 2])
    i, j = (k.ravel() for k in np.meshgrid(np.arange(lows.size), np.arange(lows.size)))
    y, x = (lows[i], upps[i]), (lows[j], upps[j])
    out = inclusion(lax.atan2)(as_interval(*(v.astype(dtype) for v in y)), as_interval(*(v.astype(dtype) for v in x)))
    eps = float(np.finfo(dtype).eps)
    for k, (a, b, c, d) in enumerate(zip(*y, *x, strict=True)):
        # The angle is monotone along every line within a quadrant, so its extremes are at ends and on the axes.
        at = [(p, q) for p in {a, b, *([0.0] if a < 0 < b else [])} for q in {c, d, *([0.0] if c < 0 < d else [])}]
        angles = [arb.atan2(arb(p), arb(q)) for p, q in at if (p, q) != (0, 0)]
        if a < 0 <= b and c < 0:
            angles.append(-arb.pi())
        if not angles:
            continue
        low, upp = min(angles, key=float), max(angles, key=float)
        assert not arb(float(out.lower[k])) > low, (a, b, c, d)
        assert not upp > arb(float(out.upper[k])), (a, b, c, d)
        assert float(low) - float(out.lower[k]) <= 10 * eps * float(abs(low)), (a, b, c, d)
        assert float(out.upper[k]) - float(upp) <= 10 * eps * float(abs(upp)), (a, b, c, d)


@pytest.mark.parametrize("dtype", DTYPES)
def test_remainders_of_all_small_boxes(dtype):
    xl, xu = _grid([-7, -5, -2.5, 0, 1, 2.5, 6])
    yl, yu = _grid([-3, -1, -0.5, 0, 0.5, 1, 2, 2.75])
    i, j = (k.ravel() for k in np.meshgrid(np.arange(xl.size), np.arange(yl.size)))
    out = inclusion(lax.rem)(
        as_interval(xl[i].astype(dtype), xu[i].astype(dtype)), as_interval(yl[j].astype(dtype), yu[j].astype(dtype))
    )
    lower, upper = np.asarray(out.lower, np.float64), np.asarray(out.upper, np.float64)
    t = np.arange(65) / 64
    for k, (a, b, c, d) in enumerate(zip(xl[i], xu[i], yl[j], yu[j], strict=True)):
        x, y = np.meshgrid(a + (b - a) * t, c + (d - c) * t)
        inside = y != 0
        if not inside.any():
            assert (lower[k], upper[k]) == (np.inf, -np.inf)  # nothing is divided by zero: the empty set
            continue
        values = np.fmod(x[inside], y[inside])
        assert lower[k] <= values.min(), (a, b, c, d)
        assert values.max() <= upper[k], (a, b, c, d)
        # The grid is coarser than the bounds: it misses dividends just below a multiple of the divisor.
        slack = (b - a + d - c) * 0.15
        assert values.min() - lower[k] <= slack, (a, b, c, d)
        assert upper[k] - values.max() <= slack, (a, b, c, d)


def _four_corners(primitive, *operands, **params):
    """No extremum, pole or cut inside: the hull of all corners, widened."""
    corners = [[]]
    for x in operands:
        corners = [[*c, end] for c in corners for end in (x.lower, x.upper)]
    values = jnp.stack([primitive.bind(*c, **params) for c in corners])
    return Interval._make(*unbounded_if_nan(values.min(0) - 1e-3, values.max(0) + 1e-3))


def _decreasing_in_s(primitive, s, q, **params):
    return Interval._make(
        *unbounded_if_nan(primitive.bind(s.upper, q.upper) * 0.999, primitive.bind(s.lower, q.lower) * 1.001)
    )


MUTANTS = {
    "atan2 without its cut": (lax.atan2_p, _four_corners),
    "rem with one quotient": (lax.rem_p, _four_corners),
    "digamma without poles": (lax.digamma_p, _four_corners),
    "i1e taken for monotone": (lax.bessel_i1e_p, _four_corners),
    "zeta taken for decreasing in s": (lax.zeta_p, _decreasing_in_s),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_special_rule_is_caught(name, registry):
    primitive, mutant = MUTANTS[name]
    registry[primitive] = partial(mutant, primitive)
    with pytest.raises(AssertionError, match="bound"):
        check(primitive, np.float64, 1)


def test_a_forgotten_minimum_is_caught(monkeypatch):
    monkeypatch.setattr(special, "_lowest_minimum", lambda low, upp: jnp.full_like(low, jnp.inf))
    with pytest.raises(AssertionError, match="lower bound"):
        check(lax.lgamma_p, np.float64, 1)


def test_the_derivative_of_digamma_has_a_scalar_order():
    box = as_interval(np.array([0.5, 2.0]), np.array([0.75, 3.0]))
    out = inclusion(jax.grad(lambda x: lax.digamma(x).sum()))(box)
    assert_encloses(out, lambda x: _polygamma(arb(1), x), [(np.array([0.6, 2.5]),)])
    assert float(out.width.max()) < 4
