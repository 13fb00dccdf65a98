"""Whatever the parser of another library raises becomes one short line that names the file."""

import gzip
import io
import re
import sys
import warnings
import zipfile
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sobolev_pruning import _reading
from sobolev_pruning._reading import brief, from_json, reading, shown
from sobolev_pruning.pruning import kept_inputs
from sobolev_pruning.reference import MappedDataSet, read_points, read_table
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate


def npy(shape="(3,)", descr="'<f8'", data=bytes(24), version=1):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


ARRAYS = {
    "a shape beyond the memory": (npy("(10**13,)".replace("10**13", str(10**13))), "24 bytes follow"),
    "a shape beyond 64 bits": (npy(f"({2**70},)"), "24 bytes follow"),
    "a negative length": (npy("(-3, -1)"), "24 bytes follow"),
    "a shape that is no tuple": (npy("3"), "shape is not valid"),
    "objects": (npy(descr="'|O'"), "it holds object, not numbers"),
    "records": (npy(descr="[('a', '<f8')]"), "not numbers"),
    "arrays of arrays": (npy("(1,)", descr="('<f8', (3,))"), "not numbers"),
    "no bytes": (npy(descr="'<U0'", data=b""), "not numbers"),
    "nested brackets": (npy("(" * 3000 + ")" * 3000), "cannot parse|Cannot parse|too many nested"),
    "an endless header": (npy("(3,)" + " " * 20_000), "Header info length"),
    "a header of names": (npy("__import__('os').abort()"), "malformed|Cannot parse"),
    "a version to come": (npy(version=3), "version"),
    "no header": (b"\x93NUMPY", "magic"),
    "nothing": (b"", "magic"),
}


