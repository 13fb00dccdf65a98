"""Commands that are killed: refused without a word of what to do with the rest, and gone on with to the same result."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from sobolev_pruning import _work, cli
from sobolev_pruning._work import OtherWorkError, work
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, save
from tiny_study import TINY_STUDY

RNG = np.random.default_rng(0)
A, B = RNG.uniform(-1, 1, (2, 60))
ROWS = zip(A, B, A * B + B**2, B, A + 2 * B, strict=True)
TABLE = "a,b,y,dy/da,dy/db\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
# Of more than 300 parameters, so that Adam trains it.
FIT = ("fit", "t.csv", "--inputs", "a,b", "--outputs", "y", "--widths", "24,24", "--steps", "300")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in a folder with a table; returns status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "t.csv").write_text(TABLE)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


class Killed(BaseException):
    """As good as a kill: nothing that a command does for an error is done."""


@pytest.fixture
def killed(run, monkeypatch):
    """Run a command and kill it at the given call of a function of the library."""

    def call(module, name, at, *arguments):
        calls = []
        original = getattr(module, name)

        def counted(*args, **options):
            calls.append(None)
            if len(calls) == at:
                raise Killed
            return original(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, counted)
            patch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
            with pytest.raises(Killed):
                cli.main()

    return call


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def same(one, other):
    """Whether two files hold the same tensors and the same metadata."""
    with safe_open(one, "numpy") as a, safe_open(other, "numpy") as b:
        return a.metadata() == b.metadata() and all(
            a.get_tensor(key).tobytes() == b.get_tensor(key).tobytes() for key in {*a.keys(), *b.keys()}
        )


@pytest.fixture
def half(killed, tmp_path, capsys):
    """A fit that was killed after its first chunk."""
    from sobolev_pruning.sobolev import _attempt

    killed(_attempt, "run_chunk", 2, *FIT)
    assert (tmp_path / "model.safetensors.checkpoint" / "work.json").exists()
    assert not (tmp_path / "model.safetensors").exists()
    capsys.readouterr()


def test_an_unfinished_fit_is_refused_until_one_says_what_becomes_of_it(run, half, tmp_path):
    before = tree(tmp_path)
    status, out, err = run(*FIT)
    assert (status, out) == (2, "")
    assert "holds an unfinished fit; --resume goes on with it, --overwrite begins anew" in err
    assert tree(tmp_path) == before
    status, out, err = run(*FIT, "--resume")
    assert status == 0, err
    assert tree(tmp_path) == ["model.safetensors", "t.csv"]
    status, out, err = run(*FIT, "--output", "whole.safetensors")
    assert status == 0, err
    assert same(tmp_path / "model.safetensors", tmp_path / "whole.safetensors")


def test_a_resumed_fit_does_not_repeat_what_was_done(run, half, monkeypatch):
    from sobolev_pruning.sobolev import _attempt

    chunks = []
    original = _attempt.run_chunk
    monkeypatch.setattr(_attempt, "run_chunk", lambda *args: (chunks.append(None), original(*args))[1])
    (checkpoint,) = Path("model.safetensors.checkpoint/checkpoints").glob("fit-*")
    assert run(*FIT, "--resume")[0] == 0
    done = int(checkpoint.stem[-12:])
    assert len(chunks) == (300 - done + 249) // 250


OTHERS = {
    "--steps": ("--steps", "301"),
    "--seed": ("--seed", "1"),
    "--widths": ("--widths", "24,25"),
    "--derivatives": ("--derivatives", "dy/da,dy/db"),
}


@pytest.mark.parametrize("name", [*OTHERS, "TABLE", "version"])
def test_another_fit_is_not_gone_on_with(run, half, tmp_path, monkeypatch, name):
    if name == "TABLE":
        (tmp_path / "t.csv").write_text(TABLE.replace("0", "1", 1))
    if name == "version":
        monkeypatch.setattr(_work, "__version__", "99")
    before = tree(tmp_path)
    status, _, err = run(*FIT, *OTHERS.get(name, ()), "--resume")
    assert status == 2
    assert f"is another one: it differs in {name} (" in err
    assert err.count("\n") == 1
    assert tree(tmp_path) == before


def test_what_says_which_fit_it_is_cannot_be_edited(run, half, tmp_path):
    file = tmp_path / "model.safetensors.checkpoint" / "work.json"
    file.write_text(file.read_text().replace('"--seed": "0"', '"--seed": "1"'))
    status, _, err = run(*FIT, "--seed", "1", "--resume")
    assert status == 2
    assert "work.json is damaged or edited" in err
    file.write_text("[" * 100_000)
    status, _, err = run(*FIT, "--resume")
    assert (status, err.count("\n")) == (2, 1)
    assert run(*FIT, "--overwrite", "--steps", "1")[0] == 0
    assert tree(tmp_path) == ["model.safetensors", "t.csv"]


def test_overwriting_touches_nothing_of_others(run, half, tmp_path):
    notes = tmp_path / "model.safetensors.checkpoint" / "notes.txt"
    notes.write_text("mine")
    assert run(*FIT, "--overwrite", "--steps", "1")[0] == 0
    assert notes.read_text() == "mine"
    assert tree(notes.parent) == ["notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_in_use_is_not_cleared(tmp_path, overwrite):
    """A search may be given a folder of one's own for its checkpoints, where these names are common."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine").write_text("mine")
    with (
        pytest.raises(OtherWorkError, match="already has 'checkpoints', which is not of an unfinished search"),
        work(tmp_path, "search", {}, resume=True, overwrite=overwrite),
    ):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["checkpoints", "mine"]


