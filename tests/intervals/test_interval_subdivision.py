"""Ranges by subdivision: guaranteed at any time, and as tight as asked for."""

import itertools
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.intervals import Interval, enclose_range


def _saddle(x):
    return x[0] * x[0] - x[0] * x[1] + 0.1 * jnp.sin(3 * x[1])


BOX = Interval([-1.0, -1.0], [1.0, 2.0])


def _grid(f):
    x = np.stack(np.meshgrid(np.linspace(-1, 1, 301), np.linspace(-1, 2, 301)), -1).reshape(-1, 2)
    return np.asarray(jax.vmap(f)(jnp.asarray(x)))


@pytest.mark.parametrize("domain", ["interval", "affine"])
def test_the_range_is_found_within_the_tolerance(domain):
    found = enclose_range(_saddle, BOX, seconds=60.0, tolerance=0.01, domain=domain, boxes_at_once=32)
    values = _grid(_saddle)
    assert found.finished
    assert found.range.lower <= values.min()
    assert values.max() <= found.range.upper
    assert found.range.contains(found.attained.lower)
    assert found.range.width <= 1.03 * (values.max() - values.min())
    assert 1 <= found.excess <= 1.03
    assert found.boxes > 1


def test_several_outputs_are_enclosed_and_the_state_is_told_after_every_round():
    states = []
    found = enclose_range(jax.grad(_saddle), BOX, seconds=60.0, tolerance=0.05, boxes_at_once=8, progress=states.append)
    values = _grid(jax.grad(_saddle))
    assert found.range.shape == (2,)
    assert np.all(found.range.lower <= values.min(0))
    assert np.all(values.max(0) <= found.range.upper)
    assert states[-1].boxes == found.boxes
    for before, after in itertools.pairwise(states):  # bounds never get worse
        assert np.all(before.range.lower <= after.range.lower)
        assert np.all(after.range.upper <= before.range.upper)


def test_the_time_ends_the_search():
    found = enclose_range(lambda x: jnp.sin(50 * x[0]) * jnp.sin(50 * x[1]), BOX, seconds=1e-3, domain="interval")
    assert not found.finished
    assert found.range.contains(jnp.asarray([-1.0, 1.0])).all()