@pytest.mark.parametrize(("data", "message"), ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("kind", ["points.npy", "points.npz", "table.npz", "mapped"])
def test_a_crafted_array_is_one_line(tmp_path, data, message, kind):
    path = tmp_path / kind
    if kind == "mapped":
        path.mkdir()
        np.save(path / "x.npy", np.zeros((3, 1)))
        (path / "y.npy").write_bytes(data)
    elif kind == "points.npy":
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", data)
            archive.writestr("y.npy", data)
    reader = {
        "mapped": lambda: MappedDataSet(path),
        "table.npz": lambda: read_table(path, inputs=["x"], outputs=["y"]),
    }.get(kind, lambda: read_points(path, dim=2))
    with pytest.raises(ValueError, match=message) as error:
        reader()
    assert len(str(error.value)) < 700
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def archive_with(compression=zipfile.ZIP_DEFLATED, data=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in ("a", "y"):
            archive.writestr(f"{name}.npy", npy() if data is None else data)
    return bytearray(file.getvalue())


def changed(at, to, data=None):
    """An archive whose every central entry has other bytes."""
    data = archive_with() if data is None else data
    for start in [m.start() for m in re.finditer(b"PK\x01\x02", bytes(data))]:
        data[start + at : start + at + len(to)] = to
    return bytes(data)


def with_garbage():
    data = archive_with()
    start = data.index(b"a.npy") + len(b"a.npy")
    data[start : start + 12] = b"\xff" * 12
    return bytes(data)


ARCHIVES = {
    "damaged data": (with_garbage(), "array 'a' cannot be read"),
    "a password": (changed(8, b"\x01\x00"), "array 'a' cannot be read .*(encrypted|password|mismatch|flags)"),
    "another compression": (changed(10, b"\x63\x00"), "compressed in a way that NumPy does not write"),
    "a compression that expands without bound": (
        bytes(archive_with(zipfile.ZIP_BZIP2)),
        "compressed in a way that NumPy does not write",
    ),
    "a stated size beyond the memory": (changed(24, (2**32 - 2).to_bytes(4, "little")), "are said to hold 4294967294"),
    "an offset beyond the end": (changed(42, (2**31).to_bytes(4, "little")), "cannot be read|or a damaged one"),
    "a table that is cut off": (bytes(archive_with())[:-30], "not an archive of NumPy arrays, or a damaged one"),
}


@pytest.mark.parametrize(("data", "message"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_damaged_archive_is_one_line(tmp_path, data, message):
    path = tmp_path / "t.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_table(path, inputs=["a"], outputs=["y"])


@pytest.fixture
def little_room(monkeypatch):
    """As if the memory held a few hundred kilobytes, so that the crafted files can be small."""
    monkeypatch.setattr(_reading, "_LARGE", 2**18)


@pytest.mark.usefixtures("little_room")
def test_what_is_small_on_disk_and_fills_the_memory_is_refused(tmp_path):
    zeros = np.zeros(2**17)
    np.savez_compressed(tmp_path / "t.npz", a=zeros, y=zeros)
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a,y\n" + "0,0\n" * 2**18)
    with gzip.open(tmp_path / "line.csv.gz", "wb") as file:
        file.write(b"a,y\xff" + bytes(2**20))
    parquet.write_table(pa.table({"a": zeros, "y": zeros}), tmp_path / "t.parquet")
    for name in ("t.npz", "t.csv.gz", "line.csv.gz", "t.parquet"):
        with pytest.raises(ValueError, match=rf"/{name}: .*(bytes are said to hold \d+|is not UTF-8)"):
            read_table(tmp_path / name, inputs=["a"], outputs=["y"])


@pytest.mark.usefixtures("little_room")
def test_a_constant_column_beside_data_is_read(tmp_path):
    y = np.random.default_rng(0).normal(size=2**17)
    np.savez_compressed(tmp_path / "t.npz", a=np.zeros(2**17), y=y)
    parquet.write_table(pa.table({"a": np.zeros(2**17), "y": y}), tmp_path / "t.parquet")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a,y\n" + "".join(f"0,{value}\n" for value in y[:1000]))
    for name, n in (("t.npz", 2**17), ("t.parquet", 2**17), ("t.csv.gz", 1000)):
        assert read_table(tmp_path / name, inputs=["a"], outputs=["y"]).n == n


def test_arrays_of_any_order_and_byte_order_are_read(tmp_path):
    x = np.arange(6.0).reshape(3, 2)
    for array in (np.asfortranarray(x), x.astype(">f4"), x.astype(np.int16)):
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(read_points(tmp_path / "x.npy", dim=2), x)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    np.save(tmp_path / "y.npy", x)
    np.testing.assert_array_equal(MappedDataSet(tmp_path).rows(0, 3).x, x)


@pytest.mark.parametrize("array", [np.zeros((3, 1), complex), np.zeros((3, 1), "U3"), np.float64(1)], ids=str)
def test_parts_that_are_no_numbers_are_refused_when_the_folder_is_opened(tmp_path, array):
    np.save(tmp_path / "x.npy", np.zeros((3, 1)))
    np.save(tmp_path / "y.npy", array)
    with pytest.raises(ValueError, match=r"y\.npy: it holds .*, not a row of numbers for each sample"):
        MappedDataSet(tmp_path)


def test_values_and_names_of_any_length_leave_the_message_short(tmp_path):
    long = "n" * 100_000
    (tmp_path / "t.csv").write_text(f"a,y,{long}\n1,2,3\n{long},1,2\n")
    for inputs, message in ((["a"], r"column 'a' holds 'nnn.*nnn' in line 3"), (["b"], "there is no column 'b'")):
        with pytest.raises(ValueError, match=message) as error:
            read_table(tmp_path / "t.csv", inputs=inputs, outputs=["y"])
        assert len(str(error.value)) < 700
    nested = pa.array([[[i] * 1000 for i in range(1000)]] * 2)
    parquet.write_table(pa.table({"a": nested, "y": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'a' is of type list<.*: row 1 holds") as error:
        read_table(tmp_path / "t.parquet", inputs=["a"], outputs=["y"])
    assert len(str(error.value)) < 700


def test_a_field_beyond_what_python_reads_is_one_line(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n" + "3" * 200_000 + ",4\n")
    with pytest.raises(ValueError, match=r"x\.csv: line 2 cannot be read \(field larger than field limit"):
        read_points(tmp_path / "x.csv", dim=2)


@pytest.mark.parametrize("pattern", ["d{output}/d{input:>1000}", "d{output!r}/d{input}", "d{output.x}/d{input}"])
def test_a_pattern_is_names_alone(tmp_path, pattern):
    (tmp_path / "t.csv").write_text("a,y,dy/da\n1,2,3\n")
    with pytest.raises(ValueError, match=r"`derivatives` is the pattern .*must hold \{output\}, \{input\}"):
        read_table(tmp_path / "t.csv", inputs=["a"], outputs=["y"], derivatives=pattern)


@pytest.mark.parametrize("path", ["a" * 300 + ".csv", "a\0.csv", "a" * 5000, "/dev/zero", "."])
def test_a_path_that_no_file_has_is_a_missing_file(path):
    for read in (lambda: read_points(Path(path), dim=1), lambda: read_table(path, inputs=["a"], outputs=["y"])):
        with pytest.raises(FileNotFoundError, match="there is no such") as error:
            read()
        assert len(str(error.value)) < 300


class Panic(BaseException):
    """What a parser in Rust raises."""


@pytest.mark.parametrize("error", [Panic("broken\nbadly"), MemoryError(), RecursionError("deep"), KeyError("x")])
def test_one_kind_of_error(error):
    with pytest.raises(ValueError, match=r"^f: damaged \(.+\)\.$"), reading("f", "damaged"):
        raise error


def test_the_user_can_still_interrupt():
    with pytest.raises(KeyboardInterrupt), reading("f", "damaged"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["[0", "[0, 0]", "[1.0, 2]", "[-1, 0]", "[0]", "{}", "[" * 5000, '["a", "b"]'])
def test_provenance_that_a_file_brings_is_checked_before_it_is_used(text):
    surrogate = Surrogate(MLP.create([2, 1], key=jax.random.key(0)), Normalisation.identity(2, 1))
    assert kept_inputs(surrogate.with_provenance(kept_inputs="[3, 1]")) == (3, 1)
    with pytest.raises(ValueError, match=r"the provenance of the surrogate: `kept_inputs` is .* 2 inputs"):
        kept_inputs(surrogate.with_provenance(kept_inputs=text))


def test_warnings_of_a_parser_are_not_shown():
    with warnings.catch_warnings(record=True) as caught, reading("f", "damaged"):
        warnings.warn("old header", UserWarning, stacklevel=1)
    assert not caught


def test_texts_in_messages():
    assert brief("a\tb\n c\x1b[2J") == "a b c\\x1b[2J"
    assert brief("\udcff") == "\\udcff"
    assert len(brief("é" * 10**6)) <= 200
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (16**10_000, deep, {"a" * 1000: "b" * 1000}, "x" * 10**6, list(range(10**6))):
        assert len(shown(value)) <= 80
    del deep


def test_json_is_read_strictly():
    with pytest.raises(ValueError, match="twice"):
        from_json('{"a": 1, "a": 2}')
    with pytest.raises(ValueError, match=r"f: damaged \(maximum recursion"), reading("f", "damaged"):
        from_json("[" * 10 * sys.getrecursionlimit())
