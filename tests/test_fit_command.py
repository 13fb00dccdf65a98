"""The command `fit`: what it trains, prints and stores, and one line for every bad input."""

import gzip
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning import cli
from sobolev_pruning.reference import RowSplit
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

    def call(*arguments, table="t.csv"):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", "fit", table, *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


AB_Y = ("--inputs", "a,b", "--outputs", "y")


def r_squared(out):
    """R² of every line of the table, by quantity."""
    rows = [line.split() for line in out.splitlines()]
    return {row[0]: float(row[1]) for row in rows if len(row) == 4 and row[1].replace(".", "").isdigit()}


def test_a_table_with_curvature_becomes_a_small_surrogate(run, tmp_path):
    """Some derivatives are not known, and nothing is learned from their cells."""
    holes = {name: [""] * 5 + list(COLUMNS[name][5:]) for name in ("dy/da", "d2y/dadb")}
    (tmp_path / "t.csv").write_text(as_text(COLUMNS | holes))
    arguments = (*AB_Y, "--order", "2", "--allow-missing", "--widths", "6", "--steps", "60", "--onnx", "m.onnx")
    status, out, err = run(*arguments)
    assert status == 0
    assert "60 rows, 48 to train on and 12 to judge by; trains on values, gradients and curvature" in err
    assert "network 2-6-1 with 25 parameters; Levenberg–Marquardt, at most 60 steps" in err
    assert "On 12 rows not trained on" in out
    assert "Stored in model.safetensors and m.onnx" in out
    assert max(map(len, out.splitlines())) <= 80
    found = r_squared(out)
    assert found.keys() == {"y", "∂y/∂a", "∂y/∂b"}
    assert min(found.values()) > 0.999
    # What is stored is what was judged: at a point of its own it is the function of the table, and its derivatives.
    surrogate = load("model.safetensors")
    assert surrogate.network.layers[0].weight.dtype == jnp.float32
    facts = dict(surrogate.provenance)
    assert RowSplit.from_text(facts.pop("split")).n_rows == 60
    assert facts == {"table": "t.csv", "inputs": "a,b", "outputs": "y", "order": "2", "seed": "0"}
    x = jnp.asarray([0.3, -0.4], jnp.float32)
    np.testing.assert_allclose(surrogate(x), [0.3 * -0.4 + 0.4**2], atol=0.02)
    np.testing.assert_allclose(surrogate.gradient(x), [[-0.4, 0.3 - 0.8]], atol=0.05)
    assert (tmp_path / "m.onnx").stat().st_size > 0


def test_a_larger_network_is_trained_by_adam_on_the_derivatives_that_are_there(run):
    arguments = ("--widths", "20,20", "--steps", "200", "--batch-size", "1000", "--learning-rate", "0.01", "--double")
    status, out, err = run(*AB_Y, *arguments, "--validation", "0.1")
    assert status == 0
    assert "54 to train on and 6 to judge by; trains on values and gradients" in err
    assert "network 2-20-20-1 with 501 parameters; Adam, at most 200 steps" in err
    assert min(r_squared(out).values()) > 0.9
    assert load("model.safetensors").network.layers[0].weight.dtype == jnp.float64


def test_values_alone_are_learned_and_gradients_judged(run):
    status, out, err = run(
        *AB_Y, "--order", "0", "--derivatives", "d{output}/d{input}", "--widths", "2", "--steps", "2"
    )
    assert status == 0
    assert "trains on values alone, of gradients only to judge by" in err
    assert [line.split()[0] for line in out.splitlines() if "∂" in line] == ["∂y/∂a", "∂y/∂b"]


def test_outputs_of_any_size_are_learned(run, tmp_path):
    """1e20, whose square no single precision holds; R² of the command was minus infinity."""
    scaled = {name: column * (1e20 if "y" in name else 1.0) for name, column in COLUMNS.items()}
    (tmp_path / "t.csv").write_text(as_text(scaled))
    status, out, _ = run(*AB_Y, "--widths", "6", "--steps", "60")
    assert status == 0
    assert min(r_squared(out).values()) > 0.999


