"""The command `certify`: what it prints and stores, and one line for every bad input."""

import sys

import jax
import numpy as np
import pytest

from sobolev_pruning import cli
from sobolev_pruning.surrogate import MLP, Certificate, Normalisation, Surrogate, load, load_certificate, save


def network(widths, seed=0):
    return Surrogate(MLP.create(widths, key=jax.random.key(seed)), Normalisation.identity(widths[0], widths[-1]))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with a model; returns status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    save(network([2, 3, 1]), "model.safetensors")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", "certify", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_a_certificate_is_printed_and_stored_with_the_model(run, tmp_path):
    rows = "spot,vol\n" + "\n".join(f"{a},{b}" for a in (-1, 0.5, 1) for b in (0, 1))
    (tmp_path / "data.csv").write_text(rows)
    before = load("model.safetensors")
    status, out, _ = run(
        "model.safetensors", "--region", "data.csv", "--budget", "2s", "--order", "1", "--output", "proof.json"
    )
    assert status == 0
    for text in ("Ranges over the region", "∂y0/∂x1", "guaranteed", "y0 is non", "Stored in model.safetensors"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80
    certificate = load_certificate("model.safetensors", load("model.safetensors"))
    assert certificate.is_of(before)
    assert certificate.region == {"kind": "box", "lower": [-1.0, 0.0], "upper": [1.0, 1.0]}
    assert Certificate.from_json((tmp_path / "proof.json").read_text()) == certificate
    with pytest.raises(ValueError, match="speaks of other weights"):
        load_certificate("model.safetensors", network([2, 3, 1], seed=1))
    with pytest.raises(ValueError, match="speaks of other weights"):
        save(network([2, 3, 1], seed=1), "other.safetensors", certificate=certificate)
    assert not (tmp_path / "other.safetensors").exists()


BAD = {
    "no region": ([], {}, "Missing option '--region'"),
    "no model": (["--region", "0:1,0:1", "--model"], {}, "No such option"),
    "region of another dimension": (["--region", "0:1"], {}, "--region has 1 range; the surrogate has 2 inputs"),
    "region that is no numbers": (["--region", "0:a,0:1"], {}, "give LOW:HIGH for each input"),
    "region of very many inputs": (["--region", ",".join(["0:1"] * 100)], {}, "--region has 100 ranges; the surrogate"),
    "region of very many words": (["--region", ",".join(["0:a"] * 10_000)], {}, "give LOW:HIGH for each input"),
    "region with a NUL": (["--region", "0:1\0,0:1"], {}, "give LOW:HIGH for each input"),
    "data of a name that no file has": (["--region", "a" * 300 + ".csv"], {}, "there is no such file of data"),
    "empty region": (["--region", "1:0,0:1"], {}, "--region has 1:0 for the input 'x0'; the lower end"),
    "unbounded region": (["--region", "0:inf,0:1"], {}, "--region has 0:inf for the input 'x0'; both must be finite"),
    "data that are not there": (["--region", "no.csv"], {}, "no.csv: there is no such file of data"),
    "data of another kind": (["--region", "d.xls"], {"d.xls": "1,2"}, "files that end in .csv, .npz, .parquet"),
    "data with a word": (["--region", "d.csv"], {"d.csv": "a,b\n1,2\n3,x\n"}, "d.csv: column 'b' holds 'x' in line 3"),
    "data with a hole": (["--region", "d.csv"], {"d.csv": "1,2\n3,nan\n"}, "row 2, column 2 holds nan"),
    "ragged data": (["--region", "d.csv"], {"d.csv": "1,2\n3\n"}, "line 2 has 1 cells, but there are 2 columns"),
    "data of another dimension": (["--region", "d.csv"], {"d.csv": "1,2,3\n"}, "must be (n, 2)"),
    "no data at all": (["--region", "d.csv"], {"d.csv": "spot,vol\n"}, "they must be (n, 2)"),
    "damaged array": (["--region", "d.npy"], {"d.npy": "mine"}, "not a file of numbers"),
    "damaged arrays": (["--region", "d.npz"], {"d.npz": "mine"}, "not a file of inputs"),
    "no budget": (["--region", "0:1,0:1", "--budget", "0s"], {}, "it must be positive"),
    "a budget of words": (["--region", "0:1,0:1", "--budget", "soon"], {}, "give a time such as 60s"),
    "an unknown shape": (["--region", "0:1,0:1", "--shape", "ball"], {}, "--shape is 'ball'"),
    "order 3": (["--region", "0:1,0:1", "--order", "3"], {}, "--order is 3"),
    "a scale of ranges": (["--region", "0:1,0:1", "--scale", "2"], {}, "are of regions around data; leave them out"),
    "a shape of ranges": (["--region", "0:1,0:1", "--shape", "aligned"], {}, "are of regions around data"),
    "a scale of zero": (
        ["--region", "d.csv", "--scale", "0"],
        {"d.csv": "1,2\n3,4\n"},
        "--scale is 0.0; it must be pos",
    ),
    "another that is not there": (["--region", "0:1,0:1", "--against", "no"], {}, "no: there is no such file"),
    "output nowhere": (["--region", "0:1,0:1", "--output", "no/proof.json"], {}, "no/proof.json: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "files", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_status_2(run, tmp_path, arguments, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = (tmp_path / "model.safetensors").read_bytes()
    status, out, err = run("model.safetensors", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert len(err) < 500
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_only_surrogates_of_the_same_inputs_and_outputs_are_compared(run):
    """In another order of the inputs the difference would be that of two unrelated functions."""
    save(network([2, 3, 1]).named(inputs=["a", "b"]), "model.safetensors")
    save(network([2, 3, 1]).named(inputs=["b", "a"]), "turned.safetensors")
    save(network([1, 3, 1]), "narrow.safetensors")
    for other, message in (
        ("narrow.safetensors", "--against narrow.safetensors has 1 inputs, and MODEL has 2; they cannot be compared"),
        ("turned.safetensors", "has the inputs 'b, a', and MODEL 'a, b': they are in another order"),
    ):
        status, out, err = run("model.safetensors", "--region", "0:1,0:1", "--against", other)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err


def test_a_region_beyond_single_precision_is_named(run):
    single = jax.tree.map(lambda a: a.astype("float32") if hasattr(a, "astype") else a, network([2, 3, 1]))
    save(single, "model.safetensors")
    status, out, err = run("model.safetensors", "--region", "0:1e39,0:1")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--region reaches 1e+39, and the surrogate computes in float32, which cannot hold that" in err


def test_points_are_columns_of_the_names_of_the_inputs(tmp_path):
    """Where the columns have names, their order alone does not say what they are."""
    from sobolev_pruning.reference import read_points

    a, b = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "t.npz", b=b, y=a, a=a)
    np.testing.assert_array_equal(read_points(tmp_path / "t.npz", dim=2, names=["a", "b"]), np.stack([a, b], 1))
    (tmp_path / "t.csv").write_text("B,A\n1,2\n3,4\n")
    with pytest.raises(ValueError, match="there is no column 'a'; the columns are"):
        read_points(tmp_path / "t.csv", dim=2, names=["a", "b"])
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    np.testing.assert_array_equal(read_points(tmp_path / "t.csv", dim=2, names=["a", "b"]), [[1, 2], [3, 4]])


def test_arrays_are_read_as_data(tmp_path):
    from sobolev_pruning.reference import read_points

    x = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, y=x)
    for name in ("x.npy", "x.npz"):
        np.testing.assert_array_equal(read_points(tmp_path / name, dim=2), x)
    np.savez(tmp_path / "y.npz", y=x)
    with pytest.raises(ValueError, match="no array of the name x"):
        read_points(tmp_path / "y.npz", dim=2)
    np.save(tmp_path / "words.npy", np.array(["a"]))
    with pytest.raises(ValueError, match="not of real numbers"):
        read_points(tmp_path / "words.npy", dim=1)
