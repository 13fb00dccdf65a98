"""Tables: every kind of file gives the same samples, and what is wrong with one is named by column and row."""

import gzip
import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from sobolev_pruning.reference import CsvFormat, read_points, read_table, stream_table, table_columns

N = 9
RNG = np.random.default_rng(0)
COLUMNS = ["a", "b", "y", "z", "dy/da", "dy/db", "dz/da", "dz/db", "d2y/dada", "d2y/dbda", "d2y/dbdb"]
DATA = {name: RNG.normal(size=N) for name in COLUMNS}
FIRST, SECOND = "d{output}/d{input}", "d2{output}/d{input}d{other}"


def as_csv(path, data):
    # Written by hand, since what a CSV file means is what is tested.
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_npz(path, data):
    np.savez(path, **{name: np.asarray(column) for name, column in data.items()})


def as_parquet(path, data):
    # Several groups of rows, so that the reader meets their ends.
    parquet.write_table(pa.table({name: pa.array(column) for name, column in data.items()}), path, row_group_size=4)


WRITERS = {".csv": as_csv, ".npz": as_npz, ".parquet": as_parquet}


@pytest.fixture(params=WRITERS)
def table(request, tmp_path):
    """A function that writes columns to a file, and returns its path."""

    def write(**changes):
        path = tmp_path / f"table{request.param}"
        WRITERS[request.param](path, DATA | changes)
        return path

    return write


@pytest.fixture
def csv(tmp_path):
    """A function that writes text or bytes to a CSV file, and returns its path."""

    def write(text):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def stacked(*names):
    return np.stack([DATA[name] for name in names], -1)


def test_columns_become_samples(table):
    path = table()
    assert table_columns(path) == COLUMNS
    samples = read_table(path, inputs=["b", "a"], outputs=["z", "y"], derivatives=FIRST)
    np.testing.assert_array_equal(samples.x, stacked("b", "a"))
    np.testing.assert_array_equal(samples.y, stacked("z", "y"))
    np.testing.assert_array_equal(samples.dydx, stacked("dz/db", "dz/da", "dy/db", "dy/da").reshape(N, 2, 2))
    assert samples.d2ydx2 is None
    assert samples.weights is None


def test_second_derivatives_are_symmetric(table):
    samples = read_table(table(), inputs=["a", "b"], outputs=["y"], derivatives=FIRST, second_derivatives=SECOND)
    expected = stacked("d2y/dada", "d2y/dbda", "d2y/dbda", "d2y/dbdb").reshape(N, 1, 2, 2)
    np.testing.assert_array_equal(samples.d2ydx2, expected)
    by_name = {("y", "a", "a"): "d2y/dada", ("y", "a", "b"): "d2y/dbda", ("y", "b", "b"): "d2y/dbdb"}
    named = read_table(table(), inputs=["a", "b"], outputs=["y"], second_derivatives=by_name)
    np.testing.assert_array_equal(named.d2ydx2, expected)


def test_derivatives_by_name(table):
    names = {("y", "a"): "dz/db", ("y", "b"): "dy/db"}
    samples = read_table(table(), inputs=["a", "b"], outputs=["y"], derivatives=names)
    np.testing.assert_array_equal(samples.dydx, stacked("dz/db", "dy/db")[:, None, :])


def test_integers_are_numbers(table):
    samples = read_table(table(a=np.arange(N)), inputs=["a"], outputs=["y"])
    np.testing.assert_array_equal(samples.x[:, 0], np.arange(N))
    assert samples.x.dtype == jnp.float64


def test_samples_have_the_default_precision(table):
    with jax.enable_x64(False):
        assert read_table(table(), inputs=["a"], outputs=["y"]).x.dtype == jnp.float32
        with pytest.raises(ValueError, match=r"table\.\w+: column 'y' reaches 1e\+50, too large for float32"):
            read_table(table(y=np.where(np.arange(N) == 2, 1e50, DATA["y"])), inputs=["a"], outputs=["y"])


def with_holes(name, *rows):
    return {name: np.where(np.isin(np.arange(N), rows), np.nan, DATA[name])}


