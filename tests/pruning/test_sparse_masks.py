"""Masks keep exactly as many weights as a sparsity says, where the scores are highest, and leave no layer empty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import errors, points, surrogate, with_layers

from sobolev_pruning.pruning import (
    ErdosRenyiSparsity,
    GlobalSparsity,
    Masks,
    SparseEvaluator,
    UniformSparsity,
    choose_weights,
    random_masks,
    remove_dead_nodes,
)

OVERSIZED = [(128, 7), *[(128, 128)] * 5, (1, 128)]
SPARSITIES = (UniformSparsity, ErdosRenyiSparsity, GlobalSparsity)
LAYERS = [(4, 2), (3, 4), (1, 3)]


def scores(seed=0, shapes=LAYERS):
    return [jax.random.normal(jax.random.key(seed + i), shape) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("share", [0.0, 1 / 3, 0.8, 0.95, 0.9999])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_numbers_are_exact(sparsity, share):
    kept = sparsity(share).kept(OVERSIZED)
    assert sum(kept) == round((1 - share) * sum(a * b for a, b in OVERSIZED))
    if len(kept) > 1:
        assert all(1 <= n <= a * b for n, (a, b) in zip(kept, OVERSIZED, strict=True))


def test_uniform_is_uniform():
    for n, (a, b) in zip(UniformSparsity(0.9).kept(OVERSIZED), OVERSIZED, strict=True):
        assert abs(n - 0.1 * a * b) <= 1


@pytest.mark.parametrize(("share", "dense"), [(0.5, [0, 6]), (0.8, [0, 6]), (0.9, [6]), (0.98, [6])])
def test_erdos_renyi_fills_the_densest_layers_and_gives_the_others_one_epsilon(share, dense):
    kept = ErdosRenyiSparsity(share).kept(OVERSIZED)
    sizes = [a * b for a, b in OVERSIZED]
    assert [i for i in range(len(sizes)) if kept[i] == sizes[i]] == dense
    epsilons = [kept[i] / sum(OVERSIZED[i]) for i in range(len(sizes)) if i not in dense]
    np.testing.assert_allclose(epsilons, np.mean(epsilons), rtol=1.0 / min(kept[i] for i in range(1, 6)))
    # A layer is whole only because its density would exceed one.
    assert all(np.mean(epsilons) * sum(OVERSIZED[i]) > sizes[i] for i in dense)


@pytest.mark.parametrize("sparsity", [UniformSparsity(0.5), ErdosRenyiSparsity(0.5)])
def test_the_highest_scores_of_each_layer_are_kept(sparsity):
    masks = choose_weights(scores(), sparsity)
    assert masks.n_kept == sparsity.kept(LAYERS)
    for mask, score in zip(masks.weights, scores(), strict=True):
        assert jnp.min(score[mask]) > jnp.max(score[~mask], initial=-jnp.inf)


def test_a_global_ranking_empties_no_layer():
    low = scores()
    low[1] = low[1] - 100
    masks = choose_weights(low, GlobalSparsity(1 - 6 / 23))
    assert sum(masks.n_kept) == 6
    assert masks.n_kept[1] == 1
    assert masks.weights[1].ravel()[jnp.argmax(low[1])]
    rest = jnp.concatenate([low[0].ravel(), low[2].ravel()])
    chosen = jnp.concatenate([masks.weights[0].ravel(), masks.weights[2].ravel()])
    assert set(np.flatnonzero(chosen)) >= set(np.argsort(-rest)[:4])


def test_equal_scores_are_kept_in_order():
    masks = choose_weights([jnp.zeros((3, 4)), jnp.zeros((2, 3))], UniformSparsity(0.5))
    assert [mask.ravel().astype(int).tolist() for mask in masks.weights] == [[1] * 6 + [0] * 6, [1] * 3 + [0] * 3]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_masks_are_applied_and_read_back(dtype):
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), surrogate((2, 4, 3, 1)))
    masks = random_masks(model, UniformSparsity(0.5), key=jax.random.key(1))
    sparse = jax.jit(Masks.apply)(masks, model)
    assert masks.n_kept == UniformSparsity(0.5).kept(LAYERS)
    assert masks.sparsity == pytest.approx(1 - 12 / 23)
    for mask, before, after in zip(masks.weights, model.network.layers, sparse.network.layers, strict=True):
        # By their bits: a negative zero is another one.
        np.testing.assert_array_equal(np.signbit(after.weight[~mask]), False)
        np.testing.assert_array_equal(after.weight, np.where(mask, before.weight, 0))
        np.testing.assert_array_equal(after.bias, before.bias)
        assert after.weight.dtype == dtype
    for mask, found in zip(masks.weights, Masks.of(sparse).weights, strict=True):
        np.testing.assert_array_equal(mask, found)
    assert errors(sparse, model, points(20, 2).astype(dtype))[0] > 1e-3


def test_random_masks_depend_on_the_key_and_reach_every_weight():
    model, keys = surrogate((2, 4, 3, 1)).network, jax.random.split(jax.random.key(0), 100)
    drawn = jax.vmap(lambda key: random_masks(model, UniformSparsity(0.5), key=key))(keys)
    for mask, p in zip(map(np.asarray, drawn.weights), (4 / 8, 6 / 12, 2 / 3), strict=True):
        np.testing.assert_array_equal(mask.sum(axis=(1, 2)), p * mask[0].size)
        # Five standard deviations of a binomial law.
        assert np.all(np.abs(mask.sum(axis=0) - 100 * p) < 5 * (100 * p * (1 - p)) ** 0.5)


@pytest.mark.parametrize("activation", [jax.nn.silu, jnp.tanh, jax.nn.relu, jax.nn.softplus])
def test_the_evaluator_agrees_with_the_surrogate(activation):
    model = surrogate((2, 6, 5, 2), activation)
    sparse = random_masks(model, ErdosRenyiSparsity(0.5), key=jax.random.key(1)).apply(model)
    x = np.asarray(points(30, 2))
    evaluator = SparseEvaluator(sparse)
    np.testing.assert_allclose(evaluator(x), jax.vmap(sparse)(x), rtol=1e-13, atol=1e-13)
    assert evaluator.n_bytes < SparseEvaluator(model).n_bytes


def test_the_evaluator_does_not_overflow():
    model = surrogate((2, 6, 5, 2))
    assert np.all(np.isfinite(SparseEvaluator(model)(np.full((1, 2), -1e4))))


def test_dead_nodes_are_removed_and_nothing_changes():
    """Of 3 + 3 nodes, one is read by none, one is constant, and of those one feeds only on the other."""
    w0 = [[1.0, 0.5], [0.3, -2.0], [0.0, 0.0]]
    w1 = [[0.7, 0.0, 0.4], [0.0, 0.0, -1.5], [0.2, 0.9, 0.0]]
    w2 = [[0.5, 2.0, 0.0], [-0.3, 0.1, 0.0]]
    biases = [[0.1, 0.2, 0.3], [-0.1, 0.5, 0.6], [1.0, 2.0]]
    model = with_layers(*zip([w0, w1, w2], biases, strict=True), activation=jax.nn.silu)
    small = remove_dead_nodes(model)
    # The third node of the first layer is constant, so the second of the second one is; the third of that is not read.
    # Then nothing reads the second of the first.
    assert small.network.widths == [2, 1, 1, 2]
    assert max(errors(small, model, points(20, 2))) < 1e-14


def test_a_layer_of_dead_nodes_keeps_one():
    model = with_layers(([[0.0], [0.0]], [1.0, 2.0]), ([[1.0, 3.0]], [0.5]), activation=jax.nn.silu)
    small = remove_dead_nodes(model)
    assert small.network.widths == [1, 1, 1]
    assert max(errors(small, model, points(5, 1))) < 1e-14


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan"), 2.0])
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_a_sparsity_outside_of_its_range_is_refused(sparsity, share):
    with pytest.raises(ValueError, match=r"`sparsity` is .*; it is a share of the weights, and must be in \[0, 1\)"):
        sparsity(share)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_keeping_nothing_in_a_layer_is_refused(sparsity):
    with pytest.raises(
        ValueError, match=r"keeps 2 of 23 weights, .* at least one of 3 layers; it can be at most 0.869"
    ):
        choose_weights(scores(), sparsity(0.9))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose_weights([], UniformSparsity(0.5)), "`scores` is empty"),
        (
            lambda: choose_weights([jnp.ones((2, 2)), jnp.full((1, 2), jnp.nan)], UniformSparsity(0.5)),
            r"`scores\[1\]` holds a value that is not finite",
        ),
        (
            lambda: random_masks(surrogate((2, 3, 1)), UniformSparsity(0.0), key=jax.random.key(0)).apply(surrogate()),
            r"`masks` are of the shapes \[\(3, 2\), \(1, 3\)\], the weights of the network \[\(4, 2\)",
        ),
        (lambda: SparseEvaluator(surrogate())(np.ones((3, 4))), r"`x` has shape \(3, 4\); .* shape \(n, 2\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
