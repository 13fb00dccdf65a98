"""Every registered rule encloses the true range, against ball arithmetic, and is narrow at points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_checks import DTYPES, as_interval, assert_encloses, assert_tight, ends, members
from jax import lax
from jax.extend.core import primitives
from test_interval_arrays import CASES as ARRAY_CASES
from test_interval_special import SPECIAL
from test_interval_systems import APART
from test_interval_systems import CASES as SYSTEM_CASES

from sobolev_pruning import _compat
from sobolev_pruning.intervals import Interval, UnsupportedPrimitiveError, _registry, inclusion, rule_for, rules
from sobolev_pruning.intervals._batches import batch_first, batch_first_p
from sobolev_pruning.intervals._bits import (
    flush_down,
    flush_down_p,
    flush_up,
    flush_up_p,
    normalised,
    order,
    order_p,
)
from sobolev_pruning.intervals._elementary import accurate_p


def within(low, high, f):
    return lambda x: f(x) if low <= float(x) <= high else None


def integer_power(n):
    def power(x):
        result = arb(1)
        for _ in range(abs(n)):
            result = result * x
        return result if n >= 0 else (1 / result if x != 0 else None)

    return power


def real_power(x, y):
    return (y * x.log()).exp() if x > 0 else None


# primitive → (operands, parameters, truth, width allowed at a point in eps)
ACCURACY = {"accuracy": None}
ELEMENTWISE = {
    lax.add_p: (2, {}, lambda x, y: x + y, 4),
    primitives.add_jaxvals_p: (2, {}, lambda x, y: x + y, 4),
    lax.sub_p: (2, {}, lambda x, y: x - y, 4),
    lax.mul_p: (2, {}, lambda x, y: x * y, 4),
    lax.div_p: (2, {}, lambda x, y: x / y if y != 0 else None, 4),
    lax.neg_p: (1, {}, lambda x: -x, 0),
    lax.abs_p: (1, {}, lambda x: abs(x), 0),
    lax.max_p: (2, {}, lambda x, y: x if x >= y else y, 0),
    lax.min_p: (2, {}, lambda x, y: x if x <= y else y, 0),
    lax.clamp_p: (
        3,
        {},
        lambda a, x, b: None if a > b else (a if x < a else b if x > b else x),
        0,
    ),
    lax.sign_p: (1, {}, lambda x: arb((x > 0) - (x < 0)), 0),
    lax.floor_p: (1, {}, lambda x: x.floor(), 0),
    lax.ceil_p: (1, {}, lambda x: x.ceil(), 0),
    lax.round_p: (1, {"rounding_method": lax.RoundingMethod.TO_NEAREST_EVEN}, lambda x: arb(round(float(x))), 0),
    lax.exp_p: (1, ACCURACY, lambda x: x.exp() if x < 1e5 else None, 20),
    lax.exp2_p: (1, ACCURACY, lambda x: (x * arb(2).log()).exp() if x < 1e5 else None, 2000),
    lax.expm1_p: (1, ACCURACY, lambda x: x.expm1() if x < 1e5 else None, 20),
    lax.log_p: (1, ACCURACY, lambda x: x.log() if x > 0 else None, 20),
    lax.log1p_p: (1, ACCURACY, lambda x: x.log1p() if x > -1 else None, 500),
    lax.tanh_p: (1, ACCURACY, lambda x: x.tanh(), 20),
    lax.logistic_p: (1, ACCURACY, lambda x: 1 / (1 + (-x).exp()), 20),
    lax.erf_p: (1, {}, lambda x: x.erf(), 20),
    lax.erfc_p: (1, {}, lambda x: x.erfc(), 2000),
    lax.sinh_p: (1, {}, lambda x: x.sinh() if abs(x) < 1e5 else None, 2000),
    lax.cosh_p: (1, {}, lambda x: x.cosh() if abs(x) < 1e5 else None, 2000),
    lax.asinh_p: (1, {}, lambda x: x.asinh(), 20),
    lax.acosh_p: (1, {}, lambda x: x.acosh() if x > 1 else None, 20),
    lax.atanh_p: (1, {}, lambda x: x.atanh() if abs(x) < 1 else None, 500),
    lax.atan_p: (1, {}, lambda x: x.atan(), 20),
    lax.asin_p: (1, {}, lambda x: x.asin() if abs(x) < 1 else None, 20),
    lax.acos_p: (1, {}, lambda x: x.acos() if abs(x) < 1 else None, 20),
    lax.cbrt_p: (1, ACCURACY, lambda x: x.root(3) if x > 0 else -((-x).root(3)), 20),
    lax.sqrt_p: (1, ACCURACY, lambda x: x.sqrt() if x >= 0 else None, 8),
    lax.rsqrt_p: (1, ACCURACY, lambda x: x.rsqrt() if x > 0 else None, 20),
    lax.square_p: (1, {}, lambda x: x * x, 10),
    **{p: (1, {}, lambda x: 1 - x * x, 10) for p in _compat.since("one_minus_square")},
    lax.integer_pow_p: (1, {"y": 3}, integer_power(3), 20),
    lax.pow_p: (2, {}, real_power, 100),
    lax.sin_p: (1, ACCURACY, lambda x: x.sin(), 20),
    lax.cos_p: (1, ACCURACY, lambda x: x.cos(), 20),
    lax.tan_p: (1, ACCURACY, lambda x: x.tan(), 20),
    accurate_p: (1, {"function": "exp"}, lambda x: x.exp() if x < 1e5 else None, 20),
    lax.stop_gradient_p: (1, {}, lambda x: x, 0),
    primitives.copy_p: (1, {}, lambda x: x, 0),
    primitives.name_p: (1, {"name": "n"}, lambda x: x, 0),
    lax.optimization_barrier_p: (1, {}, lambda x: x, 0),
}

SAMPLES = 24


def apply(primitive, params, operands):
    """The rule as the interpreter calls it: no end is subnormal."""
    clean = [Interval._make(*normalised(x.lower, x.upper)) for x in operands]
    out = rule_for(primitive)(*clean, **params)
    return out[0] if isinstance(out, list) else out


def check_elementwise(primitive, dtype, seed):
    arity, params, truth, _ = ELEMENTWISE[primitive]
    pairs = [ends(dtype, seed + 101 * k, SAMPLES) for k in range(arity)]
    out = apply(primitive, params, [as_interval(*pair) for pair in pairs])
    per_operand = [members(*pair, seed) for pair in pairs]
    # All pairs of ends, and the diagonal of the rest.
    combinations = [tuple(per_operand[k][(i >> k) & 1] for k in range(arity)) for i in range(2**arity)]
    combinations += list(zip(*(p[2:] for p in per_operand), strict=True))
    assert_encloses(out, truth, combinations)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=str)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_elementwise_rules_enclose(primitive, dtype, seed):
    check_elementwise(primitive, dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=str)
def test_elementwise_rules_are_tight_at_points(primitive, dtype):
    arity, params, truth, ulps = ELEMENTWISE[primitive]
    rng = np.random.default_rng(3)
    low, high = {lax.asin_p: (-0.9, 0.9), lax.acos_p: (-0.9, 0.9), lax.atanh_p: (-0.9, 0.9)}.get(primitive, (0.5, 3))
    if primitive is lax.acosh_p:
        low = 1.2
    if primitive is lax.tan_p:
        high = 1.2
    xs = [np.sort(rng.uniform(low, high, SAMPLES)).astype(dtype) + dtype(0) for _ in range(arity)]
    out = apply(primitive, params, [as_interval(x, x) for x in xs])
    assert_tight(out, truth, [tuple(xs)], ulps)


@pytest.mark.parametrize("n", [-3, -2, -1, 0, 1, 2, 4, 5])
def test_integer_powers(n):
    pair = ends(np.float64, 5, 200)
    out = apply(lax.integer_pow_p, {"y": n}, [as_interval(*pair)])
    assert_encloses(out, integer_power(n), [(p,) for p in members(*pair, 1)])


# Rules that are not elementwise: a function that uses the primitive, and the same function in ball arithmetic.
x33 = np.arange(9.0).reshape(3, 3)
ARRAYS = {
    lax.broadcast_in_dim_p: lambda x: lax.broadcast_in_dim(x, (2, 3, 3), (1, 2)),
    lax.reshape_p: lambda x: x.reshape(9),
    lax.squeeze_p: lambda x: lax.squeeze(x[:, :1], (1,)),
    lax.transpose_p: lambda x: x.T,
    lax.slice_p: lambda x: x[1:, ::2],
    lax.rev_p: lambda x: lax.rev(x, (0,)),
    lax.concatenate_p: lambda x: lax.concatenate([x, 2 * x], 0),
    lax.stack_p: lambda x: jnp.stack([x, -x]),
    lax.unstack_p: lambda x: jnp.unstack(x)[1],
    lax.tile_p: lambda x: jnp.tile(x, (2, 1)),
    lax.pad_p: lambda x: lax.pad(x, jnp.ones((), x.dtype), ((1, 0, 0), (0, 2, 1))),
    lax.dynamic_slice_p: lambda x: lax.dynamic_slice(x, (jnp.int32(1), jnp.int32(0)), (2, 2)),
    lax.dynamic_update_slice_p: lambda x: lax.dynamic_update_slice(x, 3 * x[:1], (jnp.int32(1), jnp.int32(0))),
    lax.gather_p: lambda x: x[jnp.array([2, 0])],
    lax.scatter_p: lambda x: x.at[jnp.array([2, 0])].set(x[:2]),
    lax.scatter_add_p: lambda x: x.at[jnp.array([2, 2])].add(x[:2]),
    lax.split_p: lambda x: lax.split(x, (1, 2), 0)[1],
    lax.convert_element_type_p: lambda x: x.astype(jnp.float32),
    lax.iota_p: lambda x: x + lax.iota(x.dtype, 3)[None, :],
    lax.bitcast_convert_type_p: lambda x: (
        x
        + lax.bitcast_convert_type(
            jnp.full((3, 3), 1.5, x.dtype), jnp.int32 if x.dtype == np.float32 else jnp.int64
        ).astype(x.dtype)
    ),
    lax.reduce_sum_p: lambda x: x.sum(0),
    lax.cumsum_p: lambda x: jnp.cumsum(x, 1),
    lax.dot_general_p: lambda x: (x @ jnp.asarray(x33, x.dtype)) @ x,
    lax.reduce_max_p: lambda x: x.max(0),
    lax.reduce_min_p: lambda x: x.min(1),
    lax.cummax_p: lambda x: lax.cummax(x, 0),
    lax.cummin_p: lambda x: lax.cummin(x, 1),
    lax.lt_p: lambda x: jnp.where(x < x.T, x, -x),
    lax.le_p: lambda x: jnp.where(x <= x.T, x, -x),
    lax.gt_p: lambda x: jnp.where(x > x.T, x, -x),
    lax.ge_p: lambda x: jnp.where(x >= x.T, x, -x),
    lax.lt_to_p: lambda x: jnp.where(lax.lt_to_p.bind(x, x.T), x, -x),
    lax.le_to_p: lambda x: jnp.where(lax.le_to_p.bind(x, x.T), x, -x),
    lax.eq_to_p: lambda x: jnp.where(lax.eq_to_p.bind(x, x.T), x, -x),
    lax.xor_p: lambda x: jnp.where((x > 0) ^ (x.T > 1), x, -x),
    lax.eq_p: lambda x: jnp.where(x == x.T, x, -x),
    lax.ne_p: lambda x: jnp.where(x != x.T, x, -x),
    lax.and_p: lambda x: jnp.where((x > 0) & (x.T > 1), x, -x),
    lax.or_p: lambda x: jnp.where((x > 0) | (x.T > 1), x, -x),
    lax.not_p: lambda x: jnp.where(~(x > x.T), x, -x),
    lax.is_finite_p: lambda x: jnp.where(jnp.isfinite(x), x, 0 * x),
    lax.select_n_p: lambda x: lax.select_n(x > 0.5, x, 2 * x),
    lax.reduce_and_p: lambda x: jnp.where((x > 0).all(0), x[0], -x[0]),
    lax.reduce_or_p: lambda x: jnp.where((x > 0).any(0), x[0], -x[0]),
    primitives.cond_p: lambda x: lax.cond(x[0, 0] > 0, lambda y: 2 * y, lambda y: y - 1, x),
    # What one branch leaves for its derivative is empty in the other.
    primitives.empty2_p: lambda x: jax.grad(lambda x: lax.cond(x[0, 0] > 0, jnp.sin, lambda y: y**3, x).sum())(x),
    **{p: lambda x: jnp.where(x < jnp.inf, x, jnp.empty_like(x)) for p in _compat.since("empty")},
    primitives.scan_p: lambda x: lax.scan(lambda c, row: (c + row, c * row), x[0], x)[1],
    primitives.while_p: lambda x: lax.while_loop(lambda c: c.sum() < 40, lambda c: 1.5 * jnp.abs(c) + 1, x),
    batch_first_p: lambda x: x + batch_first(x.T),
    flush_down_p: lambda x: x + flush_down(x.T),
    flush_up_p: lambda x: x + flush_up(x.T),
    order_p: lambda x: jnp.where(order(x) > 0, x, -x),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", ARRAYS, ids=str)
def test_array_rules_enclose(primitive, dtype):
    f = ARRAYS[primitive]
    enclosed, plain = inclusion(f), jax.jit(f)
    rng = np.random.default_rng(0)
    for radius in (0.0, 1e-3, 1.0):
        x = rng.normal(0, 1, (3, 3)).astype(dtype)
        r = np.abs(rng.normal(0, radius, (3, 3)) if radius else np.zeros((3, 3))).astype(dtype)
        low, upp = x - r, x + r
        out = enclosed(as_interval(low, upp))
        for _ in range(20):
            t = rng.integers(0, 2, (3, 3)) if rng.random() < 0.5 else rng.random((3, 3))
            member = np.clip((low * (1 - t) + upp * t).astype(dtype), low, upp)
            # Rounding of the plain evaluation itself: a few eps of what it adds up.
            slack = 64 * np.finfo(np.float32 if out.dtype == np.float32 else dtype).eps * (1 + np.abs(x33).max() * 27)
            value = np.asarray(plain(jnp.asarray(member)), np.float64)
            assert np.all(np.asarray(out.lower, np.float64) <= value + slack)
            assert np.all(value - slack <= np.asarray(out.upper, np.float64))
        if not radius:
            assert np.all(np.asarray(out.width) <= 1e3 * np.finfo(out.dtype).eps * (1 + np.asarray(out.magnitude)))


def test_the_tables_cover_the_registry():
    cases = (*ARRAY_CASES.values(), *SYSTEM_CASES.values())
    tested = {*ELEMENTWISE, *ARRAYS, *SPECIAL, *APART, *(case.primitive for case in cases)}
    assert {p.name for p in (*rules, *_registry.structured)} == {p.name for p in tested}
    assert not {p.name for p in _compat.CALLS} & {p.name for p in tested}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "thick"), [(1, False), (7, True), (128, False), (128, True)])
def test_dot_products_enclose_all_corners(dtype, n, thick):
    rng = np.random.default_rng(n)
    x, w = rng.normal(0, 1, n).astype(dtype), rng.normal(0, 1, (3, n)).astype(dtype)
    r = np.abs(rng.normal(0, 0.1, n)).astype(dtype)
    s = np.abs(rng.normal(0, 0.1, (3, n))).astype(dtype) * thick
    box, weights = as_interval(x - r, x + r), as_interval(w - s, w + s) if thick else jnp.asarray(w)
    out = inclusion(lambda w, x: w @ x)(weights, box)
    low, upp = box.lower, box.upper
    wl, wu = (weights.lower, weights.upper) if thick else (w, w)
    for i in range(3):
        least = most = arb(0)
        for k in range(n):
            corners = [arb(float(a)) * arb(float(b)) for a in (wl[i, k], wu[i, k]) for b in (low[k], upp[k])]
            least, most = least + min(corners, key=float), most + max(corners, key=float)
        assert arb(float(out.lower[i])) <= least
        assert most <= arb(float(out.upper[i]))
        width = float(most - least)
        # Midpoint and radius: the range itself for exact weights, at most half as much again otherwise (Rump, 1999).
        assert float(out.width[i]) <= width * (1.5 if thick else 1.0) + 8 * n * np.finfo(dtype).eps * np.sqrt(n) * 4


def test_factors_may_have_another_format_than_their_product():
    w = np.random.default_rng(1).normal(0, 1, (3, 4)).astype(np.float32)
    box = as_interval(np.zeros(4), np.ones(4))

    def product(w, x, dtype):
        return lax.dot_general(w, x, (((1,), (0,)), ((), ())), preferred_element_type=dtype)

    out = inclusion(lambda x: product(jnp.asarray(w), x, jnp.float64))(box)
    same = inclusion(lambda x: jnp.asarray(w.astype(np.float64)) @ x)(box)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out.lower, same.lower)
    np.testing.assert_array_equal(out.upper, same.upper)
    with pytest.raises(UnsupportedPrimitiveError, match="returns the product of float64 in float32"):
        inclusion(lambda x: product(jnp.ones((3, 4)), x, jnp.float32))(box)


def test_products_in_batches_are_those_of_every_sample():
    """`vmap` puts the batch of `w @ x` behind the rows; enclosures put it in front."""
    w = jnp.asarray(np.random.default_rng(2).normal(0, 1, (3, 4)))
    x = jnp.asarray(np.random.default_rng(3).normal(0, 1, (2, 5, 4)))

    def widths(x):
        return inclusion(lambda x: jnp.tanh(w @ x))(Interval(x - 0.1, x + 0.1)).width.sum()

    one = jax.jit(jax.value_and_grad(widths))
    batched = jax.jit(jax.vmap(jax.vmap(one)))(x)
    for i in range(2):
        for k in range(5):
            value, gradient = one(x[i, k])
            np.testing.assert_allclose(batched[0][i, k], value, rtol=1e-12)
            np.testing.assert_allclose(batched[1][i, k], gradient, rtol=1e-9, atol=1e-12)
    text = str(jax.make_jaxpr(jax.vmap(inclusion(lambda x: jnp.tanh(w @ x))))(Interval(x[0], x[0] + 1)))
    assert text.count("transpose[") == text.count("dot_general[") == 2  # which XLA makes part of the products


def test_unbounded_entries_stay_sound():
    x = Interval(jnp.array([-jnp.inf, 0.0]), jnp.array([jnp.inf, 1.0]))
    out = inclusion(lambda x: jnp.stack([x @ jnp.array([1.0, 2.0]), x[1] * 2.0, x.sum()]))(x)
    assert out.lower[0] == -jnp.inf
    assert out.upper[0] == jnp.inf
    assert out.upper[1] <= 2.0 + 1e-12
    assert not np.isnan(np.asarray(out.lower)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dot_products_that_overflow_are_unbounded(dtype):
    big = float(np.finfo(dtype).max) / 3
    x = as_interval(np.full(4, big, dtype), np.full(4, big * 1.001, dtype))
    exact = np.full(4, 4.0, dtype)
    for f in (lambda x: x @ jnp.asarray(exact), lambda x: x @ x, lambda x: -jnp.asarray(exact) @ x):
        out = inclusion(f)(x)
        assert out.lower == -np.inf or float(out.lower) > big
        assert out.upper == np.inf or float(out.upper) < -big


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_not_lost_to_flushing(dtype):
    # The products cancel; eps times the small factor is subnormal, eps times a product is not.
    info = np.finfo(dtype)
    eps, small = float(info.eps), dtype(float(info.tiny) * 2**17)
    large = dtype(float(info.max) / 4)
    x = np.array([large * (1 + 2 * eps), large], dtype)
    y = np.array([small * (1 + 6 * eps), -small * (1 + 7 * eps)], dtype)
    for pair in ((x, y), (y, x)):
        out = inclusion(lambda a, b: a @ b)(*(as_interval(v, v) for v in pair))
        assert_encloses(Interval(out.lower[None], out.upper[None]), lambda: sum_of(x, y), [()])


def sum_of(x, y):
    return sum((arb(float(a)) * arb(float(b)) for a, b in zip(x, y, strict=True)), arb(0))


def test_nothing_is_divided_by_zero():
    zero = as_interval(np.array([0.0, -0.0]), np.array([0.0, 0.0]))
    for f in (lambda x: x / x.at[0].set(0.0), lambda x: x / 0.0, lambda x: jnp.zeros(2) / x):
        assert inclusion(f)(zero).is_empty.all()


@pytest.mark.parametrize("n", [1025, 2000, -5001])
def test_large_powers(n):
    low, upp = np.array([-1.01, 0.99, -0.5, 1.0]), np.array([1.01, 1.01, 0.0, 1.0])
    out = inclusion(lambda x: x**n)(as_interval(low, upp))
    points = [low, upp, np.clip(np.full(4, 0.999), low, upp)]
    assert_encloses(out, integer_power(n), [(p,) for p in points])
    assert np.all(np.asarray(out.width)[3:] < 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_that_cancel_are_enclosed(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (20, 64)).astype(dtype)
    x[:, -1] = -x[:, :-1].sum(1)  # what is left is rounding
    truth = [sum((arb(float(v)) for v in row), arb(0)) for row in x]
    sums = {
        "sum": lambda x: x.sum(1),
        "cumsum": lambda x: jnp.cumsum(x, 1)[:, -1],
        "scatter_add": lambda x: jnp.zeros(20, x.dtype).at[jnp.repeat(jnp.arange(20), 64)].add(x.reshape(-1)),
        "dot": lambda x: x @ jnp.ones(64, x.dtype),
    }
    for name, f in sums.items():
        out = inclusion(f)(as_interval(x, x))
        assert float(out.width.max()) < 1e6 * np.finfo(dtype).eps, name
        for low, value, upp in zip(np.asarray(out.lower), truth, np.asarray(out.upper), strict=True):
            assert not arb(float(low)) > value, name
            assert not value > arb(float(upp)), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", [lax.sin_p, lax.cos_p, lax.tan_p], ids=str)
def test_periodic_functions_of_large_arguments(primitive, dtype):
    rng = np.random.default_rng(0)
    low = (rng.choice([-1, 1], 200) * 10.0 ** rng.uniform(2, 20, 200)).astype(dtype)
    upp = low
    for _ in range(3):
        upp = np.nextafter(upp, dtype(np.inf))
    out = apply(primitive, ACCURACY, [as_interval(low, upp)])
    middle = np.nextafter(low, dtype(np.inf))
    assert_encloses(out, ELEMENTWISE[primitive][2], [(p,) for p in (low, middle, upp)])
    # Between the ends, where the extremes are.
    f = ELEMENTWISE[primitive][2]
    for t in (0.1, 0.37, 0.61, 0.9):
        assert_encloses(out, lambda a, b, t=t: f(a + (b - a) * t), [(low, upp)])


def test_chains_of_powers_are_compiled():
    """As one kernel each of them would be compiled for hours by JAX 0.12."""
    low, upp = np.linspace(0.1, 0.9, 16), np.linspace(0.2, 1.0, 16)

    def f(x):
        return jnp.minimum(jnp.exp(x), x**1.7), (x**1.7) ** (x**0.3)

    out = jax.jit(inclusion(f))(as_interval(low, upp))
    values = [np.minimum(np.exp(x), x**1.7) for x in (low, upp)], [(x**1.7) ** (x**0.3) for x in (low, upp)]
    for enclosed, ends_of in zip(out, values, strict=True):
        for value in ends_of:
            assert np.all((enclosed.lower <= value * (1 + 1e-14)) & (value <= enclosed.upper * (1 + 1e-14)))
