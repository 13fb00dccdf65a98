"""`inclusion` as a user meets it: transformations, pytrees, errors; networks and their adjoints."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, arb_mat
from interval_checks import DTYPES, as_interval, sigmoid
from jax.extend.core import Primitive

from sobolev_pruning.intervals import (
    Decoration,
    Interval,
    Ternary,
    UnsupportedPrimitiveError,
    inclusion,
    mean_value,
    outward,
    register_rule,
    rule_for,
    supported_primitives,
)


def network(key, sizes, dtype):
    params = []
    for n_in, n_out in itertools.pairwise(sizes):
        key, w, b = jax.random.split(key, 3)
        params.append(
            (
                (jax.random.normal(w, (n_out, n_in)) / np.sqrt(n_in)).astype(dtype),
                (0.3 * jax.random.normal(b, (n_out,))).astype(dtype),
            )
        )

    def apply(x, taps):
        values = []
        for (w, b), tap in zip(params[:-1], taps, strict=True):
            x = jax.nn.silu(w @ x + b) + tap
            values.append(x)
        w, b = params[-1]
        return (w @ x + b)[0], values

    def adjoints(x):
        taps = [jnp.zeros(n, dtype) for n in sizes[1:-1]]
        (y, values), slopes = jax.value_and_grad(lambda t: apply(x, t), has_aux=True)(taps)
        return y, values, slopes

    return params, adjoints


def exact_network(params, x):
    """Value and adjoints in ball arithmetic."""
    mats = [(arb_mat(np.asarray(w, np.float64).tolist()), [arb(float(v)) for v in b]) for w, b in params]
    h = [arb(float(v)) for v in x]
    pre = []
    values = []
    for w, b in mats[:-1]:
        z = [(w * arb_mat([[v] for v in h]))[i, 0] + b[i] for i in range(len(b))]
        pre.append(z)
        h = [v * sigmoid(v) for v in z]
        values.append(h)
    w, b = mats[-1]
    y = (w * arb_mat([[v] for v in h]))[0, 0] + b[0]
    bar = [w[0, i] for i in range(len(h))]
    slopes = [bar]
    for k in range(len(mats) - 2, 0, -1):
        z, w = pre[k], mats[k][0]
        d = [bar[i] * (sigmoid(z[i]) * (1 + z[i] * sigmoid(-z[i]))) for i in range(len(z))]
        bar = [(arb_mat([d]) * w)[0, j] for j in range(w.ncols())]
        slopes.insert(0, bar)
    return y, values, slopes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2, 3, 1), (3, 8, 8, 1)])
def test_values_and_adjoints_of_networks(sizes, dtype, getkey):
    params, adjoints = network(getkey(), sizes, dtype)
    rng = np.random.default_rng(0)
    n = 6
    x = rng.normal(0, 1, (n, sizes[0])).astype(dtype)
    r = (np.array([0, 1e-6, 1e-3, 0.03, 0.3, 2.0])[:, None] * np.ones(sizes[0])).astype(dtype)
    low, upp = x - r, x + r
    out = jax.jit(jax.vmap(inclusion(adjoints)))(as_interval(low, upp))
    for i in range(n):
        for trial in range(4):
            t = rng.integers(0, 2, sizes[0]) if trial else rng.random(sizes[0])
            member = np.clip((low[i] * (1 - t) + upp[i] * t).astype(dtype), low[i], upp[i])
            truth = jax.tree.leaves(exact_network(params, member))
            bounds = jax.tree.leaves(out, is_leaf=lambda v: isinstance(v, Interval))
            flat = [(a, b) for v in bounds for a, b in zip(np.ravel(v.lower[i]), np.ravel(v.upper[i]), strict=True)]
            assert len(flat) == len(truth)
            for (a, b), value in zip(flat, truth, strict=True):
                assert arb(float(a)) <= value
                assert value <= arb(float(b))
    # A point stays within rounding.
    eps = float(np.finfo(dtype).eps)
    assert float(out[0].width[0]) < 200 * eps * (1 + float(out[0].magnitude[0]))
    assert max(float(s.width[0].max()) for s in out[2]) < 400 * eps * 10


def test_narrower_boxes_have_narrower_enclosures(getkey):
    _, adjoints = network(getkey(), (3, 8, 1), np.float64)
    x = jnp.zeros(3)
    wide, narrow = (inclusion(adjoints)(Interval(x - r, x + r)) for r in (0.5, 0.25))

    def is_interval(v):
        return isinstance(v, Interval)

    for a, b in zip(
        jax.tree.leaves(narrow, is_leaf=is_interval), jax.tree.leaves(wide, is_leaf=is_interval), strict=True
    ):
        assert bool(a.subset(b).all())


def test_transformations_agree():
    def f(x, w):
        return jnp.tanh(w @ x).sum() + x[0]

    w = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    low = jnp.linspace(-1.0, 0.0, 12).reshape(4, 3)
    box = Interval(low, low + 0.3)
    one = inclusion(f)
    batched = jax.vmap(one, in_axes=(0, None))(box, w)
    jitted = jax.jit(jax.vmap(one, in_axes=(0, None)))(box, w)
    for i in range(4):
        single = one(box[i], w)
        for other in (batched, jitted):
            assert np.allclose(single.lower, other.lower[i], rtol=1e-12, atol=1e-12)
            assert np.allclose(single.upper, other.upper[i], rtol=1e-12, atol=1e-12)


def test_bounds_are_differentiable():
    def upper(radius):
        x = jnp.array([0.2, -0.4])
        return inclusion(lambda x: jax.nn.silu(x).sum())(Interval(x - radius, x + radius)).upper

    slope = jax.grad(upper)(0.1)
    estimate = (upper(0.1 + 1e-6) - upper(0.1 - 1e-6)) / 2e-6
    assert abs(slope - estimate) < 1e-6


@pytest.mark.parametrize("domain", ["interval", "affine", "mean value"])
@pytest.mark.parametrize("function", [jax.nn.softmax, jnp.abs])
def test_derivatives_of_bounds_are_finite(function, domain):
    """At points, where boxes only touch a kink, and at ordinary ones: a choice that is not taken must not leave NaN."""

    def width(ends):
        box = Interval(ends[0], ends[1])
        if domain == "mean value":
            return mean_value(lambda x: function(x).sum())(box).width
        return inclusion(lambda x: function(x).sum(), domain=domain)(box).width

    ends = jnp.array([[[0.0, 0.0]] * 2, [[0.0, -1.0], [1.0, 0.0]], [[-0.5, 0.2], [0.5, 0.4]], [[0.3, 0.3]] * 2])
    assert jnp.isfinite(jax.jit(jax.vmap(jax.grad(width)))(ends)).all()


def test_mixed_arguments_and_pytrees():
    def f(data, *, scale, k):
        return {"y": data["x"] * scale, "n": k + 1, "up": data["x"] > 0}

    out = inclusion(f)({"x": Interval([-1.0, 1.0], [1.0, 2.0])}, scale=jnp.array(2.0), k=jnp.array(3))
    assert isinstance(out["y"], Interval)
    assert int(out["n"]) == 4
    assert isinstance(out["up"], Ternary)
    assert out["up"].can_be_false.tolist() == [True, False]
    assert bool(jnp.all(out["y"].contains(jnp.array([0.5, 3.0]))))


def test_traced_once():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return x * x

    enclosed = inclusion(f)
    for k in range(3):
        enclosed(Interval([0.0], [1.0 + k]))
    assert count == 1


def test_rounding_to_nearest_leaves_the_margins_out():
    box = Interval([0.1], [0.2])
    nearest, rounded = (inclusion(lambda x: x + 0.3, rounding=r)(box) for r in ("nearest", "outward"))
    assert float(nearest.lower[0]) == 0.1 + 0.3
    assert float(rounded.lower[0]) < 0.1 + 0.3
    with pytest.raises(ValueError, match="`rounding` must be one of"):
        inclusion(lambda x: x, rounding="up")


def test_undecided_conditions_take_the_hull():
    box = Interval([-1.0, 1.0], [1.0, 2.0])
    out = inclusion(lambda x: jnp.where(x < 0, 5.0, 0.0))(box)
    assert out.lower.tolist() == [0.0, 0.0]
    assert 5.0 <= float(out.upper[0]) < 5.0 + 1e-13
    assert float(out.upper[1]) == 0.0


def test_half_open_domains():
    out = inclusion(lambda x: (jnp.sqrt(x), jnp.log(x)))(Interval([-1.0], [4.0]))
    assert float(out[0].lower[0]) <= 0 <= 2 <= float(out[0].upper[0])
    assert float(out[1].lower[0]) == -np.inf
    assert np.log(4.0) <= float(out[1].upper[0]) < 1.4


def test_unsupported_primitives_name_the_line():
    def transforms(x):
        return jnp.linalg.svd(jnp.outer(x, x), compute_uv=False)

    with pytest.raises(
        UnsupportedPrimitiveError, match=r"`svd`.*test_interval_inclusion\.py:\d+.*transforms.*register_rule"
    ):
        inclusion(transforms)(Interval([0.0, 1.0], [1.0, 2.0]))
    with pytest.raises(UnsupportedPrimitiveError, match="a place that is undecided over the box"):
        inclusion(lambda x: jnp.arange(3).at[jnp.where(x[0] > 0, 1, 2)].set(0))(Interval([-1.0], [1.0]))
    with pytest.raises(UnsupportedPrimitiveError, match=r"`shift_left`.*an integer that is undecided"):
        inclusion(lambda x: (x > 0).astype(jnp.int32) << 2)(Interval([-1.0], [1.0]))


def test_other_formats_are_refused():
    with pytest.raises(TypeError, match="float32 and float64, got float16"):
        inclusion(lambda x: x + 1)(Interval(jnp.zeros(2, jnp.float16), jnp.ones(2, jnp.float16)))


@pytest.mark.usefixtures("registry")
def test_users_register_rules():
    double = Primitive("double")
    double.def_impl(lambda x: 2 * x)
    double.def_abstract_eval(lambda x: x)

    def f(x):
        return double.bind(x)

    with pytest.raises(UnsupportedPrimitiveError, match="double"):
        inclusion(f)(Interval([0.0], [1.0]))
    register_rule(double, lambda x: Interval(*outward(2 * x.lower, 2 * x.upper)))
    assert inclusion(f)(Interval([0.0], [1.0])).contains(2.0).all()
    assert "double" in supported_primitives()
    with pytest.raises(ValueError, match="has an interval rule already"):
        register_rule(double, lambda x: x)
    assert rule_for(double) is not None
    _, decoration = inclusion(f, decorated=True)(Interval([0.0], [1.0]))
    assert np.asarray(decoration).tolist() == [Decoration.TRV]  # nobody said that it is continuous
    with pytest.raises(TypeError, match=r"`primitive` must be a `jax.extend.core.Primitive`, got PjitFunction"):
        inspect.unwrap(register_rule)(jnp.sin, lambda x: x)
    with pytest.raises(TypeError, match=r"`rule` must be a function of the operands, got Interval"):
        inspect.unwrap(register_rule)(double, Interval([0.0], [1.0]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: inspect.unwrap(inclusion)(3.0), TypeError, r"`f` must be a function of arrays, got float"),
        (lambda: inclusion(jnp.sin, rounding="up"), ValueError, r"`rounding` must be one of"),
        (lambda: inclusion(jnp.sin)("x"), TypeError, r"the argument `x` of `sin` is a str"),
        (lambda: inclusion(lambda p: p["w"])({"w": [1.0, "a"]}), TypeError, r"the argument `p\['w'\]\[1\]` of"),
        (lambda: inclusion(lambda x, *, k: x)(1.0, k=len), TypeError, r"the argument `k` of .* is a builtin_function"),
        (lambda: inclusion(jnp.sin)(Interval.empty((1,), np.float16)), TypeError, r"float32 and float64, got float16"),
        (lambda: inclusion(lambda n: jnp.zeros(n))(Interval(1.0, 2.0)), TypeError, r"(?i)shapes must be"),
        (lambda: inclusion(lambda x: 1j * x)(Interval(1.0, 2.0)), UnsupportedPrimitiveError, r"complex"),
    ],
)
def test_misuse_is_explained(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_nan_certifies_nothing():
    w = jnp.array([[jnp.nan, 1.0]])
    box = Interval(jnp.zeros(2), jnp.ones(2))
    as_constant = inclusion(lambda x: jnp.tanh(w @ x))(box)
    as_argument = inclusion(lambda w, x: (jnp.tanh(w * 0 @ x), x > 2))(w, box)
    for out in (as_constant, as_argument[0]):
        assert out.lower.tolist() == [-np.inf]
        assert out.upper.tolist() == [np.inf]
    assert bool(as_argument[1].can_be_true.all())


@pytest.mark.parametrize("as_argument", [False, True])
@pytest.mark.parametrize(
    "finite",
    [
        jnp.isfinite,
        lambda c: ~jnp.isinf(c),
        lambda c: jnp.abs(c) < jnp.inf,
        lambda c: (c != jnp.inf) & (c > -jnp.inf),
    ],
    ids=["isfinite", "isinf", "abs", "order"],
)
def test_infinite_entries_of_exact_arrays_are_seen(finite, as_argument):
    c = jnp.array([jnp.inf, -jnp.inf, 3.0])

    def f(x, c):
        return x * jnp.where(finite(c), c, 0.0)

    box = Interval(jnp.ones(3), 2 * jnp.ones(3))
    out = inclusion(f)(box, c) if as_argument else inclusion(lambda x: f(x, c))(box)
    assert bool(out.contains(jnp.array([0.0, 0.0, 4.5])).all())
    assert 2.9 < float(out.lower[2]) < 6 < float(out.upper[2]) < 6.1


def test_computed_numbers_are_real():
    assert bool(inclusion(jnp.isfinite)(Interval([0.0], [jnp.inf])).all())


def test_undecided_branches_take_the_hull():
    def f(x):
        return jax.lax.cond(x[0] > 0.25, lambda y: 2 * y, lambda y: y - 10, x)

    low, upp = jnp.array([[0.0], [0.3], [0.0]]), jnp.array([[0.5], [0.5], [0.2]])
    out = jax.vmap(inclusion(f))(Interval(low, upp))
    assert np.allclose(out.lower[:, 0], [-10.0, 0.6, -10.0])
    assert np.allclose(out.upper[:, 0], [1.0, 1.0, -9.8])
    for i in range(3):
        single = inclusion(f)(Interval(low[i], upp[i]))
        assert np.allclose(single.lower, out.lower[i])
        assert np.allclose(single.upper, out.upper[i])


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_entries_of_exact_arrays_are_not_lost(dtype):
    info = np.finfo(dtype)
    c = np.array([info.tiny / 16, -info.tiny / 8], dtype)
    x = np.full(2, info.max / 4, dtype)
    truth = [arb(float(a)) * arb(float(b)) for a, b in zip(c, x, strict=True)]
    outs = (
        inclusion(lambda x: x * jnp.asarray(c))(as_interval(x, x)),
        inclusion(lambda x, c: x * c)(as_interval(x, x), jnp.asarray(c)),
        inclusion(lambda x: x * dtype(c[0]))(as_interval(x, x))[:1],
        inclusion(lambda x, c: (x * c)[:, None] @ jnp.ones(1, dtype))(as_interval(x, x), jnp.asarray(c)),
    )
    for out in outs:
        for low, value, upp in zip(np.asarray(out.lower), truth, np.asarray(out.upper), strict=False):
            assert arb(float(low)) <= value <= arb(float(upp))
