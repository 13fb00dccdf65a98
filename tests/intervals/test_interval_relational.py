"""Relational domains: sound for networks of all activations and for scientific code, and tighter than intervals."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sobolev_pruning.intervals import (
    Interval,
    _backward,
    inclusion,
    interval_adjoints,
    interval_grad,
    interval_hessian,
    tap,
)
from sobolev_pruning.intervals._affine import Affine, AffineForms
from sobolev_pruning.intervals._relational import Linear

DOMAINS = ("affine", "backward")
SAMPLES = 1_000_000

ACTIVATIONS = {
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu tanh": functools.partial(jax.nn.gelu, approximate=True),
    "mish": jax.nn.mish,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky relu": jax.nn.leaky_relu,
    "hard tanh": jax.nn.hard_tanh,
    "hard silu": jax.nn.hard_silu,
    "log sigmoid": jax.nn.log_sigmoid,
    "soft sign": jax.nn.soft_sign,
    "squareplus": jax.nn.squareplus,
    "sin": jnp.sin,
    "arctan": jnp.arctan,
}


@pytest.fixture(scope="module", autouse=True)
def _programs_are_forgotten():
    """The programs of these tests are long; kept in JAX's caches, they would slow down all that follow."""
    yield
    jax.clear_caches()


def _network(activation, dtype, depth, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [2, 5, 4][: depth + 1]
    layers = [
        (rng.normal(0, 1, (m, n)).astype(dtype), rng.normal(0, 0.5, m).astype(dtype))
        for n, m in itertools.pairwise(sizes)
    ]
    last = rng.normal(0, 1, sizes[-1]).astype(dtype)

    def in_precision(precision):
        def f(x):
            for w, b in layers:
                x = activation(jnp.asarray(w, precision) @ x + jnp.asarray(b, precision))
            return jnp.asarray(last, precision) @ x

        return f

    return in_precision(dtype), in_precision(np.float64)


def _extremes(f, low, upp, count):
    """The least and the largest value and derivatives that samples and steps along the gradient find."""
    rng = np.random.default_rng(7)
    x = low + (upp - low) * rng.random((count, low.size))
    x[: count // 4] = np.where(rng.random((count // 4, low.size)) < 0.5, low, upp)
    both = jax.jit(jax.vmap(lambda t: jnp.concatenate([f(t)[None], jax.grad(f)(t)])))
    found = np.asarray(both(jnp.asarray(x)))
    least, most = found.min(0), found.max(0)
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda t: jnp.concatenate([f(t)[None], jax.grad(f)(t)]))))
    for sign, ends in ((-1, found.argmin(0)), (1, found.argmax(0))):
        points = x[ends]
        for step in 0.3 * 0.8 ** np.arange(15):
            slope = np.asarray(slopes(jnp.asarray(points)))[np.arange(len(ends)), np.arange(len(ends))]
            points = np.clip(points + sign * step * (upp - low) * np.sign(slope), low, upp)
            reached = np.asarray(both(jnp.asarray(points)))
            least, most = np.minimum(least, reached.min(0)), np.maximum(most, reached.max(0))
    return least, most


def check_network(activation, dtype, domain, scales=(0.02, 0.5, 4.0), count=20_000, depth=1):
    """Values and gradients over boxes of several sizes; returns the widths over the sampled ranges."""
    f, exact = _network(activation, dtype, depth)
    centre = np.asarray([0.3, -0.4], dtype)
    low = np.stack([centre - dtype(s) for s in scales])
    upp = np.stack([centre + dtype(s) for s in scales])
    enclosed = jax.vmap(inclusion(lambda x: (f(x), jax.grad(f)(x)), domain=domain))
    value, gradient = enclosed(Interval(jnp.asarray(low), jnp.asarray(upp)))
    ratios = []
    for k in range(len(scales)):
        least, most = _extremes(exact, low[k].astype(float), upp[k].astype(float), count)
        slack = 1e-12 * (1 + np.maximum(abs(least), abs(most)))
        lower = np.concatenate([np.asarray(value.lower[k])[None], np.asarray(gradient.lower[k])]).astype(float)
        upper = np.concatenate([np.asarray(value.upper[k])[None], np.asarray(gradient.upper[k])]).astype(float)
        assert np.all(lower <= least + slack)
        assert np.all(most - slack <= upper)
        ratios.append((upper - lower) / np.maximum(most - least, 1e-9))
    return np.asarray(ratios)


