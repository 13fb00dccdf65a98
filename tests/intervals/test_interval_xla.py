"""What is known of XLA's arithmetic on a CPU, shown to happen, and enclosed nevertheless."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from interval_checks import DTYPES, as_interval, assert_encloses, sigmoid
from jax import lax

from sobolev_pruning.intervals import Interval, inclusion, rule_for
from sobolev_pruning.intervals._elementary import accurate_p, evaluate, is_accurate, margin
from sobolev_pruning.intervals._rounding import rounded, rounded_sum

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["no jit", "jit"])


def maybe_jit(f, compiled):
    return jax.jit(f) if compiled else f


def points(x):
    return Interval(jnp.asarray(x), jnp.asarray(x))


@BOTH
@pytest.mark.parametrize(("dtype", "x"), [(np.float32, -88.73), (np.float64, -709.5)])
def test_subnormals_are_read_as_zero_in_activations(dtype, x, compiled):
    # exp(−88.73) and σ(−88.73) are subnormal in float32, silu(−88.73) is not.
    x = np.full(3, x, dtype)
    for name, truth in (("silu", lambda v: v * sigmoid(v)), ("sigmoid", sigmoid)):
        f = getattr(jax.nn, name)
        out = maybe_jit(inclusion(f), compiled)(as_interval(x, x))
        assert_encloses(out, truth, [(x,)])
    value = float(jax.jit(jax.nn.silu)(jnp.asarray(x))[0])
    assert value == 0 or value == pytest.approx(float(arb(float(x[0])) * sigmoid(arb(float(x[0])))), rel=1e-3)


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_are_read_as_zero_in_comparisons(dtype, compiled):
    tiny = np.finfo(dtype).tiny
    x = np.array([tiny / 2, -tiny / 2, tiny / 4, 0], dtype)
    y = np.array([0, 0, tiny / 2, -tiny / 2], dtype)
    large = 2.0 ** (np.finfo(dtype).maxexp - 2)
    cases = {
        "max": (lambda a, b: jnp.maximum(a, b), lambda a, b: max(a, b, key=float)),
        "min": (lambda a, b: jnp.minimum(a, b), lambda a, b: min(a, b, key=float)),
        "where": (
            lambda a, b: jnp.where(a > b, jnp.ones_like(a), -jnp.ones_like(a)),
            lambda a, b: arb(1 if a > b else -1),
        ),
        "product": (lambda a, b: a * jnp.asarray(large, a.dtype), lambda a, b: a * arb(large)),
    }
    for f, truth in cases.values():
        assert_encloses(maybe_jit(inclusion(f), compiled)(as_interval(x, x), as_interval(y, y)), truth, [(x, y)])


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_may_or_may_not_be_fused_with_sums(dtype, compiled):
    # a·b − c is zero where the product is rounded, and the rounding error where it is not.
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(1, 2, 64).astype(dtype) for _ in range(2))
    c = a * b
    out = maybe_jit(inclusion(lambda a, b, c: a * b - c), compiled)(*(as_interval(v, v) for v in (a, b, c)))
    assert_encloses(out, lambda a, b, c: a * b - c, [(a, b, c)])
    fused = np.asarray(maybe_jit(lambda a, b, c: a * b - c, compiled)(*map(jnp.asarray, (a, b, c))))
    if not compiled:
        assert (fused == 0).all()


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_and_exact_sums(dtype, compiled):
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, np.iinfo(f"uint{info.bits}").max, 20_000, dtype=f"uint{info.bits}").view(dtype)
    powers = 2.0 ** np.arange(info.minexp, info.maxexp, dtype=np.float64)
    binades = np.concatenate([(powers * (1 + k * float(info.eps) / 2)).astype(dtype) for k in range(-4, 5)])
    c = np.concatenate([bits, binades, -binades, np.array([info.max, -info.max, 0], dtype)])
    c = c[np.isfinite(c) & ((np.abs(c) >= info.tiny) | (c == 0))]
    with np.errstate(over="ignore"):
        below, above = (np.nextafter(c, dtype(end)) for end in (-np.inf, np.inf))
    low, upp = map(np.asarray, maybe_jit(rounded, compiled)(jnp.asarray(c), jnp.asarray(c)))
    normal = np.abs(c) > 4 * info.tiny / info.eps
    np.testing.assert_array_equal(low[normal], below[normal])
    np.testing.assert_array_equal(upp[normal], above[normal])
    assert ((low <= below) & (upp >= above)).all()
    # A result that was flushed to zero.
    assert (low[c == 0] <= -info.tiny).all()

    x, y = c[rng.permutation(c.size)][:3000], c[rng.permutation(c.size)][:3000]
    near = (-x * (1 + rng.integers(-3, 4, x.size) * info.eps / 2)).astype(dtype)
    for second in (y, near, x[::-1]):
        keep = (np.abs(second) >= info.tiny) | (second == 0)
        first, other = (jnp.asarray(v[keep]) for v in (x, second))
        low, upp = map(np.asarray, maybe_jit(rounded_sum, compiled)((first, first), (other, other)))
        assert_encloses(Interval(jnp.asarray(low), jnp.asarray(upp)), lambda a, b: a + b, [(x[keep], second[keep])])
        with np.errstate(over="ignore"):
            width, size = (upp - low).astype(np.float64), np.maximum(np.abs(low), np.abs(upp)).astype(np.float64)
        # At most two steps of at most an eps each.
        wide = np.isfinite(width) & (width > 2.01 * float(info.eps) * size + 4 * float(info.tiny))
        assert not wide.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_with_constants_are_not_simplified(dtype):
    """XLA of JAX 0.10, no longer that of 0.12, replaces `(x + c) − c` by x under `jit` if c is a constant."""
    c, x = np.full(999, 1, dtype), np.linspace(0.01, 0.03, 999).astype(dtype)
    assert not np.array_equal((x + c) - c, x)
    constant = jnp.asarray(c)
    low, upp = jax.jit(lambda x: rounded_sum((constant, constant), (x, x)))(x)
    assert_encloses(Interval(low, upp), lambda a, b: a + b, [(c, x)])


@pytest.mark.parametrize(
    ("primitive", "x"),
    [
        (lax.log1p_p, -0.413877),
        (lax.erfc_p, 23.992307),
        (lax.exp2_p, 964.469019),
        (lax.sinh_p, 631.46023),
        (lax.cosh_p, 631.46023),
        (lax.atanh_p, -0.413877),
    ],
    ids=str,
)
def test_functions_that_are_off_by_many_ulps_are_computed_another_way(primitive, x):
    """XLA of JAX 0.10 is off by more than 20 ulps at all of these points, that of JAX 0.12 at some of them."""
    x = x + np.arange(-500, 500) * abs(x) * 2.0**-50
    truth = {
        lax.log1p_p: lambda v: v.log1p(),
        lax.erfc_p: lambda v: v.erfc(),
        lax.exp2_p: lambda v: (v * arb.const_log2()).exp(),
        lax.sinh_p: lambda v: v.sinh(),
        lax.cosh_p: lambda v: v.cosh(),
        lax.atanh_p: lambda v: v.atanh(),
    }[primitive]
    exact = [truth(arb(float(v))) for v in x]

    def error(values):
        eps = arb(float(np.finfo(np.float64).eps))
        return max(float(abs((arb(float(v)) - t) / (t * eps)).upper()) for v, t in zip(values, exact, strict=True))

    assert error(np.asarray(evaluate(primitive, jnp.asarray(x)))) < margin(primitive, np.float64) < 2
    out = rule_for(primitive)(points(x))
    assert_encloses(out, truth, [(x,)])


# Consecutive floats between which XLA's float32 function moves the wrong way, found by the sweep.
FALLS = {
    lax.tanh_p: lambda v: v.tanh(),
    lax.erf_p: lambda v: v.erf(),
    lax.expm1_p: lambda v: v.expm1(),
}


@pytest.mark.parametrize("primitive", FALLS, ids=str)
def test_functions_that_are_not_monotone_are_enclosed(primitive):
    x = np.arange(0x3D800000, 0x40A00000, 7, dtype=np.uint32).view(np.float32)
    x = np.sort(np.concatenate([x, np.nextafter(x, np.float32(np.inf))]))
    value = np.asarray(jax.jit(lambda x: evaluate(primitive, x))(jnp.asarray(x)))
    falls = np.flatnonzero(value[1:] < value[:-1])
    # expm1 of JAX 0.12 is monotone here, so any neighbours have to do.
    some = falls[:: max(1, falls.size // 50)] if falls.size else np.arange(0, x.size - 1, x.size // 50)
    low, upp = x[some], x[some + 1]
    out = rule_for(primitive)(as_interval(low, upp))
    assert_encloses(out, FALLS[primitive], [(low,), (upp,)])


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", [lax.sin_p, lax.cos_p, lax.tan_p], ids=str)
def test_huge_arguments_of_periodic_functions(primitive, dtype, compiled):
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    x = np.concatenate([2.0 ** rng.uniform(10, info.maxexp - 1, 60), rng.integers(1, 10**6, 60) * (np.pi / 2)])
    x = np.append(
        x, [float(info.max), float.fromhex("0x1.6ac5b262ca1ffp+849") if dtype == np.float64 else 16367173 * 2.0**72]
    )
    x = (x * rng.choice([-1, 1], x.size)).astype(dtype)
    truth = {lax.sin_p: lambda v: v.sin(), lax.cos_p: lambda v: v.cos(), lax.tan_p: lambda v: v.tan()}[primitive]
    out = maybe_jit(lambda v: rule_for(primitive)(v), compiled)(points(x))
    assert_encloses(out, truth, [(x,)])
    width = np.asarray(out.upper, np.float64) - np.asarray(out.lower)
    # Nearer to a zero or a pole than 2⁻⁴⁰ the error of the reduced argument counts.
    size = np.abs(np.asarray(out.upper, np.float64))
    slope = 1 + size**2 if primitive is lax.tan_p else 1
    assert (width <= 16 * float(info.eps) * size + 2.0**-89 * slope).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_extrema_between_far_ends_are_found(dtype):
    rng = np.random.default_rng(1)
    low = (rng.uniform(-1, 1, 400) * 10.0 ** rng.uniform(0, 5, 400)).astype(dtype)
    upp = (low + rng.uniform(0, 7, 400)).astype(dtype)
    inside = [(low * (1 - t) + upp * t).astype(dtype) for t in np.linspace(0, 1, 9)]
    inside = [np.clip(v, low, upp) for v in inside]
    for primitive, truth in ((lax.sin_p, lambda v: v.sin()), (lax.cos_p, lambda v: v.cos())):
        out = rule_for(primitive)(as_interval(low, upp))
        assert_encloses(out, truth, [(v,) for v in inside])
        # As wide as its samples say, or a little more.
        values = np.stack(
            [np.sin(v.astype(float)) if primitive is lax.sin_p else np.cos(v.astype(float)) for v in inside]
        )
        assert (np.asarray(out.upper) - values.max(0) < 0.1).all()
        assert (values.min(0) - np.asarray(out.lower) < 0.1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_own_functions_differentiate_batch_and_nest(dtype):
    x = jnp.asarray(np.linspace(0.1, 0.9, 6), dtype)
    for primitive in (lax.erfc_p, lax.sinh_p, lax.exp2_p):
        assert is_accurate(primitive, dtype)

        def f(x, primitive=primitive):
            return evaluate(primitive, x)

        slope = jax.vmap(jax.grad(f))(x)
        plain = jax.vmap(jax.grad(lambda x, p=primitive: p.bind(x, **({"accuracy": None} if p is lax.exp2_p else {}))))(
            x
        )
        np.testing.assert_allclose(slope, plain, rtol=1e-5)
        np.testing.assert_array_equal(jax.vmap(f)(x), f(x))
        assert jax.hessian(lambda x: f(x).sum())(x).shape == (6, 6)
    low, _ = jax.vmap(lambda a, b: accurate_p.bind(a, b, function="pow"), (0, None))(x, jnp.asarray(1.5, dtype))
    np.testing.assert_allclose(low, np.asarray(x) ** dtype(1.5), rtol=1e-6)
    out = inclusion(lambda x: accurate_p.bind(x, function="sinh")[0])(points(x))
    assert_encloses(out, lambda v: v.sinh(), [(np.asarray(x),)])
