"""Branches, loops, indices and integers that are undecided over a box: the hull of all that is possible."""

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interval_checks import as_interval
from jax import lax
from jax.extend.core import Primitive

from sobolev_pruning.intervals import Interval, Ternary, UnsupportedPrimitiveError, inclusion
from sobolev_pruning.intervals._registry import foreign_rule


def newton(a):
    """√a, and how many rounds it took."""

    def refine(state):
        x, _, k = state
        new = 0.5 * (x + a / x)
        return new, new - x, k + 1

    x, _, k = lax.while_loop(lambda s: (jnp.abs(s[1]) > 1e-6) & (s[2] < 30), refine, (a, jnp.ones_like(a), 0))
    return x, k


def collatz(x):
    """Halves or grows until small; counts the rounds as a float and as an integer."""

    def step(state):
        x, k = state
        return jnp.where(x > 4.0, 0.5 * x, x - 1.0), k + 1

    return lax.while_loop(lambda s: s[0] > 1.0, step, (x, 0))


def drift(x):
    return lax.fori_loop(0, 6, lambda i, c: jnp.where(c > 0, c - 0.3, c + 0.2) + 0.01 * i, x)


def branches(x):
    k = jnp.clip(jnp.floor(2 * x), -1, 2).astype(jnp.int32) + 1
    return lax.switch(k, [lambda y: -y, lambda y: 2 * y, lambda y: y * y, lambda y: y + 7], x)


def table(x):
    values = jnp.array([3.0, -1.0, 4.0, -1.5, 9.0])
    return (
        values[jnp.clip((x + 2).astype(jnp.int32), 0, 4)]
        + lax.dynamic_slice(values, ((x > 0).astype(jnp.int32),), (1,))[0]
    )


def counting(x):
    xs = jnp.stack([x, x - 0.5, 2 * x, -x])
    above = (xs > 0.25).sum()
    return above * 3 - jnp.cumsum(jnp.where(xs < 0, 2, 5))[-1], (above > 2) ^ (x > 0), above.astype(x.dtype) * x


def nested(x):
    return lax.scan(
        lambda c, t: (lax.cond(c > t, lambda v: v - t, lambda v: 2 * v, c), c),
        x,
        jnp.linspace(0.1, 1.0, 5, dtype=x.dtype),
    )


def ordered(x):
    return lax.cond(x > 0.3, lambda: jnp.array([1, 5]), lambda: jnp.array([4, 2])), jnp.where(x > 0.3, 1, 2)


PROGRAMS = [newton, collatz, drift, branches, table, counting, nested, ordered]


def contains(enclosure, value):
    """Whether an enclosure holds a value of any type, up to the rounding of the plain evaluation."""
    if isinstance(enclosure, Ternary):
        return bool(jnp.all(jnp.where(value, enclosure.can_be_true, enclosure.can_be_false)))
    if not isinstance(enclosure, Interval):
        return bool(jnp.all(enclosure == value))
    slack = 0 if jnp.issubdtype(enclosure.dtype, jnp.integer) else 1e3 * np.finfo(enclosure.dtype).eps
    return bool(jnp.all((enclosure.lower <= value + slack) & (value - slack <= enclosure.upper)))


def is_enclosure(x):
    return isinstance(x, Interval | Ternary)


