"""Files of a run appear whole or not at all, and nobody else's are touched."""

import errno
import os

import pytest

from sobolev_pruning.study import RunExistsError, RunFolder, contents_of_run


def tree(path):
    """Every file with its content."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def earlier_run(path):
    folder = RunFolder(path)
    folder.write("config.toml", "seed = 1\n")
    folder.write("summary.json", "{}")
    (path / "figures" / "network_7-3-1.png").write_bytes(b"old")
    (path / "figures" / "slides.png").write_text("mine")
    (path / "checkpoints" / "retrained.safetensors").write_text("mine")
    (path / "notes.txt").write_text("mine")
    (path / "data").mkdir()
    (path / "data" / "figures").write_text("mine too")


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["checkpoints", "figures"]
    assert contents_of_run(folder.path) == []
    assert contents_of_run(tmp_path / "nowhere") == []


def test_a_file_is_written_and_replaced_whole(tmp_path):
    folder = RunFolder(str(tmp_path))
    assert folder.write("report.html", "ä" * 10_000) == tmp_path / "report.html"
    folder.write("report.html", "new ü")
    assert tree(tmp_path) == {"report.html": "new ü".encode()}


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.write("config.toml", "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.write("config.toml", "new")
    with pytest.raises(UnicodeEncodeError):
        folder.write("config.toml", "half \ud800")
    assert tree(tmp_path) == {"config.toml": b"old"}
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "config.toml", "figures"]


def test_an_earlier_run_is_refused_and_left_alone(tmp_path):
    earlier_run(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(RunExistsError, match=r"already holds a run \(config.toml\).*overwrite") as caught:
        RunFolder(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert tree(tmp_path) == before


def test_a_single_leftover_is_a_run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    RunFolder(tmp_path)  # empty folders are not
    (tmp_path / "checkpoints" / "retrained.safetensors").write_bytes(b"")
    RunFolder(tmp_path)  # nor are files of somebody else, beside which a run goes
    (tmp_path / "checkpoints" / "2-1-oversized.safetensors").write_bytes(b"")
    with pytest.raises(RunExistsError, match="checkpoints/"):
        RunFolder(tmp_path)


def test_overwriting_removes_the_run_and_keeps_foreign_files(tmp_path):
    earlier_run(tmp_path)
    folder = RunFolder(tmp_path, overwrite=True)
    assert len(contents_of_run(tmp_path)) == 3, "until there is something to put in its place"
    folder.begin()
    kept = {name: b"mine" for name in ("notes.txt", "figures/slides.png", "checkpoints/retrained.safetensors")}
    assert tree(tmp_path) == kept | {"data/figures": b"mine too"}
    assert (tmp_path / "figures").is_dir()
    assert contents_of_run(tmp_path) == []


def test_foreign_files_are_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path)
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="file is a file; give a folder"):
        RunFolder(tmp_path / "file", overwrite=True)
    with pytest.raises(PermissionError, match="cannot be made ready for a run"):
        RunFolder(tmp_path / "file" / "below")
    assert tree(tmp_path) == {"file": b"mine"}


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(PermissionError, match="checkpoints"):
        RunFolder(tmp_path, overwrite=True)
    assert tree(tmp_path) == {"checkpoints": b"mine"}


def test_overwriting_keeps_foreign_files_beside_the_checkpoints(tmp_path):
    RunFolder(tmp_path)
    own, foreign = tmp_path / "checkpoints" / "7-3-3-1-pruned.safetensors", tmp_path / "checkpoints" / "notes.txt"
    own.write_bytes(b"old")
    foreign.write_text("mine")
    RunFolder(tmp_path, overwrite=True).begin()
    assert not own.exists()
    assert foreign.read_text() == "mine"


def test_a_run_whose_folder_has_no_room_left_goes_on_in_another(tmp_path, monkeypatch):
    """A file-system limit that the third file meets; nothing that was written before is left behind."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    folder = RunFolder(tmp_path / "out")
    folder.write("config.toml", "seed = 1\n")
    folder.store("checkpoints/2-1-oversized.safetensors", lambda path: path.write_bytes(b"weights"))

    def full(path):
        if tmp_path / "out" in path.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        path.write_bytes(b"more weights")

    at = folder.store("checkpoints/2-1-pruned.safetensors", full)
    folder.write("summary.json", "{}")
    moved = tmp_path / "home" / "out-rescued"
    assert (folder.path, at) == (moved, moved / "checkpoints" / "2-1-pruned.safetensors")
    assert isinstance(folder.moved, OSError)
    assert tree(moved) == {
        "config.toml": b"seed = 1\n",
        "checkpoints/2-1-oversized.safetensors": b"weights",
        "checkpoints/2-1-pruned.safetensors": b"more weights",
        "summary.json": b"{}",
    }
    assert tree(tmp_path / "out") == {"config.toml": b"seed = 1\n", "checkpoints/2-1-oversized.safetensors": b"weights"}