QUICK = ("gelu", "elu", "hard tanh", "sin", "tanh", "relu")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ACTIVATIONS]
)
def test_networks_are_enclosed(name):
    # Precisions and domains take turns; the next test has all of them for one activation, and two layers.
    k = list(ACTIVATIONS).index(name)
    check_network(ACTIVATIONS[name], (np.float32, np.float64)[k % 2], DOMAINS[k // 2 % 2])


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_a_network_is_enclosed_tightly(dtype, domain):
    ratios = check_network(jax.nn.silu, dtype, domain, scales=(0.02, 0.1), count=SAMPLES, depth=2)
    assert np.all(ratios[:, 0] < 1.1)
    assert np.all(ratios[0, 1:] < 1.2)


def test_improved_slopes_are_sound_and_tighter():
    improved = check_network(jax.nn.silu, np.float64, "backward-optimised", scales=(0.5,))
    plain = check_network(jax.nn.silu, np.float64, "backward", scales=(0.5,))
    assert np.all(improved <= plain + 1e-9)
    assert improved.mean() < 0.97 * plain.mean()


def _black_scholes(x):
    s, v = x[0], x[1]
    d = (jnp.log(s / 100) + v * v / 2) / v
    return s * jax.scipy.stats.norm.cdf(d) - 100 * jax.scipy.stats.norm.cdf(d - v)


def _rearranged(x):
    y = jnp.concatenate([x, jnp.flip(x)]).reshape(2, -1).T @ jnp.asarray([1.0, -1.0])
    padded = jnp.pad(jnp.cumsum(y), (1, 2))
    chosen = jnp.where(jnp.asarray([True, False, True]), x, 2 * x)
    return padded[1:4].sum() + padded[jnp.asarray([1, 1])].sum() + chosen.sum()


def _larger_and_smaller(x):
    return jnp.maximum(x[0], x[1]) - jnp.minimum(x[1] * 2, x[0]) + jnp.abs(x[2] - x[0]) - x[0]


def _quotients(x):
    return (x / (3 + x[0] * x[1])).sum() + jnp.sqrt(2 + x[2]) * x[2] ** 3


def _branches(x):
    carried = lax.fori_loop(0, 2, lambda _, c: 0.5 * c + x[0], x[1])
    return lax.cond(x[0] > 0.2, lambda t: t * 2, lambda t: t, x[2]) + carried - x[0]


def _scalars_and_arrays(x):
    mean = x.mean()
    return ((x - mean) * 2)[1] + jnp.maximum(x, x @ x)[0] + (jnp.outer(x, 2 * x + 1) @ x)[2] - mean * x[0]


def _filled(x):
    y = 2 * x
    return y.at[jnp.asarray([0, 7])].get(mode="fill", fill_value=5.0).sum() - 2.5 * y.sum()


PROGRAMS = {
    "scalars and arrays": (_scalars_and_arrays, [0.2, -0.5, 0.9], [0.3, 0.3, 0.3]),
    "filled": (_filled, [0.2, -0.5, 0.9], [0.3, 0.3, 0.3]),
    "Black-Scholes": (_black_scholes, [100.0, 0.2], [2.0, 0.01]),
    "rearranged": (_rearranged, [0.2, -0.5, 0.9], [0.3, 0.3, 0.3]),
    "larger and smaller": (_larger_and_smaller, [0.2, 0.3, 0.1], [0.3, 0.1, 0.3]),
    "quotients": (_quotients, [0.2, -0.5, 0.9], [0.2, 0.2, 0.2]),
    "branches": (_branches, [0.2, -0.5, 0.9], [0.1, 0.1, 0.1]),
}


def _sampled(f, centre, radius, count=20_000):
    rng = np.random.default_rng(1)
    u = rng.uniform(-1, 1, (count, len(centre)))
    u[:2000] = np.sign(u[:2000])
    values = np.asarray(jax.vmap(f)(jnp.asarray(np.asarray(centre) + np.asarray(radius) * u)))
    return values.min(), values.max()


SLOW = {("Black-Scholes", "backward"), ("scalars and arrays", "backward")}


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        pytest.param(n, d, marks=pytest.mark.slow) if (n, d) in SLOW else (n, d)
        for n, d in itertools.product(PROGRAMS, DOMAINS)
    ],
)
def test_programs_are_enclosed_and_never_wider(name, domain):
    f, centre, radius = PROGRAMS[name]
    box = Interval.from_midpoint(jnp.asarray(centre), jnp.asarray(radius))
    least, most = _sampled(f, centre, radius)
    plain, related = inclusion(f)(box), inclusion(f, domain=domain)(box)
    assert related.lower <= least + 1e-12 * abs(least)
    assert most - 1e-12 * abs(most) <= related.upper
    assert related.width <= plain.width * (1 + 1e-12)
    if name in ("Black-Scholes", "rearranged"):
        assert related.width < 1.1 * (most - least) < 0.6 * plain.width


