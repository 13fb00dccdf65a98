"""Every command, killed by a signal that cannot be caught at random moments, and gone on with to the same result."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sobolev_pruning
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, save
from tiny_study import TINY_STUDY

KILLS = int(os.environ.get("KILLS", "20"))
# A command that was interrupted while others use the machine may take several times as long.
SECONDS = 900
AB_Y = ("--inputs", "a,b", "--outputs", "y")
# Arguments, the option that names the output, and whether the command has `--resume`. Those without write once, at
# their end, and are called again.
COMMANDS = {
    "fit by Adam": (("fit", "t.csv", *AB_Y, "--widths", "24,24", "--steps", "1500"), "m2.safetensors", True),
    "fit by Levenberg–Marquardt": (("fit", "t.csv", *AB_Y, "--widths", "6", "--steps", "20"), "m2.safetensors", True),
    "run": (("run", "bachelier", "--config", "c.toml"), "out", True),
    "shrink": (("shrink", "m.safetensors", "t.csv", "--values", "1e-4", "--max-trials", "3"), "front", True),
    "prune": (("prune", "m.safetensors", "t.csv", "--keep", "2"), "p.safetensors", False),
    "certify": (
        ("certify", "m.safetensors", "--region=-1:1,-1:1", "--order", "1", "--budget", "600s"),
        "c.json",
        False,
    ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A network with more nodes than it needs, a table of what it computes, and a configuration."""
    folder = tmp_path_factory.mktemp("inputs")
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    network = MLP.create([2, 4, 1], activation=jnp.tanh, key=jax.random.key(0))
    surrogate = Surrogate(network, Normalisation.identity(2, 1)).with_provenance(inputs="a,b", outputs="y")
    y, dydx = jax.vmap(surrogate)(jnp.asarray(x)), jax.vmap(surrogate.gradient)(jnp.asarray(x))
    rows = np.concatenate([x, y, dydx[:, 0]], axis=1)
    (folder / "t.csv").write_text("a,b,y,dy/da,dy/db\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    (folder / "c.toml").write_text(TINY_STUDY)
    save(surrogate, folder / "m.safetensors")
    return folder


def started(folder, arguments):
    code = "import sys; from sobolev_pruning.cli import main; sys.argv[0] = 'sobolev-pruning'; main()"
    source = str(Path(sobolev_pruning.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": source, "JAX_ENABLE_X64": "0"},
    )


def without_times(name, content):
    """What a file says but for how long things took."""

    def timeless(value):
        if isinstance(value, dict):
            # The digest of a certificate is of its seconds as well.
            timed = ("seconds", "digest") if "seconds" in value else ()
            return {key: timeless(part) for key, part in value.items() if key not in timed}
        return [timeless(part) for part in value] if isinstance(value, list) else value

    if name.endswith((".json", ".jsonl")):
        lines = content.decode().splitlines() if name.endswith("l") else [content.decode()]
        return [timeless(json.loads(line)) for line in lines]
    # A page holds the seconds among its numbers; the numbers themselves are compared above.
    return None if name.endswith(".html") else content


def result(path):
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): without_times(p.name, p.read_bytes()) for p in files}


def is_unfinished(folder, output):
    places = folder / f"{output}.checkpoint", folder / output / "unfinished"
    return any((place / "work.json").exists() for place in places)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_goes_on_to_the_same_bytes(inputs, tmp_path, name):
    """Each kill comes at a random moment of as long as the command takes; whenever it ends, it begins anew."""
    arguments, output, resumes = COMMANDS[name]
    for path in inputs.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {p.name for p in tmp_path.iterdir()}
    begin = time.monotonic()
    with started(tmp_path, (*arguments, "--output", f"whole-{output}")) as whole:
        assert whole.wait(SECONDS) == 0, whole.stderr.read().decode()
    took = time.monotonic() - begin
    moments, kills, resumed, ends = random.Random(name), 0, 0, 0
    has_ended = False
    while kills < KILLS or not has_ended:
        options = ("--resume",) if resumes else ()
        process = started(tmp_path, (*arguments, "--output", output, *options))
        try:
            process.wait(moments.uniform(0, 1.1 * took) if kills < KILLS else SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            resumed += is_unfinished(tmp_path, output)
        else:
            assert process.returncode == 0, process.stderr.read().decode()
        finally:
            process.stderr.close()
        # It has ended, perhaps only just before it was killed.
        has_ended = (tmp_path / output).exists() and not is_unfinished(tmp_path, output)
        if has_ended:
            assert result(tmp_path / output) == result(tmp_path / f"whole-{output}")
            shutil.rmtree(tmp_path / output) if (tmp_path / output).is_dir() else (tmp_path / output).unlink()
            ends += 1
    assert kills == KILLS
    assert resumed > 0 or not resumes
    print(f"{name}: {kills} kills, {resumed} with work to go on with, {ends} ends; {took:.0f} s uninterrupted")
    left = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".sobolev-pruning-")}
    assert left == before | {f"whole-{output}"}
