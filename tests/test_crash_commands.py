"""A command that dies at any of the moments at which it writes: nothing is half there, and it can be run again.

What takes long is taken from another run: training, pruning, proving. What is tested is how results come to the disk.
"""

import os
import shutil
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.table import Table

from crash_points import Crash, moments
from sobolev_pruning import certification, cli, pruning
from sobolev_pruning.cli import _fit, _prune, _shrink
from sobolev_pruning.study import _front
from sobolev_pruning.surrogate import load, load_certificate, save
from test_crash_points import FRONTS, NEW, content, hidden, network

NAMES = ("--inputs", "a,b", "--outputs", "y")


@pytest.fixture(scope="module")
def certificates():
    """One for each surrogate that it is asked for."""
    made = {}
    prove = certification.certify

    def quick(surrogate, region, **options):
        key = np.asarray(surrogate.network.layers[0].weight).tobytes()
        if key not in made:
            made[key] = prove(surrogate, region, seconds=0.1, order=1)
        return made[key]

    return quick


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, certificates):
    """Run a command in a folder of its own; returns its status and what it said."""
    folder = tmp_path / "f"
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(certification, "certify", certificates)
    for command in (_fit, _prune, _shrink):
        monkeypatch.setattr(command, "judgement", lambda *arguments, **options: Table("judged"))
    monkeypatch.setattr(_fit, "_train", trained)
    monkeypatch.setattr(pruning, "prune_iteratively", pruned)
    monkeypatch.setattr(pruning, "shrink", lambda *arguments, **options: FRONTS[1])
    monkeypatch.setattr(_front, "pareto_front", lambda *arguments: None)
    monkeypatch.setattr(_front, "to_svg", lambda figure: b"<svg/>")
    monkeypatch.setattr(_front, "environment", dict)
    # The report says how long the search took.
    monkeypatch.setattr(_shrink, "time", SimpleNamespace(perf_counter=lambda: 0.0))

    def call(*arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capsys.readouterr()
        return ended.value.code, written.out + written.err

    return call


def trained(start, *arguments):
    """At once, but with a checkpoint on the way."""
    here = arguments[-1]
    (here.folder / "checkpoints").mkdir(exist_ok=True)
    (here.folder / "checkpoints" / "fit").write_bytes(b"so far")
    return start


class _Pruned:
    held = False

    class final:
        surrogate = network(2, seed=3)


def pruned(*arguments, **options):
    return _Pruned


def begin(folder, before):
    """An empty folder with a table, a model, and what was there before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(30, 3))
    (folder / "t.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows))
    save(NEW, folder / "m.safetensors")
    for path, data in before.items():
        (folder / path).parent.mkdir(exist_ok=True)
        if isinstance(data, bytes):
            (folder / path).write_bytes(data)
        else:
            save(data, folder / path)
    return state(folder)


def state(folder):
    """What a user has."""
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in kept(folder)
    }


def kept(folder):
    """What is kept for a command that goes on."""
    return [path for name in ("*.checkpoint", "front/unfinished") for path in folder.glob(f"{name}/**/*")]


FIT = ("fit", "t.csv", *NAMES, "--widths", "3", "--output", "n.safetensors")
COMMANDS = {
    "fit": (FIT, {}),
    "fit with ONNX over others": (
        (*FIT, "--onnx", "n.onnx", "--overwrite"),
        {"n.safetensors": NEW, "n.onnx": b"old"},
    ),
    "prune": (("prune", "m.safetensors", "t.csv", *NAMES, "--keep", "2", "--output", "n.safetensors"), {}),
    "shrink over another": (
        ("shrink", "m.safetensors", "t.csv", *NAMES, "--values", "1", "--overwrite"),
        {"front/smallest.safetensors": NEW, "front/report.html": b"old", "front/notes.txt": b"mine"},
    ),
    "certify": (("certify", "m.safetensors", "--region", "0:1,0:1", "--output", "proof.json"), {}),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_dies_can_be_run_again(run, tmp_path, name, monkeypatch):
    folder = tmp_path / "f"
    command, before = COMMANDS[name]
    old = begin(folder, before)
    with moments(folder) as seen:
        status, said = run(*command)
    assert status == 0, said
    new, names = state(folder), set(state(folder))
    assert hidden(folder) == []
    assert kept(folder) == []
    for at in range(len(seen)):
        begin(folder, before)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *command])
        with pytest.raises(Crash), moments(folder, at) as so_far:
            cli.main()
        # Each file by itself is the old one or the new one; those of a front change together.
        found = {path: data for path, data in state(folder).items() if ".sobolev-pruning-" not in path}
        where = f"after moment {at}, {so_far[-1]}"
        if not list(folder.glob("front/.sobolev-pruning-*.complete")):
            assert found.keys() <= names | old.keys(), where
            for path, data in found.items():
                assert data in (old.get(path), new.get(path)), f"{where}: {path}"
        status, said = run(*command, *(["--resume"] if left_over(folder) else []))
        if status == 2 and "is already there" in said:  # all that was missing was to clean up
            status, said = run(*command, "--overwrite")
        assert status == 0, f"{where}: {said}"
        assert state(folder) == new, where
        assert hidden(folder) == [], where
        assert kept(folder) == [], where


def left_over(folder):
    return [path for path in kept(folder) if path.name == "work.json"]


def test_a_certificate_is_that_of_the_model_beside_it(run, tmp_path):
    begin(tmp_path / "f", {})
    assert run(*COMMANDS["certify"][0])[0] == 0
    model = tmp_path / "f" / "m.safetensors"
    certificate = load_certificate(model, load(model))
    assert (tmp_path / "f" / "proof.json").read_text() == certificate.to_json()
    assert jax.numpy.array_equal(load(model).network.layers[0].weight, NEW.network.layers[0].weight)
