"""What is written appears whole, on the disk, with the rights and names that were there; nothing else changes."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sobolev_pruning import _files
from sobolev_pruning._files import check_can_write, folder_whole, is_same_file, write_somewhere, write_whole


@pytest.fixture(autouse=True)
def usual_umask():
    earlier = os.umask(0o022)
    yield
    os.umask(earlier)


def mode(path):
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("rights", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_rights(tmp_path, rights):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(rights)
    write_whole(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", rights)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_rights_of_any_new_file(tmp_path, umask, rights):
    os.umask(umask)
    write_whole(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == rights


@pytest.mark.parametrize("target", ["there", "dangling"])
def test_a_symbolic_link_stays_one(tmp_path, target):
    (tmp_path / "folder").mkdir()
    if target == "there":
        (tmp_path / "folder" / "a").write_bytes(b"old")
    (tmp_path / "second").symlink_to("folder/a")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_whole(tmp_path / "first", b"new")
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert (tmp_path / "folder" / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["a"]


@pytest.mark.parametrize("data", [b"", b"n", b"newer than old"], ids=len)
def test_all_names_of_a_file_see_what_is_written(tmp_path, data):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o640)
    os.link(tmp_path / "a", tmp_path / "b")
    write_whole(tmp_path / "a", data)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes() == data
    assert (tmp_path / "a").stat().st_nlink == 2
    assert mode(tmp_path / "b") == 0o640
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_no_room_for_a_longer_file_leaves_the_old_one_under_all_its_names(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    sync, synced = os.fsync, []

    def full(file):
        synced.append(file)
        if len(synced) == 2:  # that of the target, after the draft's
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*'.*a'"):
        write_whole(tmp_path / "a", b"a much longer one")
    assert (tmp_path / "b").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_crash_while_a_file_is_overwritten_leaves_the_new_content_beside_it(tmp_path):
    (tmp_path / "a").write_bytes(b"the old content")
    os.link(tmp_path / "a", tmp_path / "b")
    crash = """
        import os, sys
        from sobolev_pruning import _files
        rename = os.rename
        def die(*paths):
            rename(*paths)
            os._exit(9)
        os.rename = die
        _files.write_whole(sys.argv[1], b"the new one")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(crash), tmp_path / "a"], check=False)
    assert done.returncode == 9
    (complete,) = tmp_path.glob(".*.complete")
    assert complete.read_bytes() == b"the new one"
    write_whole(tmp_path / "c", b"another")
    assert complete.exists()


@pytest.mark.parametrize("length", [255, 254, 240])
def test_names_near_the_limit_are_written(tmp_path, length):
    path = tmp_path / ("é" * (length // 2) + "x" * (length % 2))
    assert len(os.fsencode(path.name)) == length
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_call_returns(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace

    def seen(file):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        sync(file)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    write_whole(tmp_path / "a", b"new")
    assert done == ["file", "name", "folder"]


def test_drafts_of_processes_that_died_are_removed_and_those_that_live_are_not(tmp_path):
    begin = """
        import os, sys
        from sobolev_pruning import _files
        with _files._drafted(_files.Path(sys.argv[1])), _files._drafted(_files.Path(sys.argv[1]), folder=True):
            print("begun", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(begin), tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        write_whole(tmp_path / "a", b"new")
        assert len(os.listdir(tmp_path)) == 3
        process.kill()
        process.wait()
    write_whole(tmp_path / "a", b"newer")
    assert os.listdir(tmp_path) == ["a"]


def test_what_this_process_began_can_be_removed(tmp_path):
    with _files._drafted(tmp_path) as (_, draft):
        _files.remove_drafts(tmp_path / "elsewhere")
        assert draft.exists()
        _files.remove_drafts(tmp_path)
        assert os.listdir(tmp_path) == []


def test_a_device_is_written_to_and_stays_a_device():
    write_whole("/dev/null", b"new")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [("none/a", "the folder .*none does not exist"), ("folder", "Is a directory"), ("x" * 256, "File name too long")],
)
def test_what_cannot_be_written_is_named_before_and_while(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    for attempt in (check_can_write, lambda path: write_whole(path, b"new")):
        with pytest.raises(OSError, match=f"{message}.*{name}"):
            attempt(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_into_a_folder_that_is_not_there_names_that_folder(tmp_path):
    (tmp_path / "a").symlink_to("none/a")
    with pytest.raises(FileNotFoundError, match=r"the folder .*/none does not exist"):
        check_can_write(tmp_path / "a")


def test_a_full_disk_leaves_what_was_there(tmp_path):
    """A limit on the size of files makes the writing itself fail, half way; in a process of its own."""
    (tmp_path / "a").write_bytes(b"old")
    limited = """
        import resource, signal, sys
        from sobolev_pruning import _files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            _files.write_whole(sys.argv[1], bytes(10**6))
        except OSError as error:
            print(_files.in_words(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(limited), tmp_path / "a"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told == f"{tmp_path / 'a'}: File too large\n"
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with folder_whole(tmp_path / "above" / "data") as draft:
        (draft / "x").write_bytes(b"1")
        assert not (tmp_path / "above" / "data").exists()
    assert (tmp_path / "above" / "data" / "x").read_bytes() == b"1"

    def fail():
        with folder_whole(tmp_path / "other") as draft:
            (draft / "x").write_bytes(b"1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == ["above"]


def test_one_file_is_known_by_all_its_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").touch()
    os.link("a", "hard")
    os.symlink("a", "soft")
    os.symlink("nowhere", "dangling")
    for other in ("./a", "folder/../a", tmp_path / "a", "hard", "soft"):
        assert is_same_file("a", other), other
    assert is_same_file("dangling", "nowhere")
    assert is_same_file("new", "folder/../new")
    assert not is_same_file("a", "new")
    assert not is_same_file("new", "newer")


def test_a_result_that_does_not_fit_is_put_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "a-rescued.json").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    def write(path):
        write_whole(path, b"new")

    place, reason = write_somewhere(tmp_path / "none" / "a.json", write)
    assert place == tmp_path / "home" / "a-rescued1.json"
    assert isinstance(reason, FileNotFoundError)
    assert place.read_bytes() == b"new"
    assert write_somewhere(tmp_path / "a.json", write) == (tmp_path / "a.json", None)

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(OSError, match=r"a\.json: No space left on device; nor can it be written to .*home"):
        write_somewhere(tmp_path / "a.json", full)
