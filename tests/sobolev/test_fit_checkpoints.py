"""A fit that is killed goes on to the same bits; disks that are full or damaged do not take what is there."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fit_problem import ADAM, inputs, points, same_bits, start, train

import sobolev_pruning
from sobolev_pruning.reference import DataSet, FunctionReference, HostFunction
from sobolev_pruning.sobolev import Checkpoints, CheckpointWarning, SobolevLoss, ValueLoss

HERE = Path(__file__).parent


def names(folder):
    return sorted(path.name.removesuffix(".safetensors") for path in Path(folder).iterdir())


def checkpoint(folder, step):
    return Path(folder) / f"fit-000-{step:012d}.safetensors"


class Killed(BaseException):
    """What a test ends a fit with."""


def killed_at(step):
    def on_chunk(done, surrogate):
        if done == step:
            raise Killed

    return on_chunk


def interrupt(folder, step, **options):
    with pytest.raises(Killed):
        train(checkpoints=Checkpoints(folder, every=5), on_chunk=killed_at(step), **options)


def process(*arguments, **options):
    paths = [str(Path(sobolev_pruning.__file__).parents[1]), str(HERE)]
    return subprocess.Popen(
        [sys.executable, str(HERE / "checkpointed_fit.py"), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        **options,
    )


def test_a_fit_that_is_killed_goes_on_to_the_same_bits(tmp_path):
    """Killed by a signal that cannot be caught, wherever it is; what it goes on to is compared bit by bit."""
    folder = tmp_path / "checkpoints"
    # All of them are processes: what this one has compiled before may be compiled otherwise.
    other = process(tmp_path / "other", tmp_path / "whole.npz", 0.0)
    victim = process(folder, tmp_path / "never.npz", 0.2)
    deadline = time.monotonic() + 200
    while not any(path.name > "fit-000-000000000001" for path in folder.glob("fit-*")):
        assert victim.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.kill()
    victim.wait()
    assert not (tmp_path / "never.npz").exists()
    assert process(folder, tmp_path / "resumed.npz", 0.0).wait() == 0
    assert other.wait() == 0
    with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "whole.npz") as whole:
        assert set(resumed) == set(whole) > {"losses", "loss", "rmse_values", "rmse_gradients"}
        assert resumed["losses"].shape == (60,)
        assert all(np.array_equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("step", [5, 10, 15])
def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path, step):
    interrupt(tmp_path, step, evaluation=points(7, 30), patience=4)
    seen = []
    resumed = train(
        checkpoints=Checkpoints(tmp_path, every=5),
        evaluation=points(7, 30),
        patience=4,
        on_chunk=lambda done, _: seen.append(done),
    )
    whole = train(evaluation=points(7, 30), patience=4)
    assert seen == list(range(step, 21, 5))
    assert same_bits(resumed.surrogate, whole.surrogate)
    assert np.array_equal(resumed.losses, whole.losses)
    assert resumed.history.evaluated.tolist() == whole.history.evaluated.tolist()
    for name, values in whole.history.metrics.items():
        assert np.array_equal(resumed.history.metrics[name], values)
    assert resumed.history.best_step == whole.history.best_step


def test_a_fit_that_has_ended_is_read_back(tmp_path):
    options = {"checkpoints": Checkpoints(tmp_path), "evaluation": points(7, 30), "patience": 9}
    first = train(**options)
    seen = []
    again = train(**options, on_chunk=lambda *state: seen.append(state))
    assert seen == []
    assert same_bits(first.surrogate, again.surrogate)
    assert np.array_equal(first.losses, again.losses)


def test_early_stopping_goes_on_where_it_was(tmp_path):
    """Patience, best parameters and their step are those before the interruption."""
    values = {0: 9.0, 5: 1.0, 10: 2.0, 15: 3.0, 20: 4.0}
    steps = iter(values)
    options = {"checkpoints": Checkpoints(tmp_path, every=5), "patience": 2, "steps": 20}
    seen = {}

    def on_chunk(done, surrogate):
        seen[done] = surrogate
        if done == 10:
            raise Killed

    with pytest.raises(Killed):
        train(evaluation=lambda _: values[next(steps)], on_chunk=on_chunk, **options)
    steps = iter([10, 15, 20])
    result = train(evaluation=lambda _: values[next(steps)], **options)
    assert result.history.stopped_early
    assert result.losses.shape == (15,)
    assert same_bits(result.surrogate, seen[5])


def test_restarts_go_on_where_they_were(tmp_path):
    from test_fit_restarts import dead

    options = {"surrogate": dead(start()), "restarts": 3, "reference": points(n=200)}
    whole = train(**options)
    told = []

    def on_chunk(done, surrogate):
        told.append(done)
        if told == [5, 10, 5, 10]:
            raise Killed

    with pytest.raises(Killed):
        train(checkpoints=Checkpoints(tmp_path, every=5), on_chunk=on_chunk, **options)
    assert names(tmp_path) == ["fit-000-000000000005", "fit-001-000000000005"]
    resumed = train(checkpoints=Checkpoints(tmp_path, every=5), **options)
    assert same_bits(resumed.surrogate, whole.surrogate)
    assert resumed.restarts == whole.restarts
    assert len(whole.restarts) == 1


def test_keys_and_calibration_are_stored(tmp_path):
    """A loss with constants of its own, and an optimizer that draws noise."""
    options = {"loss": SobolevLoss(), "optimizer": optax.chain(optax.add_noise(0.1, 0.5, 3), ADAM)}
    interrupt(tmp_path, 10, **options)
    assert same_bits(train(checkpoints=Checkpoints(tmp_path, every=5), **options).surrogate, train(**options).surrogate)


def test_some_are_kept_and_written_when_due(tmp_path):
    train(checkpoints=Checkpoints(tmp_path / "a", every=5, keep=3))
    assert names(tmp_path / "a") == [f"fit-000-{step:012d}" for step in (10, 15, 20)]
    # Rounded up to whole chunks; the end is always stored.
    train(checkpoints=Checkpoints(str(tmp_path / "b"), every=7, keep=9), steps=25)
    assert names(tmp_path / "b") == [f"fit-000-{step:012d}" for step in (0, 10, 20, 25)]


OTHERS = {
    "optimizer": {"optimizer": optax.adam(2e-2)},
    "key": {"key": 2},
    "network": {"surrogate": start(widths=(2, 9, 1))},
    "steps": {"steps": 25},
    "batch_size": {"batch_size": 5},
    "steps_per_chunk": {"steps_per_chunk": 10},
    "loss": {"loss": SobolevLoss()},
    "reference": {"reference": DataSet(points(6))},
    "clip_norm": {"clip_norm": 1.0},
    "restarts": {"restarts": 1},
    "evaluation": {"evaluation": points(8)},
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ended")
    train(checkpoints=Checkpoints(folder))
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_another_fit_is_refused_by_what_differs(ended, name):
    before = names(ended)
    with pytest.raises(ValueError, match=f"belongs to another fit, with a different .*`{name}`") as caught:
        train(checkpoints=Checkpoints(ended), **OTHERS[name])
    assert names(ended) == before
    if name == "steps":
        assert "(20 there, 25 here)" in str(caught.value)
    if name in ("optimizer", "key", "steps", "clip_norm"):
        assert str(caught.value).split("Resume")[0].count("`") == 2, "only that one differs"


def test_the_same_fit_made_again_is_the_same(ended):
    """Closures of the same name and numbers, another folder's spelling: nothing that decides a bit."""
    seen = []
    train(
        checkpoints=Checkpoints(ended / ".." / ended.name, every=3, keep=5),
        optimizer=optax.adam(1e-2),
        loss=ValueLoss(),
        title="another",
        on_chunk=lambda *state: seen.append(state),
    )
    assert seen == []


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "empty":
        content = b""
    elif how == "cut short":
        content = content[: len(content) // 2]
    elif how == "bits":
        content[-100] ^= 255
    else:
        content = content.replace(b"fingerprint", b"fingertips.")
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "cut short", "bits", "facts"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, how):
    interrupt(tmp_path, 15)
    assert names(tmp_path)[-1] == "fit-000-000000000010"
    damage(checkpoint(tmp_path, 10), how)
    seen = []
    with pytest.warns(CheckpointWarning, match=r"fit-000-000000000010\.\w+: .*; the checkpoint before it is"):
        result = train(checkpoints=Checkpoints(tmp_path, every=5), on_chunk=lambda done, _: seen.append(done))
    assert seen == [10, 15, 20]
    assert same_bits(result.surrogate, train().surrogate)
    assert names(tmp_path) == ["fit-000-000000000015", "fit-000-000000000020"]


