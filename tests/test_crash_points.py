"""Whatever ends a process while it writes, or fills the disk: the old state or the new one is whole, and it goes on."""

import errno
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crash_points import Crash, moments
from sobolev_pruning._files import files_together, finish_together, write_whole
from sobolev_pruning.exchange import export_onnx
from sobolev_pruning.pruning import Candidate, ShrinkResult, SurrogateErrors, Tolerance
from sobolev_pruning.reference import MappedDataSet, Samples
from sobolev_pruning.study import _front, check_front_folder, write_front
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load, save


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Without what takes longer than all that is tested here: drawing one picture, and waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(_front, "pareto_front", lambda *arguments: None)
    monkeypatch.setattr(_front, "to_svg", lambda figure: b"<svg/>")
    monkeypatch.setattr(_front, "environment", dict)


def network(*hidden, seed=0):
    return Surrogate(MLP.create([2, *hidden, 1], key=jax.random.key(seed)), Normalisation.identity(2, 1))


OLD, NEW, THIRD = network(3), network(4, seed=1), network(2, seed=2)
TOLERANCE = Tolerance(values=1e-3)


def front_of(smallest, *others):
    candidates = [
        Candidate(surrogate, SurrogateErrors(10.0 ** -(6 + i), 1e-5, None, 1e-3, 1.0, None), True)
        for i, surrogate in enumerate((smallest, *others))
    ]
    return ShrinkResult(candidates[0], candidates[-1], tuple(candidates), True)


FRONTS = front_of(OLD, NEW), front_of(THIRD, NEW)


def chunks():
    x = np.linspace(0.0, 1.0, 6).reshape(3, 2)
    return [Samples(jnp.asarray(x + i), jnp.asarray(x[:, :1])) for i in range(2)]


@dataclass(frozen=True)
class Operation:
    """Something that writes.

    Attributes:
        act: writes into a folder.
        before: what was there already.
        check: that what is there can be used; it is given the folder.
    """

    act: object
    before: object = lambda folder: None
    check: object = lambda folder: None


def overwrite_in_place(folder):
    """Of a file with several names, as `write_whole` describes it."""
    write_whole(folder / "a", b"new content " * 20)


def two_names(folder):
    (folder / "a").write_bytes(b"old " * 20)
    (folder / "b").hardlink_to(folder / "a")


def check_front(folder):
    check_front_folder(folder / "front", overwrite=True)
    if (folder / "front" / "report.json").exists():
        listed = json.loads((folder / "front" / "report.json").read_text())["networks"]
        for name in (network["surrogate"] for network in listed if network["surrogate"]):
            load(folder / "front" / name)
        load(folder / "front" / "smallest.safetensors")


OPERATIONS = {
    "a new surrogate": Operation(lambda folder: save(NEW, folder / "m.safetensors")),
    "a surrogate over another": Operation(
        lambda folder: save(NEW, folder / "m.safetensors"),
        lambda folder: save(OLD, folder / "m.safetensors"),
        lambda folder: load(folder / "m.safetensors"),
    ),
    "ONNX over another": Operation(
        lambda folder: export_onnx(NEW, folder / "m.onnx"), lambda folder: (folder / "m.onnx").write_bytes(b"old")
    ),
    "a folder of data": Operation(
        lambda folder: MappedDataSet.write(folder / "data", chunks()),
        check=lambda folder: (folder / "data").exists() and MappedDataSet(folder / "data").rows(0, 6),
    ),
    "a new front": Operation(
        lambda folder: write_front(FRONTS[0], TOLERANCE, 1.0, folder / "front"), check=check_front
    ),
    "a front over another": Operation(
        lambda folder: write_front(FRONTS[1], TOLERANCE, 1.0, folder / "front"),
        lambda folder: write_front(FRONTS[0], TOLERANCE, 1.0, folder / "front"),
        check_front,
    ),
}