def test_predictions_that_are_not_finite_are_a_failure(run, tmp_path):
    """A row that is judged lies so far outside that single precision overflows; nothing is stored."""
    # Which rows are judged follows from what is in them: some far row is among them.
    far = next(
        x
        for x in (np.where(np.arange(60) == i, 1e36, A) for i in range(60))
        if RowSplit.draw(np.stack([x, B], axis=1), 0.2, seed=0).held_out(np.stack([x, B], axis=1))[np.argmax(x)]
    )
    far = {"a": far, "b": B, "y": 1e10 * A * B}
    (tmp_path / "t.csv").write_text(as_text(far))
    status, out, err = run(*AB_Y, "--widths", "6", "--steps", "5")
    assert (status, out) == (1, "")
    assert "the surrogate returns values that are not finite in 1 of 12 rows" in err
    assert not (tmp_path / "model.safetensors").exists()


def test_one_row_to_judge_by_has_no_r_squared(run, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{a},{a**2},{a**3}\n" for a in range(5)))
    status, out, _ = run(*AB_Y, "--widths", "2", "--steps", "3")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines() if line.split()[:1] == ["y"]] == ["–"]


def test_a_table_of_another_program(run, tmp_path):
    """Columns of any name, semicolons, decimal commas, units, comments and own markers, in a compressed file."""
    names = {"a": "spot", "b": "vol=σ", "y": "price", "dy/da": "delta", "dy/db": "d/vega", "one": "se"}
    columns = {new: [f"{x:.17g}".replace(".", ",") for x in COLUMNS[old]] for old, new in names.items()}
    columns["delta"][3] = "-999,0"
    rows = [list(columns), ["$", "1", "-", "", "", ""], *zip(*columns.values(), strict=True)]
    lines = [";".join(row) for row in rows]
    text = "# made today\n" + "\n".join([*lines[:9], "# half", *lines[9:]])
    (tmp_path / "t.csv").unlink()
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    status, out, err = run(
        *("--inputs", "spot,vol=σ", "--outputs", "price", "--derivatives", "delta=price/spot,d/vega=price/vol=σ"),
        *("--missing", "-999", "--unit-row", "--comment", "#", "--allow-missing", "--errors", "se=price"),
        *("--widths", "6", "--steps", "60"),
        table="t.csv.gz",
    )
    assert status == 0, err
    assert "60 rows, 48 to train on and 12 to judge by; trains on values and gradients" in err
    assert min(r_squared(out).values()) > 0.999


def test_derivatives_that_contradict_the_values_are_a_note(run, tmp_path):
    (tmp_path / "t.csv").write_text(as_text(COLUMNS | {"dy/db": -COLUMNS["dy/db"]}))
    status, _, err = run(*AB_Y, "--widths", "6", "--steps", "1")
    assert status == 0
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "the derivatives of 'y' by 'b' contradict its values" in notes[0]
    assert notes[0].endswith("multiplied by -1, the other sign, they would fit.")


def test_gradients_without_values(run, tmp_path):
    (tmp_path / "t.csv").write_text(as_text({name: COLUMNS[name] for name in ("a", "b", "dy/da", "dy/db")}))
    status, out, err = run(*AB_Y, "--gradients-only", "--widths", "6", "--steps", "60")
    assert status == 0, err
    assert "trains on gradients\n" in err
    assert "note: `samples.y` has no values in column 0, 'y': its derivatives leave its level open" in err
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines() if line.split()[1:]}
    assert rows["y"] == "–"
    assert min(float(rows[f"∂y/∂{name}"]) for name in "ab") > 0.999
    surrogate = load("model.safetensors")
    at = [surrogate(jnp.asarray(x, jnp.float32))[0] for x in ([0.3, -0.4], [-0.5, 0.5])]
    assert float(at[0] - at[1]) == pytest.approx(0.3 * -0.4 + 0.16 - (-0.25 + 0.25), abs=0.02)


