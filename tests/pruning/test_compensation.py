"""What takes over for removed nodes: refits are least squares, midpoints are folded into biases."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import errors, points, surrogate, with_layers

from sobolev_pruning.pruning import Kept, LeastSquares, Mean, Midpoint, VacuousEnclosureError, prune
from sobolev_pruning.regions import Box, TrustRegions

X = points(80, 2)


def everything(*widths):
    return Kept(tuple(tuple(range(n)) for n in widths), widths)


@pytest.mark.parametrize("activation", [jax.nn.silu, jnp.tanh, jax.nn.relu], ids=lambda f: f.__name__)
@pytest.mark.parametrize("m", [1, 2])
def test_a_refit_of_all_nodes_changes_nothing(activation, m):
    model = surrogate((2, 4, 3, m), activation)
    for weight in (0.0, 1.0):
        pruned = prune(model, everything(4, 3), LeastSquares(X, weight))
        assert max(errors(pruned, model, points(40, 2, seed=1))) < 1e-9
    # In double precision even the parameters come back, where no node is another's copy.
    for a, b in zip(pruned.network.layers, model.network.layers, strict=True):
        np.testing.assert_allclose(a.weight, b.weight, atol=1e-8)
        np.testing.assert_allclose(a.bias, b.bias, atol=1e-8)


def redundant(model, node, others, factors, constant):
    """Replace a node of the first hidden layer of tanh, which is odd: a copy, a mirror image or a constant."""

    def where(s):
        return (s.network.layers[0].weight, s.network.layers[0].bias)

    weight, bias = where(model)
    weight = weight.at[node].set(sum((f * weight[o] for o, f in zip(others, factors, strict=True)), jnp.zeros(2)))
    bias = bias.at[node].set(constant + sum(f * bias[o] for o, f in zip(others, factors, strict=True)))
    return eqx.tree_at(where, model, (weight, bias))


REDUNDANT = {
    "copy": ([2], [1.0], 0.0),
    "mirror image": ([2], [-1.0], 0.0),
    "constant": ([], [], 0.7),
}


@pytest.mark.parametrize("case", REDUNDANT.values(), ids=REDUNDANT.keys())
@pytest.mark.parametrize("weight", [0.0, 1.0], ids=["values", "values and Jacobians"])
def test_redundant_nodes_are_removed_without_loss(case, weight):
    model = redundant(surrogate((2, 4, 3, 1), jnp.tanh), 1, *case)
    pruned = prune(model, Kept(((0, 2, 3), (0, 1, 2)), (4, 3)), LeastSquares(X, weight))
    assert pruned.network.widths == [2, 3, 3, 1]
    assert max(errors(pruned, model, points(40, 2, seed=1))) < 1e-9
    # Another node is not redundant.
    other = prune(model, Kept(((0, 1, 2), (0, 1, 2)), (4, 3)), LeastSquares(X, weight))
    assert max(errors(other, model, points(40, 2, seed=1))) > 1e-3


def test_copies_that_are_kept_do_no_harm():
    model = redundant(surrogate((2, 4, 3, 1), jnp.tanh), 1, [2], [1.0], 0.0)
    pruned = prune(model, everything(4, 3), LeastSquares(X))
    assert max(errors(pruned, model, X)) < 1e-9
    assert max(float(jnp.max(jnp.abs(layer.weight))) for layer in pruned.network.layers) < 5.0


def jacobian_scale(goal, slopes):
    return np.sum(np.var(goal, axis=0)) / (np.sum(slopes**2) / len(goal))


def test_a_refit_solves_the_normal_equations():
    """One hidden layer: its kept nodes are as they were, and the output weights follow from sums over the samples."""
    model, chosen, weight = surrogate((2, 5, 2), jnp.tanh), [0, 3, 4], 0.7
    first, last = model.network.layers
    z = (np.asarray(X) - np.asarray(model.normalisation.x_mean)) / np.asarray(model.normalisation.x_scale)
    nodes = np.tanh(z @ np.asarray(first.weight).T + np.asarray(first.bias))
    slopes = (1 - nodes**2)[:, :, None] * np.asarray(first.weight)[None]
    goal = nodes @ np.asarray(last.weight).T + np.asarray(last.bias)
    goal_slopes = np.einsum("mk,nkd->nmd", np.asarray(last.weight), slopes)
    c = weight * jacobian_scale(goal, goal_slopes)
    left, right = np.zeros((4, 4)), np.zeros((4, 2))
    for i in range(len(z)):
        row = np.append(nodes[i, chosen], 1.0)
        left += np.outer(row, row)
        right += np.outer(row, goal[i])
        for j in range(2):
            row = np.append(slopes[i, chosen, j], 0.0)
            left += c * np.outer(row, row)
            right += c * np.outer(row, goal_slopes[i, :, j])
    expected = np.linalg.solve(left, right)
    refitted = prune(model, Kept((tuple(chosen),), (5,)), LeastSquares(X, weight)).network
    np.testing.assert_allclose(refitted.layers[0].weight, first.weight[jnp.array(chosen)], atol=1e-12)
    np.testing.assert_allclose(refitted.layers[1].weight, expected[:-1].T, rtol=1e-8)
    np.testing.assert_allclose(refitted.layers[1].bias, expected[-1], rtol=1e-8)


def test_jacobians_in_the_refit_trade_values_for_gradients():
    model = surrogate((2, 8, 1), jnp.tanh)
    truth = model.evaluate(X)
    residuals = []
    for weight in (0.0, 1.0, 100.0):
        found = prune(model, Kept(((0, 2, 5),), (8,)), LeastSquares(X, weight)).evaluate(X)
        # Both in normalised units, in which the refit weighs them.
        dydx = (found.dydx - truth.dydx) * model.normalisation.x_scale[None, None]
        residuals.append((float(jnp.mean((found.y - truth.y) ** 2)), float(jnp.mean(dydx**2))))
    of_values, of_gradients = zip(*residuals, strict=True)
    assert of_values[0] < of_values[1] < of_values[2]
    assert of_gradients[0] > of_gradients[1] > of_gradients[2]
    assert of_gradients[1] < 0.95 * of_gradients[0]


def test_a_removed_layer_between_linear_ones_is_no_loss():
    model = surrogate((2, 3, 4, 3, 1), jax.nn.identity)
    for hidden in (((0, 1, 2), None, (0, 1, 2)), (None, None, (0, 1)), (None, None, None)):
        pruned = prune(model, Kept(hidden, (3, 4, 3)), LeastSquares(X))
        assert pruned.network.widths == [2, *(len(nodes) for nodes in hidden if nodes), 1]
        assert max(errors(pruned, model, points(40, 2, seed=1))) < 1e-10


def test_later_layers_are_fitted_on_what_is_left_of_earlier_ones():
    """The goal is the original's, the nodes that it is fitted with are those of the small network."""
    model = surrogate((2, 8, 4, 1), jnp.tanh)
    pruned = prune(model, Kept(((1, 4), (0, 1, 3)), (8, 4)), LeastSquares(X, 0.0)).network.layers
    z = (np.asarray(X) - np.asarray(model.normalisation.x_mean)) / np.asarray(model.normalisation.x_scale)
    original = small = z
    for layer, refitted, kept in zip(model.network.layers, pruned, ([1, 4], [0, 1, 3], [0]), strict=True):
        goal = original @ np.asarray(layer.weight).T + np.asarray(layer.bias)
        with_one = np.hstack([small, np.ones((len(z), 1))])
        solution = np.linalg.lstsq(with_one, goal[:, kept])[0]
        np.testing.assert_allclose(np.asarray(refitted.weight), solution[:-1].T, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(np.asarray(refitted.bias), solution[-1], rtol=1e-7, atol=1e-10)
        original, small = np.tanh(goal), np.tanh(with_one @ solution)


@pytest.mark.parametrize(("n", "weight"), [(1, 1.0), (1, 0.0), (4, 0.0)])
def test_what_too_few_samples_do_not_determine_stays(n, weight):
    """All nodes are kept, so that the weights before are one solution of many."""
    model = surrogate((2, 8, 6, 1))
    refitted = prune(model, everything(8, 6), LeastSquares(points(n, 2), weight))
    assert max(errors(refitted, model, points(50, 2, seed=1))) < 1e-12


def test_outputs_that_do_not_vary_are_met():
    model = with_layers(([[1.0, 0.5], [0.3, -1.0]], [0.1, 0.2]), ([[0.0, 0.0]], [2.5]))
    pruned = prune(model, Kept(((1,),), (2,)), LeastSquares(X))
    np.testing.assert_allclose(pruned.evaluate(X).y, 2.5, rtol=1e-12)


def test_float32_stays_float32():
    with jax.enable_x64(False):
        model, x = surrogate((2, 5, 1)), points(80, 2)
        refitted = prune(model, everything(5), LeastSquares(x))
        folded = prune(model, Kept(((0, 2, 4),), (5,)), Midpoint(Box.around(x)))
        for made in (refitted, folded):
            assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {np.dtype("float32")}
        assert max(errors(refitted, model, x)) < 1e-4


BAD_REFITS = {
    "no samples": (lambda: LeastSquares(jnp.zeros((0, 2))), r"`x` has shape \(0, 2\); a refit needs samples"),
    "one sample without its axis": (lambda: LeastSquares(jnp.zeros(2)), r"`x` has shape \(2,\)"),
    "a mean of no samples": (lambda: Mean(jnp.zeros((0, 2))), r"`x` has shape \(0, 2\); a mean needs samples"),
    "a mean of other inputs": (
        lambda: prune(surrogate((2, 3, 1)), everything(3), Mean(points(4, 3))),
        "`x` has 3 inputs, the surrogate 2",
    ),
    "an input that is not there": (
        lambda: prune(surrogate((2, 3, 1)), Kept(((0,),), (3,), (0, 2)), LeastSquares(X)),
        r"the kept inputs are \(0, 2\), but the network has 2",
    ),
    "negative weight": (lambda: LeastSquares(X, -1.0), "`gradient_weight` is -1.0; it must be zero or positive"),
    "NaN weight": (lambda: LeastSquares(X, np.nan), "`gradient_weight` is nan"),
    "other inputs": (
        lambda: prune(surrogate((2, 3, 1)), everything(3), LeastSquares(points(4, 3))),
        "`x` has 3 inputs, the surrogate 2",
    ),
}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("make", "message"), BAD_REFITS.values(), ids=BAD_REFITS.keys())
def test_bad_refits_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Midpoints


