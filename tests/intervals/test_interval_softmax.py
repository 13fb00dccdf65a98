"""Softmax, log-softmax and logsumexp are recognised, enclosed, and enclosed by their exact ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from interval_checks import DTYPES, as_interval

from sobolev_pruning.intervals import Interval, inclusion


def _softmax(x, i):
    return x[i].exp() / sum((v.exp() for v in x), arb(0))


def _log_softmax(x, i):
    return _softmax(x, i).log()


def _logsumexp(x, _):
    return sum((v.exp() for v in x), arb(0)).log()


def _sum(x, axis):
    return jnp.sum(x, axis=axis, keepdims=True)


def _shifted(x, axis):
    return jnp.exp(x - jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True)))


# Along one axis: the function, and its truth. Softmax first, then its logarithm, then logsumexp.
FUNCTIONS = {
    "nn.softmax": (jax.nn.softmax, _softmax),
    "softmax by hand": (lambda x, axis: jnp.exp(x) / _sum(jnp.exp(x), axis), _softmax),
    "shifted softmax by hand": (lambda x, axis: _shifted(x, axis) / _sum(_shifted(x, axis), axis), _softmax),
    "shifted by another number": (lambda x, axis: jnp.exp(x - 3) / _sum(jnp.exp(x - 3), axis), _softmax),
    "exp of log_softmax": (lambda x, axis: jnp.exp(jax.nn.log_softmax(x, axis)), _softmax),
    "gradient of logsumexp": (
        lambda x, axis: jax.grad(lambda x: jax.nn.logsumexp(x, axis=axis).sum())(x), _softmax,
    ),
    "gradient by hand": (lambda x, axis: jax.grad(lambda x: jnp.log(_sum(jnp.exp(x), axis)).sum())(x), _softmax),
    "gradient of a weighted logsumexp": (
        lambda x, axis: jax.grad(lambda x: 2 * jax.nn.logsumexp(x, axis=axis).sum())(x),
        lambda x, i: 2 * _softmax(x, i),
    ),
    "nn.log_softmax": (jax.nn.log_softmax, _log_softmax),
    "log of softmax": (lambda x, axis: jnp.log(jax.nn.softmax(x, axis)), _log_softmax),
    "log_softmax by hand": (lambda x, axis: x - jax.nn.logsumexp(x, axis=axis, keepdims=True), _log_softmax),
    "nn.logsumexp": (lambda x, axis: jax.nn.logsumexp(x, axis=axis, keepdims=True) + 0 * x, _logsumexp),
    "logsumexp by hand": (lambda x, axis: jnp.log(_sum(jnp.exp(x), axis)) + 0 * x, _logsumexp),
}  # fmt: skip


def _corners(low, upp, truth, axis):
    """The exact range of every entry, as balls: the entry at one end and the others at the other."""
    lower, upper = np.empty(low.shape, object), np.empty(low.shape, object)
    rising = truth is _logsumexp
    for index in np.ndindex(low.shape):
        line = tuple(slice(None) if k == axis else i for k, i in enumerate(index))
        i = index[axis]
        a, b = ([arb(float(v)) for v in end[line]] for end in (low, upp))
        least, most = (list(a), list(b)) if rising else (list(b), list(a))
        least[i], most[i] = a[i], b[i]
        lower[index], upper[index] = truth(least, i), truth(most, i)
    return lower, upper


def _assert_range(out, low, upp, truth, axis, ulps):
    lower, upper = _corners(low, upp, truth, axis)
    eps = float(np.finfo(low.dtype).eps)
    for index in np.ndindex(low.shape):
        least, most = float(out.lower[index]), float(out.upper[index])
        assert arb(least) <= lower[index]
        assert upper[index] <= arb(most)
        for bound, true in ((least, lower[index]), (most, upper[index])):
            assert abs(arb(bound) - true) <= ulps * eps * (abs(true) + (0 if truth is _softmax else 1))


def _box(dtype, shape=(3, 4), seed=0):
    rng = np.random.default_rng(seed)
    low = rng.normal(0, 4, shape).astype(dtype)
    return low, (low + rng.choice([0, 0.01, 1, 10], shape) * rng.random(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_ranges_are_exact(name, axis, dtype):
    f, truth = FUNCTIONS[name]
    low, upp = _box(dtype)
    out = inclusion(lambda x: f(x, axis))(as_interval(low, upp))
    _assert_range(out, low, upp, truth, axis, 600)


@pytest.mark.parametrize("name", ["nn.softmax", "shifted softmax by hand", "gradient of logsumexp", "nn.log_softmax"])
@pytest.mark.parametrize("in_axis", [0, 1])
def test_vmap_changes_nothing(name, in_axis):
    f, truth = FUNCTIONS[name]
    low, upp = _box(np.float64)
    out = inclusion(jax.vmap(lambda x: f(x, 0), in_axes=in_axis, out_axes=in_axis))(as_interval(low, upp))
    _assert_range(out, low, upp, truth, 1 - in_axis, 600)


def test_several_axes_and_scalars():
    low, upp = _box(np.float64, (2, 2, 2))
    out = inclusion(lambda x: jax.nn.softmax(x, axis=(0, 2)))(as_interval(low, upp))
    flat = [np.moveaxis(v, 1, 0).reshape(2, 4) for v in (low, upp, np.asarray(out.lower), np.asarray(out.upper))]
    _assert_range(Interval(flat[2], flat[3]), flat[0], flat[1], _softmax, 1, 600)
    alone = inclusion(jax.nn.softmax)(Interval(jnp.array([-1.0]), jnp.array([2.0])))
    assert 1 - 1e-14 <= float(alone.lower[0])
    assert float(alone.upper[0]) == 1
    total = inclusion(jax.nn.logsumexp)(as_interval(low[0, 0], upp[0, 0]))
    assert total.shape == ()


def test_a_long_sum_and_far_apart_entries():
    rng = np.random.default_rng(3)
    low = rng.normal(0, 100, (1, 300))
    upp = low + rng.random((1, 300))
    for name in ("nn.softmax", "nn.log_softmax", "nn.logsumexp"):
        f, truth = FUNCTIONS[name]
        out = inclusion(lambda x, f=f: f(x, 1))(as_interval(low, upp))
        lower, upper = _corners(low, upp, truth, 1)
        assert all(arb(float(a)) <= b for a, b in zip(out.lower[0], lower[0], strict=True))
        assert all(b <= arb(float(a)) for a, b in zip(out.upper[0], upper[0], strict=True))
        assert np.all(np.asarray(out.upper) - np.asarray(out.lower) <= 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_underflow_does_not_hide_entries(dtype):
    # exp(−200) is zero in float32, and yet it is half of the sum.
    out = inclusion(jax.nn.softmax)(as_interval(np.array([-200, -200], dtype), np.array([0, -200], dtype)))
    assert 0.4999 <= float(out.lower[0]) <= 0.5
    assert 0.5 <= float(out.upper[1]) <= 0.5001


def test_infinite_ends():
    inf = np.inf
    box = Interval(jnp.array([-inf, -1.0, 2.0]), jnp.array([inf, 1.0, 2.0]))
    softmax, total = inclusion(jax.nn.softmax)(box), inclusion(jax.nn.logsumexp)(box)
    assert np.allclose(softmax.lower, 0)
    assert np.allclose(softmax.upper, [1, 1 / (1 + np.e), 1 / (1 + np.exp(-3))])
    assert float(total.upper) == inf
    assert float(total.lower) <= np.log(np.exp(-1) + np.exp(2)) <= float(total.lower) + 1e-12
    # A mask of −∞ among the exact entries takes no part.
    masked = inclusion(lambda x: jax.nn.softmax(jnp.concatenate([x, jnp.array([-jnp.inf])])))
    out = masked(Interval(jnp.zeros(2), jnp.ones(2)))
    assert np.allclose(out.lower, [1 / (1 + np.e)] * 2 + [0])
    assert np.allclose(out.upper, [np.e / (1 + np.e)] * 2 + [0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x), axis=0, keepdims=True).T,
        lambda x: jnp.exp(x) / jnp.sum(jnp.exp(2 * x), axis=1, keepdims=True),
        lambda x: jnp.exp(x - jnp.max(x, axis=0, keepdims=True)) / _sum(jnp.exp(x), 1),
        lambda x: x - jnp.log(_sum(jnp.exp(x), 0)).T,
        lambda x: jnp.log(_sum(jnp.exp(x - x[:1]), 1)) + x[:1].T,
        lambda x: jnp.exp(x) * (1 / _sum(jnp.exp(x), 0)).T,
    ],
    ids=["transposed sum", "another sum", "shift along another axis", "transposed", "another shift", "factor"],
)
def test_what_only_looks_like_it_is_enclosed_as_what_it_is(f):
    low, upp = _box(np.float64, (3, 3))
    out = inclusion(f)(as_interval(low, upp))
    rng = np.random.default_rng(1)
    for _ in range(40):
        value = np.asarray(f(jnp.asarray(low + rng.choice([0, 1, rng.random()], low.shape) * (upp - low))))
        slack = 1e-12 * (1 + np.abs(value))
        assert np.all(np.asarray(out.lower) <= value + slack)
        assert np.all(value - slack <= np.asarray(out.upper))
