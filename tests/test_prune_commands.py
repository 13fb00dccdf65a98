"""The commands `prune` and `shrink`: what they store and say, and one line for every bad input."""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning import cli
from sobolev_pruning.pruning import Refit
from sobolev_pruning.sobolev import DivergedError
from sobolev_pruning.surrogate import MLP, Dense, Normalisation, Surrogate, load, save

X = np.random.default_rng(0).uniform(-1, 1, (150, 2))
# One node more than the function needs: it is a single hyperbolic tangent, taken twice.
W, B = np.array([[0.8, -1.1]]), np.array([0.3])
Y, S = np.tanh(X @ W[0] + B[0]), np.cosh(X @ W[0] + B[0]) ** -2
COLUMNS = {"a": X[:, 0], "b": X[:, 1], "y": Y, "dy/da": W[0, 0] * S, "dy/db": W[0, 1] * S}
TWICE = (Dense(jnp.asarray(np.tile(W, (2, 1))), jnp.asarray(np.tile(B, 2))), Dense(jnp.full((1, 2), 0.5), jnp.zeros(1)))
MODEL = Surrogate(MLP(TWICE, jnp.tanh), Normalisation.identity(2, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    rows = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    (folder / "few.csv").write_text("\n".join(rows[:4]) + "\n")
    (folder / "y.csv").write_text("\n".join(",".join(row.split(",")[:3]) for row in rows) + "\n")
    save(MODEL.with_provenance(inputs="a,b", outputs="y"), folder / "m.safetensors")
    save(MODEL, folder / "silent.safetensors")
    constant = jax.tree.map(jnp.zeros_like, MODEL.network)
    save(Surrogate(constant, MODEL.normalisation, (("inputs", "a,b"), ("outputs", "y"))), folder / "bad.safetensors")
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run a command in the folder; returns status, standard output and standard error."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_shrink_finds_the_one_node(run, folder):
    status, out, err = run(
        "shrink", "m.safetensors", "t.csv", "--values", "1e-6", "--gradients", "1e-5", "--output", "front", "--onnx"
    )
    assert status == 0, err
    assert "2-1-1, 5 parameters of 9; 1 networks tried" in out
    assert "2-1-1, 5 parameters: within; values" in err
    report = json.loads((folder / "front" / "report.json").read_text())
    assert report["tolerance"] == {"values": 1e-6, "gradients": 1e-5}
    # The rows of this model are not known, and 30 are too few to keep some from the choice.
    assert "does not say which rows it was trained on" in err
    assert "On 30 rows held out now" in out
    assert all(f"∂y/∂{name}" in out for name in "ab")
    assert report["judged_on"] == "30 samples that were given to judge by; the networks were chosen by the same ones"
    assert report["smallest_on_unseen"] is None
    surrogates = sorted(p.stem for p in folder.joinpath("front").rglob("*.safetensors"))
    assert sorted(p.stem for p in folder.joinpath("front").rglob("*.onnx")) == surrogates
    smallest = load(folder / "front" / "smallest.safetensors")
    assert smallest.network.widths == [2, 1, 1]
    np.testing.assert_allclose(jax.vmap(smallest)(jnp.asarray(X))[:, 0], Y, atol=1e-4)
    status, _, err = run("shrink", "m.safetensors", "t.csv", "--values", "1e-6", "--output", "front")
    assert status == 2
    assert "--overwrite" in err


def test_prune_takes_one_step(run, folder):
    status, out, err = run("prune", "m.safetensors", "t.csv", "--keep", "1", "--output", "p.safetensors")
    assert status == 0, err
    assert "2-2-1 to 2-1-1, 5 parameters. Stored in p.safetensors" in out
    assert all(f"∂y/∂{name}" in out for name in "ab")
    assert load(folder / "p.safetensors").network.widths == [2, 1, 1]


def rows_of(out):
    """The table of errors: the number of rows, and every line."""
    lines = [line.split() for line in out.splitlines()]
    return re.search(r"On (\d+) rows ([a-z ]*[a-z])", out).groups(), [row for row in lines if len(row) == 4]


def test_prune_judges_on_the_rows_that_fit_has_not_seen(run, folder):
    """The network as it is, on the same rows, in any order, and with other rows behind them."""
    arguments = ("--inputs", "a,b", "--outputs", "y", "--widths", "2", "--steps", "3", "--seed", "4", "--double")
    status, fitted, err = run("fit", "t.csv", *arguments, "--output", "fitted.safetensors")
    assert status == 0, err
    lines = (folder / "t.csv").read_text().splitlines()
    (folder / "turned.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    more = [",".join(map(str, row)) for row in np.random.default_rng(1).uniform(-1, 1, (100, 5))]
    (folder / "more.csv").write_text("\n".join([*lines, *more]) + "\n")

    def pruned(table, *options):
        output = f"of-{table}.safetensors"
        status, out, err = run(
            "prune", "fitted.safetensors", table, "--keep", "2", "--no-fine-tune", "--output", output, *options
        )
        assert status == 0, err
        return out, err

    for table in ("t.csv", "turned.csv"):
        out, err = pruned(table, "--onnx", f"{table}.onnx")
        assert rows_of(out) == rows_of(fitted)
        assert "note" not in err
        assert (folder / f"{table}.onnx").stat().st_size > 0
    out, err = pruned("more.csv")
    (n, words), _ = rows_of(out)
    assert int(n) > 30
    assert words == "held out now"
    assert "note: the table is not the one of 150 rows that the surrogate was trained on" in err


def test_prune_stores_nothing_where_the_fine_tuning_diverges(run, folder, monkeypatch):
    def diverges(self, pruned, reference, *, key):
        raise DivergedError(0, pruned, np.zeros(0))

    monkeypatch.setattr(Refit, "__call__", diverges)
    status, out, err = run("prune", "m.safetensors", "t.csv", "--keep", "1", "--output", "lost.safetensors")
    assert (status, out) == (2, "")
    assert "the fine-tuning of the pruned network diverged; keep more nodes, or give --no-fine-tune" in err
    assert not (folder / "lost.safetensors").exists()


SHRINK = ("shrink", "m.safetensors", "t.csv", "--output", "new")
PRUNE = ("prune", "m.safetensors", "t.csv", "--output", "new.safetensors")
CASES = {
    "no tolerance": (SHRINK, "bounds nothing"),
    "a tolerance of zero": ((*SHRINK, "--values", "0"), "--values of the tolerance is 0.0"),
    "no such bound of labels": ((*SHRINK, "--curvature", "0.1"), "--curvature of the tolerance bounds"),
    "missed already": (
        ("shrink", "bad.safetensors", "t.csv", "--values", "0.1", "--output", "new"),
        "misses the tolerance before",
    ),
    "no trials": ((*SHRINK, "--values", "0.1", "--max-trials", "0"), "--max-trials is 0"),
    "no time": ((*SHRINK, "--values", "0.1", "--seconds", "0"), "--seconds is 0.0; it must be positive."),
    "no derivatives": (
        ("shrink", "m.safetensors", "y.csv", "--gradients", "0.1", "--output", "new"),
        "or name columns that hold them (--derivatives)",
    ),
    "too few rows": ((*PRUNE[:2], "few.csv", "--keep", "1", "--output", "new.safetensors"), "few.csv has 3 rows"),
    "no model": (("shrink", "none.safetensors", "t.csv", "--values", "0.1"), "none.safetensors"),
    "no table": (("shrink", "m.safetensors", "none.csv", "--values", "0.1"), "none.csv"),
    "columns not said": (("shrink", "silent.safetensors", "t.csv", "--values", "0.1"), "give --inputs"),
    "too few columns": ((*SHRINK, "--inputs", "a", "--values", "0.1"), "--inputs names 1 columns; the surrogate has 2"),
    "another order": ((*PRUNE, "--keep", "1", "--inputs", "b,a"), "has them in the order 'a,b'; keep that order"),
    "a column that is not there": ((*SHRINK, "--inputs", "a,c", "--values", "0.1"), "'c'"),
    "a file as folder": ((*SHRINK, "--values", "0.1", "--output", "t.csv"), "t.csv is a file"),
    "a high floor": ((*SHRINK, "--values", "0.1", "--floor", "3"), "--floor is 3, above the 2 nodes"),
    "a seed below zero": ((*SHRINK, "--values", "0.1", "--seed", "-1"), "--seed is -1"),
    "keep none": ((*PRUNE, "--keep", "0"), "--keep asks for 0 nodes"),
    "keep more than there are": ((*PRUNE, "--keep", "3"), "--keep asks for 3 nodes of hidden layer 0"),
    "keep what is no number": ((*PRUNE, "--keep", "few"), "--keep is 'few'"),
    "an output that is there": ((*PRUNE, "--keep", "1", "--output", "t.csv"), "t.csv, which is the file of TABLE"),
    "the same file twice": (
        (*PRUNE, "--keep", "1", "--onnx", "new.safetensors"),
        "--output and --onnx are the same file",
    ),
    "an output nowhere": ((*PRUNE, "--keep", "1", "--output", "no/where.safetensors"), "cannot be written"),
}


@pytest.mark.parametrize("name", CASES)
def test_is_refused_in_one_line(run, folder, name):
    arguments, message = CASES[name]
    before = sorted(p.name for p in folder.iterdir())
    status, out, err = run(*arguments)
    assert status == 2
    assert message in err
    assert err.startswith("sobolev-pruning: ")
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(p.name for p in folder.iterdir()) == before
