"""Regions hold their points, and say by name what is wrong with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.regions import Box, TrustRegions


def points(n, d):
    return jax.random.normal(jax.random.key(0), (n, d))


def contains(region, x):
    """Whether each point lies in some box, by a loop."""
    lower, upper = np.asarray(region.boxes.lower), np.asarray(region.boxes.upper)
    return [any(np.all(low <= p) and np.all(p <= up) for low, up in zip(lower, upper, strict=True)) for p in x]


def test_a_box_around_points_is_the_smallest_that_holds_them():
    x = np.asarray(points(30, 3))
    box = Box.around(jnp.asarray(x))
    assert box.boxes.lower.shape == (1, 3)
    np.testing.assert_allclose(box.lower, x.min(axis=0), rtol=1e-14)
    np.testing.assert_allclose(box.upper, x.max(axis=0), rtol=1e-14)
    assert all(contains(Box.around(jnp.asarray(x), 1 + 1e-12), x))
    assert not all(contains(Box.around(jnp.asarray(x), 0.5), x))


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_a_scaled_box_keeps_its_centre(scale):
    x = points(30, 3)
    whole, scaled = Box.around(x), Box.around(x, scale)
    np.testing.assert_allclose(scaled.lower + scaled.upper, whole.lower + whole.upper, rtol=1e-13)
    np.testing.assert_allclose(scaled.upper - scaled.lower, scale * (whole.upper - whole.lower), rtol=1e-13)


def test_trust_regions_are_laid_around_their_points():
    x = np.asarray(points(30, 3))
    region = TrustRegions.around(jnp.asarray(x), 0.1)
    assert region.boxes.lower.shape == (30, 3)
    assert all(contains(region, x))
    np.testing.assert_allclose(region.radius, 0.05 * (x.max(axis=0) - x.min(axis=0)), rtol=1e-14)
    # The radius and no more, in every direction.
    radius = np.asarray(region.radius)
    one = TrustRegions(jnp.asarray(x[:1]), region.radius)
    corners = x[0] + radius * np.array([[1, 1, 1], [-1, 1, -1], [1.001, 0, 0], [0, 0, -1.001]]) * (1 - 1e-12)
    assert contains(one, corners) == [True, True, False, False]


def test_trust_regions_without_extent_are_points():
    x = points(5, 2)
    region = TrustRegions(x, jnp.zeros(2))
    np.testing.assert_array_equal(region.boxes.lower, x)
    np.testing.assert_array_equal(region.boxes.upper, x)


def a(*numbers):
    return jnp.array(numbers, dtype=float)


BAD = {
    "inverted box": (lambda: Box(a(0, 1), a(1, 0.5)), r"lower end 1.0 lies above its upper end 0.5 in input 1"),
    "NaN corner": (lambda: Box(a(0, np.nan), a(1, 1)), "a corner of the box is not finite"),
    "infinite corner": (lambda: Box(a(0, 0), a(1, np.inf)), "a corner of the box is not finite"),
    "corners of other lengths": (lambda: Box(a(0, 0), a(1)), r"`lower` and `upper` have shapes \(2,\) and \(1,\)"),
    "corners with two axes": (lambda: Box(a(0)[None], a(1)[None]), r"both must be \(d,\)"),
    "no scale of a box": (lambda: Box.around(points(3, 2), 0.0), "`scale` is 0.0; it must be positive"),
    "NaN scale of a box": (lambda: Box.around(points(3, 2), np.nan), "`scale` is nan"),
    "NaN points of a box": (lambda: Box.around(a(np.nan, 0)[None]), "`x` holds a value that is not finite in row 0"),
    "negative radius": (lambda: TrustRegions(points(3, 2), a(0.1, -0.1)), "`radius` is .*; it must be finite and not"),
    "infinite radius": (lambda: TrustRegions(points(3, 2), a(0.1, np.inf)), "`radius` is"),
    "NaN radius": (lambda: TrustRegions(points(3, 2), a(0.1, np.nan)), "`radius` is"),
    "NaN centre": (lambda: TrustRegions(a(0, np.nan)[None], a(1, 1)), "a centre of the trust regions is not finite"),
    "no centres": (lambda: TrustRegions(jnp.zeros((0, 2)), a(1, 1)), r"shapes \(0, 2\) and \(2,\)"),
    "radius of another length": (lambda: TrustRegions(points(3, 2), a(1)), r"shapes \(3, 2\) and \(1,\)"),
    "one centre without its axis": (lambda: TrustRegions(a(0, 0), a(1, 1)), r"they must be \(n, d\)"),
    "negative scale": (lambda: TrustRegions.around(points(3, 2), -0.1), "`scale` is -0.1; it must be positive"),
}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_bad_regions_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_data_outside_are_counted():
    x = jnp.stack([jnp.linspace(0.0, 1.0, 11), jnp.zeros(11)], axis=1)
    Box.around(x).check_contains(x)
    with pytest.raises(ValueError, match=r"4 of 11 points of `x` lie outside of the region, the first in row 7; .*Box"):
        Box(a(-1, -1), a(0.65, 1)).check_contains(x)
    with pytest.raises(ValueError, match=r"9 of 11 points .* first in row 1; .*`TrustRegions.around\(x\)`"):
        TrustRegions(x[jnp.array([0, 10])], a(0.01, 0.01)).check_contains(x)
    with pytest.raises(ValueError, match=r"`x` has shape \(11, 1\); points of this region are \(n, 2\)"):
        Box.around(x).check_contains(x[:, :1])
