"""What commands do with files: outputs replace nothing that they must not, and no result is lost."""

import errno
import io
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning import certification, cli
from sobolev_pruning.surrogate import (
    MLP,
    Certificate,
    Normalisation,
    Surrogate,
    SurrogateChangedError,
    load,
    load_certificate,
    save,
    store_certificate,
)


def network(seed=0):
    return Surrogate(MLP.create([1, 2, 1], key=jax.random.key(seed)), Normalisation.identity(1, 1))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with a model and a table; returns status, standard output and standard error."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path))
    save(network(), "model.safetensors")
    (tmp_path / "work" / "t.csv").write_text("x,y\n" + "".join(f"{k / 9},{(k / 9) ** 2}\n" for k in range(30)))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def proved(monkeypatch):
    """Certificates at once, with something that happens meanwhile."""
    happened = []
    certificates = {}
    prove = certification.certify

    def quick(surrogate, region, **options):
        for happen in happened:
            happen()
        key = np.asarray(surrogate.network.layers[0].weight).tobytes()
        if key not in certificates:
            certificates[key] = prove(surrogate, region, seconds=0.1, order=1)
        return certificates[key]

    monkeypatch.setattr(certification, "certify", quick)
    return happened.append


CERTIFY = ("certify", "model.safetensors", "--region", "0:1")
FIT = ("fit", "t.csv", "--inputs", "x", "--outputs", "y", "--widths", "2", "--steps", "2")
PRUNE = ("prune", "model.safetensors", "t.csv", "--inputs", "x", "--outputs", "y", "--keep", "1", "--no-fine-tune")
SHRINK = ("shrink", "front/smallest.safetensors", "t.csv", "--inputs", "x", "--outputs", "y", "--values", "1")


def linked():
    os.symlink("t.csv", "link")
    os.link("model.safetensors", "hard")
    os.mkdir("front")
    os.link("model.safetensors", "front/smallest.safetensors")
    os.mkdir("run")
    with open("run/config.toml", "w") as file:
        file.write("seed = 1\n")


KEPT = {
    "certify: a file": ((*CERTIFY, "--output", "t.csv"), "t.csv is already there; give another name, or --overwrite"),
    "certify: the model": ((*CERTIFY, "--output", "model.safetensors", "--overwrite"), "which is the file of MODEL"),
    "certify: the model by a link": ((*CERTIFY, "--output", "hard", "--overwrite"), "which is the file of MODEL"),
    "certify: the other": (
        (*CERTIFY, "--against", "t.csv", "--output", "t.csv", "--overwrite"),
        "which is the file of --against",
    ),
    "certify: the region": (
        ("certify", "model.safetensors", "--region", "t.csv", "--output", "./t.csv", "--overwrite"),
        "which is the file of --region",
    ),
    "fit: one file twice": ((*FIT, "--output", "m", "--onnx", "../work/m"), "--output and --onnx are the same file"),
    "fit: the table": ((*FIT, "--output", "t.csv", "--overwrite"), "t.csv, which is the file of TABLE"),
    "fit: the table by a link": ((*FIT, "--onnx", "link", "--overwrite"), "link, which is the file of TABLE"),
    "prune: the model": ((*PRUNE, "--output", "hard", "--overwrite"), "hard, which is the file of MODEL"),
    "shrink: the model": ((*SHRINK, "--output", "front", "--overwrite"), "which is the file of MODEL"),
    "run: the configuration": (
        ("run", "bachelier", "--config", "run/config.toml", "--output", "run", "--overwrite"),
        "which is the file of --config",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), KEPT.values(), ids=KEPT)