def sigmoid(p):
    return 1 / (1 + np.exp(-p))


def test_midpoints_are_folded_into_the_biases_they_feed():
    """Two nodes of a monotone activation: the range over the box is from corner to corner."""
    w, b, v, c = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.1, -0.3]), np.array([[2.0, -1.5]]), np.array([0.4])
    model = with_layers((w, b), (v, c), activation=jax.nn.sigmoid)
    low, high = np.array([-0.5, 0.2]), np.array([0.3, 0.6])
    pruned = prune(model, Kept(((0,),), (2,)), Midpoint(Box(jnp.asarray(low), jnp.asarray(high))))
    middle = (sigmoid(w[1] @ low + b[1]) + sigmoid(w[1] @ high + b[1])) / 2
    np.testing.assert_allclose(pruned.network.layers[0].weight, w[:1], rtol=1e-15)
    np.testing.assert_allclose(pruned.network.layers[0].bias, b[:1], rtol=1e-15)
    np.testing.assert_allclose(pruned.network.layers[1].weight, v[:, :1], rtol=1e-15)
    np.testing.assert_allclose(pruned.network.layers[1].bias, c + v[0, 1] * middle, rtol=1e-12)


def test_of_many_boxes_the_hull_is_what_counts():
    model = with_layers(([[1.0], [2.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0]), activation=jax.nn.sigmoid)
    region = TrustRegions(jnp.array([[-1.0], [0.0], [3.0]]), jnp.array([0.5]))
    pruned = prune(model, Kept(((0,),), (2,)), Midpoint(region))
    np.testing.assert_allclose(pruned.network.layers[1].bias, (sigmoid(-3.0) + sigmoid(7.0)) / 2, rtol=1e-12)


MODEL = surrogate((2, 4, 3, 1))


def test_a_constant_node_is_removed_without_any_error():
    def where(s):
        return (s.network.layers[0].weight, s.network.layers[1].weight)

    w1, w2 = where(MODEL)
    constant = eqx.tree_at(where, MODEL, (w1.at[1].set(0), w2.at[2].set(0)))
    pruned = prune(constant, Kept(((0, 2, 3), (0, 1)), (4, 3)), Midpoint(Box.around(X)))
    assert pruned.network.widths == [2, 3, 2, 1]
    assert max(errors(pruned, constant, X)) < 1e-12


@pytest.mark.parametrize(
    "hidden", [((0, 3), (1,)), (None, (0, 2)), ((1, 2), None), (None, None)], ids=["nodes", "first", "last", "all"]
)
def test_at_a_single_point_nothing_is_lost(hidden):
    """Also where whole layers go: their value and, without nodes removed beside them, their slope are exact there."""
    point = jnp.array([0.4, -0.9])
    pruned = prune(MODEL, Kept(hidden, (4, 3)), Midpoint(Box(point, point)))
    assert pruned.network.widths == [2, *(len(nodes) for nodes in hidden if nodes), 1]
    value, slope = errors(pruned, MODEL, point[None])
    assert value < 1e-12
    if hidden == (None, None):
        assert slope < 1e-12
    assert errors(pruned, MODEL, X)[0] > 1e-3


def test_a_nearly_linear_layer_is_merged_with_little_error():
    """The smaller the box, the straighter the activation: the error of a merged layer falls with its square."""
    found = []
    for radius in (0.1, 0.01):
        box = Box(jnp.array([0.4, -0.9]) - radius, jnp.array([0.4, -0.9]) + radius)
        pruned = prune(MODEL, Kept(((0, 1, 2, 3), None), (4, 3)), Midpoint(box))
        u = jax.random.uniform(jax.random.key(0), (50, 2), minval=-1.0, maxval=1.0)
        found.append(errors(pruned, MODEL, jnp.array([[0.4, -0.9]]) + radius * u)[0])
    assert found[0] < 0.02
    assert found[1] < 0.03 * found[0]


def test_a_linear_layer_is_merged_exactly():
    model = surrogate((2, 3, 4, 1), jax.nn.identity)
    pruned = prune(model, Kept((None, (0, 1, 2, 3)), (3, 4)), Midpoint(Box.around(X)))
    assert pruned.network.widths == [2, 4, 1]
    assert max(errors(pruned, model, X)) < 1e-12


def test_an_enclosure_without_a_midpoint_is_refused():
    def where(s):
        return [layer.weight for layer in s.network.layers]

    huge = eqx.tree_at(where, MODEL, [1e200 * w for w in where(MODEL)])
    with pytest.raises(VacuousEnclosureError, match=r"hidden layer 1 is unbounded.* smaller boxes"):
        prune(huge, Kept(((0, 2, 3), (0, 1)), (4, 3)), Midpoint(Box.around(X)))


def test_a_region_of_other_dimensions_is_named():
    with pytest.raises(ValueError, match="`region` has 3 inputs, the surrogate 2"):
        prune(MODEL, everything(4, 3), Midpoint(Box.around(points(5, 3))))


# Means


def test_means_are_folded_into_the_biases_they_feed():
    w, b, v, c = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.1, -0.3]), np.array([[2.0, -1.5]]), np.array([0.4])
    pruned = prune(with_layers((w, b), (v, c)), Kept(((0,),), (2,)), Mean(X))
    mean = np.tanh(np.asarray(X) @ w[1] + b[1]).mean()
    np.testing.assert_allclose(pruned.network.layers[0].weight, w[:1], rtol=1e-15)
    np.testing.assert_allclose(pruned.network.layers[1].weight, v[:, :1], rtol=1e-15)
    np.testing.assert_allclose(pruned.network.layers[1].bias, c + v[0, 1] * mean, rtol=1e-12)


