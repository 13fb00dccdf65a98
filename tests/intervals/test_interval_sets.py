"""Intervals as sets: construction, the empty set, subdivision, order of subnormal numbers, operators, printing."""

from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_checks import DTYPES

from sobolev_pruning.intervals import Interval, Ternary, hull, intersection, split

any_float = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "value",
    ["0.1", "1/3", Fraction(2, 7), Decimal("1e-3"), 0.1, 3, 2**60 + 1, "1e-320", "-1e-320", "1e400", np.float64(0.1)],
)
def test_numbers_that_are_no_floats_are_enclosed_by_neighbours(value, dtype):
    x = Interval.enclosing(value, dtype)
    exact = Fraction(value.item() if isinstance(value, np.generic) else value)
    low, upp = float(x.lower), float(x.upper)
    assert low == -np.inf or Fraction(low) <= exact
    assert upp == np.inf or exact <= Fraction(upp)
    assert (
        low == upp
        or upp == np.inf
        or np.nextafter(dtype(low), dtype(np.inf)) == upp
        or abs(exact) < Fraction(float(np.finfo(dtype).tiny))
    )
    assert x.dtype == dtype


def test_enclosing_takes_nested_sequences():
    x = Interval.enclosing([["0.1", 0.5], [Fraction(1, 3), 2]])
    assert x.shape == (2, 2)
    assert x.is_singleton.tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("a tenth", ValueError, r"`value` must hold finite numbers, got 'a tenth'"),
        (float("nan"), ValueError, r"`value` must hold finite numbers, got nan"),
        (1j, TypeError, r"`value` must hold numbers or their text, got 1j"),
    ],
)
def test_what_is_no_number_is_refused(value, error, text):
    with pytest.raises(error, match=text):
        Interval.enclosing(value)
    with pytest.raises(TypeError, match="float32 and float64, got float16"):
        Interval.enclosing("0.1", np.float16)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_empty_set(dtype):
    empty, x = Interval.empty((2,), dtype), Interval(np.zeros(2, dtype), np.ones(2, dtype))
    assert empty.is_empty.all()
    assert empty.is_bounded.all()
    assert not empty.is_singleton.any()
    assert "∅" in repr(empty)
    for value in (empty.width, empty.midpoint, empty.radius, empty.magnitude, empty.mignitude):
        assert np.isnan(value).all()
    assert empty.subset(x).all()
    assert not x.subset(empty).any()
    assert empty.interior(x).all()
    assert empty.disjoint(x).all()
    assert not empty.contains(dtype(0.5)).any()
    for union in (hull(empty, x), x.hull(empty)):
        assert union.lower.tolist() == [0, 0]
        assert union.upper.tolist() == [1, 1]
    assert intersection(empty, x).is_empty.all()
    assert split(empty[0], 3).is_empty.all()
    for out in (empty + x, x - empty, empty * x, x / empty, -empty, abs(empty), empty**2, empty @ x):
        assert out.is_empty.all()


def test_all_real_numbers():
    x = Interval.entire((2,))
    assert x.is_entire.all()
    assert not x.is_bounded.any()
    assert x.midpoint.tolist() == [0, 0]
    assert x.width.tolist() == [np.inf, np.inf]
    assert x.contains(jnp.array([1e308, jnp.inf])).tolist() == [True, False]
    assert Interval([0.0], [1.0]).interior(Interval([-np.inf], [np.inf])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_traced_bounds_that_are_out_of_order_are_empty(dtype):
    low = jnp.array([0.0, 2.0, jnp.nan, 0.0, jnp.inf], dtype)
    upp = jnp.array([1.0, 1.0, 1.0, jnp.nan, jnp.inf], dtype)
    made = jax.jit(Interval)(low, upp)
    assert made.is_empty.tolist() == [False, True, True, True, True]
    around = jax.jit(Interval.from_midpoint)(jnp.array([1.0, 1.0, jnp.nan], dtype), jnp.array([0.5, -1.0, 1.0], dtype))
    assert around.is_empty.tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_numbers_are_told_from_zero(dtype):
    info = np.finfo(dtype)
    small = dtype(info.smallest_subnormal) * 3
    x = Interval(np.array([small, -small]), np.array([info.tiny, small]))
    assert x.contains(np.zeros(2, dtype)).tolist() == [False, True]
    assert x.contains(np.array([small, small])).tolist() == [True, True]
    assert Interval.point(np.zeros(2, dtype)).subset(x).tolist() == [False, True]
    assert bool(x.contains(x.midpoint).all())
    assert not x.is_singleton.any()
    assert x.width.all()
    ball = Interval.from_midpoint(np.zeros(1, dtype), np.full(1, small))
    assert bool(ball.contains(np.array([small])).all())
    both = intersection(Interval.point(np.array([small])), Interval.point(np.array([small])))
    assert bool(both.contains(np.array([small])).all())


@settings(deadline=None, max_examples=80, derandomize=True)
@given(ends=st.tuples(any_float, any_float).map(sorted), others=st.tuples(any_float, any_float).map(sorted))
def test_queries_agree_with_exact_arithmetic(ends, others):
    x, y = Interval(*ends), Interval(*others)
    (a, b), (c, d) = (tuple(map(Fraction, e)) for e in (ends, others))
    assert bool(x.subset(y)) == (c <= a and b <= d)
    assert bool(x.interior(y)) == (c < a and b < d)
    assert bool(x.disjoint(y)) == (b < c or d < a)
    assert bool(x.contains(others[0])) == (a <= c <= b)
    union, common = hull(x, y), intersection(x, y)
    assert bool(x.subset(union) & y.subset(union))
    if b >= c and d >= a:
        assert Fraction(float(common.lower)) <= max(a, c) <= min(b, d) <= Fraction(float(common.upper))
    elif min(abs(a - d), abs(b - c)) > Fraction(2.3e-308):  # apart by more than a subnormal number
        assert bool(common.is_empty)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(ends=st.tuples(any_float, any_float).map(sorted), parts=st.integers(1, 7))
def test_parts_cover_what_is_split(ends, parts):
    pieces = split(Interval(*ends), parts)
    assert pieces.shape == (parts,)
    assert float(pieces.lower[0]) == ends[0]
    assert float(pieces.upper[-1]) == ends[1]
    assert np.array_equal(pieces.lower[1:], pieces.upper[:-1])
    assert bool((pieces.lower <= pieces.upper).all())


def test_one_entry_is_split():
    box = Interval(jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 4.0]]))
    assert box.split(4).upper[:, 0, 1].tolist() == [1, 2, 3, 4]
    assert box.split(4).upper[:, 0, 0].tolist() == [1] * 4
    assert box.split(2, at=(0, 0)).upper[:, 0].tolist() == [[0.5, 4.0], [1.0, 4.0]]
    assert split(Interval(-jnp.inf, jnp.inf)).upper.tolist() == [0.0, np.inf]
    with pytest.raises(ValueError, match="`at` must be the index of one entry of shape"):
        box.split(2, at=3)
    with pytest.raises(ValueError, match="`parts` must be a positive integer, got 0"):
        box.split(0)