def test_an_output_never_replaces_an_input_or_what_nobody_gave_up(run, tmp_path, arguments, message):
    linked()
    before = {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()}
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert {path: path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("proved")
def test_a_certificate_that_does_not_fit_is_printed_and_put_elsewhere(run, tmp_path):
    status, out, err = run(*CERTIFY, "--output", "/dev/full")
    assert status == 1
    assert "Ranges over the region" in out
    assert "Stored in model.safetensors and " in out
    (place,) = tmp_path.rglob("full-rescued*")
    assert err == f"sobolev-pruning: /dev/full: No space left on device; stored in {place} instead\n"
    assert Certificate.from_json(place.read_text()) == load_certificate("model.safetensors", load("model.safetensors"))


def test_a_model_that_was_trained_again_meanwhile_is_kept(run, proved):
    proved(lambda: save(network(1), "model.safetensors"))
    status, out, err = run(*CERTIFY)
    assert status == 1
    assert "Ranges over the region" in out
    assert "model.safetensors: the file now holds another surrogate than was certified; stored in" in err
    np.testing.assert_array_equal(
        load("model.safetensors").network.layers[0].weight, network(1).network.layers[0].weight
    )
    (place,) = [name for name in os.listdir() if "rescued" in name]
    certified = load(place)
    assert load_certificate(place, certified).is_of(network())


def test_facts_that_a_model_was_given_meanwhile_stay(run, proved):
    proved(lambda: save(network().with_provenance(note="a"), "model.safetensors"))
    assert run(*CERTIFY)[0] == 0
    assert dict(load("model.safetensors").provenance) == {"note": "a"}


@pytest.mark.parametrize("meanwhile", ["gone", "something else"])
def test_a_proof_outlives_its_model(run, proved, meanwhile):
    def happen():
        os.remove("model.safetensors")
        if meanwhile != "gone":
            with open("model.safetensors", "w") as file:
                file.write(meanwhile)

    proved(happen)
    status, out, err = run(*CERTIFY)
    assert (status, err.count("\n")) == (1, 1)
    assert "Ranges over the region" in out
    (place,) = [name for name in os.listdir() if "rescued" in name]
    assert load_certificate(place, load(place)).is_of(network())


def test_a_certificate_goes_only_to_its_own_surrogate(tmp_path):
    from sobolev_pruning.regions import Box

    certificate = certification.certify(network(), Box(jnp.zeros(1), jnp.ones(1)), seconds=0.1, order=1)
    path = tmp_path / "a"
    # Claims speak of inputs and outputs by their names.
    for other in (network(1), network().named(inputs=["strike"])):
        save(other, path)
        before = path.read_bytes()
        with pytest.raises(SurrogateChangedError, match="another surrogate than was certified"):
            store_certificate(certificate, path)
        assert path.read_bytes() == before


def test_a_region_around_data_takes_the_columns_that_the_model_has_names_of(run, proved, tmp_path):
    save(network().named(inputs=["x"], outputs=["price"]), "model.safetensors")
    (tmp_path / "work" / "wide.csv").write_text("day,x,note\n1,0.25,a\n2,0.5,b\n")
    status, out, err = run("certify", "model.safetensors", "--region", "wide.csv")
    assert status == 0, err
    assert "∂price/∂x" in out
    certificate = load_certificate("model.safetensors", load("model.safetensors"))
    assert certificate is not None
    assert (certificate.region["lower"], certificate.region["upper"]) == ([0.25], [0.5])
    save(network().named(inputs=["z"], outputs=["price"]), "model.safetensors")
    (tmp_path / "work" / "wide.csv").write_text("day,x,note\n1,0.25,a\n")
    status, _, err = run("certify", "model.safetensors", "--region", "wide.csv")
    assert (status, err.count("\n")) == (2, 1)


def without_room(monkeypatch, *names):
    """Files of these names find no room."""
    from sobolev_pruning import _files

    replace = _files._replace

    def full(target, data, there):
        if target.name in names:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(target, data, there)

    monkeypatch.setattr(_files, "_replace", full)


def test_a_trained_surrogate_that_does_not_fit_is_judged_and_put_elsewhere(run, monkeypatch):
    without_room(monkeypatch, "m.safetensors")
    status, out, err = run(*FIT, "--output", "m.safetensors")
    assert status == 1
    assert "rows not trained on" in out
    assert "m.safetensors: No space left on device; stored in" in err
    assert load("m-rescued.safetensors").network.widths == [1, 2, 1]


def test_a_trained_surrogate_that_fits_nowhere_is_said_to_be_lost(run, monkeypatch):
    from sobolev_pruning import _files

    monkeypatch.setattr(_files, "_other_folders", lambda: iter(()))
    without_room(monkeypatch, "m.safetensors")
    status, out, err = run(*FIT, "--output", "m.safetensors")
    assert status == 1
    assert "rows not trained on" in out
    assert "m.safetensors: No space left on device" in err
    assert "it is lost" in err


def test_a_pruned_surrogate_leaves_alone_a_file_that_has_appeared(run, monkeypatch):
    from sobolev_pruning import pruning

    prune = pruning.prune_iteratively

    def appears(*arguments, **options):
        with open("pruned.safetensors", "w") as file:
            file.write("mine")
        return prune(*arguments, **options)

    monkeypatch.setattr(pruning, "prune_iteratively", appears)
    status, out, err = run(*PRUNE)
    assert status == 1
    assert "rows held out now" in out  # the model does not say which rows it was trained on
    assert "pruned.safetensors: a file of that name has appeared meanwhile; stored in" in err
    with open("pruned.safetensors") as file:
        assert file.read() == "mine"
    assert load("pruned-rescued.safetensors").network.widths == [1, 1, 1]


def test_a_result_is_stored_even_if_nobody_reads_what_is_printed(run, monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stdout", Full())
    status, _, err = run(*FIT, "--output", "m.safetensors")
    assert status == 1
    assert "standard output cannot be written to (No space left on device)" in err
    assert load("m.safetensors").network.widths == [1, 2, 1]