def edited(path, old, new):
    """As a person would who opens the file; both texts are of one length, so that all else stays in its place."""
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))


EDITS = {
    "step": (r"\"step\": 10", r"\"step\":  5"),
    "attempt": (r"\"attempt\": 0", r"\"attempt\": 1"),
    "patience": (r"\"stale\": ", r"\"stale\":1"),
    "evaluations": (r"\"evaluated\": [0, 5, 10]", r"\"evaluated\": [0, 5, 11]"),
    "fingerprint": (r"\"steps_per_chunk\": 5", r"\"steps_per_chunk\": 4"),
}


@pytest.mark.parametrize("what", [*EDITS, "name"])
def test_nothing_that_decides_how_a_fit_goes_on_can_be_edited(tmp_path, what):
    options = {"evaluation": points(7, 30), "patience": 9}
    interrupt(tmp_path, 15, **options)
    newest = checkpoint(tmp_path, 10)
    if what == "name":
        newest.rename(checkpoint(tmp_path, 13))
    else:
        edited(newest, *EDITS[what])
    seen = []
    with pytest.warns(CheckpointWarning, match=r"fit-000-0000000000\d\d.safetensors: the checkpoint cannot be read"):
        result = train(checkpoints=Checkpoints(tmp_path, every=5), on_chunk=lambda k, _: seen.append(k), **options)
    assert seen == [10, 15, 20]
    assert same_bits(result.surrogate, train(**options).surrogate)