def test_work_that_was_killed_while_it_was_removed_is_removed(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise Killed

    def begin(patch):
        with work(tmp_path, "search", {}, resume=False, overwrite=False) as here:
            (here.folder / "trials").mkdir()
            patch.setattr(shutil, "rmtree", killed)
            here.finish()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        begin(patch)
    assert (tmp_path / "trials").exists()
    with work(tmp_path, "search", {}, resume=False, overwrite=False) as here:
        assert not here.is_resumed
        assert not (here.folder / "trials").exists()
    assert not list(tmp_path.glob("*"))


def test_an_overwriting_fit_that_fails_leaves_the_old_result(run, tmp_path):
    (tmp_path / "model.safetensors").write_text("the old one")
    status, _, _ = run(*FIT, "--overwrite", "--learning-rate", "1e300")
    assert status == 1
    assert (tmp_path / "model.safetensors").read_text() == "the old one"
    assert tree(tmp_path) == ["model.safetensors", "t.csv"]


def test_resuming_a_fit_that_has_ended_says_so(run, tmp_path):
    (tmp_path / "model.safetensors").write_text("the result")
    status, _, err = run(*FIT, "--resume")
    assert status == 2
    assert "model.safetensors is there already, and no unfinished fit" in err
    assert tree(tmp_path) == ["model.safetensors", "t.csv"]


def test_resuming_where_nothing_is_begins(run, tmp_path):
    assert run(*FIT, "--resume", "--steps", "1")[0] == 0
    assert tree(tmp_path) == ["model.safetensors", "t.csv"]


def test_two_fits_of_one_output_do_not_meet(run, tmp_path):
    with _work.work(tmp_path / "model.safetensors.checkpoint", "fit", {}, resume=False, overwrite=False):
        for option in ((), ("--resume",), ("--overwrite",)):
            status, _, err = run(*FIT, *option)
            assert status == 2
            assert "is in use: a fit by this process writes to it" in err
    assert tree(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("place", ["lock", "work.json"])
def test_a_disk_that_is_full_from_the_start_is_named_and_left_as_it_was(run, tmp_path, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if place == "lock" else [str(tmp_path / place)]))

    monkeypatch.setattr(*((os, "pwrite") if place == "lock" else (_work, "write_whole")), full)
    status, out, err = run(*FIT)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{place}: No space left on device; give another place by --output" in err
    assert tree(tmp_path) == ["t.csv"]


def test_a_name_near_the_limit_has_a_folder_too(run, tmp_path):
    name = "n" * 240 + ".safetensors"
    assert run(*FIT, "--steps", "1", "--output", name)[0] == 0
    assert tree(tmp_path) == [name, "t.csv"]


SHRINK = ("shrink", "m.safetensors", "t.csv", "--values", "1e-4", "--max-trials", "3")


@pytest.fixture
def model(tmp_path):
    """A network with more nodes than the table needs; its errors are those of no training at all."""
    network = MLP.create([2, 5, 1], activation=jnp.tanh, key=jax.random.key(0))
    units = Normalisation.identity(2, 1)
    surrogate = Surrogate(network, units).with_provenance(inputs="a,b", outputs="y")
    y = np.asarray(jax.vmap(surrogate)(jnp.stack([A, B], axis=1)))[:, 0]
    dydx = np.asarray(jax.vmap(surrogate.gradient)(jnp.stack([A, B], axis=1)))[:, 0]
    rows = zip(A, B, y, dydx[:, 0], dydx[:, 1], strict=True)
    (tmp_path / "t.csv").write_text("a,b,y,dy/da,dy/db\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    save(surrogate, tmp_path / "m.safetensors")


@pytest.mark.slow
def test_a_killed_search_goes_on(run, model, killed, tmp_path, capsys):
    from sobolev_pruning.pruning._trials import Trials

    killed(Trials, "repaired", 2, *SHRINK)
    capsys.readouterr()
    assert len(list((tmp_path / "front" / "unfinished").rglob("trial-*"))) == 1
    status, _, err = run(*SHRINK)
    assert status == 2
    assert "front/unfinished holds an unfinished search; --resume goes on with it" in err
    assert run(*SHRINK, "--resume", "--values", "1e-3")[0] == 2
    status, out, err = run(*SHRINK, "--resume")
    assert status == 0, err
    assert not (tmp_path / "front" / "unfinished").exists()
    status, whole, err = run(*SHRINK, "--output", "whole")
    assert status == 0, err
    assert out.split(" in ")[0] == whole.split(" in ")[0]
    assert tree(tmp_path / "front") == tree(tmp_path / "whole")
    for file in (tmp_path / "front").rglob("*.safetensors"):
        assert same(file, tmp_path / "whole" / file.relative_to(tmp_path / "front"))
    networks = [json.loads((tmp_path / name / "report.json").read_text())["networks"] for name in ("front", "whole")]
    assert networks[0] == networks[1]


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(part) for name, part in value.items() if name != "seconds"}
    return [without_times(part) for part in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_killed_run_goes_on(run, killed, tmp_path, capsys, monkeypatch):
    """After a stage, and within a fit; what was damaged meanwhile is done again."""
    from sobolev_pruning.sobolev import _attempt
    from sobolev_pruning.study import _recorded

    monkeypatch.setattr(_recorded, "_SECONDS", 0.0)
    (tmp_path / "c.toml").write_text(TINY_STUDY)
    arguments = ("run", "bachelier", "--config", "c.toml", "--output", "out")
    killed(_attempt, "run_chunk", 30, *arguments)
    assert len(list((tmp_path / "out" / "unfinished" / "stages").iterdir())) == 1
    assert len(list((tmp_path / "out" / "unfinished" / "checkpoints").iterdir())) == 1
    capsys.readouterr()
    status, _, err = run(*arguments)
    assert status == 2
    assert "unfinished holds an unfinished run; --resume goes on with it, --overwrite begins anew" in err
    status, _, err = run(*arguments, "--seed", "4", "--resume")
    assert status == 2
    assert "it differs in seed (3 there, 4 here)" in err
    (stage,) = (tmp_path / "out" / "unfinished" / "stages").iterdir()
    stage.write_bytes(stage.read_bytes()[:-1] + b"\x7f")
    status, _, err = run(*arguments, "--resume")
    assert status == 0, err
    assert not (tmp_path / "out" / "unfinished").exists()
    assert run(*arguments, "--resume")[0] == 2
    status, _, err = run(*arguments[:-1], "whole")
    assert status == 0, err
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    for file in (tmp_path / "whole").rglob("*.safetensors"):
        assert same(file, tmp_path / "out" / file.relative_to(tmp_path / "whole"))
    for name in ("metrics.jsonl", "summary.json"):
        texts = [(tmp_path / folder / name).read_text() for folder in ("out", "whole")]
        found = [[json.loads(part) for part in (text.splitlines() if "jsonl" in name else [text])] for text in texts]
        assert without_times(found[0]) == without_times(found[1])


def test_an_overwriting_run_that_fails_early_leaves_the_old_one(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("the old one")
    (tmp_path / "c.toml").write_text(
        TINY_STUDY.replace("paths = 2\n[pruning]", "paths = 2\nlearning_rate = 1e300\n[pruning]")
    )
    status, _, err = run("run", "bachelier", "--config", "c.toml", "--output", "out", "--overwrite")
    assert status == 1
    assert "training diverged" in err
    assert (tmp_path / "out" / "summary.json").read_text() == "the old one"
    assert [name for name in tree(tmp_path / "out") if "." in name] == ["summary.json"]