def test_operators_enclose_what_they_do_to_arrays():
    x, y = (
        Interval(jnp.array([1.0, -1.0]), jnp.array([2.0, 1.0])),
        Interval(jnp.array([3.0, 2.0]), jnp.array([4.0, 2.0])),
    )
    a = jnp.array([2.0, -3.0])
    expected = [
        (x + y, [4, 1], [6, 3]),
        (x - y, [-3, -3], [-1, -1]),
        (x * y, [3, -2], [8, 2]),
        (x / y, [0.25, -0.5], [2 / 3, 0.5]),
        (1.0 - x, [-1, 0], [0, 2]),
        (2.0 / y, [0.5, 1.0], [2 / 3, 1.0]),
        (a * x, [2, -3], [4, 3]),
        (np.asarray(a) + x, [3, -4], [4, -2]),
        (x**2, [1, 0], [4, 1]),
        (y**-1, [0.25, 0.5], [1 / 3, 0.5]),
        (y**0.5, [3**0.5, 2**0.5], [2, 2**0.5]),
        (-x, [-2, -1], [-1, 1]),
        (abs(x), [1, 0], [2, 1]),
        (x @ a, [-1], [7]),
        (a @ x, [-1], [7]),
    ]
    for out, low, upp in expected:
        assert np.allclose(np.ravel(out.lower), low, rtol=1e-12, atol=1e-12)
        assert np.allclose(np.ravel(out.upper), upp, rtol=1e-12, atol=1e-12)
        assert np.all(np.ravel(out.lower) <= np.array(low) + 0.0)
    assert isinstance(x < y, Ternary)
    assert bool(x[0] < y[0])
    assert (x >= 1.0).can_be_false.tolist() == [False, True]
    with pytest.raises(ValueError, match="undecided over the box"):
        bool(x[1] > 0.0)
    assert x.astype(jnp.float32).dtype == np.float32
    assert x.reshape(2, 1).shape == (2, 1)


def test_bounds_are_not_dropped_by_array_functions():
    with pytest.raises(TypeError, match=r"requires ndarray or scalar arguments, got .*Interval"):
        jnp.sin(Interval([0.0], [1.0]))
    with pytest.raises(TypeError, match=r"An Interval is no array.*inclusion"):
        np.asarray(Interval([0.0], [1.0]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: Interval(x, x), TypeError, r"Interval: `lower` is an Interval, but only an array"),
        (lambda x: Interval([np.inf], [np.inf]), ValueError, r"both ends are inf at index \(0,\)"),
        (lambda x: Interval.point(jnp.array([1, 2])), TypeError, r"Interval.point: `x` must be an array of floats"),
        (lambda x: Interval.from_midpoint(jnp.array([np.inf]), 1.0), ValueError, r"`midpoint` holds NaN or infinity"),
        (lambda x: Interval.from_midpoint(jnp.zeros(2), jnp.ones(3)), ValueError, r"`radius` of shape \(3,\) does not"),
        (
            lambda x: Interval.from_midpoint(jnp.zeros(2), np.ones(2, np.float32)),
            TypeError,
            r"`radius` has dtype float32",
        ),
        (lambda x: hull(x, 1.0), TypeError, r"hull: `second` must be an Interval, got float"),
        (lambda x: intersection(x, x.astype(np.float32)), TypeError, r"`second` has dtype float32"),
        (lambda x: hull(x, Interval.empty((3,))), ValueError, r"the shapes \(2,\) of `first` and \(3,\) of `second`"),
    ],
)
def test_misuse_is_explained(call, error, text):
    with pytest.raises(error, match=text):
        call(Interval(jnp.zeros(2), jnp.ones(2)))
