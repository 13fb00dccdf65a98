"""The command `fit`: what it trains, prints and stores, and one line for every bad input."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning import cli
from sobolev_pruning.surrogate import load

RNG = np.random.default_rng(0)
A, B = RNG.uniform(-1, 1, (2, 60))
COLUMNS = {
    "a": A,
    "b": B,
    "y": A * B + B**2,
    "dy/da": B,
    "dy/db": A + 2 * B,
    "d2y/dada": 0 * A,
    "d2y/dadb": 1 + 0 * A,
    "d2y/dbdb": 2 + 0 * A,
    "one": 1 + 0 * A,
}


def as_text(columns):
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return "\n".join(rows) + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with a table; returns status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "t.csv").write_text(as_text(COLUMNS))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", "fit", "t.csv", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


AB_Y = ("--inputs", "a,b", "--outputs", "y")


def r_squared(out):
    """R² of every line of the table, by quantity."""
    rows = [line.split() for line in out.splitlines()]
    return {row[0]: float(row[1]) for row in rows if len(row) == 4 and row[1].replace(".", "").isdigit()}


def test_a_table_with_derivatives_becomes_a_small_surrogate(run, tmp_path):
    status, out, err = run(*AB_Y, "--widths", "6", "--steps", "60", "--onnx", "m.onnx")
    assert status == 0
    assert "60 rows, 48 to train on and 12 to judge by; trains on values and gradients" in err
    assert "network 2-6-1 with 25 parameters; Levenberg–Marquardt, at most 60 steps" in err
    assert "On 12 rows not trained on" in out
    assert "Stored in model.safetensors and m.onnx" in out
    assert max(map(len, out.splitlines())) <= 80
    found = r_squared(out)
    assert found.keys() == {"y", "∇y"}
    assert min(found.values()) > 0.999
    # What is stored is what was judged: at points of its own it is the function of the table, and its derivatives.
    surrogate = load("model.safetensors")
    assert surrogate.network.layers[0].weight.dtype == jnp.float32
    assert dict(surrogate.provenance) == {"table": "t.csv", "inputs": "a,b", "outputs": "y", "order": "1", "seed": "0"}
    x = jnp.asarray([0.3, -0.4], jnp.float32)
    np.testing.assert_allclose(surrogate(x), [0.3 * -0.4 + 0.4**2], atol=0.02)
    np.testing.assert_allclose(surrogate.gradient(x), [[-0.4, 0.3 - 0.8]], atol=0.05)
    assert (tmp_path / "m.onnx").stat().st_size > 0
    # It is not replaced unless that is asked for.
    status, out, err = run(*AB_Y)
    assert (status, out) == (2, "")
    assert "model.safetensors is already there; give another name, or --overwrite" in err


def test_a_table_of_values_trains_a_larger_network_by_adam(run):
    arguments = ("--inputs", "b,a", "--outputs", "y,dy/da", "--widths", "16,12", "--steps", "300", "--double")
    status, out, err = run(*arguments, "--batch-size", "1000", "--validation", "0.1", "--learning-rate", "0.01")
    assert status == 0
    assert "54 to train on and 6 to judge by; trains on values alone" in err
    assert "network 2-16-12-2 with 278 parameters; Levenberg" not in err
    assert r_squared(out).keys() == {"y", "dy/da"}
    assert min(r_squared(out).values()) > 0.9
    assert load("model.safetensors").network.layers[0].weight.dtype == jnp.float64
