"""Names of columns and files that mean something to others: markup, pictures, escapes, other encodings."""

import io
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from sobolev_pruning import cli
from sobolev_pruning.certification import tables
from sobolev_pruning.cli._ending import say
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load, load_certificate, save

INPUT, OUTPUT = "[b]mass[/kg]", "cost[/kg] :key:"
# The folder's name ends in a bracket, so that its path holds the end of a tag.
FOLDER, TABLE = "[red]d[", "[red]d[/red].csv"
MODEL, PRUNED = "[b]m:key:.safetensors", "[red]d[/p].safetensors"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in the current folder; returns status, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def without_breaks(text):
    return "".join(text.split())


def test_names_with_markup_are_printed_as_they_are(run, tmp_path, monkeypatch):
    """From the table to the certificate, on every line that a command prints."""
    monkeypatch.chdir(tmp_path)
    x = np.linspace(-1, 1, 20)
    slope = f"d{OUTPUT}/d{INPUT}"
    rows = "\n".join(f"{a},{a * a},{2 * a}" for a in x)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / TABLE).write_text(f"{INPUT},{OUTPUT},{slope}\n{rows}\n")
    columns = "--inputs", INPUT, "--outputs", OUTPUT
    status, out, err = run("fit", TABLE, *columns, "--widths", "2", "--steps", "2", "--output", MODEL)
    assert (status, MODEL in out, OUTPUT in out) == (0, True, True), err
    status, out, err = run("prune", MODEL, TABLE, "--keep", "1", "--no-fine-tune", "--output", PRUNED)
    assert (status, PRUNED in out, OUTPUT in out) == (0, True, True), err
    proof = "--region", "0:1", "--budget", "1s", "--order", "1", "--against", MODEL
    status, out, err = run("certify", PRUNED, *proof)
    assert (status, without_breaks(MODEL) in without_breaks(out)) == (0, True), err
    for arguments in (("fit", TABLE, "--inputs", "[/]", "--outputs", OUTPUT), ("certify", "[/]", "--region", "0:1")):
        status, out, err = run(*arguments, "--output", "x")
        assert (status, out, "[/]" in err) == (2, "", True)
    # In Python, too, where the console is the user's, with its markup.
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    for table in tables(load_certificate(PRUNED, load(PRUNED))):
        console.print(table)
    assert without_breaks(MODEL) in without_breaks(shown.getvalue())


def test_an_encoding_without_the_characters_ends_no_command(tmp_path):
    """Nor does a name that is not UTF-8: both are escaped."""
    model = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.safetensors")
    save(Surrogate(MLP.create([1, 1], key=jax.random.key(0)), Normalisation.identity(1, 1)), model)
    command = [
        "-c",
        "from sobolev_pruning.cli import main; main()",
        "certify",
        model,
        "--region",
        "0:1",
        "--budget",
        "1s",
        "--order",
        "1",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, *command], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"Stored in" in done.stdout
    assert rb"m\udcff.safetensors" in done.stdout
    assert rb"\u2202y0/\u2202x0" in done.stdout


def test_a_message_is_one_line_of_bounded_length(capsys):
    assert say("a\nb\x1b[2J" + "c" * 10**6, 2) == 2
    err = capsys.readouterr().err
    assert err.startswith("sobolev-pruning: a b\\x1b[2Jccc")
    assert err.count("\n") == 1
    assert len(err) < 2100


@pytest.mark.parametrize("text", ["a\nb", "a\rb", '"a\nb"', "a,,b", "", "a" * 200_000, "a\0,"])
def test_columns_that_are_no_list_are_refused(run, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    status, out, err = run("fit", "t.csv", "--inputs", text, "--outputs", "y", "--output", "m")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert len(err) < 2100