@pytest.mark.parametrize("domain", DOMAINS)
def test_linear_functions_are_exact(domain):
    matrix = jnp.asarray(np.random.default_rng(0).normal(0, 1, (6, 6)))
    inverse = jnp.linalg.inv(matrix)
    box = Interval.from_midpoint(jnp.ones(6), 0.1)
    out = inclusion(lambda x: inverse @ (matrix @ x) - x, domain=domain)(box)
    assert np.all(out.magnitude < 1e-11)
    assert np.all(inclusion(lambda x: inverse @ (matrix @ x) - x)(box).magnitude > 0.1)


@pytest.mark.parametrize("domain", DOMAINS)
def test_rounding_is_covered(domain):
    """Sums of single precision that cancel: the exact value at a point lies in the enclosure."""
    rng = np.random.default_rng(5)
    matrix = (rng.normal(0, 1, (8, 40)) * 10.0 ** rng.uniform(-3, 3, (8, 40))).astype(np.float32)
    x = rng.normal(0, 1, 40).astype(np.float32)
    x[-1] -= (matrix[0].astype(float) @ x) / matrix[0, -1]
    point = Interval(jnp.asarray(x), jnp.asarray(np.nextafter(x, np.float32(np.inf))))
    out = inclusion(lambda t: jnp.asarray(matrix) @ t, domain=domain)(point)
    exact = matrix.astype(float) @ x.astype(float)
    assert np.all(np.asarray(out.lower, float) <= exact)
    assert np.all(exact <= np.asarray(out.upper, float))


@pytest.mark.parametrize("domain", ["affine", pytest.param("backward", marks=pytest.mark.slow)])
def test_adjoints_hessians_and_traced_weights(domain):
    weights = jnp.asarray([[0.5, -0.3], [0.2, 0.8]])

    def f(w, x):
        return jnp.sum(tap(jnp.tanh(w @ x), "hidden") ** 2)

    box = Interval.from_midpoint(jnp.asarray([0.3, 0.6]), 0.02)
    x = box.midpoint
    slope = jax.jit(interval_grad(f, 1, domain=domain))(weights, box)
    assert slope.contains(jax.grad(f, 1)(weights, x)).all()
    assert np.all(slope.width < interval_grad(f, 1)(weights, box).width)
    curvature = interval_hessian(f, 1, domain=domain)(weights, box)
    assert curvature.contains(jax.hessian(f, 1)(weights, x)).all()
    seen = interval_adjoints(f, domain=domain)(weights, box)
    assert seen.adjoints["hidden"].contains(2 * jnp.tanh(weights @ x)).all()


@pytest.mark.parametrize("domain", DOMAINS)
def test_empty_unbounded_and_point_boxes(domain):
    f = inclusion(lambda x: jnp.tanh(x[0]) * x[1] + jnp.log(x[1]), domain=domain)
    assert f(Interval.empty((2,))).is_empty
    wide = f(Interval([-np.inf, 1.0], [np.inf, 2.0]))
    assert wide.contains(jnp.asarray([-1.0, 1.0])).all()
    assert np.isfinite(wide.width)
    point = f(Interval([0.5, 2.0], [0.5, 2.0]))
    assert point.contains(jnp.tanh(0.5) * 2 + jnp.log(2.0))
    assert point.width < 1e-13
    assert f(Interval([0.5, -2.0], [0.5, -1.0])).is_empty
    assert f(Interval([0.5, -1.0], [0.5, 1.0])).lower == -np.inf


