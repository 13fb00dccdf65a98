"""Rows that were trained on are recognised by their inputs, whatever has become of the table."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sobolev_pruning.pruning import rows_apart
from sobolev_pruning.reference import DataSet, RowSplit, Samples
from sobolev_pruning.sobolev import ValueLoss, fit, fit_levenberg_marquardt, fit_seeds
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

RNG = np.random.default_rng(5)
X = RNG.uniform(-1, 1, (200, 3))


def as_set(x):
    return {row.tobytes() for row in np.asarray(x)}


def samples(x):
    return Samples(jnp.asarray(x), jnp.asarray(x[:, :1]))


def test_a_share_of_the_rows_is_held_out():
    rows = RowSplit.draw(X, 0.2, seed=0)
    assert rows.held_out(X).sum() == 40
    assert rows.is_of(X)
    assert (RowSplit.draw(X, 0.2, seed=1).held_out(X) != rows.held_out(X)).any()
    # They are a sample of all rows, and not those of one corner.
    assert np.abs(X[rows.held_out(X)].mean(axis=0)).max() < 0.3


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_neither_side_is_empty(share):
    held = RowSplit.draw(X, share, seed=3).held_out(X)
    assert held.sum() == round(200 * share)


def test_no_row_that_was_trained_on_is_ever_held_out():
    rows = RowSplit.draw(X, 0.2, seed=0)
    trained = as_set(X[~rows.held_out(X)])
    order = RNG.permutation(200)
    for other in (X[order], np.concatenate([RNG.uniform(-1, 1, (300, 3)), X[order]]), X[:77], np.repeat(X, 2, axis=0)):
        assert not trained & as_set(other[rows.held_out(other)])
        assert rows.held_out(other).any()
        assert rows.is_of(other) == (len(other) == 200)
    changed = X * (1 + 1e-3)
    assert not rows.is_of(changed)


def test_equal_inputs_stay_on_one_side():
    x = np.repeat(X[:20], 10, axis=0)
    held = RowSplit.draw(x, 0.2, seed=0).held_out(x)
    assert not as_set(x[held]) & as_set(x[~held])
    assert 0 < held.sum() < 200


def test_single_precision_and_signs_of_zero_do_not_matter():
    rows = RowSplit.draw(X, 0.2, seed=0)
    np.testing.assert_array_equal(rows.held_out(X.astype(np.float32)), rows.held_out(X))
    x = np.where(np.abs(X) < 0.2, 0.0, X)
    rows = RowSplit.draw(x, 0.2, seed=0)
    np.testing.assert_array_equal(rows.held_out(np.where(x == 0, -0.0, x)), rows.held_out(x))


def test_inputs_that_single_precision_cannot_tell_apart():
    """A column of seconds since 1970: in single precision all rows would be one."""
    x = 1.7e9 + np.arange(50.0)[:, None]
    rows = RowSplit.draw(x, 0.2, seed=0)
    assert rows.double
    assert rows.held_out(x).sum() == 10


def test_it_is_stored_as_text():
    rows = RowSplit.draw(X, 0.3, seed=2**31 - 1)
    assert RowSplit.from_text(rows.to_text()) == rows
    facts = json.loads(rows.to_text())
    changed = ({"last": "-1"}, {"last": "f" * 17}, {"seed": 10**30}, {"share": None}, {"rows": "x"})
    damaged = ("", "{}", "[1]", "x" * 5000, "[" * 10**5, *(json.dumps(facts | change) for change in changed))
    for text in damaged:
        with pytest.raises(ValueError, match="`split` in the provenance of the surrogate is damaged") as raised:
            RowSplit.from_text(text)
        assert len(str(raised.value)) < 200


def test_what_cannot_be_divided_is_refused():
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="`share` is"):
            RowSplit.draw(X, share, seed=0)
    with pytest.raises(ValueError, match="leaves one of the two sets empty"):
        RowSplit.draw(X[:2], 0.1, seed=0)
    with pytest.raises(ValueError, match="all 20 samples have the same inputs"):
        RowSplit.draw(np.ones((20, 3)), 0.2, seed=0)
    rows = RowSplit.draw(X, 0.2, seed=0)
    with pytest.raises(ValueError, match="none of 160 rows are to judge by"):
        DataSet(samples(X[~rows.held_out(X)])).split_by(rows)


def test_pruning_judges_by_the_rows_that_a_surrogate_has_not_seen():
    rows = RowSplit.draw(X, 0.2, seed=0)
    plain = Surrogate(MLP.create([3, 2, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
    surrogate = plain.with_provenance(split=rows.to_text())
    order = RNG.permutation(200)
    apart = rows_apart(surrogate, DataSet(samples(X[order])), key=jax.random.key(1))
    assert as_set(apart.held_out.x) == as_set(X[rows.held_out(X)])
    assert as_set(apart.training.samples.x) == as_set(X[~rows.held_out(X)])
    assert apart.unsure is None
    other = rows_apart(surrogate, DataSet(samples(np.concatenate([X, X + 0.01]))), key=jax.random.key(1))
    assert not as_set(other.held_out.x) & as_set(X[~rows.held_out(X)])
    assert "not the one of 200 rows" in other.unsure
    unknown = rows_apart(plain, DataSet(samples(X)), key=jax.random.key(1))
    assert unknown.held_out.n == 40
    assert "does not say which rows it was trained on" in unknown.unsure


def test_a_division_that_was_edited_is_refused():
    rows = RowSplit.draw(X, 0.2, seed=0)
    plain = Surrogate(MLP.create([3, 2, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
    for change in (
        {"last": 2 * rows.last},
        {"seed": 1, "digest": RowSplit.draw(X, 0.2, seed=1).digest},
        {"share": 0.3},
    ):
        edited = plain.with_provenance(split=dataclasses.replace(rows, **change).to_text())
        with pytest.raises(ValueError, match="`split` in the provenance of the surrogate was changed"):
            rows_apart(edited, DataSet(samples(X)), key=jax.random.key(1))


def test_rows_that_were_trained_on_later_are_not_called_unseen():
    """A surrogate of the command `fit` that goes on training in Python, on all rows of the table."""
    rows = RowSplit.draw(X, 0.2, seed=0)
    start = Surrogate(MLP.create([3, 2, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
    start = start.with_provenance(split=rows.to_text(), inputs="a,b,c")
    course = {"steps": 1, "batch_size": 8, "optimizer": optax.adam(1e-3)}
    ways = (
        lambda data: fit(start, data, ValueLoss(), key=jax.random.key(1), **course),
        lambda data: fit_seeds(start, data, ValueLoss(), keys=jax.random.split(jax.random.key(1), 1), **course).best(),
        lambda data: fit_levenberg_marquardt(start, data.samples, ValueLoss(), max_steps=1),
    )
    for way in ways:
        apart = dict(way(DataSet(samples(X[~rows.held_out(X)]))).surrogate.provenance)
        assert apart == dict(start.provenance)
        assert dict(way(DataSet(samples(X))).surrogate.provenance) == {"inputs": "a,b,c"}
