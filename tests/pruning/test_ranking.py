"""Rankings: the most significant first, and the same thing not twice."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import points, surrogate

from sobolev_pruning.pruning import (
    Kept,
    LeastSquares,
    Ranking,
    Significance,
    prune,
    rank_by_significance,
    rank_distinct,
    sampled_significance,
)


def scores(*layers):
    return Significance(jnp.ones((len(layers[0]), 2)), tuple(jnp.array(layer, dtype=float) for layer in layers))


def orders(ranking):
    return [order.tolist() for order in ranking.orders]


def test_the_most_significant_come_first():
    assert orders(rank_by_significance(scores([[1.0, 3.0, 2.0]], [[0.5, 0.0]]))) == [[1, 2, 0], [0, 1]]


def test_of_several_outputs_the_largest_score_counts():
    assert orders(rank_by_significance(scores([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]]))) == [[1, 2, 0]]


def test_equal_scores_keep_the_order_of_the_nodes():
    assert orders(rank_by_significance(scores([[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0] * 3]))) == [
        [i for i in range(21) if i % 7 % 2] + [i for i in range(21) if not i % 7 % 2]
    ]


def test_keep_takes_the_first_of_each_order():
    ranking = Ranking((np.array([2, 0, 3, 1]), np.array([1, 0]), np.array([0, 1, 2])))
    assert ranking.keep([2, None, 3]) == Kept(((0, 2), None, (0, 1, 2)), (4, 2, 3))


BAD_WIDTHS = {
    "too few layers": ([2], "`widths` names 1 hidden layers, the network has 2"),
    "too many layers": ([2, 1, 1], "`widths` names 3 hidden layers"),
    "too many nodes": ([4, 3], r"`widths\[1\]` asks for 3 nodes of hidden layer 1, which has 2; keep 1 to 2"),
    "no node": ([0, 1], r"`widths\[0\]` asks for 0 nodes of hidden layer 0"),
    "negative": ([4, -1], r"`widths\[1\]` asks for -1"),
}


@pytest.mark.parametrize(("widths", "message"), BAD_WIDTHS.values(), ids=BAD_WIDTHS.keys())
def test_keep_names_the_layer_that_cannot_be(widths, message):
    with pytest.raises(ValueError, match=message):
        Ranking((np.arange(4), np.arange(2))).keep(widths)


BAD_INPUTS = {
    "none": (Ranking((np.arange(2),), np.arange(3)), 0, "`inputs` is 0; the network has 3"),
    "more than there are": (Ranking((np.arange(2),), np.arange(3)), 4, "`inputs` is 4; the network has 3"),
    "unranked": (Ranking((np.arange(2),)), 1, "this ranking knows no inputs"),
}


@pytest.mark.parametrize(("ranking", "n", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_inputs_that_cannot_be_kept_are_refused(ranking, n, message):
    with pytest.raises(ValueError, match=message):
        ranking.keep([1], inputs=n)


@pytest.mark.parametrize(("inputs", "message"), [((), "keeps no input"), ((2, 1), "increasing"), ((-1, 1), "negative")])
def test_kept_inputs_are_checked(inputs, message):
    with pytest.raises(ValueError, match=message):
        Kept(((0,),), (2,), inputs)


BAD_KEPT = {
    "another number of layers": (((0,),), (4, 2), "describes 1 layers, but the network has 2"),
    "no node": (((), (0,)), (4, 2), "hidden layer 0 keeps no node; use `None`"),
    "out of range": (((0,), (2,)), (4, 2), r"hidden layer 1 are \(2,\); they must be increasing and in \[0, 2\)"),
    "negative": (((-1, 0), (0,)), (4, 2), "hidden layer 0"),
    "twice": (((1, 1), (0,)), (4, 2), "hidden layer 0"),
    "unsorted": (((1, 0), (0,)), (4, 2), "hidden layer 0"),
}


@pytest.mark.parametrize(("hidden", "widths", "message"), BAD_KEPT.values(), ids=BAD_KEPT.keys())
def test_nodes_that_cannot_be_kept_are_refused(hidden, widths, message):
    with pytest.raises(ValueError, match=message):
        Kept(hidden, widths)


def with_copy(noise):
    """Node 1 of the first layer is a copy of node 0, and no node is more significant than these two."""
    model = surrogate((2, 6, 4, 1), jnp.tanh)
    first, second = model.network.layers[:2]
    weight, bias = first.weight.at[1].set(first.weight[0] + noise), first.bias.at[1].set(first.bias[0])
    out = second.weight.at[:, 0].multiply(20.0).at[:, 1].set(20.0 * second.weight[:, 0])

    def where(s):
        return (s.network.layers[0].weight, s.network.layers[0].bias, s.network.layers[1].weight)

    return eqx.tree_at(where, model, (weight, bias, out))


def test_a_copy_of_a_significant_node_says_nothing_new():
    model, x = with_copy(0.0), points(60, 2)
    found = sampled_significance(model, x)
    assert set(orders(rank_by_significance(found))[0][:2]) == {0, 1}
    distinct = orders(rank_distinct(found, model, x))
    assert distinct[0][0] in (0, 1)
    assert distinct[0][-1] in (0, 1)
    assert [sorted(order) for order in distinct] == [list(range(6)), list(range(4))]


def test_distinct_nodes_are_refitted_with_smaller_weights():
    model, x = with_copy(1e-4), points(60, 2)
    found = sampled_significance(model, x)
    largest = [
        float(jnp.max(jnp.abs(prune(model, ranking.keep([3, 4]), LeastSquares(x)).network.layers[1].weight)))
        for ranking in (rank_by_significance(found), rank_distinct(found, model, x))
    ]
    assert largest[1] < 0.1 * largest[0]


def test_nodes_that_say_different_things_are_ranked_by_significance():
    """Each node sees an input of its own, so their values are orthogonal but for chance."""
    model = surrogate((4, 4, 1), jnp.tanh)

    def where(s):
        return (s.network.layers[0].weight, s.network.layers[0].bias)

    model = eqx.tree_at(where, model, (jnp.eye(4), jnp.zeros(4)))
    given = Significance(jnp.ones((1, 4)), (jnp.array([[1.0, 3.0, 0.2, 2.0]]),))
    assert orders(rank_distinct(given, model, points(400, 4))) == [[1, 3, 0, 2]]


def test_nodes_without_significance_come_last():
    model = surrogate((2, 4, 1))
    given = Significance(jnp.ones((1, 2)), (jnp.array([[0.0, 0.3, 0.0, 0.1]]),))
    assert set(orders(rank_distinct(given, model, points(30, 2)))[0][2:]) == {0, 2}


def test_samples_of_other_dimensions_are_named():
    model = surrogate((2, 4, 1))
    with pytest.raises(ValueError, match="`x` has 3 inputs, the surrogate 2"):
        rank_distinct(scores([[1.0] * 4]), model, points(5, 3))


@pytest.mark.usefixtures("unchecked_shapes")
def test_scores_that_are_no_order_are_refused():
    model, x = surrogate((2, 4, 1)), points(5, 2)
    with pytest.raises(ValueError, match="`scores` of hidden layer 0 hold NaN"):
        rank_by_significance(scores([[1.0, jnp.nan]]))
    with pytest.raises(ValueError, match="`scores` of hidden layer 0 hold NaN"):
        rank_distinct(scores([[1.0, jnp.nan, 1.0, 1.0]]), model, x)
    with pytest.raises(ValueError, match=r"`scores` are of hidden layers of \[2\] nodes, the network has \[4\]"):
        rank_distinct(scores([[1.0, 2.0]]), model, x)
    with pytest.raises(ValueError, match=r"`x` has shape \(0, 2\)"):
        rank_distinct(scores([[1.0] * 4]), model, x[:0])


def test_float32_ranks_alike():
    model, x = surrogate((2, 6, 4, 1)), points(60, 2)
    expected = orders(rank_distinct(sampled_significance(model, x), model, x))
    with jax.enable_x64(False):
        model, x = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float32)), (model, x))
        assert orders(rank_distinct(sampled_significance(model, x), model, x)) == expected
