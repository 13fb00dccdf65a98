"""A pruned network is an ordinary, smaller one, without the layers that it can do without."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pruning_networks import errors, points, surrogate, with_layers

from sobolev_pruning.pruning import (
    Kept,
    LeastSquares,
    Mean,
    Midpoint,
    Ranking,
    choose_layers,
    kept_inputs,
    prune,
    rank_distinct,
    sampled_significance,
)
from sobolev_pruning.reference import FunctionReference
from sobolev_pruning.regions import Box
from sobolev_pruning.sobolev import SobolevLoss, fit
from sobolev_pruning.surrogate import load, save

X = points(80, 2)
COMPENSATIONS = {"LeastSquares": LeastSquares(X), "Midpoint": Midpoint(Box.around(X, 0.1))}


@pytest.mark.parametrize("compensation", COMPENSATIONS.values(), ids=COMPENSATIONS.keys())
def test_the_result_is_an_ordinary_smaller_network(tmp_path, compensation):
    model = surrogate((2, 4, 3, 1)).with_provenance(made="here")
    pruned = prune(model, Kept(((0, 2, 3), (0, 2)), (4, 3)), compensation)
    assert pruned.network.widths == [2, 3, 2, 1]
    assert pruned.network.n_parameters == 3 * 3 + 4 * 2 + 3 * 1
    assert pruned.provenance == model.provenance
    for a, b in zip(jax.tree.leaves(pruned.normalisation), jax.tree.leaves(model.normalisation), strict=True):
        np.testing.assert_array_equal(a, b)
    save(pruned, tmp_path / "pruned.safetensors")
    assert errors(load(tmp_path / "pruned.safetensors"), pruned, X) == (0.0, 0.0)
    # It learns from the network that it was cut from.
    teacher = FunctionReference(model, lambda key, n: jax.random.normal(key, (n, 2)))
    options = {"steps": 100, "batch_size": 32, "optimizer": optax.adam(1e-2), "steps_per_chunk": 100}
    losses = fit(pruned, teacher, SobolevLoss(), key=jax.random.key(0), **options).losses
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()


def test_the_original_is_left_alone():
    model = surrogate((2, 6, 4, 1))
    before = [np.array(leaf) for leaf in jax.tree.leaves(model)]
    prune(model, Kept(((0, 2), None), (6, 4)), LeastSquares(X))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(model), before, strict=True))


def test_a_surrogate_says_which_inputs_it_keeps(tmp_path):
    """Also after a second round, whose indices are those of what the first has left, and from a file."""
    model, x = surrogate((4, 3, 1)), points(20, 4)
    assert kept_inputs(model) == (0, 1, 2, 3)
    once = prune(model, Kept(((0, 1, 2),), (3,), (0, 2, 3)), Mean(x))
    twice = prune(once, Kept(((0, 1),), (3,), (1, 2)), Mean(x[:, jnp.array(kept_inputs(once))]))
    assert (kept_inputs(once), kept_inputs(twice)) == ((0, 2, 3), (2, 3))
    np.testing.assert_array_equal(twice.normalisation.x_scale, model.normalisation.x_scale[2:])
    save(twice, tmp_path / "two.safetensors")
    assert kept_inputs(load(tmp_path / "two.safetensors")) == (2, 3)
    at = twice.evaluate(x[:, jnp.array(kept_inputs(twice))])
    fixed = model.evaluate(x.at[:, :2].set(jnp.mean(x, axis=0)[None, :2]))
    assert float(jnp.max(jnp.abs(at.y - fixed.y))) < float(jnp.max(jnp.abs(fixed.y - model.evaluate(x).y)))


def test_names_of_inputs_go_with_them():
    """As the command `fit` stores them."""
    model, x = surrogate((4, 3, 1)).with_provenance(inputs="a,b,c,d", outputs="y"), points(20, 4)
    assert kept_inputs(model) == (0, 1, 2, 3)
    small = prune(model, Kept(((0, 1),), (3,), (1, 3)), Mean(x))
    assert dict(small.provenance)["inputs"] == "b,d"
    assert kept_inputs(small) == (1, 3)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_part_of_a_pruning_is_named():
    model, kept = surrogate((2, 3, 1)), Kept(((0,),), (3,))
    with pytest.raises(TypeError, match="`surrogate` is MLP, and a `Surrogate` is wanted"):
        prune(model.network, kept, LeastSquares(X))
    with pytest.raises(TypeError, match="`compensation` is NoneType; it must be"):
        prune(model, kept, None)
    with pytest.raises(TypeError, match="`compensation` is Mean; layers are chosen by `LeastSquares"):
        choose_layers(model, Ranking((np.arange(3),)), [1], Mean(X))
    broken = eqx.tree_at(lambda s: s.network.layers[0].weight, model, jnp.full((3, 2), jnp.nan))
    for compensation in (LeastSquares(X), Mean(X), Midpoint(Box.around(X))):
        with pytest.raises(ValueError, match="layer 0 of the network has a weight or bias that is not finite"):
            prune(broken, kept, compensation)


@pytest.mark.usefixtures("unchecked_shapes")
def test_integers_of_any_kind_say_what_is_kept():
    model = surrogate((2, 3, 1))
    kept = Kept([np.array([0, 2])], [3])
    assert kept == Kept(((0, 2),), (3,))
    assert prune(model, kept, LeastSquares(X)).network.widths == [2, 2, 1]
    with pytest.raises(TypeError, match=r"`hidden\[0\]` is 5; it must be a sequence of integers"):
        Kept((5,), (6,))


def test_nodes_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"`kept` belongs to hidden layers of \(6, 5\) nodes, .* has \(6, 4\)"):
        prune(surrogate((2, 6, 4, 1)), Kept(((0,), (0,)), (6, 5)), LeastSquares(X))


def silu_pair(a, b):
    """`silu(p) - silu(-p) = p`: a layer of pairs that passes on its inputs and does nothing else."""
    weight = np.vstack([np.eye(a), -np.eye(a)])
    return (weight, np.zeros(2 * a)), np.hstack([b, -b])


@pytest.mark.parametrize("idle", [0, 1], ids=["first", "second"])
def test_the_layer_that_does_nothing_goes(idle):
    rng = np.random.default_rng(0)
    work, out = (rng.normal(size=(4, 2)), rng.normal(size=4)), rng.normal(size=(1, 4))
    if idle == 0:
        passing, weight = silu_pair(2, work[0])
        layers = [passing, (weight, work[1]), (out, np.ones(1))]
    else:
        passing, weight = silu_pair(4, out)
        layers = [work, passing, (weight, np.ones(1))]
    model = with_layers(*layers, activation=jax.nn.silu)
    widths = tuple(model.network.widths[1:-1])
    ranking = Ranking(tuple(np.arange(n) for n in widths))
    kept = choose_layers(model, ranking, [4], LeastSquares(X))
    assert kept.hidden[idle] is None
    assert kept.hidden[1 - idle] == (0, 1, 2, 3)
    assert max(errors(prune(model, kept, LeastSquares(X)), model, points(40, 2, seed=1))) < 1e-8


def test_the_choice_has_the_smallest_residual():
    model = surrogate((2, 5, 6, 4, 1))
    ranking = rank_distinct(sampled_significance(model, X), model, X)
    kept = choose_layers(model, ranking, [3, 2], LeastSquares(X, 0.0))
    truth = model.evaluate(X).y
    residuals = {}
    for widths in ([3, 2, None], [3, None, 2], [None, 3, 2]):
        choice = ranking.keep(widths)
        residuals[choice] = float(jnp.mean((prune(model, choice, LeastSquares(X, 0.0)).evaluate(X).y - truth) ** 2))
    assert kept == min(residuals, key=residuals.get)
    assert len(set(residuals.values())) == 3


def test_all_layers_may_stay():
    model = surrogate((2, 6, 4, 1))
    ranking = Ranking((np.arange(6), np.arange(4)))
    assert choose_layers(model, ranking, [2, 3], LeastSquares(X)) == ranking.keep([2, 3])


BAD_CHOICES = {
    "more layers": ((6, 4), [1, 1, 1], "`widths` asks for 3 hidden layers, the network has 2"),
    "more nodes": ((6, 4), [7], r"asks for 7 nodes of hidden layer 0, which has 6"),
    "no node": ((6, 4), [0], "asks for 0 nodes"),
    "too many choices": ((1,) * 14, [1] * 7, "choosing 7 of 14 hidden layers has 3432 ways, more than 1000"),
}


@pytest.mark.parametrize(("hidden", "widths", "message"), BAD_CHOICES.values(), ids=BAD_CHOICES.keys())
def test_impossible_choices_are_named(hidden, widths, message):
    ranking = Ranking(tuple(np.arange(n) for n in hidden))
    with pytest.raises(ValueError, match=message):
        choose_layers(surrogate((2, *hidden, 1)), ranking, widths, LeastSquares(X))
