"""The command: bad input is one line and status 2, a failed run keeps what is good, and nothing is half-written."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import jax
import numpy as np
import pytest

from sobolev_pruning import cli
from sobolev_pruning._version import __version__
from sobolev_pruning.surrogate import load
from tiny_study import TINY_STUDY


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; returns status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sobolev-pruning", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def tree(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() if p.is_file() else None for p in path.rglob("*")}


def test_version(run):
    assert run("--version") == (0, f"sobolev-pruning {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help(run, arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "Usage: sobolev-pruning" in out
    if "run" in arguments:
        for option in ("--output", "runs/STUDY", "--seed", "--config", "--overwrite", "--resume", "bachelier"):
            assert option in out


# Arguments, files that are there, and what the one line says.
BAD = {
    "nothing": ([], {}, "Missing command"),
    "unknown command": (["walk"], {}, "No such command 'walk'"),
    "unknown study": (["run", "heston"], {}, "unknown study 'heston'; there is: bachelier"),
    "no study": (["run"], {}, "Missing argument 'STUDY'"),
    "two studies": (["run", "bachelier", "bachelier"], {}, "unexpected extra argument"),
    "unknown option": (["run", "bachelier", "--sead", "1"], {}, "No such option: --sead"),
    "unknown option of the command": (["--fast", "run", "bachelier"], {}, "No such option: --fast"),
    "option without its argument": (["run", "bachelier", "--seed"], {}, "'--seed' requires an argument"),
    "seed is no number": (["run", "bachelier", "--seed", "one"], {}, "Invalid value for '--seed'"),
    "seed is a fraction": (["run", "bachelier", "--seed", "1.5"], {}, "Invalid value for '--seed'"),
    "negative seed": (["run", "bachelier", "--seed", "-1"], {}, "seed is -1; it must be in [0, 2147483647]"),
    "seed too large": (["run", "bachelier", "--seed", "2147483648"], {}, "seed is 2147483648"),
    "no such configuration": (["run", "bachelier", "--config", "no.toml"], {}, "no.toml: cannot be read (No such file"),
    "configuration is a folder": (["run", "bachelier", "--config", "."], {}, "cannot be read (Is a directory)"),
    "output is a file": (
        ["run", "bachelier", "--config", "c", "--output", "f"],
        {"c": TINY_STUDY, "f": "mine"},
        "f is a file",
    ),
    "output below a file": (
        ["run", "bachelier", "--config", "c", "--output", "f/run"],
        {"c": TINY_STUDY, "f": "mine"},
        "f/run cannot be made ready for a run",
    ),
    "output where nothing can be made": (
        ["run", "bachelier", "--config", "c", "--output", "/proc/run"],
        {"c": TINY_STUDY},
        "/proc/run cannot be made ready for a run",
    ),
    "existing run": (
        ["run", "bachelier", "--config", "c", "--output", "out"],
        {"c": TINY_STUDY, "out/summary.json": "{}", "out/notes.txt": "mine"},
        "out already holds a run (summary.json); give another folder, or --overwrite",
    ),
    "existing run in the default folder": (
        ["run", "bachelier", "--config", "c"],
        {"c": TINY_STUDY, "runs/bachelier/checkpoints/2-4-1-oversized.safetensors": ""},
        "runs/bachelier already holds a run (checkpoints/)",
    ),
}

BAD_CONFIGURATIONS = {
    "no TOML": ("seed =", "not valid TOML"),
    "wrong type": ('[oversized]\nsteps = "many"', "oversized.steps is 'many'; it must be a whole number"),
    "unknown key": ("[oversized]\nstep = 1", "unknown key oversized.step; did you mean 'steps'?"),
    "out of range": ("[oversized]\nsteps = 0", "oversized.steps is 0"),
    "negative volatility": ("[reference]\nbasket_volatility = -0.2", "reference.basket_volatility is -0.2"),
    "negative volatility of an asset": ("[reference]\ndim = 1\nvolatilities = [-1]", "reference.volatilities[0] is -1"),
    "weights all zero": ("[reference]\ndim = 2\nweights = [0, 0]", "reference.weights are all zero"),
    "too many kept nodes": ("[pruning]\nkeep = [[129]]", "pruning.keep[0] keeps 129 nodes"),
    "unknown activation": ('[network]\nactivation = "foo"', "network.activation is foo; it must be one of"),
    "no correlation": (
        "[reference]\ndim = 2\ncorrelation = [[1, 1], [1, 1]]",
        "reference: `correlation` is not positive",
    ),
}
BAD |= {
    name: (["run", "bachelier", "--config", "c.toml"], {"c.toml": text}, message)
    for name, (text, message) in BAD_CONFIGURATIONS.items()
}


@pytest.mark.parametrize(("arguments", "files", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_leaves_no_trace(run, tmp_path, arguments, files, message):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = tree(tmp_path)
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("sobolev-pruning: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert message in err
    assert tree(tmp_path) == before


def test_a_run_that_diverges_keeps_the_last_good_parameters(run, tmp_path):
    text = TINY_STUDY.replace(
        "steps = 20\nbatch_size = 16\npaths = 2\n[pruning]", "steps = 20\nlearning_rate = 1e300\n[pruning]"
    )
    assert "1e300" in text
    (tmp_path / "c.toml").write_text(text)
    status, out, err = run("run", "bachelier", "--config", "c.toml", "--output", "out")
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("sobolev-pruning: training diverged: ")
    assert " at step " in last
    assert "On disk: out/ with config.toml, checkpoints/" in last
    assert "Traceback" not in err
    assert {p.name for p in (tmp_path / "out" / "checkpoints").iterdir()} == {"2-4-1-diverged.safetensors"}
    kept = load(tmp_path / "out" / "checkpoints" / "2-4-1-diverged.safetensors")
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(kept))
    assert not (tmp_path / "out" / "summary.json").exists()


def test_ctrl_c_ends_the_run_cleanly(tmp_path):
    """Inside a compiled chunk of many steps: what was done before is on disk, and whole."""
    text = TINY_STUDY.replace("[finetuning]\nsteps = 20", "[finetuning]\nsteps = 2_000_000")
    (tmp_path / "c.toml").write_text(text)
    code = "import sys; from sobolev_pruning.cli import main; sys.argv = sys.argv[1:]; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "sobolev-pruning", "run", "bachelier", "--config", "c.toml", "--output", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
        start_new_session=True,
    ) as process:
        pruned = tmp_path / "out" / "checkpoints" / "2-2-1-pruned.safetensors"
        try:
            end = time.monotonic() + 300
            while not pruned.exists() and time.monotonic() < end and process.poll() is None:
                time.sleep(0.1)
            time.sleep(1.0)
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            # The handler runs once the compiled chunk of steps has returned.
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    on_disk = "out/ with config.toml, metrics.jsonl, checkpoints/; no summary, no report; --resume goes on"
    assert err.splitlines()[-1] == f"sobolev-pruning: interrupted. On disk: {on_disk}"
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    stored = {"checkpoints/2-4-1-oversized.safetensors", "checkpoints/2-2-1-pruned.safetensors"}
    unfinished = {name for name in files if name.startswith("unfinished/")}
    assert "unfinished/work.json" in unfinished
    assert files - unfinished == {"config.toml", "metrics.jsonl"} | stored
    with jax.enable_x64(False):
        assert [load(tmp_path / "out" / name).network.widths for name in sorted(stored)] == [[2, 2, 1], [2, 4, 1]]
    tomllib.loads((tmp_path / "out" / "config.toml").read_text())
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"oversized", "pruned"}
