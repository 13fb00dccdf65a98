"""The checks of this suite catch wrong rules: each is installed, and the check that guards it must fail."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from interval_checks import as_interval, assert_encloses, members
from jax import lax
from test_interval_activations import TRUTH, derived
from test_interval_rules import check_elementwise

from sobolev_pruning.intervals import Interval, _univariate, inclusion
from sobolev_pruning.intervals._critical import CRITICAL


def _ends(primitive, *operands, **params):
    return (primitive.bind(*(getattr(x, end) for x in operands), **params) for end in ("lower", "upper"))


def no_widening(primitive, *operands, **params):
    return Interval._make(*_ends(primitive, *operands, **params))


def swapped(primitive, *operands, **params):
    lower, upper = _ends(primitive, *operands, **params)
    return Interval._make(upper, lower)


def one_diagonal(primitive, x, y, **params):
    products = x.lower * y.lower, x.upper * y.upper
    return Interval._make(jnp.minimum(*products), jnp.maximum(*products))


def no_sign(primitive, x, **params):
    return Interval._make(*(jnp.abs(end) for end in (x.lower, x.upper)))


def widened(primitive, *operands, **params):
    lower, upper = _ends(primitive, *operands, **params)
    lower, upper = jnp.minimum(lower, upper), jnp.maximum(lower, upper)
    return Interval._make(lower - 1e-3 * jnp.abs(lower) - 1e-30, upper + 1e-3 * jnp.abs(upper) + 1e-30)


MUTANTS = {
    "add without widening": (lax.add_p, no_widening),
    "exp without widening": (lax.exp_p, no_widening),
    "tanh with swapped bounds": (lax.tanh_p, swapped),
    "sub end by end": (lax.sub_p, widened),
    "mul on one diagonal": (lax.mul_p, one_diagonal),
    "abs without zero": (lax.abs_p, no_sign),
    "sin without extrema": (lax.sin_p, widened),
    "cosh taken for monotone": (lax.cosh_p, widened),
    "square without zero": (lax.square_p, widened),
    "rsqrt taken for increasing": (lax.rsqrt_p, no_widening),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_caught(name, registry):
    primitive, mutant = MUTANTS[name]
    for dtype in (np.float32, np.float64):
        check_elementwise(primitive, dtype, 12)
    registry[primitive] = partial(mutant, primitive)
    with pytest.raises(AssertionError):
        _check_with_seeds(primitive)


def _check_with_seeds(primitive):
    for seed in (12, 13, 14):
        check_elementwise(primitive, np.float64, seed)


def _check_silu(order):
    low, upp = np.array([-5.0, -6.0]), np.array([0.5, 4.0])
    out = inclusion(lambda x: derived(jax.nn.silu, order, "reverse")(x, jnp.ones_like(x)))(as_interval(low, upp))
    silu = TRUTH["silu"][1](np.float64)
    # Single precision moves the known points by too little to matter.
    extremes = [np.clip(np.full(2, float(u)), low, upp) for u, _ in CRITICAL["float64", "silu" + "'" * order]]
    assert_encloses(out, lambda x: silu(x, order), [(p,) for p in [*members(low, upp, 0, 40), *extremes]])


def _forget_ranges():
    # Ranges are traced once for all functions.
    _univariate._known.cache_clear()
    jax.clear_caches()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_dropped_critical_value_is_caught(order, monkeypatch):
    _check_silu(order)
    table = _univariate._critical_points

    def without_first(dtype):
        return {core: points[1:] for core, points in table(dtype).items()}

    monkeypatch.setattr(_univariate, "_critical_points", without_first)
    _forget_ranges()
    with pytest.raises(AssertionError, match="bound"):
        _check_silu(order)
    _forget_ranges()


def test_missing_margins_are_caught(monkeypatch):
    x = np.array([0.1, 0.2, 0.7])

    def check(rounding):
        out = inclusion(lambda x: x + 0.3, rounding=rounding)(as_interval(x, x))
        assert_encloses(out, lambda v: v + arb(0.3), [(x,)])

    check("outward")
    with pytest.raises(AssertionError, match="bound"):
        check("nearest")
