"""A whole run of the smallest study: everything is on disk, fits together, and is not overwritten."""

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.study import PUBLISHED, ConfigError, RunExistsError, Study, StudyConfig, run_bachelier
from sobolev_pruning.study._config import (
    EvaluationConfig,
    FinetuningConfig,
    NetworkConfig,
    PruningConfig,
    ReferenceConfig,
    TrainingConfig,
)
from sobolev_pruning.study._folder import files_of_run
from sobolev_pruning.surrogate import load

TINY = StudyConfig(
    seed=5,
    reference=ReferenceConfig(dim=3),
    network=NetworkConfig((8, 8)),
    oversized=TrainingConfig(steps=20, batch_size=32, paths=4),
    pruning=PruningConfig(keep=((4, 4), (3,)), regions=8, refit_samples=64),
    finetuning=FinetuningConfig(
        steps=20,
        batch_size=32,
        paths=4,
        teacher_samples=256,
        second_order_below=20,
        second_order_steps=3,
        second_order_samples=128,
        second_order_paths=8,
    ),
    evaluation=EvaluationConfig(points=64),
)
TUNINGS = ["vanilla", "nn_data", "nn_curvature", "reference"]
STAGES = ["oversized", *(["pruned", *(f"finetuned_{tuning}" for tuning in TUNINGS)] * 2)]
SIZES = ["3-8-8-1", *["3-4-4-1"] * 5, *["3-3-1"] * 5]
QUANTITIES = ["values", "deltas", "gammas"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run from the command line, in single precision as users have it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(TINY.to_toml())
    arguments = ["run", "bachelier", "--config", "tiny.toml", "--output", "out", "--seed", "7"]
    code = "import sys; from sobolev_pruning.cli import main; sys.argv[1:] = " + repr(arguments) + "; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folder / "out", done


@pytest.fixture(scope="module")
def summary(finished):
    return json.loads((finished[0] / "summary.json").read_text(), parse_constant=pytest.fail)


def test_everything_is_on_disk_and_nothing_else(finished):
    out, _ = finished
    files = {"config.toml", "metrics.jsonl", "report.html", "summary.json", "surrogate.safetensors"}
    assert {p.name for p in out.iterdir()} - {"surrogate.onnx"} == files | {"checkpoints", "figures"}
    assert set(files_of_run(out)) == {path for path in out.rglob("*") if path.is_file()}, "what --overwrite removes"
    stages = {f"{size}-{name}.safetensors" for size, name in zip(SIZES, STAGES, strict=True)}
    assert {p.name for p in (out / "checkpoints").iterdir()} == stages
    pictures = {p.name for p in (out / "figures").iterdir()}
    assert {name.removesuffix(".png") for name in pictures if name.endswith(".png")} == {
        name.removesuffix(".pdf") for name in pictures if name.endswith(".pdf")
    }
    for size in ("3-4-4-1", "3-3-1"):
        assert {f"{kind}_{size}.png" for kind in ("significance", "network", "predictions", "training")} <= pictures
    assert {"sample_paths.png", "payoff_smoothing.png", "errors_by_stage.png"} <= pictures


def test_the_terminal_shows_the_table_and_where_the_report_is(finished):
    _, done = finished
    assert "published" in done.stdout
    assert "out/report.html" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_summary_has_the_agreed_shape(summary):
    assert summary["seed"] == 7
    assert summary["seconds"] > 0
    assert [stage["name"] for stage in summary["stages"]] == STAGES
    assert ["-".join(map(str, stage["network"])) for stage in summary["stages"]] == SIZES
    for stage in summary["stages"]:
        widths = stage["network"]
        assert stage["parameters"] == sum((a + 1) * b for a, b in itertools.pairwise(widths))
        for block in (stage, stage["training_law"]):
            for measure in ("r2", "rmse", "max_error"):
                assert set(QUANTITIES) <= set(block[measure])
                assert all(np.isfinite(block[measure][q]) for q in QUANTITIES)
            assert all(block["rmse"][q] <= block["max_error"][q] for q in QUANTITIES)
            assert all(block["r2"][q] <= 1 for q in QUANTITIES)
    assert summary["published"] == PUBLISHED
    assert {q for row in PUBLISHED.values() for q in row} == set(QUANTITIES)


def test_the_published_table_is_the_published_one():
    assert PUBLISHED["oversized"] == {"values": 0.999545, "deltas": 0.998700, "gammas": 0.997033}
    assert PUBLISHED["pruned"] == {"values": 0.999296, "deltas": 0.996718, "gammas": 0.902470}
    assert PUBLISHED["finetuned_nn_data"] == {"values": 0.999805, "deltas": 0.999479, "gammas": 0.987393}
    assert PUBLISHED["finetuned_reference"] == {"values": 0.999962, "deltas": 0.999863, "gammas": 0.997374}
    assert len(PUBLISHED) == 4


def test_the_metrics_are_lines_of_json(finished):
    text = (finished[0] / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    places = list(dict.fromkeys((line["size"], line["stage"]) for line in lines))
    assert places == list(zip(SIZES, STAGES, strict=True))
    for size, name in places:
        own = [line for line in lines if (line["size"], line["stage"]) == (size, name)]
        assert {"seconds", "r2", "rmse", "max_error"} <= set(own[-1])
        steps = [line["step"] for line in own[:-1]]
        assert steps == sorted(set(steps))
        last = 0 if name == "pruned" else 3 if size == "3-3-1" else 20
        assert (steps[-1] if steps else 0) == last
        assert all(set(line["unexplained"]) == set(QUANTITIES) and line["loss"] > 0 for line in own[:-1])


def test_the_configuration_on_disk_gives_the_same_run(finished):
    stored = StudyConfig.from_toml(finished[0] / "config.toml")
    assert stored.seed == 7
    assert stored.pruning == TINY.pruning
    assert stored.finetuning == TINY.finetuning


def test_the_report_holds_the_table(finished, summary):
    report = (finished[0] / "report.html").read_text()
    assert "data:image/png;base64," in report
    assert 'src="http' not in report
    # Without the markup between groups of digits.
    text = re.sub("<[^>]*>", "", re.sub("<style.*?</style>", "", report, flags=re.DOTALL))
    for stage in summary["stages"]:
        assert "-".join(map(str, stage["network"])) in text
    # The published table is of another network than this one, so it does not stand beside it.
    for row in PUBLISHED.values():
        assert not any(f"{value:.6f}" in text for value in row.values())


def test_surrogate_and_checkpoints_load(finished, summary):
    out, _ = finished
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with jax.enable_x64(False):
        surrogate = load(out / "surrogate.safetensors")
        best = load(out / "checkpoints" / "3-3-1-finetuned_reference.safetensors")
        np.testing.assert_array_equal(surrogate.evaluate(jnp.asarray(x)).y, best.evaluate(jnp.asarray(x)).y)
        assert surrogate.network.widths == [3, 3, 1]
        assert dict(surrogate.provenance) == {"study": "bachelier", "stage": "finetuned_reference", "seed": "7"}
        for path in (out / "checkpoints").iterdir():
            stored = load(path)
            assert path.name.startswith("-".join(map(str, stored.network.widths)) + "-")
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(stored))


def test_the_onnx_file_gives_value_and_gradient(finished):
    runtime = pytest.importorskip("onnxruntime")
    out, _ = finished
    if not (out / "surrogate.onnx").exists():
        pytest.skip("the extra `onnx` is not installed")
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    session = runtime.InferenceSession(out / "surrogate.onnx")
    value, gradient = session.run(None, {session.get_inputs()[0].name: x})
    with jax.enable_x64(False):
        expected = load(out / "surrogate.safetensors").evaluate(jnp.asarray(x))
    np.testing.assert_allclose(value, expected.y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, expected.dydx, rtol=1e-4, atol=1e-5)


def test_a_second_run_is_refused_and_changes_nothing(finished):
    out, _ = finished
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in out.rglob("*")}
    with pytest.raises(RunExistsError, match="already holds a run"):
        run_bachelier(TINY, out)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in out.rglob("*")} == before


