"""`Interval` as a type: checks, properties, set operations, printing, pytree."""

import inspect
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sobolev_pruning import intervals
from sobolev_pruning.intervals import Interval, hull, intersection

finite = st.floats(-1e300, 1e300, allow_subnormal=False)


@pytest.mark.parametrize(
    ("lower", "upper", "error", "text"),
    [
        ([1.0], [0.0], ValueError, r"`lower` exceeds `upper` at index \(0,\): 1.0 > 0.0.*Swap"),
        ([np.nan], [0.0], ValueError, r"`lower` holds NaN at index \(0,\).*-inf and inf"),
        ([0.0], [np.nan], ValueError, r"`upper` holds NaN"),
        ([0.0], [0.0, 1.0], ValueError, r"shape \(1,\), `upper` has shape \(2,\).*broadcast"),
        ([0], [1], TypeError, r"`lower` must be an array of floats, got dtype int.*astype"),
        (np.zeros(1, np.float32), np.ones(1), TypeError, r"dtype float32, `upper` has dtype float64"),
    ],
)
def test_misuse_is_explained(lower, upper, error, text):
    with pytest.raises(error, match=text):
        Interval(lower, upper)


def test_negative_radii_are_refused():
    with pytest.raises(ValueError, match=r"`radius` must be non-negative, got a smallest value of -1.0"):
        Interval.from_midpoint(jnp.zeros(2), -1.0)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(ends=st.tuples(finite, finite).map(sorted))
def test_properties_enclose(ends):
    low, upp = map(Fraction, ends)
    x = Interval(*ends)
    middle, radius, width = (Fraction(float(v)) for v in (x.midpoint, x.radius, x.width))
    assert low <= middle <= upp
    assert middle - radius <= low
    assert upp <= middle + radius
    assert width >= upp - low
    assert float(x.magnitude) == max(abs(ends[0]), abs(ends[1]))
    assert float(x.mignitude) == (0 if low <= 0 <= upp else min(abs(ends[0]), abs(ends[1])))
    again = Interval.from_midpoint(x.midpoint, x.radius)
    assert bool(x.subset(again))
    shown = re.findall(r"-?\d[\d.e+-]*", repr(x).split("dtype")[0])
    assert Fraction(shown[0]) <= low
    assert upp <= Fraction(shown[1])


def test_points_have_no_width():
    x = Interval.point(jnp.array([0.0, 1.5]))
    assert x.width.tolist() == [0.0, 0.0]
    assert x.radius.tolist() == [0.0, 0.0]


def test_set_operations():
    x, y = Interval([0.0, 2.0], [1.0, 3.0]), Interval([0.5, 0.0], [2.0, 2.5])
    assert hull(x, y).upper.tolist() == [2.0, 3.0]
    assert intersection(x, y).lower.tolist() == [0.5, 2.0]
    assert intersection(x, Interval([5.0, 2.5], [6.0, 6.0])).is_empty.tolist() == [True, False]
    assert x[1].subset(x.hull(y)[1])
    assert Interval([-np.inf], [np.inf]).contains(jnp.array([np.inf])).tolist() == [False]


def test_a_pytree_of_anything():
    x = Interval([0.0, 1.0], [1.0, 2.0])
    assert jax.tree.map(lambda v: v.shape, x).lower == (2,)
    assert jax.tree.structure(x).unflatten(["a", None]).lower == "a"
    assert jax.jit(lambda v: v)(x).upper.tolist() == [1.0, 2.0]
    assert jax.vmap(lambda v: v.width)(x).shape == (2,)
    assert "lower" in jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(x)[0][0])
    with pytest.raises(AttributeError, match="immutable"):
        x.lower = 1


def test_public_names_are_sorted_and_documented():
    assert list(intervals.__all__) == sorted(intervals.__all__)
    for name in intervals.__all__:
        value = getattr(intervals, name)
        if isinstance(value, type) or inspect.isfunction(value):  # not an alias of types
            assert value.__doc__