def content(path):
    """What a file holds; a surrogate's facts stand in any order."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def state(folder):
    """All files that are not hidden, as far as they are always the same."""
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def hidden(folder):
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def begun(operation, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    operation.before(folder)
    return state(folder)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_process_that_dies_leaves_the_old_state_or_the_new_one(tmp_path, name):
    operation, folder = OPERATIONS[name], tmp_path / "f"
    old = begun(operation, folder)
    with moments(folder) as seen:
        operation.act(folder)
    new, n_moments = state(folder), len(seen)
    assert n_moments >= 5
    assert {moment.split()[0] for moment in seen} >= {"open", "write", "fsync", "os.rename"}
    assert hidden(folder) == []
    n_old = 0
    for at in range(n_moments):
        begun(operation, folder)
        with pytest.raises(Crash), moments(folder, at) as seen:
            operation.act(folder)
        operation.check(folder)  # brings to its end what the next command would
        found = state(folder)
        assert found in (old, new), f"after moment {at}, {seen[-1]}: {sorted(found)}"
        n_old += found == old
        if name == "a folder of data" and found == new:  # it is not written twice
            continue
        operation.act(folder)
        assert state(folder) == new, f"again after moment {at}"
        assert hidden(folder) == [], f"again after moment {at}"
    assert 0 < n_old < n_moments


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_disk_that_is_full_is_said_and_leaves_the_old_state(tmp_path, name):
    operation, folder = OPERATIONS[name], tmp_path / "f"
    old = begun(operation, folder)
    with moments(folder) as seen:
        operation.act(folder)
    new, kinds = state(folder), [moment.split()[0] for moment in seen]
    for at in [i for i, kind in enumerate(kinds) if kind in ("open", "write", "os.mkdir")]:
        begun(operation, folder)
        with pytest.raises(OSError, match="No space left") as error, moments(folder, at, full=True):
            operation.act(folder)
        assert error.value.errno == errno.ENOSPC
        operation.check(folder)
        found = state(folder)
        assert found in (old, new), f"after moment {at}, {seen[at]}: {sorted(found)}"
        assert hidden(folder) == [], f"after moment {at}, {seen[at]}"
        if found == old:
            operation.act(folder)
            assert state(folder) == new


def test_a_file_of_several_names_is_whole_or_lies_complete_beside_itself(tmp_path):
    folder = tmp_path / "f"
    operation = Operation(overwrite_in_place, two_names)
    old = begun(operation, folder)
    with moments(folder) as seen:
        operation.act(folder)
    new = state(folder)
    for at in range(len(seen)):
        begun(operation, folder)
        with pytest.raises(Crash), moments(folder, at):
            operation.act(folder)
        beside = [path.read_bytes() for path in folder.glob(".sobolev-pruning-*.complete")]
        assert state(folder) in (old, new) or beside == [new["a"]]
        operation.act(folder)
        assert state(folder) == new


def unfinished(tmp_path, listed):
    """A folder with what a crash left complete in it, and such a list; files of others lie in it and above it."""
    folder = tmp_path / "f" / "g"
    with files_together(folder, html_files) as draft:
        (draft / "a.html").write_text("old")
    complete = folder / ".sobolev-pruning-0.complete"
    complete.mkdir()
    (complete / "b.html").write_text("new")
    (complete / ".new.json").write_text(listed)
    for path in (tmp_path / "mine", folder / "mine"):
        path.write_text("mine")
    return folder


def html_files(folder):
    return list(folder.glob("*.html"))


@pytest.mark.parametrize("listed", ["{", "[" * 5000, "3", ""])
def test_a_list_of_new_files_that_is_damaged_is_named_and_nothing_is_removed(tmp_path, listed):
    folder = unfinished(tmp_path, listed)
    before = state(tmp_path)
    with pytest.raises(ValueError, match=r"\.new\.json: it does not list what is beside it"):
        finish_together(folder, html_files)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    "listed", ['["../../mine", "/mine", "b.html", "mine"]', "[[]]", '{"a": 1}', '["a\\u0000"]', "[]"]
)
def test_a_list_that_was_tampered_with_removes_nothing_of_others(tmp_path, listed):
    """A folder may come from somebody else."""
    folder = unfinished(tmp_path, listed)
    finish_together(folder, html_files)
    assert state(tmp_path) == {"mine": b"mine", "f/g/mine": b"mine", "f/g/b.html": b"new"}
    assert hidden(tmp_path) == []


def test_every_kind_of_moment_is_seen(tmp_path):
    def act(folder):
        (folder / "d").mkdir()
        (folder / "d" / "a").write_text("text")
        with (folder / "d" / "a").open("r+b") as file:
            file.write(b"more")
        (folder / "d" / "a").rename(folder / "b")
        (folder / "b").chmod(0o600)
        (folder / "b").unlink()
        (folder / "d").rmdir()

    with moments(tmp_path) as seen:
        act(tmp_path)
    kinds = [moment.split()[0] for moment in seen]
    files = ["open", "write"] * 2
    assert kinds == ["os.mkdir", *files, "os.rename", "os.chmod", "os.remove", "os.rmdir"]
    with pytest.raises(Crash), moments(tmp_path, 2):
        act(tmp_path)
    assert (tmp_path / "d" / "a").read_text() == "te"  # half of it


def test_what_does_not_count_passes(tmp_path):
    (tmp_path / "watched").mkdir()
    with moments(tmp_path / "watched", 0) as seen:
        (tmp_path / "a").write_text("elsewhere")
        Path(tmp_path / "watched").exists()
    assert seen == []