@pytest.mark.parametrize(
    ("f", "dtype"),
    [*((f, np.float64) for f in PROGRAMS), (drift, np.float32), (branches, np.float32)],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_every_outcome_is_enclosed(f, dtype):
    rng = np.random.default_rng(0)
    low = rng.uniform(0.2, 6.0, 24) if f is newton else rng.uniform(-2.5, 6.0, 24)
    upp = low + rng.choice([0.0, 1e-3, 0.2, 2.0], 24)
    low, upp = low.astype(dtype), np.maximum(low.astype(dtype), upp.astype(dtype))
    with jax.numpy_dtype_promotion("standard"):
        outs = jax.jit(jax.vmap(inclusion(f)))(as_interval(low, upp))
        plain = jax.jit(jax.vmap(f))
        for t in (0.0, 0.25, 0.6, 1.0):
            values = plain(jnp.asarray(np.clip((low * (1 - t) + upp * t).astype(dtype), low, upp)))
            for enclosure, value in zip(
                jax.tree.leaves(outs, is_leaf=is_enclosure), jax.tree.leaves(values), strict=True
            ):
                assert contains(enclosure, value)
    for enclosure in jax.tree.leaves(outs, is_leaf=is_enclosure):
        if isinstance(enclosure, Interval) and f is not newton:
            assert bool(jnp.all(jnp.abs(enclosure.lower.astype(float)) < 1e3))
            assert bool(jnp.all(jnp.abs(enclosure.upper.astype(float)) < 1e3))
            points = np.asarray(enclosure.lower)[upp == low], np.asarray(enclosure.upper)[upp == low]
            # A point decides everything, unless it lies on a threshold.
            assert np.mean(np.isclose(*points, rtol=1e-4, atol=1e-4)) > 0.8


def test_a_newton_iteration_from_a_point_is_enclosed_to_rounding():
    x, rounds = inclusion(newton)(Interval(2.0, 2.0))
    assert bool(x.contains(np.sqrt(2.0)))
    assert float(x.width) < 1e-13
    assert int(rounds.lower) == int(rounds.upper) == newton(2.0)[1]


@pytest.mark.parametrize(
    ("f", "low", "upp"),
    [
        (lambda x: lax.while_loop(lambda c: c > 0.5, lambda c: c + 1.0, x), 0.0, 1.0),
        (lambda x: lax.while_loop(lambda c: c > 0.5, lambda c: 2.0 * c, x), 0.0, 1.0),
        (lambda x: lax.while_loop(lambda c: jnp.sin(c) > 0, lambda c: 1.5 * c, x), 0.1, 3.0),
    ],
    ids=["adds", "doubles", "wild"],
)
def test_loops_that_may_never_end_are_unbounded(f, low, upp):
    assert not bool(inclusion(f)(Interval(low, upp)).is_bounded)


def test_loops_that_stay_in_a_box_end_with_it():
    out = inclusion(lambda x: lax.while_loop(lambda c: jnp.abs(c) > 0.1, lambda c: -0.5 * c, x))(Interval(-1.0, 1.0))
    assert -1.001 < float(out.lower) <= -0.1
    assert 0.1 <= float(out.upper) < 1.001


def test_what_a_loop_hands_on_stays_known():
    def f(x):
        return lax.while_loop(lambda s: s[0] > 0.5, lambda s: (s[0] + 1.0, s[1], s[2] + 1), (x, 3.0 * x, 0))

    _, kept, rounds = inclusion(f)(Interval(0.25, 1.0))
    assert float(kept.upper) < 3.0 + 1e-12
    assert int(rounds.upper) == np.iinfo(rounds.dtype).max


def test_loops_of_exact_length_keep_integers_exact():
    def f(x, n):
        return lax.fori_loop(0, n, lambda i, c: (c[0] * x + i, c[1] + i), (jnp.ones_like(x), 0))

    value, total = inclusion(f)(Interval(0.5, 0.75), 4)
    assert int(total) == 6
    assert contains(value, f(0.6, 4)[0])


def test_integers_wrap_around():
    most = np.iinfo(np.int32).max

    def f(x):
        k = jnp.where(x > 0, most, most - 2).astype(jnp.int32)
        return (
            k + jnp.int32(1),
            k * jnp.int32(2),
            -(k + jnp.int32(1)),
            k - jnp.int32(1),
            jnp.uint32(0) - (x > 0).astype(jnp.uint32),
        )

    wrapped, doubled, negated, kept, unsigned = inclusion(f)(Interval(-1.0, 1.0))
    for out in (wrapped, doubled, negated):
        assert int(out.lower) == np.iinfo(np.int32).min
        assert int(out.upper) == most
    assert (int(kept.lower), int(kept.upper)) == (most - 3, most - 1)
    assert (int(unsigned.lower), int(unsigned.upper)) == (0, np.iinfo(np.uint32).max)


TABLE = np.array([5.0, 1.0, 2.0, 9.0])
SQUARE = np.arange(12.0).reshape(3, 4)
# An index, the box, and what it may read.
WIDE = {
    "beyond the format": (lambda x: jnp.asarray(TABLE)[x.astype(jnp.int32)], [(0, 3e9)], (1, 9)),
    "overflowing span": (lambda x: jnp.asarray(TABLE)[x.astype(jnp.int32)], [(-2e9, 2e9)], (1, 9)),
    "whole line": (
        lambda x: lax.dynamic_slice(jnp.asarray(TABLE), (x.astype(jnp.int32),), (1,))[0],
        [(-np.inf, np.inf)],
        (1, 9),
    ),
    "slice of two": (
        lambda x: lax.dynamic_slice(jnp.asarray(TABLE), (x.astype(jnp.int32),), (2,))[1],
        [(-np.inf, np.inf)],
        (1, 9),
    ),
    "clipped": (lambda x: jnp.take(jnp.asarray(TABLE), x.astype(jnp.int32), mode="clip"), [(-3e9, 3e9)], (1, 9)),
    "filled": (
        lambda x: jnp.take(jnp.asarray(TABLE), x.astype(jnp.int32), mode="fill", fill_value=7.0),
        [(2, 2e9)],
        (2, 9),
    ),
    "short format": (lambda x: jnp.arange(300.0)[x.astype(jnp.uint8)], [(3, 250)], (3, 250)),
    "long format": (
        lambda x: lax.dynamic_slice(jnp.asarray(TABLE), (x.astype(jnp.int64),), (1,))[0],
        [(0, 2.0**32)],
        (1, 9),
    ),
    "product of spans": (
        lambda x, y: lax.dynamic_slice(jnp.asarray(SQUARE), (x.astype(jnp.int32), y.astype(jnp.int32)), (1, 1))[0, 0],
        [(1, 65536), (0, 65535)],
        (4, 11),
    ),
}


@pytest.mark.parametrize("case", WIDE)
def test_wide_indices_read_every_place(case):
    f, bounds, (low, upp) = WIDE[case]
    out = inclusion(f)(*(Interval(float(a), float(b)) for a, b in bounds))
    assert (float(out.lower), float(out.upper)) == (low, upp)


def test_a_block_may_be_written_to_several_places():
    def f(x):
        i = jnp.floor(x).astype(jnp.int32)
        return lax.dynamic_update_slice(jnp.asarray(TABLE), jnp.stack([x, -x]), (i,))

    enclosed = inclusion(f)
    out = enclosed(Interval(0.5, 1.5))
    # At 0 and 1, or at 1 and 2.
    np.testing.assert_array_equal(out.lower, [0.5, -1.5, -1.5, 9])
    np.testing.assert_array_equal(out.upper, [5, 1.5, 2, 9])
    decided = enclosed(Interval(1.25, 1.5))
    np.testing.assert_array_equal(decided.lower, [5, 1.25, -1.5, 9])
    np.testing.assert_array_equal(decided.upper, [5, 1.5, -1.25, 9])
    beyond = enclosed(Interval(-7.0, -6.0))  # clipped
    np.testing.assert_array_equal(beyond.lower, [-7, 6, 2, 9])


def _doubled(n, y):
    return lax.fori_loop(0, n, lambda i, c: 2 * c + y, y)


def _raised(n, y):
    return lax.while_loop(lambda c: c[0] < 1.5, lambda c: (c[0] + 0.5, c[1] * y - 1), (y, y))[1]


def _restless(n, y):
    """Of the middle lane, nobody can say when it ends."""
    return lax.while_loop(lambda c: c * c > 0.1, lambda c: jnp.where(n == 3, 1 - c, 0.25 * c), y)


@pytest.mark.parametrize("loop", [_doubled, _raised, _restless])
def test_loops_under_vmap_are_those_of_each_lane(loop):
    """`vmap` gives one loop for all lanes, whose condition has an entry for each."""
    n, x = jnp.array([0, 3, 1]), Interval([-0.5, 0.25, -1.0], [0.75, 1.0, 1.25])

    def lanes(x):
        return jax.vmap(loop)(n, x)

    whole, alone = inclusion(lanes, decorated=True)(x), inclusion(loop)
    for i in range(3):
        one = alone(n[i], Interval(x.lower[i], x.upper[i]))
        assert (float(whole[0].lower[i]), float(whole[0].upper[i])) == (float(one.lower), float(one.upper))
    points = np.random.default_rng(0).uniform(x.lower, x.upper, (200, 3))
    if loop is not _restless:
        assert jax.vmap(whole[0].contains)(jax.vmap(lanes)(jnp.asarray(points))).all()


def test_primitives_of_equinox():
    def f(x):
        most = eqxi.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * s[0], s[1] + 1), (x, 0), kind="lax")[0]
        count = eqxi.unvmap_all(x > 0).astype(x.dtype) + eqxi.unvmap_any(x > 2).astype(x.dtype)
        return eqxi.nonbatchable(most), count

    names = {str(eqn.primitive) for eqn in jax.make_jaxpr(f)(jnp.ones(2)).eqns}
    assert {"nonbatchable", "unvmap_all", "unvmap_any", "while"} <= names
    most, count = inclusion(f)(Interval([1.0, -2.0], [1.25, 0.0]))
    np.testing.assert_allclose(most.lower, [1, 0], atol=1e-12)
    np.testing.assert_allclose(most.upper, [1.25**8, 256], rtol=1e-12)
    assert (float(count.lower), float(count.upper)) == (0, 0)
    count = inclusion(f)(Interval([1.0, -2.0], [3.0, 0.5]))[1]
    assert (float(count.lower), float(count.upper)) == (0, 2)
    other = Primitive("unvmap_any")  # of the same name, from elsewhere
    other.def_impl(lambda x: x)
    assert foreign_rule(other) is None


