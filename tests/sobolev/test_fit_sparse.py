"""Sparse optimizers inside `fit`: their masks survive a fit that is cut off, and the result is sparse."""

import jax
import numpy as np
import optax
import pytest
from fit_problem import parameters, points, same_bits, start, train

from sobolev_pruning.pruning import ErdosRenyiSparsity, Masks, random_masks, rigl, sparse_evolution
from sobolev_pruning.reference import DataSet
from sobolev_pruning.sobolev import Checkpoints, ValueLoss, fit_seeds


def optimizer(masks, **options):
    inner = optax.inject_hyperparams(optax.adam)(1e-2)
    return rigl(inner, masks, **{"every": 3, "until": 19} | options)


MASKS = random_masks(start(), ErdosRenyiSparsity(0.5), key=jax.random.key(2))
SPARSE = MASKS.apply(start())
RIGL = optimizer(MASKS)


class Killed(BaseException):
    """What the test ends a fit with."""


@pytest.fixture(scope="module")
def whole():
    return train(surrogate=SPARSE, optimizer=RIGL)


def test_the_result_is_sparse_and_its_zeros_have_moved(whole):
    found = Masks.of(whole.surrogate)
    assert found.n_kept == MASKS.n_kept
    assert any(np.any(a != b) for a, b in zip(found.weights, MASKS.weights, strict=True))
    # The rate of the optimizer inside is found through the state that holds the masks.
    np.testing.assert_allclose(whole.history.learning_rates, 1e-2)


# Between two rewirings and right after one.
@pytest.mark.parametrize("step", [5, 10])
def test_masks_survive_a_fit_that_is_cut_off(tmp_path, whole, step):
    def on_chunk(done, surrogate):
        if done == step:
            raise Killed

    checkpoints = Checkpoints(tmp_path, every=5)
    with pytest.raises(Killed):
        train(surrogate=SPARSE, optimizer=RIGL, checkpoints=checkpoints, on_chunk=on_chunk)
    # As a new process would make it.
    resumed = train(surrogate=SPARSE, optimizer=optimizer(MASKS), checkpoints=checkpoints)
    assert same_bits(resumed.surrogate, whole.surrogate)
    assert np.array_equal(resumed.losses, whole.losses)


@pytest.mark.parametrize("options", [{"every": 4}, {"drop_fraction": 0.4}, {"masks": "others"}], ids=str)
def test_checkpoints_of_other_masks_or_schedules_are_refused(tmp_path, options):
    masks = MASKS
    if options.pop("masks", None):
        masks = random_masks(start(), ErdosRenyiSparsity(0.5), key=jax.random.key(3))
    checkpoints = Checkpoints(tmp_path, every=5)
    train(surrogate=SPARSE, optimizer=RIGL, checkpoints=checkpoints, steps=5)
    with pytest.raises(ValueError, match=r"belongs to another fit, with a different `optimizer`\."):
        train(surrogate=SPARSE, optimizer=optimizer(masks, **options), checkpoints=checkpoints, steps=5)


def test_several_seeds_at_once_are_sparse_each_on_its_own():
    set_ = sparse_evolution(optax.adam(1e-2), MASKS, every=4, key=jax.random.key(0))
    results = fit_seeds(
        start(),
        DataSet(points()),
        ValueLoss(),
        keys=jax.random.split(jax.random.key(1), 2),
        steps=11,
        batch_size=4,
        optimizer=set_,
    )
    found = [parameters(one.surrogate) for one in results]
    for one in results:
        assert sum(MASKS.n_kept) - 3 <= sum(Masks.of(one.surrogate).n_kept) <= sum(MASKS.n_kept)
    assert not all(np.allclose(a, b) for a, b in zip(*found, strict=True))