def test_a_removed_layer_becomes_the_nearest_line_of_every_node():
    w, b, v, c = np.array([[1.0, -2.0], [0.0, 0.0]]), np.array([0.1, -0.3]), np.array([[2.0, -1.5]]), np.array([0.4])
    pruned = prune(with_layers((w, b), (v, c)), Kept((None,), (2,)), Mean(X))
    p = np.asarray(X) @ w[0] + b[0]
    slope, offset = np.polyfit(p, np.tanh(p), 1)
    # The second node is a constant, which has no line but itself.
    np.testing.assert_allclose(pruned.network.layers[0].weight, 2.0 * slope * w[:1], rtol=1e-9)
    np.testing.assert_allclose(
        pruned.network.layers[0].bias, c + 2.0 * (slope * b[0] + offset) - 1.5 * np.tanh(b[1]), rtol=1e-9
    )


# Inputs


def of_two_inputs(model, x, fixed):
    """The original at samples of inputs 0 and 2, with input 1 at a value."""
    return model.evaluate(jnp.stack([x[:, 0], jnp.full(x.shape[0], fixed), x[:, 1]], axis=1))


WIDE = points(80, 3)
MIDDLE = float((WIDE[:, 1].min() + WIDE[:, 1].max()) / 2)
FIXED = {"Mean": (Mean(WIDE), float(WIDE[:, 1].mean())), "Midpoint": (Midpoint(Box.around(WIDE)), MIDDLE)}