def test_labels_without_value_are_refused_and_counted(table):
    path = table(**with_holes("dy/da", 2, 5))
    where = "lines 4, 7" if path.suffix == ".csv" else "rows 3, 6"
    message = rf"{path.name}: column 'dy/da' holds no value in 2 of 9 rows, {where}; .*`allow_missing=True`"
    with pytest.raises(ValueError, match=message):
        read_table(path, inputs=["a", "b"], outputs=["y"], derivatives=FIRST)


def test_labels_without_value_can_be_unknown(table):
    path = table(**with_holes("dy/da", 2, 5))
    samples = read_table(path, inputs=["a", "b"], outputs=["y"], derivatives=FIRST, allow_missing=True)
    known = np.ones((N, 1, 2))
    known[[2, 5], 0, 0] = 0.0
    np.testing.assert_array_equal(samples.weights.dydx, known)
    np.testing.assert_array_equal(samples.dydx, np.where(known > 0, stacked("dy/da", "dy/db")[:, None, :], 0.0))
    assert samples.weights.y is None  # all are known
    # An input without value is refused all the same.
    with pytest.raises(ValueError, match=r"column 'b' holds no value in 1 of 9 rows, .*inputs must be known"):
        read_table(table(**with_holes("b", 0)), inputs=["a", "b"], outputs=["y"], allow_missing=True)


def test_derivatives_without_column_can_be_unknown(table):
    names = {("y", "b"): "dy/db"}
    with pytest.raises(ValueError, match=r"no column is named for \('y', 'a'\)"):
        read_table(table(), inputs=["a", "b"], outputs=["y"], derivatives=names)
    samples = read_table(table(), inputs=["a", "b"], outputs=["y"], derivatives=names, allow_missing=True)
    np.testing.assert_array_equal(samples.weights.dydx[:, 0], np.tile([0.0, 1.0], (N, 1)))
    np.testing.assert_array_equal(samples.dydx[:, 0, 0], np.zeros(N))


def test_weights_have_mean_one_over_the_known_labels(table):
    weights = np.array([0.0, 1, 2, 3, 0, 5, 6, 7, 8])
    path = table(w=weights, **with_holes("y", 0))  # a label of weight zero needs no value
    samples = read_table(path, inputs=["a"], outputs=["y"], derivatives={("y", "a"): "dy/da"}, weights={"y": "w"})
    np.testing.assert_allclose(samples.weights.y[:, 0], weights / (weights.sum() / 7), rtol=1e-14)
    assert samples.weights.dydx is None
    assert float(samples.y[0, 0]) == 0.0


def test_errors_become_inverse_squares(table):
    errors = np.linspace(0.5, 2.0, N)
    path = table(**{"y_se": np.where(np.arange(N) == 3, np.nan, errors), **with_holes("y", 3)})
    samples = read_table(path, inputs=["a"], outputs=["y"], errors="{label}_se", allow_missing=True)
    expected = np.where(np.arange(N) == 3, 0.0, errors**-2)
    np.testing.assert_allclose(samples.weights.y[:, 0], expected / (expected.sum() / 8), rtol=1e-14)


@pytest.mark.parametrize("rows_at_once", [2, 4, 100])
def test_a_stream_is_the_table_in_parts(table, rows_at_once):
    path = table(w=np.arange(1.0, N + 1), **with_holes("dy/da", 0, 1, 2, 8))
    options = {
        "inputs": ["a", "b"],
        "outputs": ["y"],
        "derivatives": FIRST,
        "weights": {"y": "w"},
        "allow_missing": True,
    }
    parts = list(stream_table(path, **options, rows_at_once=rows_at_once))
    assert max(part.n for part in parts) <= rows_at_once
    joined = jax.tree.map(lambda *part: jnp.concatenate(part), *parts)
    for part, whole in zip(jax.tree.leaves(joined), jax.tree.leaves(read_table(path, **options)), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-15)


