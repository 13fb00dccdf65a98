"""Data sets of arrays, in memory and on disk: what they refuse, how they are split, and that both draw the same."""

import subprocess
import sys
import textwrap
import tracemalloc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    CotangentProducts,
    DataSet,
    HessianProducts,
    LabelWeights,
    MappedDataSet,
    Rademacher,
    Samples,
)
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss
from sobolev_pruning.surrogate import Normalisation

X = np.arange(10.0).reshape(5, 2)
Y = np.arange(5.0)[:, None]
DYDX = np.arange(10.0).reshape(5, 1, 2)


def spoilt(array, *places, value=np.nan):
    changed = np.array(array)
    for place in places:
        changed[place] = value
    return changed


def test_arrays_become_samples():
    data = DataSet.from_arrays(X, Y.astype(np.float32), jnp.asarray(DYDX), np.ones((5, 1, 2, 2), int))
    assert (data.dim_in, data.dim_out, data.samples.n) == (2, 1, 5)
    assert {part.dtype for part in jax.tree.leaves(data)} == {jnp.dtype("float64")}
    np.testing.assert_array_equal(data.samples.dydx, DYDX)
    assert data.samples.weights is None


ZEROS = LabelWeights(jnp.zeros((5, 1)))
BAD = {
    "flat inputs": ((X[:, 0], Y), {}, r"`x` has shape \(5,\); it must be \(n, d\)"),
    "flat values": ((X, Y[:, 0]), {}, r"`y` has shape \(5,\); it must be \(n, m\), .*`y\[:, None\]`"),
    "flat gradients": ((X, Y, X), {}, r"`dydx` has shape \(5, 2\); it must be \(n, m, d\)"),
    "unequal length": ((X, Y[:4]), {}, r"`y` has shape \(4, 1\), .* ask for \(5, 1\)"),
    "derivatives for two outputs": ((X, Y, np.zeros((5, 2, 2))), {}, r"`dydx` has shape \(5, 2, 2\), .* \(5, 1, 2\)"),
    "derivatives by one input": ((X, Y, DYDX[:, :, :1]), {}, r"`dydx` has shape \(5, 1, 1\)"),
    "words": ((X, np.array([["a"]] * 5)), {}, "`y` is of <U1; give an array of real numbers"),
    "complex": ((X * 1j, Y), {}, "`x` is of complex128"),
    "nothing": ((X[:0], Y[:0]), {}, "`samples` is empty"),
    "inputs": ((spoilt(X, (3, 1)), Y), {}, r"`samples\.x` holds 1 such as nan in 1 of 5 rows \(row 3\)"),
    "values": ((X, spoilt(Y, 1, 4, value=np.inf)), {}, r"`samples\.y` holds 2 such as inf in 2 of 5 rows \(row 1, 4\)"),
    "gradients": (
        (X, Y, spoilt(DYDX, (2, 0, 0), (2, 0, 1))),
        {},
        r"`samples\.dydx` holds 2 such as nan in 1 of 5 rows \(row 2\); .* the weight zero",
    ),
    "infinite, not missing": (
        (X, spoilt(Y, 1, value=np.inf)),
        {"allow_missing": True},
        "holds 1 such as inf in 1 of 5",
    ),
    "nothing known": (
        (X, np.full((5, 1), np.nan)),
        {"allow_missing": True},
        r"`samples\.weights\.y` is zero everywhere",
    ),
    "a mask that leaves nothing": ((X, Y), {"weights": ZEROS}, r"`samples\.weights\.y` is zero everywhere"),
    "negative weight": (
        (X, Y),
        {"weights": LabelWeights(jnp.asarray(spoilt(np.ones((5, 1)), 4, value=-1.0)))},
        r"`samples\.weights\.y` holds 1 such as -1\.0 in 1 of 5 rows \(row 4\)",
    ),
    "weights of another shape": (
        (X, Y),
        {"weights": LabelWeights(jnp.ones((5, 2)))},
        r"`weights\.y` has shape \(5, 2\)",
    ),
}