@pytest.mark.parametrize(("compensation", "fixed"), FIXED.values(), ids=FIXED.keys())
def test_a_removed_input_is_fixed(compensation, fixed):
    model = surrogate((3, 4, 2))
    pruned = prune(model, Kept(((0, 1, 2, 3),), (4,), (0, 2)), compensation)
    assert pruned.network.widths == [2, 4, 2]
    expected = of_two_inputs(model, X, fixed)
    found = pruned.evaluate(X)
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-10)
    np.testing.assert_allclose(found.dydx, expected.dydx[:, :, jnp.array([0, 2])], rtol=1e-8, atol=1e-12)


def test_a_refit_without_an_input_that_does_nothing_loses_nothing():
    model = surrogate((3, 4, 3, 1))
    deaf = eqx.tree_at(lambda s: s.network.layers[0].weight, model, model.network.layers[0].weight.at[:, 1].set(0))
    pruned = prune(deaf, Kept(((0, 1, 2, 3), (0, 1, 2)), (4, 3), (0, 2)), LeastSquares(WIDE))
    assert pruned.network.widths == [2, 4, 3, 1]
    np.testing.assert_allclose(pruned.evaluate(X).y, of_two_inputs(deaf, X, 0.7).y, rtol=1e-8)


def test_a_refit_lets_correlated_inputs_take_over():
    model = with_layers(([[1.0, 0.5, -2.0]], [0.1]), ([[1.5]], [0.0]))
    x = WIDE.at[:, 1].set(2.0 * WIDE[:, 0] - WIDE[:, 2] + 0.3)
    pruned = prune(model, Kept(((0,),), (1,), (0, 2)), LeastSquares(x, 0.0))
    np.testing.assert_allclose(pruned.evaluate(x[:, jnp.array([0, 2])]).y, model.evaluate(x).y, rtol=1e-9)
