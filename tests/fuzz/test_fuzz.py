"""A few damaged files for every reader, and that the campaign sees what it looks for; `make fuzz` runs all of them."""

import os
import random
import subprocess
import sys

import pytest
from fuzz_campaign import run_case
from fuzz_targets import TARGETS, Target
from mutations import damaged, damaged_json

# Reading one of these takes longer than reading a file.
FEW = {"checkpoints": 2, "the command": 16, "regions": 40, "regions of the command": 60}


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A folder for the cases, with another one to stand in."""
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setenv("FUZZ_SCRATCH", str(tmp_path))
    return tmp_path / "box"


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(box, name):
    # Not those of the campaign, so that both together see more.
    found = [run_case(TARGETS[name], name, number, "quick", box) for number in range(FEW.get(name, 150))]
    assert [what for what, _ in found if what] == []
    assert list((box.parent / "away").iterdir()) == []


def write(source, folder):
    (folder / "f").write_text("good")


def misread(what):
    def read(source, folder):
        what(folder)

    return read


def refuse(message, kind=ValueError):
    def fail(folder):
        raise kind(message)

    return misread(fail)


MISTAKES = {
    "another kind of error": (refuse("f: bad", KeyError), "KeyError"),
    "a kind of that kind": (refuse("f: bad", UnicodeError), "UnicodeError"),
    "a message of two lines": (refuse("f: a\nb"), "not one line"),
    "a message with an escape": (refuse("f: \x1b[2J"), "not one line"),
    "a long message": (refuse("f: " + "a" * 2000), "2003 characters"),
    "no name": (refuse("bad"), "without the name of the file"),
    "too much memory": (refuse("f: bad (MemoryError)"), "too much memory"),
    "another's error": (misread(lambda folder: random.Random().sample([], 3)), "another library"),
    "a new file": (misread(lambda folder: (folder / "new").write_text("")), "open .*new"),
    "a file elsewhere": (misread(lambda folder: os.mkdir(folder.parents[1] / "elsewhere")), "os.mkdir .*elsewhere"),
    "a file removed": (misread(lambda folder: (folder / "f").unlink()), "os.remove"),
    "another program": (misread(lambda folder: subprocess.run([sys.executable, "-c", ""], check=True)), "Popen"),
}


@pytest.mark.parametrize(("read", "wrong"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_of_a_reader_are_seen(box, read, wrong):
    import re

    found, _ = run_case(Target(1, write, read), "mistaken", 0, 0, box)
    assert re.search(wrong, found)


def test_a_good_reader_is_believed(box):
    assert run_case(Target(1, write, misread(lambda folder: None)), "good", 0, 0, box) == ("", True)
    assert run_case(Target(1, write, refuse("f: bad")), "good", 0, 0, box) == ("", False)


def test_damage_is_that_of_its_seed_and_often_mild():
    seed, value = b'{"a": [1, 2.5], "b": "text"}', {"a": [1, 2.5], "b": "text"}
    once, again = ([damaged(random.Random(i), seed) for i in range(300)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 250
    assert sum(len(data) > len(seed) // 2 for data in once) > 200
    assert len({damaged_json(random.Random(i), value) for i in range(300)}) > 100


@pytest.mark.slow
def test_a_share_of_the_campaign(tmp_path):
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "fuzz_campaign.py"), "--share", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout.splitlines()[-1]