@pytest.mark.parametrize(("arrays", "options", "message"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arrays_are_named(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        DataSet.from_arrays(*arrays, **options)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_samples_is_named():
    with pytest.raises(TypeError, match=r"`samples` is ndarray; .* `DataSet\.from_arrays`"):
        DataSet(X)


def test_missing_labels_can_be_unknown():
    data = DataSet.from_arrays(X, Y, spoilt(DYDX, (2, 0, 1)), allow_missing=True)
    np.testing.assert_array_equal(data.samples.weights.dydx, spoilt(np.ones((5, 1, 2)), (2, 0, 1), value=0.0))
    np.testing.assert_array_equal(data.samples.dydx, spoilt(DYDX, (2, 0, 1), value=0.0))


def test_labels_of_weight_zero_may_be_anything():
    """They are stored as zero, so that not even their product with zero is NaN."""
    weights = LabelWeights(jnp.asarray(spoilt(np.ones((5, 1)), 2, value=0.0)))
    samples = Samples(jnp.asarray(X), jnp.asarray(spoilt(Y, 2)), weights=weights)
    np.testing.assert_array_equal(DataSet(samples).samples.y, spoilt(Y, 2, value=0.0))


def test_a_split_shares_no_row_and_loses_none():
    data = DataSet.from_arrays(np.arange(50.0)[:, None], np.arange(50.0)[:, None], np.arange(50.0)[:, None, None])
    first, second = data.split(jax.random.key(0), 0.3)
    assert (first.samples.n, second.samples.n) == (35, 15)
    rows = [np.asarray(part.samples.x[:, 0]) for part in (first, second)]
    assert sorted(np.concatenate(rows)) == list(range(50))
    assert not np.array_equal(rows[1], np.sort(rows[1]))  # drawn, not cut off
    for part in (first, second):
        np.testing.assert_array_equal(part.samples.dydx[:, 0, 0], part.samples.x[:, 0])
    other, _ = data.split(jax.random.key(1), 0.3)
    assert not np.array_equal(other.samples.x, first.samples.x)


@pytest.mark.parametrize(("share", "message"), [(0.0, "between 0 and 1"), (1.0, "between"), (0.01, "one of the two")])
def test_a_split_that_leaves_a_set_empty_is_refused(share, message):
    with pytest.raises(ValueError, match=message):
        DataSet.from_arrays(X, Y).split(jax.random.key(0), share)


def whole_samples(n=7, d=2, m=1, k=3):
    """Every part that samples can have."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=(n, *shape)))

    return Samples(
        normal(d),
        normal(m),
        normal(m, d),
        normal(m, d, d),
        HessianProducts(normal(k, d), normal(m, k, d)),
        CotangentProducts(normal(k, m), normal(k, d)),
        LabelWeights(normal(m) ** 2, normal(m, d) ** 2),
    )


def in_parts(samples, rows):
    return [
        jax.tree.map(lambda part, begin=begin: part[begin : begin + rows], samples)
        for begin in range(0, samples.n, rows)
    ]


def test_data_on_disk_are_drawn_as_those_in_memory(tmp_path):
    samples = whole_samples()
    mapped = MappedDataSet.write(tmp_path / "data", in_parts(samples, 3))
    assert (mapped.dim_in, mapped.dim_out, mapped.n) == (2, 1, 7)
    key = jax.random.key(3)
    expected = DataSet(samples).sample(key, 20)
    for drawn in (
        mapped.sample(key, 20),
        eqx.filter_jit(mapped.sample)(key, 20),
        MappedDataSet(tmp_path / "data").sample(key, 20),
    ):
        assert jax.tree.structure(drawn) == jax.tree.structure(expected)
        for part, wanted in zip(jax.tree.leaves(drawn), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(part, wanted)
    joined = jax.tree.map(lambda *part: jnp.concatenate(part), *mapped.chunks(2))
    for part, wanted in zip(jax.tree.leaves(joined), jax.tree.leaves(samples), strict=True):
        np.testing.assert_array_equal(part, wanted)
    with jax.enable_x64(False):
        assert {part.dtype for part in jax.tree.leaves(mapped.sample(key, 2))} == {jnp.dtype("float32")}


def test_batches_can_be_drawn_inside_of_a_scan_and_a_vmap(tmp_path):
    samples = whole_samples()
    mapped = MappedDataSet.write(tmp_path / "data", [samples])
    keys = jax.random.split(jax.random.key(1), 5)
    expected = jnp.stack([DataSet(samples).sample(key, 4).y for key in keys])
    scanned = jax.jit(lambda keys: jax.lax.scan(lambda _, key: (None, mapped.sample(key, 4).y), None, keys)[1])(keys)
    np.testing.assert_array_equal(scanned, expected)
    np.testing.assert_array_equal(jax.vmap(lambda key: mapped.sample(key, 4).y)(keys), expected)


def test_memory_does_not_grow_with_the_data(tmp_path):
    """100 MB on disk; Python and NumPy together never hold a tenth of it."""
    rows, d, chunks = 16_384, 64, 12

    def parts():
        for i in range(chunks):
            x = np.random.default_rng(i).normal(size=(rows, d))
            yield Samples(jnp.asarray(x), jnp.asarray(x[:, :1]))

    tracemalloc.start()
    try:
        mapped = MappedDataSet.write(tmp_path / "data", parts())
        _, peak_of_writing = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        mapped.sample(jax.random.key(0), 256).x.block_until_ready()
        _, peak_of_drawing = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert size > 8 * rows * d * chunks
    # A chunk is a twelfth of the whole; it exists as it comes and once more as what is checked.
    assert peak_of_writing < size / 4
    assert peak_of_drawing < size / 50


def test_a_failed_write_leaves_no_trace(tmp_path):
    def parts():
        yield whole_samples()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        MappedDataSet.write(tmp_path / "data", parts())
    assert not list(tmp_path.iterdir())


FLAT = Samples(jnp.asarray(X), jnp.asarray(Y))
BAD_CHUNKS = {
    "none": ([], "`chunks` holds no samples"),
    "other parts": ([FLAT, Samples(FLAT.x, FLAT.y, jnp.asarray(DYDX))], "from row 5 on have the parts .*dydx"),
    "other shapes": ([FLAT, Samples(FLAT.x[:, :1], FLAT.y)], r"from row 5 on have the parts x \(n, 1\)"),
    "not finite": ([FLAT, Samples(FLAT.x, jnp.asarray(spoilt(Y, 1)))], r"`samples\.y` holds 1 such as nan"),
    "no weight": ([Samples(FLAT.x, FLAT.y, weights=ZEROS)] * 2, r"`weights\.y` is zero in all 10 samples"),
}


@pytest.mark.parametrize(("chunks", "message"), BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_chunks_are_named(tmp_path, chunks, message):
    with pytest.raises(ValueError, match=message):
        MappedDataSet.write(tmp_path / "data", chunks)
    assert not list(tmp_path.iterdir())


def test_unknown_labels_may_fill_a_whole_chunk(tmp_path):
    known = Samples(FLAT.x, FLAT.y, weights=LabelWeights(jnp.ones((5, 1))))
    assert MappedDataSet.write(tmp_path / "data", [Samples(FLAT.x, FLAT.y, weights=ZEROS), known]).n == 10


def test_folders_that_are_no_data_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no x\.npy"):
        MappedDataSet(tmp_path)
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "y.npy").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"y\.npy: not an array of NumPy"):
        MappedDataSet(tmp_path)
    np.save(tmp_path / "y.npy", Y[:4])
    with pytest.raises(ValueError, match=r"y\.npy has 4 rows, x\.npy has 5"):
        MappedDataSet(tmp_path)
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "dydx.npy", DYDX[:, :, :1])
    with pytest.raises(ValueError, match="not the parts of samples that fit each other"):
        MappedDataSet(tmp_path)
    with pytest.raises(FileExistsError, match="exists; give a folder that does not"):
        MappedDataSet.write(tmp_path, [FLAT])


def test_second_derivatives_that_are_not_there_are_named(tmp_path):
    mapped = MappedDataSet.write(tmp_path / "data", [FLAT])
    for data in (mapped, DataSet(FLAT)):
        with pytest.raises(ValueError, match="the data hold no second derivatives"):
            data.sample(jax.random.key(0), 2, directions=Rademacher())


def test_files_that_single_precision_cannot_hold_are_refused(tmp_path):
    data = DataSet.from_arrays(X, 1e40 * Y)
    MappedDataSet.write(tmp_path / "data", iter([data.samples]))
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"`samples\.y`, column 0, reaches 4e\+40, too large"):
        MappedDataSet(tmp_path / "data").rows(0, 5)


def test_derivatives_without_values(tmp_path):
    """They say all but the level; units of the output come from them."""
    t = np.random.default_rng(0).normal(size=(500, 2))
    x, dydx = np.array([1.0, 10.0]) * t, np.tile([[3.0, -0.4]], (500, 1, 1))
    data = DataSet.from_arrays(x, None, dydx)
    np.testing.assert_array_equal(data.samples.weights.y, np.zeros((500, 1)))
    with pytest.warns(UserWarning, match=r"`samples\.y` has no values in column 0: .* right up to a constant"):
        units = Normalisation.from_samples(data.samples)
    np.testing.assert_allclose(units.y_scale, np.std(x @ dydx[0, 0]), rtol=0.1)
    assert float(units.y_mean[0]) == 0.0
    mapped = MappedDataSet.write(tmp_path / "data", iter([data.samples]))
    np.testing.assert_array_equal(mapped.rows(0, 9).dydx, dydx[:9])
    with pytest.raises(ValueError, match="`y` and `dydx` are both None"):
        DataSet.from_arrays(x, None)
    with pytest.raises(ValueError, match=r"weights of `samples\.y` leave no label"):
        ValueLoss().calibrate(data.samples)
    loss = SobolevLoss().calibrate(units.normalise(data.samples))
    assert bool(jnp.isfinite(loss(lambda z: z[:1], units.normalise(data.samples))))


def test_drafts_of_a_process_that_died_are_removed_by_the_next_write(tmp_path):
    dying = """
        import os, sys
        import numpy as np
        from sobolev_pruning.reference import MappedDataSet, Samples
        import jax.numpy as jnp
        def parts():
            yield Samples(jnp.ones((4, 1)), jnp.ones((4, 1)))
            os._exit(9)
        MappedDataSet.write(sys.argv[1], parts())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(dying), tmp_path / "data"], check=False)
    assert done.returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    MappedDataSet.write(tmp_path / "data", [FLAT])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