@pytest.mark.parametrize("domain", DOMAINS)
def test_factors_and_products_that_leave_the_floats(domain):
    """Coefficients below the smallest normal number, or above the largest, times numbers that make up for it."""
    single = functools.partial(jnp.asarray, dtype=jnp.float32)
    big = Interval(single([1e30, 1e30]), single([2e30, 2e30]))
    small = Interval(single([1e-30, 1e-30]), single([2e-30, 2e-30]))
    a, b, c = (np.float32(v) for v in (1e-19, 5e-20, 1e25))
    exact = float(a) * float(b)
    out = inclusion(lambda x: (x[0] * a) * b + (x[1] * a) * b, domain=domain)(big)
    assert float(out.lower) <= 2e30 * exact * (1 + 1e-6)
    assert float(out.upper) >= 4e30 * exact * (1 - 1e-6)
    out = inclusion(lambda x: (x[0] * c) * c + (x[1] * c) * c, domain=domain)(small)
    assert float(out.lower) <= 2e-30 * float(c) ** 2 * (1 + 1e-6)
    assert float(out.upper) >= 4e-30 * float(c) ** 2 * (1 - 1e-6)
    matrix = jnp.eye(2, dtype=jnp.float32) * np.float32(1e-20)
    out = inclusion(lambda x: (x @ matrix) @ matrix, domain=domain)(big)
    assert np.all(np.asarray(out.lower, float) <= 1e-10 * (1 + 1e-6))
    assert np.all(np.asarray(out.upper, float) >= 2e-10 * (1 - 1e-6))


def test_a_kink_without_a_second_derivative_is_not_taken_for_smooth():
    """`exp(−|x|)·I₀(x)` has a kink at 0, which the second derivative that JAX gives does not show in a box so small."""
    box = Interval(*(jnp.asarray(end, jnp.float32) for end in (-0.0004208784, 0.00037836938)))
    slope = jnp.asarray(0.052948, jnp.float32)
    assert inclusion(lambda x: lax.bessel_i0e(x) - slope * x, domain="affine")(box).upper >= 1  # its value at 0


def test_noise_symbols_are_condensed():
    few, many = (AffineForms(max_symbols=n) for n in (3, 100))
    value = Interval.from_midpoint(jnp.arange(6.0), jnp.asarray([1.0, 5.0, 2.0, 4.0, 3.0, 0.5]))
    for domain, symbols in ((few, 3), (many, 6)):
        x = domain.shared(domain.unrelated(value))
        assert x.symbols() == symbols
        np.testing.assert_allclose(domain.enclosure(x).radius, value.radius, rtol=1e-12)
    difference = few.linear(Linear(lambda a, b: a - b, lambda a, b: a + b, 2), [x, x])
    assert isinstance(difference, Affine)


def test_unknown_domains_are_refused():
    with pytest.raises(ValueError, match="`domain` must be one of"):
        inclusion(jnp.sin, domain="taylor")
    with pytest.raises(ValueError, match="`domain` must be one of"):
        interval_grad(jnp.sin, domain="taylor")


# Deliberately wrong rules: the checks above must catch each.


def _without_distance(self, lines, x):
    right = AffineForms.univariate.__wrapped__(self, lines, x)
    return Affine(right.centre, right.generators, right.layout, x.radius)


def _without_quadratic_part(self, x, y):
    right = AffineForms.product.__wrapped__(self, x, y)
    return Affine(right.centre, right.generators, right.layout, 0 * right.radius)


def _without_offset(self, weights):
    slopes, offset = _backward.Planes.mean.__wrapped__(self, weights)
    return slopes, 0 * offset


def _bound_of_one_corner(a, b, corners, *, upper):
    right = _backward._corner_planes.__wrapped__(a, b, corners, upper=upper)
    return right._replace(offsets=right.offsets * 0.5)


MUTANTS = {
    "line without its distance": ("affine", AffineForms, "univariate", _without_distance),
    "product without its quadratic part": ("affine", AffineForms, "product", _without_quadratic_part),
    "planes without their offsets": ("backward", _backward.Planes, "mean", _without_offset),
    "plane through no corner": ("backward", _backward, "_corner_planes", _bound_of_one_corner),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_relation_is_caught(name, monkeypatch):
    domain, owner, attribute, wrong = MUTANTS[name]
    functools.update_wrapper(wrong, getattr(owner, attribute))
    # Natural enclosures would hide what is wrong.
    monkeypatch.setattr(owner, attribute, wrong)
    with pytest.raises(AssertionError):
        check_network(jax.nn.silu, np.float64, domain, scales=(0.5,))