# Changes of the table's columns, options, and what the message says.
BAD = {
    "no such column": ({}, {"inputs": ["a", "spot"]}, "there is no column 'spot'. The columns are 'a', 'b', 'y'"),
    "a near name": ({"spot": DATA["a"]}, {"inputs": ["sopt"]}, "there is no column 'sopt'. Did you mean 'spot'?"),
    "no such derivative": ({}, {"outputs": ["y", "b"], "inputs": ["a"]}, "there is no column 'db/da', which `deriv"),
    "infinite": ({"y": [1.0, np.inf, *DATA["y"][2:]]}, {}, "column 'y' holds an infinite value in 1 of 9 rows, "),
    "all missing": (
        {"y": np.full(N, np.nan)},
        {"allow_missing": True},
        "column 'y' holds no label that is known (all 9 are missing",
    ),
    "weights of zero": ({"w": np.zeros(N)}, {"weights": {"y": "w"}}, "column 'y' holds no label that is known"),
    "negative weight": ({"w": np.arange(N) - 1}, {"weights": {"y": "w"}}, "'w' holds a negative weight in 1 of 9"),
    "no error": ({"w": np.arange(N)}, {"errors": {"y": "w"}}, "'w' holds a standard error that is not positive in 1"),
    "weight without value": (with_holes("a", 1), {"inputs": ["b"], "weights": {"y": "a"}}, "'y' has one there"),
    "weights and errors": ({}, {"weights": {"y": "a"}, "errors": {"y": "a"}}, "`weights` and `errors` are both given"),
    "weight of no label": ({}, {"weights": {"q": "a"}}, "`weights` has the key 'q', which is no column of labels"),
    "weight of some": ({}, {"outputs": ["y", "z"], "weights": {"y": "a"}}, "`weights` has no column for 'z'"),
    "no such weight": ({}, {"weights": "{label}_w"}, "there is no column 'y_w'"),
    "no inputs": ({}, {"inputs": []}, "`inputs` is empty; name at least one column"),
    "inputs in one text": ({}, {"inputs": "ab"}, "`inputs` is the text 'ab'; give a list of columns"),
    "twice": ({}, {"inputs": ["a", "a"]}, "column 'a' is named twice"),
    "input and output": ({}, {"outputs": ["a"]}, "column 'a' is named twice"),
    "pattern without place": ({}, {"derivatives": "d{output}"}, "it must hold {output}, {input}, each once"),
    "pattern of other places": ({}, {"derivatives": "d{y}/d{input}"}, "it must hold {output}, {input}"),
    "pattern of one brace": ({}, {"derivatives": "d{output/d{input}"}, "it must hold {output}, {input}"),
    "derivative of no output": ({}, {"derivatives": {("q", "a"): "b"}}, "there is no output 'q'; the outputs are y"),
    "derivative by no input": ({}, {"derivatives": {("y", "q"): "b"}}, "there is no input 'q'; the inputs are a, b"),
    "a column for two derivatives": (
        {},
        {"derivatives": {("y", "a"): "z", ("y", "b"): "z"}},
        "`derivatives` takes the column 'z' for both ('y', 'a') and ('y', 'b'); a column holds one derivative",
    ),
    "no rows": ({name: np.zeros(0) for name in COLUMNS}, {}, "the table is empty; it has columns, but no rows"),
}


@pytest.mark.parametrize(("changes", "options", "message"), BAD.values(), ids=BAD)
def test_bad_tables_and_options_are_named(table, changes, options, message):
    path = table(**changes)
    options = {"inputs": ["a", "b"], "outputs": ["y"], "derivatives": FIRST} | options
    for read in (read_table, stream_table):  # a stream refuses before its first samples
        with pytest.raises(ValueError, match=re.escape(message)):
            read(path, **options)


