"""Regions along the data hold the data, know what belongs to them, and can be written down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.intervals import Interval, enclose_range
from sobolev_pruning.regions import AlignedBox, Box, Ellipsoid, TrustRegions, region_from_dict

MIX = jnp.array([[1.0, 0.0, 0.0], [2.0, 0.1, 0.0], [-1.0, 0.05, 0.2]])


def correlated(n=200, seed=0, dtype=float):
    z = jax.random.normal(jax.random.key(seed), (n, 3))
    return (z @ MIX.T + jnp.array([3.0, -1.0, 10.0])[None]).astype(dtype)


REGIONS = {
    "box": Box.around,
    "aligned box": AlignedBox.around,
    "ellipsoid": Ellipsoid.around,
    "trust regions": TrustRegions.around,
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("kind", REGIONS)
def test_a_region_holds_its_data_and_moves_others_into_it(kind, dtype):
    x = correlated(dtype=dtype)
    region = REGIONS[kind](x)
    assert region.dim == 3
    assert region.contains(x).all()
    np.testing.assert_array_equal(region.clip(x), x)
    assert region.contains(x[0]).shape == ()
    far = 5 * (x - x.mean(0)[None]) + x.mean(0)[None]
    outside = ~np.asarray(region.contains(far))
    assert outside.any()
    assert region.contains(region.clip(far)).all()
    assert not np.array_equal(np.asarray(region.clip(far))[outside], np.asarray(far)[outside])
    boxes = region.boxes
    inside = (x[:, None] >= boxes.lower[None]) & (x[:, None] <= boxes.upper[None])
    assert inside.all(axis=-1).any(axis=-1).all()


@pytest.mark.parametrize("kind", REGIONS)
def test_a_region_is_written_down_exactly(kind):
    x = correlated(dtype=jnp.float32)
    region = REGIONS[kind](x)
    described = region.to_dict()
    back = region_from_dict(described, jnp.float32)
    assert back.to_dict() == described
    assert type(back) is type(region)
    assert described["kind"] == kind


def test_regions_along_correlated_data_are_smaller_than_their_box():
    x = correlated()
    box, aligned, ellipsoid = Box.around(x), AlignedBox.around(x), Ellipsoid.around(x)
    assert np.prod(2 * aligned.radius) < 0.1 * np.prod(box.upper - box.lower)
    scaled = AlignedBox.around(x, 0.5)
    np.testing.assert_allclose(scaled.radius, 0.5 * aligned.radius, rtol=1e-9)
    assert (ellipsoid.axes.T @ (ellipsoid.centre - x.mean(0)) == 0).all() or jnp.allclose(ellipsoid.centre, x.mean(0))


@pytest.mark.parametrize("kind", ["aligned box", "ellipsoid"])
def test_points_of_the_coordinates_belong_to_the_region(kind):
    region = REGIONS[kind](correlated())
    u = jax.random.uniform(jax.random.key(1), (500, 3), minval=-1, maxval=1) * region.radius[None]
    points = jax.vmap(region.point)(u)
    if kind == "ellipsoid":
        expected = np.sum((np.asarray(u) / np.asarray(region.radius)) ** 2, axis=1) <= 1
        np.testing.assert_array_equal(jax.vmap(region.inside)(u), expected)
        np.testing.assert_array_equal(region.contains(points), expected)
    else:
        assert region.contains(points).all()


def test_a_subdivision_sees_the_shape_of_a_region():
    # x0 and 2·x0 move together: their difference has a small range along the data, and a large one over the box.
    x = correlated()

    def f(x):
        return x[1] - 2 * x[0]

    truth = np.ptp(np.asarray(jax.vmap(f)(x)))
    widths = {}
    for kind in ("box", "aligned box", "ellipsoid"):
        region = REGIONS[kind](x)
        box = jax.tree.map(lambda end: end[0], region.coordinates)
        inside = region.inside if kind == "ellipsoid" else None
        found = enclose_range(lambda u, r=region: f(r.point(u)), box, inside=inside, seconds=3.0, tolerance=0.05)
        widths[kind] = float(found.range.width)
        assert widths[kind] >= truth
    assert widths["aligned box"] < 0.3 * widths["box"]
    assert widths["ellipsoid"] < 0.3 * widths["box"]


def a(*x):
    return jnp.array(x, float)


EYE = jnp.eye(2)
BAD = {
    "no data": (lambda: Box.around(jnp.zeros((0, 2))), r"shape \(0, 2\): there are no data"),
    "data that are not finite": (lambda: AlignedBox.around(jnp.array([[1.0, 2], [np.nan, 0]])), "not finite in row 1"),
    "no scale": (lambda: Ellipsoid.around(correlated(), 0.0), "`scale` is 0.0"),
    "flat data": (lambda: Ellipsoid.around(jnp.ones((5, 2)) * jnp.arange(5.0)[:, None]), "lies in a plane"),
    "axes that are not orthonormal": (lambda: AlignedBox(a(0, 0), 2 * EYE, a(1, 1)), "must be orthonormal"),
    "negative radius": (lambda: AlignedBox(a(0, 0), EYE, a(1, -1)), "`radius` is"),
    "radius of zero": (lambda: Ellipsoid(a(0, 0), EYE, a(1, 0)), "`radius` is zero along an axis"),
    "NaN centre": (lambda: AlignedBox(a(0, np.nan), EYE, a(1, 1)), "must be finite"),
    "an unknown kind": (lambda: region_from_dict({"kind": "sphere"}, float), "of the kind 'sphere'"),
    "a list": (lambda: region_from_dict(["box"], float), "of the kind None"),
    "a kind of lists": (lambda: region_from_dict({"kind": [[]]}, float), r"of the kind \[\[\]\]"),
    "words for numbers": (lambda: region_from_dict({"kind": "box", "lower": ["a"], "upper": [1]}, float), "be read"),
    "ragged rows": (
        lambda: region_from_dict({"kind": "trust regions", "centres": [[1.0], [1.0, 2.0]], "radius": [1]}, float),
        "its numbers cannot be read",
    ),
    "digits beyond any float": (
        lambda: region_from_dict({"kind": "box", "lower": [10**400], "upper": [1]}, float),
        "its numbers cannot be read",
    ),
    "a matrix for a centre": (
        lambda: region_from_dict({"kind": "ellipsoid", "centre": [[1.0]], "axes": [[1.0]], "radius": [1.0]}, float),
        r"must be \(d,\), \(d, d\)",
    ),
    "half a box": (lambda: region_from_dict({"kind": "box", "lower": [0.0]}, float), "incomplete"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_regions_along_data_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_interval_is_what_a_box_is():
    region = Box(a(0, 1), a(1, 3))
    assert isinstance(region.coordinates, Interval)
    np.testing.assert_array_equal(region.point(a(0.5, 2)), a(0.5, 2))
    assert region.inside(a(0.5, 2)) is None
