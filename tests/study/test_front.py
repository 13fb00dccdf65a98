"""What a search leaves on disk: surrogates that load, numbers, a picture and a page that needs nothing else."""

import json
import re

import jax
import jax.numpy as jnp
import pytest

from sobolev_pruning._files import short_stem
from sobolev_pruning.pruning import Candidate, ShrinkResult, SurrogateErrors, Tolerance
from sobolev_pruning.study import RunExistsError, check_front_folder, files_of_front, pareto_front, write_front
from sobolev_pruning.study._figures import to_svg
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load

TOLERANCE = Tolerance(values=1e-3, largest_value=0.5)


def candidate(hidden, error, within=True):
    network = MLP.create([2, *hidden, 1], key=jax.random.key(len(hidden)))
    errors = SurrogateErrors(error, 10 * error, None, error**0.5, 1.0, None)
    return Candidate(Surrogate(network, Normalisation.identity(2, 1)), errors, within)


ORIGINAL, SMALL, TINY = candidate((8, 8), 1e-6), candidate((2,), 1e-4), candidate((1,), 0.1, False)
FAILED = Candidate(candidate((1, 1), 1.0).surrogate, SurrogateErrors.failed(), False)
RESULT = ShrinkResult(SMALL, ORIGINAL, (TINY, FAILED, SMALL), False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "front"
    check_front_folder(folder)
    return folder, write_front(RESULT, TOLERANCE, 12.34, folder)


def test_every_surrogate_on_the_front_is_there(written):
    folder, summary = written
    assert json.loads((folder / "report.json").read_text()) == summary
    stored = {network["surrogate"] for network in summary["networks"] if network["on_front"]}
    assert stored == {"front/2-1-1.safetensors", "front/2-2-1.safetensors", "front/2-8-8-1.safetensors"}
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")} == stored | {
        "smallest.safetensors",
        "report.json",
        "report.html",
        "front.svg",
    }
    x = jnp.array([0.3, -0.2])
    for name in ("smallest.safetensors", "front/2-2-1.safetensors"):
        assert load(folder / name)(x) == SMALL.surrogate(x)


def test_the_page_needs_nothing_else_and_says_what_was_found(written):
    folder, _ = written
    page = (folder / "report.html").read_text()
    assert "<strong>9 parameters</strong> (2-2-1)" in page
    assert "ended by its limits" in page
    assert "data:image/svg+xml;base64," in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    # A network that could not be trained is on no front, and JSON has no infinities.
    assert "Infinity" not in (folder / "report.json").read_text()
    assert "2-1-1-1" not in page


def test_an_earlier_front_is_not_lost_and_nothing_else_is_touched(written, tmp_path):
    folder, _ = written
    with pytest.raises(RunExistsError, match=r"already holds smallest.safetensors.*--overwrite"):
        check_front_folder(folder)
    check_front_folder(folder, overwrite=True)
    (tmp_path / "front").mkdir()
    foreign = [tmp_path / "notes.txt", tmp_path / "front" / "retrained.safetensors"]
    for path in foreign:
        path.write_text("mine")
    check_front_folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_front_folder(tmp_path / "file")
    write_front(RESULT, TOLERANCE, 1.0, tmp_path)
    write_front(ShrinkResult(ORIGINAL, ORIGINAL, (), True), TOLERANCE, 1.0, tmp_path)
    assert {p.name for p in (tmp_path / "front").iterdir()} == {"2-8-8-1.safetensors", "retrained.safetensors"}
    assert {path.read_text() for path in foreign} == {"mine"}


def network(parameters, error, **marks):
    errors = {"values": error, "gradients": None, "curvature": None}
    return {"widths": [2, 1, 1], "parameters": parameters, "errors": errors} | {
        "within": True,
        "on_front": True,
        "smallest": False,
        **marks,
    }


@pytest.mark.parametrize(
    "networks",
    [[network(9, 1e-3, smallest=True)], [network(9, 0.0), network(900, 1e-9)], [network(9, None)]],
    ids=["one", "exact", "none measured"],
)
def test_the_figure_of_little(networks):
    figure = pareto_front(networks, {"values": 1e-2})
    assert len(figure.axes) == (networks[0]["errors"]["values"] is not None)
    assert to_svg(figure) == to_svg(pareto_front(networks, {"values": 1e-2}))


def test_networks_of_many_layers_have_names_that_a_file_can_have(tmp_path):
    """Their widths alone are longer than the 255 bytes that most file systems take."""
    deep, deeper = candidate((12,) * 90, 1e-6), candidate((12,) * 91, 1e-7)
    summary = write_front(ShrinkResult(deep, deeper, (deep, deep), True), TOLERANCE, 1.0, tmp_path)
    names = {network["surrogate"] for network in summary["networks"] if network["on_front"]}
    assert len(names) > 1
    assert all(len(name) < 140 and (tmp_path / name).is_file() for name in names)
    assert set(files_of_front(tmp_path)) == {path for path in tmp_path.rglob("*") if path.is_file()}
    assert short_stem("2-8-8-1") == "2-8-8-1"
    stems = {short_stem("7-" + "12-" * n + "1") for n in range(300)}
    assert len(stems) == 300
    assert max(map(len, stems)) <= 100
