"""The same fit on one device, on two devices, and in two processes; results equal to rounding."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from fit_problem import same_bits, train
from jax.sharding import Mesh
from sharded_fit import fits

import sobolev_pruning

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def alone():
    return fits(None)


def process(path, *arguments, n_devices=1):
    paths = [str(Path(sobolev_pruning.__file__).parents[1]), str(HERE)]
    flags = f"--xla_force_host_platform_device_count={n_devices}"
    return subprocess.Popen(
        [sys.executable, str(HERE / "sharded_fit.py"), str(path), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )


def assert_equal_to_rounding(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-11, err_msg=name)


def test_two_devices_of_one_process(tmp_path, alone):
    path = tmp_path / "result.npz"
    assert process(path, n_devices=2).wait() == 0
    with np.load(path) as found:
        arrays = dict(found)
    # Every device draws and differentiates its own half: nowhere in the compiled steps is there a whole batch.
    for name in ("simulator", "data", "teacher"):
        whole, half = arrays.pop(f"shapes.{name}")
        assert whole == 0, name
        assert half > 50, name
    assert_equal_to_rounding(arrays, alone)


def test_two_processes(tmp_path, alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [tmp_path / f"{rank}.npz" for rank in range(2)]
    running = [process(path, rank, 2, port) for rank, path in enumerate(paths)]
    try:
        assert [each.wait() for each in running] == [0, 0]
    finally:
        for each in running:
            each.kill()
    # Both know the same to the last bit, and together they wrote one set of checkpoints.
    with np.load(paths[0]) as first, np.load(paths[1]) as second:
        assert_equal_to_rounding(first, alone)
        assert all(np.array_equal(first[name], second[name]) for name in first)
    written = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert written == [f"fit-000-{step:012d}.safetensors" for step in (15, 20)]


def test_a_mesh_of_one_device_changes_nothing():
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    assert same_bits(train(mesh=mesh).surrogate, train().surrogate)


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    mesh = Mesh(np.array(jax.devices() * 3)[:3], ("batch",))
    with pytest.raises(ValueError, match="`batch_size` is 4, which the 3 devices of `mesh` cannot share evenly"):
        train(mesh=mesh)


def test_random_numbers_that_depend_on_the_devices_are_refused():
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="jax_threefry_partitionable"):
        train(mesh=mesh)
