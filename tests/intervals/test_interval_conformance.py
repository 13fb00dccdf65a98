"""Enclosures hold the exact range and are hardly wider, by operation of IEEE 1788-2015, Table 9.1, in float64.

The excess of a bound is its distance from the exact one in ulps of the latter; of an interval, that of both its bounds:
at most 4 for arithmetic, roots, exponentials and logarithms, and 16 for the other functions. Of each distance 16 times
the smallest normal number is exempt, which matters only near it: XLA flushes what is subnormal, of results and of the
low parts of sums of two floats. The truth is a ball of 300 bits.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from interval_checks import as_interval
from jax import lax

from sobolev_pruning.intervals import Interval, rule_for

TINY = float(np.finfo(np.float64).tiny)
LARGEST = arb(float(np.finfo(np.float64).max))


class Operation(NamedTuple):
    """A primitive, the function of exact ends that gives the exact range, and what it may exceed that by."""

    primitive: Any
    ulps: int
    exact: Callable[..., Any]  # the two ends, or None
    operands: int = 1
    params: Mapping[str, Any] = MappingProxyType({})
    domain: tuple[float, float] = (-np.inf, np.inf)


def rising(f):
    return lambda a, b: (f(a), f(b))


def falling(f):
    return lambda a, b: (f(b), f(a))


def corners(f):
    def exact(a, b, c, d):
        values = [f(x, y) for x in (a, b) for y in (c, d)]
        return extremes(values)

    return exact


def extremes(values):
    low = upp = values[0]
    for value in values[1:]:
        low, upp = (value if value < low else low), (value if value > upp else upp)
    return low, upp


def even(f):
    """An even function that rises on the right."""

    def exact(a, b):
        nearest = arb(0) if a <= 0 <= b else min(abs(a), abs(b))
        return f(nearest), f(max(abs(a), abs(b)))

    return exact


def quotient(a, b, c, d):
    return None if c <= 0 <= d else extremes([x / y for x in (a, b) for y in (c, d)])


def wave(f, shift):
    """Sine or cosine; `shift` quarter turns put a maximum at 0."""

    def exact(a, b):
        low, upp = extremes([f(a), f(b)])
        turns = [(x - shift * arb.pi() / 2) / (2 * arb.pi()) for x in (a, b)]
        if (turns[1]).floor() > turns[0] or turns[0] == turns[0].floor():
            upp = arb(1)
        turns = [t - arb("0.5") for t in turns]
        if (turns[1]).floor() > turns[0]:
            low = arb(-1)
        return low, upp

    return exact


def tangent(a, b):
    turns = [x / arb.pi() - arb("0.5") for x in (a, b)]
    return None if turns[1].floor() > turns[0] else (a.tan(), b.tan())


def power(a, b, c, d):
    return extremes([(y * x.log()).exp() for x in (a, b) for y in (c, d)]) if a > 0 else None


def cube_root(x):
    return x.root(3) if x > 0 else -((-x).root(3)) if x < 0 else arb(0)


ACCURACY = {"accuracy": None}
OPERATIONS = {
    "add": Operation(lax.add_p, 4, lambda a, b, c, d: (a + c, b + d), 2),
    "sub": Operation(lax.sub_p, 4, lambda a, b, c, d: (a - d, b - c), 2),
    "mul": Operation(lax.mul_p, 4, corners(lambda x, y: x * y), 2),
    "div": Operation(lax.div_p, 4, quotient, 2),
    "recip": Operation(lax.integer_pow_p, 4, lambda a, b: quotient(arb(1), arb(1), a, b), 1, {"y": -1}),
    "sqr": Operation(lax.square_p, 4, even(lambda x: x * x)),
    "pown 2": Operation(lax.integer_pow_p, 4, even(lambda x: x * x), 1, {"y": 2}),
    "pown 3": Operation(lax.integer_pow_p, 4, rising(lambda x: x**3), 1, {"y": 3}),
    "pown 4": Operation(lax.integer_pow_p, 4, even(lambda x: x**4), 1, {"y": 4}),
    "pown 7": Operation(lax.integer_pow_p, 4, rising(lambda x: x**7), 1, {"y": 7}),
    "sqrt": Operation(lax.sqrt_p, 4, rising(lambda x: x.sqrt()), 1, ACCURACY, (0, np.inf)),
    "rootn 3": Operation(lax.cbrt_p, 4, rising(cube_root), 1, ACCURACY),
    "exp": Operation(lax.exp_p, 4, rising(lambda x: x.exp()), 1, ACCURACY, (-800, 800)),
    "exp2": Operation(lax.exp2_p, 4, rising(lambda x: (x * arb.const_log2()).exp()), 1, ACCURACY, (-1200, 1200)),
    "log": Operation(lax.log_p, 4, rising(lambda x: x.log()), 1, ACCURACY, (1e-320, np.inf)),
    "expm1": Operation(lax.expm1_p, 16, rising(lambda x: x.expm1()), 1, ACCURACY, (-800, 800)),
    "logp1": Operation(lax.log1p_p, 16, rising(lambda x: x.log1p()), 1, ACCURACY, (-1 + 1e-16, np.inf)),
    "pow": Operation(lax.pow_p, 16, power, 2, {}, (1e-320, 1e6)),
    "sin": Operation(lax.sin_p, 16, wave(lambda x: x.sin(), 1), 1, ACCURACY),
    "cos": Operation(lax.cos_p, 16, wave(lambda x: x.cos(), 0), 1, ACCURACY),
    "tan": Operation(lax.tan_p, 16, tangent, 1, ACCURACY),
    "asin": Operation(lax.asin_p, 16, rising(lambda x: x.asin()), 1, {}, (-1, 1)),
    "acos": Operation(lax.acos_p, 16, falling(lambda x: x.acos()), 1, {}, (-1, 1)),
    "atan": Operation(lax.atan_p, 16, rising(lambda x: x.atan())),
    "sinh": Operation(lax.sinh_p, 16, rising(lambda x: x.sinh()), 1, {}, (-800, 800)),
    "cosh": Operation(lax.cosh_p, 16, even(lambda x: x.cosh()), 1, {}, (-800, 800)),
    "tanh": Operation(lax.tanh_p, 16, rising(lambda x: x.tanh()), 1, ACCURACY),
    "asinh": Operation(lax.asinh_p, 16, rising(lambda x: x.asinh())),
    "acosh": Operation(lax.acosh_p, 16, rising(lambda x: x.acosh()), 1, {}, (1, np.inf)),
    "atanh": Operation(lax.atanh_p, 16, rising(lambda x: x.atanh()), 1, {}, (-1 + 1e-16, 1 - 1e-16)),
    "erf": Operation(lax.erf_p, 16, rising(lambda x: x.erf())),
    "erfc": Operation(lax.erfc_p, 16, falling(lambda x: x.erfc()), 1, {}, (-np.inf, 26)),
    "logistic": Operation(lax.logistic_p, 16, rising(lambda x: 1 / (1 + (-x).exp())), 1, ACCURACY, (-700, np.inf)),
    "rsqrt": Operation(lax.rsqrt_p, 16, falling(lambda x: x.rsqrt()), 1, ACCURACY, (1e-320, np.inf)),
}


def boxes(seed: int, low: float, high: float, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Points, neighbours, narrow and wide boxes, at ends of binades, near integers and of every size."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1.0, 1.0], n)
    middle = np.concatenate(
        [
            rng.normal(0, 1, n) * np.exp(rng.normal(0, 2, n)),
            sign * 2.0 ** rng.integers(-1021, 1023, n),
            sign * 2.0 ** rng.integers(-30, 30, n) * (1 + rng.integers(-2, 3, n) * 2.0**-52),
            np.exp(rng.uniform(-690, 700, n)) * sign,
            sign * (1 + np.exp(rng.uniform(-36, 0, n))),
            sign * (1 - np.exp(rng.uniform(-36, 0, n))),
            rng.uniform(-30, 30, n),
            rng.uniform(-750, 750, n),
            np.round(rng.uniform(-1e6, 1e6, n)) * (np.pi / 2),
            np.repeat([0.0, 1.0, -1.0, 0.5, -0.5, np.pi / 2], n // 6),
        ]
    )
    kind = rng.integers(0, 4, middle.size)
    with np.errstate(all="ignore"):
        other = np.select(
            [kind == 0, kind == 1, kind == 2],
            [middle, np.nextafter(middle, np.inf), middle + np.abs(middle) * np.exp(rng.uniform(-30, -1, middle.size))],
            middle + np.exp(rng.normal(0, 1, middle.size)),
        )
    a, b = (np.clip(v, low, high) for v in (middle, other))
    a, b = (np.where(np.abs(v) < TINY, 0.0, v) for v in (a, b))
    keep = np.isfinite(a) & np.isfinite(b) & (a >= low) & (b >= low)
    return np.minimum(a, b)[keep], np.maximum(a, b)[keep]


def excess(bound: float, exact: arb) -> float:
    """How far an outer bound lies outside, in ulps; negative if it lies inside. `exact` is a lower bound."""
    if exact > LARGEST:
        return 0.0 if arb(bound) <= exact and bound >= 1.797e308 else np.inf
    if exact < -LARGEST:
        return 0.0 if bound == -np.inf else np.inf
    if bound == -np.inf:
        return np.inf
    distance = exact - arb(bound)
    if distance < 0:
        return -1.0
    distance -= 16 * TINY
    if not distance > 0:
        return 0.0
    ulp = arb(2) ** (int(np.floor(np.log2(float(abs(exact))))) - 52)
    return float((distance / ulp).mid())


@pytest.mark.parametrize("jit", [False, True], ids=["", "jit"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_enclosures_exceed_the_exact_range_by_few_ulps(name, jit):
    f = OPERATIONS[name]
    pairs = [boxes(k, *f.domain) for k in range(f.operands)]
    n = min(len(a) for a, _ in pairs)
    rng = np.random.default_rng(5)
    order = [np.arange(n) if k == 0 else rng.permutation(n) for k in range(f.operands)]
    pairs = [(a[:n][i], b[:n][i]) for (a, b), i in zip(pairs, order, strict=True)]
    if name == "pow":  # within the range
        factor = np.minimum(1, 5 / np.abs(np.log(pairs[0][1]) + 0.1))
        c, d = (np.clip(v, -100, 100) * factor for v in pairs[1])
        pairs[1] = np.where(np.abs(c) < TINY, 0.0, c), np.where(np.abs(d) < TINY, 0.0, d)

    def rule(*x):
        return rule_for(f.primitive)(*x, **f.params)

    out = (jax.jit(rule) if jit else rule)(*(as_interval(*p) for p in pairs))
    worst = 0.0
    for i in range(n):
        ends = [arb(float(v[i])) for pair in pairs for v in pair]
        exact = f.exact(*ends)
        if exact is None or not (exact[0].is_finite() and exact[1].is_finite()):
            continue
        below, above = excess(float(out.lower[i]), exact[0]), excess(-float(out.upper[i]), -exact[1])
        at = [float(e) for e in ends]
        assert below >= 0, (name, at, out.lower[i], exact[0])
        assert above >= 0, (name, at, out.upper[i], exact[1])
        assert below + above <= f.ulps, (name, at, below, above)
        worst = max(worst, below + above)
    # The exact range itself would need no rounding.
    assert name in ("add", "sub") or worst > 0.1


def test_exact_results_stay_exact():
    one, two = (as_interval(*(np.full(3, v) for v in pair)) for pair in ((1.0, 2.0), (3.0, 4.0)))
    zero = as_interval(np.zeros(3), np.zeros(3))
    wide = as_interval(np.full(3, -1.5), np.full(3, 2.5))
    add, sub, mul, div = (rule_for(p) for p in (lax.add_p, lax.sub_p, lax.mul_p, lax.div_p))

    def both(*x: Interval):
        return [(float(v.lower[0]), float(v.upper[0])) for v in x]

    assert both(add(one, two), sub(one, two), add(zero, zero)) == [(4, 6), (-3, -1), (0, 0)]
    assert both(mul(zero, wide), mul(wide, zero), div(zero, two)) == [(0, 0)] * 3
    x = as_interval(np.full(3, 0.1), np.full(3, 0.1))
    assert both(sub(x, x)) == [(0, 0)]
    zeros = (lax.sin_p, lax.tan_p, lax.asin_p, lax.atan_p, lax.sinh_p, lax.asinh_p, lax.atanh_p, lax.tanh_p, lax.erf_p)
    for p in (*zeros, lax.expm1_p, lax.log1p_p, lax.sqrt_p, lax.cbrt_p):
        assert both(rule_for(p)(zero)) == [(0, 0)], p
    for p in (lax.exp_p, lax.exp2_p, lax.cosh_p, lax.erfc_p):
        assert both(rule_for(p)(zero)) == [(1, 1)], p
    assert both(rule_for(lax.log_p)(as_interval(np.ones(3), np.ones(3)))) == [(0, 0)]


@pytest.mark.parametrize("n", [1, 3, 8, 17, 1000])
def test_short_and_long_arrays_are_enclosed(n):
    rng = np.random.default_rng(n)
    for name in ("exp", "tanh", "logistic", "erf", "logp1", "sin"):
        f = OPERATIONS[name]
        for dtype in (np.float32, np.float64):
            x = rng.uniform(0.01, 6, n).astype(dtype)
            out = jax.jit(rule_for(f.primitive))(Interval(jnp.asarray(x), jnp.asarray(x)))
            for i in rng.integers(0, n, min(n, 6)):
                low, upp = f.exact(arb(float(x[i])), arb(float(x[i])))
                assert arb(float(out.lower[i])) <= low
                assert upp <= arb(float(out.upper[i]))