def test_a_point_and_a_pole():
    point = enclose_range(
        lambda x: x.sum(), Interval([1.0, 2.0], [1.0, 2.0]), tolerance=0.1, domain="interval", seconds=0.1
    )
    assert point.range.contains(3.0)
    pole = enclose_range(lambda x: 1 / x[0], BOX, seconds=0.1, tolerance=0.1, domain="interval")
    assert not np.isfinite(pole.range.width)
    assert not pole.finished


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"box": Interval([[0.0]], [[1.0]])}, ValueError, r"must be \(d,\)"),
        ({"box": Interval.empty((2,))}, ValueError, "`box` is empty"),
        ({"box": Interval([0.0, -np.inf], [1.0, 1.0])}, ValueError, "unbounded"),
        ({"seconds": 0.0}, ValueError, "`seconds` is 0"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` is -1"),
        ({"boxes_at_once": 0}, ValueError, "`boxes_at_once` is 0"),
        ({"domain": "taylor"}, ValueError, "`domain` must be one of"),
        ({"f": lambda x: x > 0}, TypeError, "array of floats"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {"f": _saddle, "box": BOX} | change
    with pytest.raises(error, match=message):
        enclose_range(arguments.pop("f"), arguments.pop("box"), **arguments)


SHARED = """
import jax, jax.numpy as jnp
from sobolev_pruning.intervals import Interval, enclose_range

assert jax.local_device_count() == 2
box = Interval(jnp.array([-1.0, -1.0]), jnp.array([1.0, 2.0]))
found = enclose_range(lambda x: x[0] * x[0] - x[0] * x[1], box, tolerance=0.01, seconds=60.0, boxes_at_once=15)
assert found.finished and -1.04 < found.range.lower <= -1 and 3 <= found.range.upper < 3.05, found
"""


def test_the_boxes_are_shared_out_over_devices():
    # A process of its own: the number of devices is decided when JAX starts.
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SHARED], env=environment, check=True, timeout=300)


def test_a_region_within_the_box_and_points_of_its_extremes():
    found = enclose_range(
        lambda x: x[0] + x[1],
        Interval([-1.0, -1.0], [1.0, 1.0]),
        inside=lambda x: x[0] ** 2 + x[1] ** 2 <= 1,
        tolerance=0.02,
        seconds=60.0,
        boxes_at_once=64,
    )
    assert found.finished
    assert math.sqrt(2) <= found.range.upper < 1.06 * math.sqrt(2)
    for point, value in ((found.lowest, found.attained.lower), (found.highest, found.attained.upper)):
        assert (point**2).sum() <= 1
        assert point.sum() == value
    nowhere = enclose_range(
        lambda x: x[0], Interval([0.0], [1.0]), inside=lambda x: x[0] > 2, seconds=60.0, boxes_at_once=4
    )
    assert nowhere.finished
    assert nowhere.range.is_empty


def test_many_inputs_that_act_through_few_directions():
    weights = jnp.array([3.0, -1.0, 2.0, 0.5, -2.0, 1.0, 0.7, 1.3])

    def ridge(x):
        return jnp.sin(weights @ x) + 0.01 * x[0] * x[3]

    box = Interval(-0.5 * jnp.ones(8), 0.5 * jnp.ones(8))
    found = enclose_range(jax.grad(ridge), box, seconds=60.0, tolerance=0.05, boxes_at_once=64)
    assert found.finished
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 8))
    slopes = np.asarray(jax.vmap(jax.grad(ridge))(jnp.asarray(x)))
    assert np.all(np.asarray(found.range.lower) <= slopes.min(0))
    assert np.all(slopes.max(0) <= np.asarray(found.range.upper))


PARTLY = Interval([-1.0, 0.5], [1.0, 1.0])

# Each is undefined on a part of the box, or on all of it.
UNDEFINED = {
    "everywhere": lambda x: jnp.sqrt(-1.0 - x[0] ** 2),
    "units of zero": lambda x: jnp.tanh((x[0] - 2.0) / jnp.zeros(())),
    "on a half": lambda x: jnp.log(x[0]) + x[1],
    "in one entry": lambda x: jnp.stack([jnp.sqrt(x[0]), x[1]]),
}


@pytest.mark.parametrize(
    ("name", "domain"), [*((name, "interval") for name in UNDEFINED), ("in one entry", "affine-32")]
)
def test_nothing_is_proved_of_a_function_that_is_not_defined(name, domain):
    found = enclose_range(UNDEFINED[name], PARTLY, seconds=60.0, domain=domain, boxes_at_once=8)
    assert found.range.is_entire.all()
    assert found.finished  # cutting would not help


def test_what_lies_outside_of_the_region_need_not_be_defined():
    found = enclose_range(
        lambda x: jnp.sqrt(x[0] + x[1] - 0.5),
        PARTLY,
        inside=lambda x: x[0] >= 0.0,
        seconds=60.0,
        tolerance=0.05,
        domain="interval",
        boxes_at_once=16,
    )
    assert found.finished
    assert -1e-6 <= found.range.lower <= 0
    assert math.sqrt(1.5) <= found.range.upper < 1.3
    # An entropy is not defined at one end of its box, which is no part of positive width.
    entropy = enclose_range(lambda x: x[0] * jnp.log(x[0]), Interval([0.0], [1.0]), seconds=0.5, domain="interval")
    assert entropy.range.upper < 0.1
    # A predicate that is undefined says nothing, so the region is taken to be the whole box.
    unknown = enclose_range(
        lambda x: x[0], PARTLY, inside=lambda x: ~(jnp.log(x[0] - 2.0) > 0), seconds=1.0, domain="interval"
    )
    assert unknown.range.contains(jnp.asarray([-1.0, 1.0])).all()