def test_places_without_number_are_refused():
    with pytest.raises(UnsupportedPrimitiveError, match="one of more than 2³¹ places"):
        jax.eval_shape(
            lambda x, box: inclusion(
                lambda x, i: lax.dynamic_slice(x, (i.astype(jnp.int32), i.astype(jnp.int32)), (1, 1))
            )(x, box),
            jax.ShapeDtypeStruct((1 << 16, 1 << 16), np.float32),
            Interval(0.0, 1.0),
        )


UNSIGNED = {
    "rem": (lambda a: lax.rem(a, a.dtype.type(3)), (0, 2)),
    "rem of less": (lambda a: lax.rem(a, a.dtype.type(11)), (7, 10)),
    "div": (lambda a: lax.div(a, a.dtype.type(3)), (2, 3)),
    "abs": (jnp.abs, (7, 10)),
    "neg": (lambda a: -a, None),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
@pytest.mark.parametrize("case", UNSIGNED)
def test_unsigned_integers(case, dtype):
    f, expected = UNSIGNED[case]
    out = inclusion(lambda x: f(x.astype(dtype)))(Interval(7.0, 10.0))
    info = np.iinfo(dtype)
    assert (int(out.lower), int(out.upper)) == (expected or (info.min, info.max))


INTEGERS = {
    "div": lambda a, b: a // (b**2 + 1) - a // (-3 - b**2),
    "rem": lambda a, b: lax.rem(a, b**2 + 2),
    "mod": lambda a, b: a % (b**2 + 2),
    "abs": lambda a, b: abs(a) - abs(b),
    "sign": lambda a, b: jnp.sign(a) * b,
    "square": lambda a, b: a**2 - b**3,
    "clip": lambda a, b: jnp.clip(a, -2, 3) + jnp.minimum(b, 1) - jnp.maximum(a, b),
    "compare": lambda a, b: jnp.where(a < b, 2 * a, b) + (a == b) - (a != 2),
    "reduce": lambda a, b: jnp.stack([a, b, a * b]).max() - jnp.stack([a, b]).sum(),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_ranges_of_integers_hold_all_values(name):
    f = INTEGERS[name]
    with jax.numpy_dtype_promotion("standard"):
        enclosed = jax.jit(jax.vmap(inclusion(lambda x, y: f(jnp.floor(x).astype(int), jnp.floor(y).astype(int)))))
        rng = np.random.default_rng(0)
        low = rng.integers(-5, 5, (30, 2)).astype(float)
        upp = low + rng.integers(0, 4, (30, 2))
        out = enclosed(Interval(low[:, 0], upp[:, 0]), Interval(low[:, 1], upp[:, 1]))
        a, b = np.meshgrid(np.arange(-5, 9), np.arange(-5, 9))
        values = np.asarray(jax.vmap(f)(jnp.asarray(a.ravel()), jnp.asarray(b.ravel())))
    excess = 0
    for i in range(30):
        inside = (low[i, 0] <= a) & (a <= upp[i, 0]) & (low[i, 1] <= b) & (b <= upp[i, 1])
        found = values[inside.ravel()]
        assert int(out.lower[i]) <= found.min()
        assert found.max() <= int(out.upper[i])
        excess += (int(out.upper[i]) - int(out.lower[i])) - (found.max() - found.min())
    assert excess <= 30 * 12


def test_writing_to_an_undecided_place_is_refused():
    with pytest.raises(UnsupportedPrimitiveError, match="writes to a place that is undecided over the box"):
        inclusion(lambda x: jnp.zeros(3).at[(x > 0).astype(jnp.int32)].set(1.0))(Interval(-1.0, 1.0))


def test_inclusion_inside_of_inclusion():
    def widest(x, r):
        return inclusion(lambda y: jnp.sin(y) * y)(Interval(x - r, x + r)).upper

    out = jax.jit(inclusion(widest))(Interval(0.5, 0.6), 0.1)
    for x in np.linspace(0.5, 0.6, 7):
        exact = (x + 0.1) * np.sin(x + 0.1)
        assert float(out.lower) <= exact <= float(out.upper)
    assert float(out.width) < 0.13
    width = inclusion(lambda x: inclusion(jnp.exp)(Interval(x, x + 1.0)).width)
    assert bool(width(Interval(0.0, 0.5)).contains(np.exp(1.2) - np.exp(0.2)))


def test_exact_arrays_in_loops_stay_points():
    w = jnp.linspace(-1.0, 1.0, 9).reshape(3, 3)
    out = inclusion(lambda w, x: lax.scan(lambda c, _: (jnp.tanh(w @ c), c @ c), x, length=4))(
        w, Interval.point(jnp.ones(3))
    )
    assert float(out[0].width.max()) < 1e-13
    assert float(out[1].width.max()) < 1e-13
