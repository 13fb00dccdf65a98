"""The mean-value form: within the natural enclosure, and only where the derivative bounds the slopes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from sobolev_pruning.intervals import Interval, inclusion, mean_value
from sobolev_pruning.intervals._smoothness import differentiable


def is_interval(x):
    return isinstance(x, Interval)


BOX = functools.partial(Interval.from_midpoint, np.array([0.4, -0.3]))

SMOOTH = {
    "polynomial": lambda x: x[0] ** 3 * x[1] - x[0] * x[1] ** 2 + x[0],
    "quotient": lambda x: jnp.log(x[0] + 2) / (x[1] + 2) - x[0],
    "kinks": lambda x: 0.1 * jnp.abs(x[0] - 0.41) + x[0] * x[1] - x[0] + jnp.maximum(x[0], x[1] + 0.7),
    "scan": lambda x: lax.scan(lambda c, z: (c + 0.1 * jnp.sin(c) * z * x[1], None), x[0], jnp.arange(1.0, 4.0))[0],
    "chosen": lambda x: jnp.where(jnp.asarray([True, False]), x * x, x).sum() - x[0] * x[1],
    "several outputs": lambda x: {"a": jnp.stack([x[0] * x[1] - x[0], x[0] ** 2 - x[0]]), "b": x[1] - x[1] ** 3},
}


@pytest.mark.parametrize("name", SMOOTH)
def test_mean_value_encloses_within_the_natural_enclosure(name):
    f = SMOOTH[name]
    sharp, natural = mean_value(f), inclusion(f)
    rng = np.random.default_rng(0)
    for radius in (0.0, 0.01, 0.1):
        box = BOX(np.full(2, radius))
        ours, wider = sharp(box), natural(box)
        points = (
            box.lower[None]
            + jnp.asarray(np.vstack([rng.random((300, 2)), [[0, 0], [0, 1], [1, 0], [1, 1]]]))
            * (box.upper - box.lower)[None]
        )
        values = jax.vmap(f)(points)
        for a, b, v in zip(
            jax.tree.leaves(ours, is_leaf=is_interval),
            jax.tree.leaves(wider, is_leaf=is_interval),
            jax.tree.leaves(values),
            strict=True,
        ):
            assert bool(a.subset(b).all())
            rounding = 1e-14  # of the plain evaluation
            assert bool(((a.lower[None] <= v + rounding) & (v - rounding <= a.upper[None])).all())
            if radius == 0.01:
                spread = v.max(axis=0) - v.min(axis=0)
                assert bool((a.width <= 1.3 * spread + 1e-13).all())
                assert bool((a.width < 0.99 * b.width).any())


@jax.custom_jvp
def misdeclared(x):
    return x * x


misdeclared.defjvp(lambda primals, tangents: (misdeclared(*primals), 0 * tangents[0]))


def within_a_scan(x):
    return lax.scan(lambda c, _: (c + lax.stop_gradient(c * c), None), x, None, length=2)[0]


# Each is monotone on [1, 2], and the derivative that JAX gives of it is wrong on all of it.
DECLARED = {
    "stop_gradient": lambda x: x - 2 * lax.stop_gradient(x),
    "custom_jvp": misdeclared,
    "within a jitted function": jax.jit(lambda x: misdeclared(x) - x),
    "within a scan": within_a_scan,
    "a tie of clamp": lambda x: lax.clamp(x, x, 5.0) ** 2,
    "a tie of clamp in a scan": lambda x: lax.scan(lambda c, _: (2 * lax.clamp(c, c, 9.0), None), x, None, length=2)[0],
    "an index out of bounds": lambda x: (jnp.stack([x, 3 * x])[jnp.array([0, 7])] ** 2).sum(),
    "a negative integer power": lambda x: lax.pow(x, jnp.asarray(-1)),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_derivatives_are_not_trusted(name):
    f = DECLARED[name]
    out = mean_value(f)(Interval(jnp.asarray(1.0), jnp.asarray(2.0)))
    low, upp = sorted((float(f(jnp.asarray(1.0))), float(f(jnp.asarray(2.0)))))
    assert low - 1e-12 < float(out.lower) <= low
    assert upp <= float(out.upper) < upp + 1e-12


TIED = {
    lax.max_p: lambda t: lax.max(t, t),
    lax.min_p: lambda t: lax.min(t, t),
    lax.clamp_p: lambda t: lax.clamp(t, t, t),
    lax.abs_p: lambda t: lax.abs(t - t),
    lax.gather_p: lambda t: jnp.stack([t, t])[jnp.array([-9, 9])],
}


@pytest.mark.parametrize("primitive", TIED, ids=str)
def test_derivatives_at_ties_are_those_of_the_function(primitive):
    """What the mean-value form differentiates has the slope of the function, also where its operands always tie."""
    f, at = TIED[primitive], jnp.asarray(0.7)
    program = differentiable(jax.make_jaxpr(f)(at))
    slopes = [jacobian(lambda t: jaxpr_as_fun(program)(t)[0])(at) for jacobian in (jax.jacfwd, jax.jacrev)]
    truth = (f(jnp.asarray(1.5)) - f(jnp.asarray(0.5))) / 1.0
    for slope in slopes:
        assert np.array_equal(slope, truth)


@pytest.mark.parametrize("domain", ["affine", "backward"])
def test_the_mean_value_form_takes_a_domain(domain):
    def f(x):
        return jnp.tanh(x[0] - x[1]) + jnp.tanh(x[1] - x[0]) + x[0] * x[1]

    box = BOX(np.full(2, 0.1))
    ours, wider = mean_value(f, domain=domain)(box), inclusion(f, domain=domain)(box)
    assert bool(ours.subset(wider))
    for x in np.random.default_rng(0).uniform(box.lower, box.upper, (50, 2)):
        assert ours.contains(f(x))
    with pytest.raises(ValueError, match="mean_value: `domain` must be one of"):
        mean_value(f, domain="taylor")


STEP = Interval(jnp.asarray(-1.0), jnp.asarray(1.0))

NATURAL_ONLY = {
    "jump": (lambda x: jnp.where(x > 0, 0.0, 1.0) + 0 * x, STEP),
    "sign": (lambda x: jnp.sign(x) + x, STEP),
    "floor": (lambda x: jnp.floor(x) + x, STEP),
    "pole": (lambda x: 1 / x, STEP),
    "branch": (lambda x: lax.cond(x > 0, lambda x: x + 1, lambda x: x, x), STEP),
    "jump in a scan": (lambda x: lax.scan(lambda c, _: (jnp.sign(c) + c, None), x, None, length=2)[0], STEP),
    "end of the domain": (lambda x: jnp.sqrt(jnp.maximum(x, 0.0)), Interval(jnp.asarray(-100.0), jnp.asarray(1.0))),
    "poles": (lambda x: lax.pow(x, jnp.asarray(-1)), STEP),
    "unbounded": (lambda x: x - x * x, Interval(jnp.asarray(0.0), jnp.asarray(jnp.inf))),
}


@pytest.mark.parametrize("name", NATURAL_ONLY)
def test_nothing_is_concluded_without_continuity_or_bounds(name):
    f, box = NATURAL_ONLY[name]
    ours, natural = mean_value(f)(box), inclusion(f)(box)
    assert np.array_equal(ours.lower, natural.lower)
    assert np.array_equal(ours.upper, natural.upper)


def test_batches_decide_entry_by_entry():
    low = jnp.asarray([-1.0, 1.0, 2.0])
    out = jax.vmap(mean_value(lambda x: 1 / x - x))(Interval(low, low + 2))
    assert float(out.lower[0]) == -np.inf
    assert np.allclose(out.lower[1:], 1 / (low[1:] + 2) - (low[1:] + 2), atol=1e-12)
    assert np.allclose(out.upper[1:], 1 / low[1:] - low[1:], atol=1e-12)


def test_arguments_of_both_formats_and_exact_ones():
    def f(x, y, n, k):
        return (x * x - x).astype(jnp.float64) * y + n, k + 1, -x

    box = Interval(jnp.asarray(0.75, jnp.float32), jnp.asarray(1.25, jnp.float32))
    other = Interval(jnp.asarray(1.0), jnp.asarray(1.5))
    wide, k, narrow = mean_value(f)(box, other, jnp.asarray(2.0), jnp.asarray(4))
    assert wide.dtype == np.float64
    assert narrow.dtype == np.float32
    assert int(k) == 5

    def truth(a, b):
        return (a * a - a) * b + 2

    corners = [truth(a, b) for a in (0.75, 1.25) for b in (1.0, 1.5)]
    assert float(wide.lower) <= min(corners) <= max(corners) <= float(wide.upper)
    assert float(wide.width) < 1.5 * (max(corners) - min(corners))