def test_same_seed_same_numbers():
    """The oversized network and the first pruned one, twice."""
    small = dataclasses.replace(
        TINY,
        network=NetworkConfig((4,)),
        pruning=PruningConfig(keep=((2,),), regions=4, refit_samples=16),
        evaluation=EvaluationConfig(points=16),
    )
    runs = []
    for _ in range(2):
        stages = Study(small).run()
        runs.append([next(stages), next(stages)])
        stages.close()
    for a, b in zip(*runs, strict=True):
        assert (a.name, a.size, a.cube.table(), a.training_law.table()) == (
            b.name,
            b.size,
            b.cube.table(),
            b.training_law.table(),
        )
        for p, q in zip(jax.tree.leaves(a.surrogate), jax.tree.leaves(b.surrogate), strict=True):
            np.testing.assert_array_equal(p, q)


IMPOSSIBLE = {
    "two assets that are one": ReferenceConfig(dim=2, correlation=((1.0, 1.0), (1.0, 1.0))),
    "correlation that is not symmetric": ReferenceConfig(dim=2, correlation=((1.0, 0.5), (0.4, 1.0))),
    "no ones on the diagonal": ReferenceConfig(dim=2, correlation=((0.5, 0.1), (0.1, 0.5))),
}


@pytest.mark.parametrize("reference", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_basket_that_cannot_be_is_refused_before_anything_is_written(tmp_path, reference):
    with pytest.raises(ConfigError, match="reference: `correlation`"):
        run_bachelier(StudyConfig(reference=reference), tmp_path / "out")
    assert not (tmp_path / "out").exists()