# Options, files that are there, and what the one line says.
BAD = {
    "gradients only, without them": (
        [*AB_Y, "--gradients-only"],
        {"t.csv": "a,b,c\n1,2,3\n"},
        "--gradients-only leaves nothing to learn from but --derivatives; give their columns",
    ),
    "no values, without the option": (
        AB_Y,
        {"t.csv": "a,b,dy/da,dy/db\n1,2,3,4\n"},
        "there is no column 'y'.",
    ),
    "the option for it": (AB_Y, {"t.csv": "a,b,dy/da,dy/db\n1,2,3,4\n"}, "without values say --gradients-only"),
    "either separator": (
        AB_Y,
        {"t.csv": "a;b,y\n1;2,3\n"},
        "t.csv: cells may be separated by commas or semicolons; say by which: --separator ','",
    ),
    "thousands or decimals": (
        AB_Y,
        {"t.csv": "a;b;y\n1,234;2;3\n"},
        "the comma of '1,234' may be a decimal one or group thousands; say which: --decimal ','",
    ),
    "units with a number": (
        AB_Y,
        {"t.csv": "a,b,y\nm,1,s\n1,2,3\n"},
        "column 'a' holds 'm' in line 2, which is no number; if that line holds units, say --unit-row",
    ),
    "a separator of words": ([*AB_Y, "--separator", "comma"], {}, "--separator is 'comma'; it must be one character"),
    "names of derivatives": (
        [*AB_Y, "--derivatives", "dy/da=y/a,dy/db=y/c"],
        {},
        "--derivatives has 'dy/db=y/c', which is not COLUMN=OUTPUT/INPUT of names given",
    ),
    "a derivative twice": (
        [*AB_Y, "--derivatives", "dy/da=y/a,dy/db=y/a"],
        {},
        "--derivatives has both 'dy/da' and 'dy/db' for y/a; give one",
    ),
    "some derivatives by name": (
        [*AB_Y, "--derivatives", "dy/da=y/a"],
        {},
        "no column is named for ('y', 'b'), which --derivatives asks for; --allow-missing takes them as unknown",
    ),
    "errors of no label": ([*AB_Y, "--errors", "one=q"], {}, "--errors has 'one=q', which is not COLUMN=LABEL of"),
    "an offset that single precision loses": (
        AB_Y,
        {"t.csv": "a,b,y\n" + "".join(f"{1e6 + i / 1000},{i},{i}\n" for i in range(20))},
        "t.csv: column 'a' varies by 0.0058 around 1e+06, where numbers of float32 are 0.12 apart; take the offset off "
        "it, or give `fit` --double",
    ),
    "inputs that single precision loses": (
        AB_Y,
        {"t.csv": "a,b,y\n" + "".join(f"{i}e-50,{i},{i}\n" for i in range(20))},
        "t.csv: column 'a' reaches 1.9e-49, too small for float32; change its units, or give `fit` --double",
    ),
    "no inputs": (["--outputs", "y"], {}, "Missing option '--inputs'"),
    "two tables": ([*AB_Y, "other.csv"], {}, "unexpected extra argument"),
    "empty name": (["--inputs", "a,,b", "--outputs", "y"], {}, "--inputs is 'a,,b'; give columns of the table"),
    "no such column": (["--inputs", "a,c", "--outputs", "y"], {}, "t.csv: there is no column 'c'. The columns are 'a'"),
    "no such pattern": (
        [*AB_Y, "--derivatives", "{output}/{input}"],
        {},
        "there is no column 'y/a', 'y/b', which --derivatives asks for",
    ),
    "some derivatives": (["--inputs", "a,one", "--outputs", "y"], {}, "no column 'dy/done', which --derivatives asks"),
    "a word": (AB_Y, {"t.csv": "a,b,y\n1,2,3\n1,x,3\n"}, "t.csv: column 'b' holds 'x' in line 3, which is no number"),
    "a hole": (
        AB_Y,
        {"t.csv": "a,b,y\n1,2,3\n1,2,\n"},
        "'y' holds no value in 1 of 2 rows, line 3; remove those rows, or",
    ),
    "the way out": (AB_Y, {"t.csv": "a,b,y\n1,2,3\n1,2,\n"}, "take those labels as unknown: --allow-missing"),
    "no rows": (AB_Y, {"t.csv": "a,b,y\n"}, "t.csv: the table is empty"),
    "a kind unknown": (AB_Y, {"t.csv": b"\x00\xff"}, "line 1 is not UTF-8"),
    "constant input": (
        ["--inputs", "a,one", "--outputs", "y", "--order", "0"],
        {},
        "column 1, 'one', but is 1 in all 48",
    ),
    "constant output": (["--inputs", "a,b", "--outputs", "one"], {}, "column 0, 'one', but is 1 in all 48 samples"),
    "a column for two derivatives": (
        [*AB_Y, "--derivatives", "dy/da=y/a,dy/da=y/b"],
        {},
        "--derivatives takes the column 'dy/da' for both ('y', 'a') and ('y', 'b'); a column holds one derivative",
    ),
    "a share that is too small": ([*AB_Y, "--validation", "0.001"], {}, "use more samples or another share"),
    "one row": (AB_Y, {"t.csv": "a,b,y\n1,2,3\n"}, "of 1 samples leaves one of the two sets empty"),
    "order 1 of values": (
        ["--inputs", "a,b", "--outputs", "one", "--order", "1"],
        {},
        "needs columns of first derivatives",
    ),
    "order 3": ([*AB_Y, "--order", "3"], {}, "--order is 3; it must be 0, 1 or 2"),
    "no curvature": (
        ["--inputs", "b,a", "--outputs", "dy/da", "--order", "2"],
        {},
        "which --second-derivatives asks for",
    ),
    "no widths": ([*AB_Y, "--widths", "8,x"], {}, "--widths is '8,x'; give the nodes of each hidden layer"),
    "a width beyond all memory": ([*AB_Y, "--widths", "1" + "0" * 30], {}, "from 1 to 1000000, such as 64,64"),
    "zero width": ([*AB_Y, "--widths", "0"], {}, "--widths is '0'"),
    "activation": ([*AB_Y, "--activation", "foo"], {}, "--activation is 'foo'; it must be one of celu, elu"),
    "no steps": ([*AB_Y, "--steps", "0"], {}, "--steps is 0; it must be at least 1"),
    "no rate": ([*AB_Y, "--learning-rate", "0"], {}, "--learning-rate is 0; it must be finite and positive"),
    "negative seed": ([*AB_Y, "--seed", "-1"], {}, "--seed is -1; it must be in [0, 2147483647]"),
    "all to judge by": ([*AB_Y, "--validation", "1"], {}, "--validation is 1; it must lie between 0 and 1"),
    "an earlier model": (AB_Y, {"model.safetensors": "mine"}, "model.safetensors is already there; give another name"),
    "an earlier export": ([*AB_Y, "--onnx", "m.onnx"], {"m.onnx": "mine"}, "m.onnx is already there"),
    "output nowhere": ([*AB_Y, "--output", "no/m"], {}, "no/m: cannot be written; the surrogate would be lost"),
    "output is a folder": ([*AB_Y, "--output", ".", "--overwrite"], {}, ".: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "files", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_status_2(run, tmp_path, arguments, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("sobolev-pruning: ")
    assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_help_names_every_option(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    for option in ("--inputs", "--derivatives", "--errors", "--order", "--widths", "--validation", "--onnx"):
        assert option in out


def test_options_of_texts_are_refused_by_their_names_for_other_tables(run, tmp_path):
    np.savez(tmp_path / "t.npz", **COLUMNS)
    for options, message in (
        (["--missing=-999"], "--missing is for tables in text, which t.npz is not; leave it out"),
        (["--unit-row"], "--unit-row is for tables in text"),
    ):
        status, out, err = run(*AB_Y, *options, table="t.npz")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_too_little_memory_is_one_line(run, tmp_path):
    status, _, err = run(*AB_Y, "--widths", "1000000,1000000")
    assert status == 1
    assert err.splitlines()[-1].startswith("sobolev-pruning: this machine does not have enough memory")
    assert not (tmp_path / "model.safetensors.checkpoint").exists()