def test_another_version_of_jax_goes_on_with_a_word(tmp_path, monkeypatch):
    interrupt(tmp_path, 15)
    monkeypatch.setattr("sobolev_pruning.sobolev._checkpoints._environment", lambda: "JAX 9.9 on tpu")
    with pytest.warns(CheckpointWarning, match=r"was written by JAX .*, and this is JAX 9\.9 on tpu"):
        train(checkpoints=Checkpoints(tmp_path, every=5))


def interpolation(middle, compiled):
    """A table inside of a function; printed, so long an array is shortened to its ends."""
    y = np.linspace(0.0, 1.0, 2001)
    y[1000] = middle

    def function(x):
        return jnp.interp(x[0] + x[1], jnp.linspace(-2.0, 2.0, 2001), jnp.asarray(y))[None]

    return FunctionReference(jax.jit(function) if compiled else function, inputs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (interpolation(0.5, False), interpolation(0.9, False)),
        (interpolation(0.5, True), interpolation(0.9, True)),
        (HostFunction(lambda x: x[:1], inputs, 1), HostFunction(lambda x: 2 * x[:1], inputs, 1)),
    ],
    ids=["table", "table in compiled code", "function on the host"],
)
def test_what_a_reference_holds_inside_is_compared(tmp_path, one, other):
    train(one, checkpoints=Checkpoints(tmp_path), steps=5)
    train(one, checkpoints=Checkpoints(tmp_path), steps=5)
    with pytest.raises(ValueError, match="belongs to another fit, with a different `reference`"):
        train(other, checkpoints=Checkpoints(tmp_path), steps=5)


def test_no_checkpoint_that_can_be_read_is_an_error_and_not_a_new_start(tmp_path):
    interrupt(tmp_path, 15)
    for name in names(tmp_path):
        damage(tmp_path / f"{name}.safetensors", "empty")
    with (
        pytest.warns(CheckpointWarning),
        pytest.raises(ValueError, match=r"none of the 2 checkpoints in .* can be read; remove the folder"),
    ):
        train(checkpoints=Checkpoints(tmp_path, every=5))


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    interrupt(tmp_path, 10)
    draft = tmp_path / ".sobolev-pruning-1234567890abcdef.tmp"
    draft.write_bytes(b"half of it")
    (tmp_path / "notes.txt").write_text("mine")
    train(checkpoints=Checkpoints(tmp_path, every=5))
    assert not draft.exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(OSError, match=r"cannot be written to .*nothing has been trained"):
        train(checkpoints=Checkpoints(tmp_path / "file" / "folder"), on_chunk=lambda *state: seen.append(state))
    assert seen == []