BAD_CSV = {
    "a word": ("a,y\n1,2\n\n3,x\n4,z\n", "column 'y' holds 'x' in line 4, which is no number"),
    "grouped digits": ("a,y\n1_000,2\n", "column 'a' holds '1_000' in line 2"),
    "an empty cell": ("a,y\n1,2\n3,\n4,NA\n", "column 'y' holds no value in 2 of 3 rows, lines 3, 4"),
    "many empty cells": ("a,y\n" + "1,\n" * 7, "in 7 of 7 rows, lines 2, 3, 4, 5, 6, … (7 in all)"),
    "ragged": ("a,y\n1,2\n1,2,3\n", "line 3 has 3 cells, but there are 2 columns"),
    "spaces": ("a,y\n1,2\n  \n", "line 3 has 1 cells"),
    "twice": ("a,y,y\n1,2,3\n", "2 columns are named 'y'; rename them"),
    "no names": ("1,2\n3,4\n", "the first line holds numbers (1, 2, …)"),
    "nothing": ("", "the table is empty; its first line must name the columns"),
    "only names": ("a,y\n", "the table is empty; it has columns, but no rows"),
    "either separator": ("a;b,y\n1;2,3\n", "may be separated by commas or semicolons; say by which: `separator=','`"),
    "too small": ("a,y\n1,2\n1e-400,3\n", "'1e-400' in line 3, which is too small for double precision; change the un"),
    "too large": (
        "a,y\n1,2\n1e400,3\n",
        "an infinite value in 1 of 2 rows, line 3; .* change the units of numbers",
    ),
    "thousands or decimals": (
        "a;y\n1,234;5\n",
        "the comma of '1,234' may be a decimal one or group thousands; say whi",
    ),
    "thousands": ('a,y\n1.5,"1,234,567"\n', "holds '1,234,567' in line 2, which is no number; do not group the digits"),
    "thousands with decimals": ("a;y\n1;1,234.5\n", "holds '1,234.5' in line 2, which is no number; do not group"),
    "points grouping": (
        "a;y\n1,5;1.234\n",
        "column 'a' holds '1,5' in line 2, which is no number; for a decimal comma say `decimal=','`",
    ),
    "a point after a thousand commas": (
        "a;y\n" + "1,5;2\n" * 1000 + "1.5;2\n",
        "'1.5' in line 1002, which is no number; the decimal sign of this table is the comma, for a point",
    ),
    "points among commas": (
        "a;y\n1,5;2\n3,5;1.25\n",
        "column 'a' holds '1,5' in line 2, which is no number; for a dec",
    ),
    "spaces in numbers": ("a;y\n1 234;5\n", "holds '1 234' in line 2, which is no number; do not group the digits"),
    "a comment below": ("a,y\n1,2\n# end\n", "line 3 has 1 cells, .*; to leave out comments say `comment='#'`"),
    "names in a comment": (
        "# a,y\n1,2\n",
        "the first line holds numbers (1, 2, …); write .* without a '#' before them",
    ),
    "units with a number": (
        "a,y\nm,1\n1,2\n",
        "'a' holds 'm' in line 2, which is no number; if that line holds units, ",
    ),
    "latin": ("a,y\n1,2\n3,é\n".encode("latin-1"), "line 3 is not UTF-8"),
    "utf-16": ("a,y\n1,2\n".encode("utf-16"), "line 1 is not UTF-8"),
    "nul": ("a,y\n1,2\x00\n", "line 2"),
    "grouped digits where units may stand": (
        "a;y\n1.234,5;2.345,6\n4;5\n",
        "holds '1.234,5' in line 2, which is no num",
    ),
    "prices where units may stand": ("a,y\n$10,$2\n4,5\n", "column 'a' holds '$10' in line 2, which is no number."),
    "another marker": ("a,y\n1,2\n<NA>,5\n", "line 3, which is no number; if it stands for no value, name it in `mis"),
    "exponents of Fortran": (
        "a,y\n1.0D+00,2\n",
        "'1.0D+00' in line 2, which is no number; write the exponent with an E",
    ),
    "a typographic minus": ("a,y\n1,2\n\u22121,2\n", "in line 3, which is no number; write its minus sign as '-'"),
    "an open quotation mark": (
        'a,y\n1,"2\n3,4\n5,6\n',
        "several lines, so a quotation mark before them may not be closed",
    ),
    "an open mark in a large file": ('a,y\n1,"2\n' + "3,4\n" * 40_000, "the row begins in line 2, so a quotation mark"),
    "spaces between cells": (
        "b y\n1 2\n",
        "There is one column, 'b y'; if there are more, say what separates the cells",
    ),
    "a name in other characters": (
        "\u200ba,y\n1,2\n",
        "no column 'a'. One is written with the same signs in other charac",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_bad_csv_is_named_by_line(csv, text, message):
    # ".*" in a message stands for any words.
    with pytest.raises(ValueError, match=rf"t\.csv: .*{'.*'.join(map(re.escape, message.split('.*')))}"):
        read_table(csv(text), inputs=["a"], outputs=["y"])


def test_csv_as_programs_write_it(csv):
    """The mark of the byte order, spaces, quotation marks, line ends of Windows, and a column that is no number."""
    text = '\ufeff"spot, today" , y,name\r\n1.5, 2e-3,first\r\n"-1" ,+4,"two\r\nlines"\r\n.5,1,"third"\r\n'
    samples = read_table(csv(text), inputs=["spot, today"], outputs=["y"])
    np.testing.assert_array_equal(samples.x[:, 0], [1.5, -1.0, 0.5])
    np.testing.assert_array_equal(samples.y[:, 0], [2e-3, 4.0, 1.0])


# The same table as programs of several countries write it, and what has to be said of it.
WRITTEN = {
    "semicolons": ("a;b;y\n1,5;2;\n-,5;3e2;4,\n", {}),
    "tabs": ("a\tb\ty\n1.5\t2\tNA\n-.5\t3e2\t4\n", {}),
    "bars": ("a|b|y\n1.5|2|-\n-.5|3e2|4\n", {}),
    "quoted commas": ('"a","b","y"\n"1,5","2",""\n"-0,5","300","4"\n', {}),
    "comments above": ("# made today\n#\n\na,b,y\n1.5,2,null\n-.5,3e2,4\n", {}),
    "comments anywhere": ('% a\na,b,y\n% "\n1.5,2,\n%\n-.5,3e2,4\n% end', {"comment": "%"}),
    "units": ("a,b,y\n[m],[s],-\n1.5,2,n/a\n-.5,3e2,4\n", {}),
    "units without dimension": ("a,b,y\nm,1,1\n1.5,2,n/a\n-.5,3e2,4\n", {"unit_row": True}),
    "own markers": ("a,b,y\n1.5,2,-999\n-.5,3e2,4\n", {"missing": ("?", "-999.0")}),
    "another separator": ("a~b~y\n1,5~2~?\n-0,5~3e2~4\n", {"separator": "~", "missing": ["?"]}),
    "decimals that look like thousands": ("a;b;y\n1,500;2;\n-0,500;3e2;4\n", {"decimal": ","}),
    "spaces before quotation marks": ('a, "b", "y"\n1.5, 2, ""\n-.5, "3e2", 4\n', {}),
    "the separator above the names": ("sep=;\r\na;b;y\r\n1,5;2;\r\n-,5;3e2;4\r\n", {}),
    "units with digits": ("a,b,y\n10^3 kg,m2,1/s\n1.5,2,n/a\n-.5,3e2,4\n", {}),
    "ambiguous alone": ("a;b;y\n1,500;2;\n-0,5;3e2;4\n", {}),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("text", "options"), WRITTEN.values(), ids=WRITTEN)
def test_csv_of_other_countries_and_programs(tmp_path, text, options, packed):
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    read = {"inputs": ["a", "b"], "outputs": ["y"], "allow_missing": True, "csv": CsvFormat(**options)}
    samples = read_table(path, **read)
    np.testing.assert_array_equal(samples.x, [[1.5, 2.0], [-0.5, 300.0]])
    np.testing.assert_array_equal(samples.y * samples.weights.y, [[0.0], [4.0]])
    np.testing.assert_array_equal(samples.weights.y, [[0.0], [1.0]])
    assert [part.n for part in stream_table(path, **read, rows_at_once=1)] == [1, 1]


def test_lines_are_counted_with_comments_and_units(csv):
    text = '# one\n# two\na,y\nm,s\n1,"2\n"\n# five\n3,x\n'
    with pytest.raises(ValueError, match="column 'y' holds 'x' in line 8, which is no number"):
        read_table(csv(text), inputs=["a"], outputs=["y"], csv=CsvFormat(comment="#"))


def test_a_first_row_that_may_be_data_is_not_taken_for_names(tmp_path):
    """Points may do without names; decimal commas must not make text of their first row."""
    (tmp_path / "p.csv").write_text("1,5;2,5\n3,5;4,5\n")
    with pytest.raises(ValueError, match="may be separated by commas or semicolons"):
        read_points(tmp_path / "p.csv", dim=2)
    for text in ("1.5;2.5\n3.5;4.5\n", "a;b\n1,5;2,5\n3,5;4,5\n", '"1,5","2,5"\n"3,5","4,5"\n'):
        (tmp_path / "p.csv").write_text(text)
        np.testing.assert_array_equal(read_points(tmp_path / "p.csv", dim=2), [[1.5, 2.5], [3.5, 4.5]])


def test_a_damaged_archive_is_named(tmp_path):
    whole = gzip.compress(b"a,y\n" + b"1,2\n" * 40_000)
    for damaged in (whole[:-20], whole[:60] + b"\x00" * 8 + whole[68:], b"a,y\n1,2\n"):
        (tmp_path / "t.csv.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"t\.csv\.gz: the compressed file is damaged after line"):
            read_table(tmp_path / "t.csv.gz", inputs=["a"], outputs=["y"])


BAD_FORMAT = {
    "two characters": ({"separator": ";;"}, "`separator` is ';;'; it must be one character"),
    "a decimal sign": ({"decimal": "'"}, "must be '.' or ','"),
    "no comment": ({"comment": ""}, "`comment` is empty"),
    "a marker in one text": ({"missing": "NA"}, "`missing` is the text 'NA'; give a list"),
    "one for both": ({"separator": ",", "decimal": ","}, "`separator` and `decimal` are both ','"),
}


@pytest.mark.parametrize(("options", "message"), BAD_FORMAT.values(), ids=BAD_FORMAT)
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_formats_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CsvFormat(**options)


def test_a_format_of_text_is_refused_for_other_tables(tmp_path):
    as_npz(tmp_path / "t.npz", {"a": [1.0], "y": [1.0]})
    with pytest.raises(ValueError, match=r"t\.npz: `csv` says how a text file is written"):
        read_table(tmp_path / "t.npz", inputs=["a"], outputs=["y"], csv=CsvFormat(decimal=","))


def test_a_column_of_text_is_named(tmp_path):
    words = {"a": [1.0, 2.0], "y": ["one", "two"]}
    as_parquet(tmp_path / "t.parquet", words)
    with pytest.raises(ValueError, match=r"column 'y' is of type string, not of numbers: row 1 holds 'one'"):
        read_table(tmp_path / "t.parquet", inputs=["a"], outputs=["y"])
    as_npz(tmp_path / "t.npz", words)
    with pytest.raises(ValueError, match=r"array 'y' is of <U3, not of real numbers: row 1 holds 'one'"):
        read_table(tmp_path / "t.npz", inputs=["a"], outputs=["y"])


def test_nulls_of_parquet_are_missing(tmp_path):
    as_parquet(tmp_path / "t.parquet", {"a": [1, 2, 3], "y": [1, None, 3]})
    with pytest.raises(ValueError, match="column 'y' holds no value in 1 of 3 rows, row 2"):
        read_table(tmp_path / "t.parquet", inputs=["a"], outputs=["y"])


def test_arrays_of_unequal_length_are_named(tmp_path):
    as_npz(tmp_path / "t.npz", {"a": np.zeros(3), "y": np.zeros(4), "m": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="array 'y' has 4 rows, but 'a' has 3"):
        read_table(tmp_path / "t.npz", inputs=["a"], outputs=["y"])
    with pytest.raises(ValueError, match=r"array 'm' has shape \(3, 2\); a column is \(n,\)"):
        read_table(tmp_path / "t.npz", inputs=["a"], outputs=["m"])


@pytest.mark.parametrize(
    ("name", "message"), [("t.npz", "not an archive of NumPy arrays"), ("t.parquet", "not a Parquet file")]
)
def test_damaged_files_are_named(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        table_columns(tmp_path / name)


def test_files_of_other_kinds_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv: there is no such table"):
        table_columns(tmp_path / "no.csv")
    (tmp_path / "t.xlsx").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"files that end in \.csv, \.npz, \.parquet"):
        table_columns(tmp_path / "t.xlsx")


def test_without_pyarrow_the_remedy_is_named(tmp_path, monkeypatch):
    as_parquet(tmp_path / "t.parquet", {"a": [1.0]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'sobolev-pruning\[tables\]'"):
        table_columns(tmp_path / "t.parquet")