def test_a_folder_without_permission_is_an_error_before_training(tmp_path, monkeypatch):
    """Root may write anywhere, so the answer of the system is replaced."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match=r"permission denied.*nothing has been trained"):
        train(checkpoints=Checkpoints(tmp_path))


def test_too_little_room_is_an_error_before_training(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**17))
    with pytest.raises(OSError, match=r"has 0\.1 MiB left, and 3 checkpoints take up to 0\.\d MiB"):
        train(checkpoints=Checkpoints(tmp_path))
    assert names(tmp_path) == []


def test_a_write_that_fails_at_the_start_is_an_error_before_training(tmp_path, monkeypatch):
    fail_to_write(monkeypatch, after=0)
    with pytest.raises(OSError, match=r"no checkpoint can be written to .*No space left.*nothing has been trained"):
        train(checkpoints=Checkpoints(tmp_path))


def fail_to_write(monkeypatch, after):
    """From a number of checkpoints on, the disk is full when one is brought to it."""
    synced, fsync = [], os.fsync

    def full(file):
        synced.append(file)
        # A file and its folder for every checkpoint.
        if len(synced) > 2 * after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)


def test_a_disk_that_fills_up_takes_no_checkpoint_and_stops_no_fit(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_to_write(patch, after=2)
        with pytest.warns(CheckpointWarning) as caught:
            result = train(checkpoints=Checkpoints(tmp_path, every=5))
    told = [str(warning.message) for warning in caught]
    assert len(told) == 3
    for step, message in zip((10, 15, 20), told, strict=True):
        assert f"no checkpoint was written after {step} steps (OSError" in message
        assert "No space left" in message
    assert same_bits(result.surrogate, train().surrogate)
    assert names(tmp_path) == ["fit-000-000000000000", "fit-000-000000000005"]
    seen = []
    train(checkpoints=Checkpoints(tmp_path, every=5), on_chunk=lambda done, _: seen.append(done))
    assert seen == [10, 15, 20]


def test_files_that_the_system_cuts_off_take_no_checkpoint(tmp_path):
    """A limit on the size of files, which the writing itself runs into wherever it happens; in a process of its own."""
    folder = tmp_path / "checkpoints"
    limited = process(folder, tmp_path / "limited.npz", 0.0, "limit", stderr=subprocess.PIPE)
    _, told = limited.communicate()
    assert limited.returncode == 0
    assert b"no checkpoint was written after 30 steps" in told
    assert b"no checkpoint was written after 60 steps" in told
    assert names(folder) == [f"fit-000-{step:012d}" for step in (10, 20)]
    told, _ = process(folder, tmp_path / "resumed.npz", 0.0, stdout=subprocess.PIPE).communicate()
    assert told.split() == [b"25"]
    assert process(tmp_path / "other", tmp_path / "whole.npz", 0.0, stdout=subprocess.DEVNULL).wait() == 0
    with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "whole.npz") as whole:
        assert all(np.array_equal(resumed[name], whole[name]) for name in whole)


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(tmp_path):
    """And a killed one leaves no lock behind."""
    folder = tmp_path / "checkpoints"
    other = process(folder, tmp_path / "never.npz", 0.5)
    deadline = time.monotonic() + 200
    while not checkpoint(folder, 0).is_file():
        assert other.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(OSError, match=f"checkpoints is in use: a fit by process {other.pid} writes to it"):
        train(checkpoints=Checkpoints(folder))
    assert other.poll() is None
    other.kill()
    other.wait()
    assert (folder / ".lock").exists()
    for path in folder.glob("fit*"):
        path.unlink()
    train(checkpoints=Checkpoints(folder))
    assert not (folder / ".lock").exists()


def test_a_folder_in_use_by_another_thread_is_refused(tmp_path):
    def on_chunk(done, surrogate):
        with pytest.raises(BlockingIOError, match="is in use: a fit by this process writes to it"):
            train(checkpoints=Checkpoints(tmp_path))

    train(checkpoints=Checkpoints(tmp_path), on_chunk=on_chunk, steps=5)
    assert names(tmp_path) == ["fit-000-000000000000", "fit-000-000000000005"]


@pytest.mark.parametrize("name", ["every", "keep"])
def test_bad_numbers_are_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"`{name}` is 0"):
        Checkpoints(tmp_path, **{name: 0})


def test_nothing_in_a_checkpoint_is_executed(ended):
    """Arrays in the format of safetensors, and JSON."""
    for path in ended.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not content.startswith(b"\x80"), path
            assert path.suffix not in {".pkl", ".pickle", ".npy", ".npz"}, path
