"""Interval adjoint significance equals its definition, and is never below what samples show."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from pruning_networks import points, surrogate, with_layers

from sobolev_pruning.intervals import Interval, inclusion
from sobolev_pruning.pruning import (
    Kept,
    Midpoint,
    VacuousEnclosureError,
    enclose_nodes,
    prune,
    sampled_significance,
    sampled_weight_significance,
    significance,
    weight_significance,
)
from sobolev_pruning.pruning._enclosures import boxes_that_fit
from sobolev_pruning.regions import Box, TrustRegions

# One shape for most tests, so that it is compiled once.
WIDTHS, N_BOXES = (2, 4, 3, 2), 6


def region(scale=0.05):
    return TrustRegions.around(points(N_BOXES, 2), scale)


def by_definition(model, region):
    """Box by box, node by node: the network written out once more, its gradient enclosed by `inclusion`."""
    layers, units = model.network.layers, model.normalisation

    def output(parts, chosen):
        x, moved = parts
        nodes = (x - units.x_mean) / units.x_scale
        shown = []
        for layer, move in zip(layers[:-1], moved, strict=True):
            nodes = model.network.activation(layer.weight @ nodes + layer.bias) + move
            shown.append(nodes)
        y = layers[-1].weight @ nodes + layers[-1].bias
        return chosen @ (units.y_mean + units.y_scale * y), shown

    zeros = [jnp.zeros(n) for n in model.network.widths[1:-1]]
    scores = []
    enclosure = inclusion(jax.grad(output, has_aux=True), rounding="nearest")
    for chosen in jnp.eye(model.network.widths[-1]):
        best = None
        for lower, upper in zip(region.boxes.lower, region.boxes.upper, strict=True):
            (x_bar, bars), nodes = enclosure((Interval(lower, upper), zeros), chosen)
            found = []
            for n, bar in zip([Interval(lower, upper), *nodes], [x_bar, *bars], strict=True):
                adjoint = np.maximum(np.abs(np.asarray(bar.lower)), np.abs(np.asarray(bar.upper)))
                found.append((np.asarray(n.upper) - np.asarray(n.lower)) * adjoint)
            best = found if best is None else [np.maximum(a, b) for a, b in zip(best, found, strict=True)]
        scores.append(best)
    return [np.stack(rows) for rows in zip(*scores, strict=True)]


def test_scores_are_width_times_largest_adjoint_in_the_worst_box():
    model = surrogate(WIDTHS)
    scores = significance(model, region(), domain="interval")
    for found, expected in zip((scores.inputs, *scores.hidden), by_definition(model, region()), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    for node, layer in zip(scores.of_nodes(), scores.hidden, strict=True):
        np.testing.assert_array_equal(node, np.asarray(layer).max(axis=0))


def within(region, n):
    """Samples in each box, its corners among them: `(n_boxes, n, d)`."""
    u = jax.random.uniform(jax.random.key(3), (n, 2), minval=-1.0, maxval=1.0)
    u = jnp.concatenate([u, jnp.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])])
    # A little inside, so that a sample's own rounding cannot put it outside.
    return region.centres[:, None] + (1 - 1e-9) * region.radius[None, None] * u[None]


@pytest.mark.parametrize("activation", [jax.nn.silu, jnp.tanh], ids=lambda f: f.__name__)
def test_no_sample_shows_more_than_an_enclosure(activation):
    widths = WIDTHS if activation is jax.nn.silu else (2, 3, 1)
    model = surrogate(widths, activation)
    wide = region(0.4)
    enclosed = enclose_nodes(model, wide, rounding="outward", domain="interval")
    scores = significance(model, wide, rounding="outward", domain="interval")
    sampled = eqx.filter_jit(jax.vmap(lambda x: sampled_significance(model, x)))(within(wide, 300))
    for found, shown in zip(scores.hidden, sampled.hidden, strict=True):
        assert np.all(np.asarray(found) >= np.asarray(shown).max(axis=0))
        assert np.all(np.asarray(shown) > 0)
    # Box by box as well, so that the largest cannot hide the others.
    for nodes, bars, shown in zip(enclosed.nodes, enclosed.node_adjoints, sampled.hidden, strict=True):
        assert np.all(np.asarray(nodes.width)[:, None] * np.asarray(bars.magnitude) >= np.asarray(shown))
    bars = np.asarray(enclosed.input_adjoints.magnitude)
    assert np.all(np.asarray(enclosed.inputs.width)[:, None] * bars >= np.asarray(sampled.inputs))


@pytest.mark.parametrize("domain", ["affine", "backward"])
def test_relational_domains_are_sound_and_tighter(domain):
    model, wide = surrogate((2, 3, 3, 1)), region(0.1)
    plain, tight = (significance(model, wide, rounding="outward", domain=d) for d in ("interval", domain))
    sampled = eqx.filter_jit(jax.vmap(lambda x: sampled_significance(model, x)))(within(wide, 300))
    for mine, natural, shown in zip(
        (tight.inputs, *tight.hidden), (plain.inputs, *plain.hidden), (sampled.inputs, *sampled.hidden), strict=True
    ):
        assert np.all(np.asarray(shown).max(axis=0) <= np.asarray(mine))
        assert np.all(np.asarray(mine) <= np.asarray(natural) * (1 + 1e-12))
    assert np.all(np.asarray(tight.inputs) < 0.98 * np.asarray(plain.inputs))
    with pytest.raises(ValueError, match="`domain` must be one of"):
        significance(model, wide, domain="taylor")


def test_small_trust_regions_rank_as_samples_do():
    """On the mean over a few random networks, since one pair of nodes may well change places."""
    found = []
    for seed in range(6):
        model, x = surrogate((2, 12, 10, 1), seed=seed), points(60, 2, seed)
        small = TrustRegions.around(x, 0.01)
        scores, sampled = significance(model, small).of_nodes(), sampled_significance(model, x).of_nodes()
        found.append([scipy.stats.spearmanr(a, b).statistic for a, b in zip(scores, sampled, strict=True)])
    assert np.all(np.mean(found, axis=0) >= 0.8)


def test_sampled_significance_by_hand():
    model, x = surrogate(WIDTHS), np.asarray(points(20, 2))
    scores = sampled_significance(model, jnp.asarray(x))
    layers, units = model.network.layers, model.normalisation
    w1, b1, w2, b2, w3 = (np.asarray(p) for p in (*_pair(layers[0]), *_pair(layers[1]), layers[2].weight))

    def silu(p):
        return p / (1 + np.exp(-p))

    def slope(p):
        return (1 + p * np.exp(-p) / (1 + np.exp(-p))) / (1 + np.exp(-p))

    z = (x - np.asarray(units.x_mean)) / np.asarray(units.x_scale)
    first = silu(z @ w1.T + b1)
    second = silu(first @ w2.T + b2)
    out = np.asarray(units.y_scale)[:, None] * w3
    bars = np.stack([out @ (slope(p)[:, None] * w2) for p in first @ w2.T + b2])
    np.testing.assert_allclose(scores.hidden[1], np.ptp(second, axis=0) * np.abs(out), rtol=1e-12)
    np.testing.assert_allclose(scores.hidden[0], np.ptp(first, axis=0) * np.abs(bars).max(axis=0), rtol=1e-12)
    gradients = np.stack([np.asarray(model.gradient(jnp.asarray(p))) for p in x])
    np.testing.assert_allclose(scores.inputs, np.ptp(x, axis=0) * np.abs(gradients).max(axis=0), rtol=1e-12)


def _pair(layer):
    return layer.weight, layer.bias


def test_what_moves_nothing_scores_zero():
    model = surrogate(WIDTHS)

    def where(s):
        return [layer.weight for layer in s.network.layers]

    w1, w2, w3 = where(model)
    # Node 1 of layer 0 is dead, node 2 of layer 1 is constant, input 0 is not looked at; output 1 is deaf to node 0.
    dead = (w1.at[:, 0].set(0), w2.at[:, 1].set(0).at[2].set(0), w3.at[1, 0].set(0))
    scores = significance(eqx.tree_at(where, model, dead), region(), domain="interval")
    # The dot products keep a margin for underflow also where no other rounding is covered.
    inputs, first, second = (np.asarray(s) < 1e-300 for s in (scores.inputs, *scores.hidden))
    np.testing.assert_array_equal(inputs, [[True, False]] * 2)
    np.testing.assert_array_equal(first, [[False, True, False, False]] * 2)
    np.testing.assert_array_equal(second, [[False, False, True], [True, False, True]])


def test_units_of_the_output_scale_the_scores():
    model = surrogate(WIDTHS)
    larger = eqx.tree_at(lambda s: s.normalisation.y_scale, model, model.normalisation.y_scale * jnp.array([4.0, 0.5]))
    ours, theirs = (significance(m, region(), domain="interval") for m in (model, larger))
    for a, b in zip(ours.hidden, theirs.hidden, strict=True):
        np.testing.assert_allclose(b, np.asarray(a) * [[4.0], [0.5]], rtol=1e-12)


def test_boxes_may_come_a_few_at_a_time():
    model = surrogate(WIDTHS)
    at_once, in_turn = (significance(model, region(), domain="interval", boxes_at_once=n) for n in (64, 3))
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(in_turn), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_boxes_at_once_follow_from_the_memory():
    """A box of 7-128×6-1 with gradients takes 1.1 GB in affine forms, so that 64 would take 71."""
    wide, narrow = surrogate((7, *[128] * 6, 1)), surrogate(WIDTHS)
    assert boxes_that_fit(wide, "interval", 1) == boxes_that_fit(narrow, "affine", 1) == 64
    assert 32 < boxes_that_fit(wide, "affine", 0) <= 64
    assert boxes_that_fit(wide, "affine", 1) == 1


# Gradients


def with_frozen(model, x, taps):
    """A copy of the network with moved nodes, written out: the values as a function of the input and of the moves."""
    nodes = (x - model.normalisation.x_mean) / model.normalisation.x_scale
    shown = []
    for layer, tap in zip(model.network.layers[:-1], taps, strict=True):
        nodes = model.network.activation(layer.weight @ nodes + layer.bias) + tap
        shown.append(nodes)
    y = model.network.layers[-1](nodes)
    return model.normalisation.y_mean + model.normalisation.y_scale * y, shown


def test_sampled_significance_of_gradients_by_hand():
    model, x = surrogate((2, 3, 2, 2)), points(5, 2)
    zeros = [jnp.zeros(3), jnp.zeros(2)]
    scale = np.asarray(model.normalisation.x_scale)

    @jax.jit
    @jax.vmap
    def parts(x):
        def adjoints(x):
            return jax.jacrev(lambda x, taps: with_frozen(model, x, taps)[0], argnums=(0, 1))(x, zeros)

        nodes, slopes = with_frozen(model, x, zeros)[1], jax.jacfwd(lambda x: with_frozen(model, x, zeros)[1])(x)
        return nodes, slopes, adjoints(x), jax.jacfwd(adjoints)(x)

    nodes, slopes, (x_bar, bars), (x_mixed, mixed) = jax.tree.map(np.asarray, parts(x))
    found = sampled_significance(model, x, of="gradients")
    for score, n, slope, bar, second in zip(found.hidden, nodes, slopes, bars, mixed, strict=True):
        moved = np.ptp(n, axis=0) * np.linalg.norm(second * scale, axis=-1).max(axis=0)
        lost = (np.abs(bar) * np.linalg.norm(slope * scale, axis=-1)[:, None]).max(axis=0)
        np.testing.assert_allclose(score, moved + lost, rtol=1e-10)
    moved = np.ptp(x, axis=0) * np.linalg.norm(x_mixed * scale, axis=-1).max(axis=0)
    np.testing.assert_allclose(found.inputs, moved + (np.abs(x_bar) * scale).max(axis=0), rtol=1e-10)
    # The output is linear in the last hidden layer: all of its nodes move is what they pass on themselves.
    assert np.all(mixed[1] == 0)
    assert np.all(np.asarray(found.hidden[1]) > 0)


def test_no_sample_shows_more_of_the_gradients():
    model, wide = surrogate((2, 3, 2, 2)), region(0.2)
    scores = significance(model, wide, of="gradients", rounding="outward", domain="interval")
    inside = within(wide, 20)[:2].reshape(2, -1, 2)
    sampled = eqx.filter_jit(jax.vmap(lambda x: sampled_significance(model, x, of="gradients")))(inside)
    for found, shown in zip((scores.inputs, *scores.hidden), (sampled.inputs, *sampled.hidden), strict=True):
        assert np.all(np.asarray(found) >= np.asarray(shown).max(axis=0))
        assert np.all(np.asarray(found) < 1e3 * np.asarray(shown).max(axis=0))


# Weights


def test_sampled_significance_of_weights_by_hand():
    """The adjoint of a pre-activation is the derivative with respect to its bias."""
    model, x = surrogate(WIDTHS), points(20, 2)

    def outputs(biases, x):
        return eqx.tree_at(lambda s: [layer.bias for layer in s.network.layers], model, biases)(x)

    biases = [layer.bias for layer in model.network.layers]
    bars = jax.jit(jax.vmap(jax.jacrev(outputs), in_axes=(None, 0)))(biases, x)
    units = model.normalisation
    below = [(x - units.x_mean[None]) / units.x_scale[None], *jax.vmap(model.forward)(x)[1]]
    for score, layer, n, bar in zip(
        sampled_weight_significance(model, x), model.network.layers, below, bars, strict=True
    ):
        largest = np.abs(bar).max(axis=0)
        expected = np.abs(layer.weight) * np.ptp(n, axis=0) * largest[:, :, None]
        np.testing.assert_allclose(score, expected, rtol=1e-10)


def test_significance_of_weights_encloses_and_is_zero_where_nothing_moves():
    model, wide = surrogate(WIDTHS), region(0.1)
    # Node 2 of layer 1 is constant, and output 0 is deaf to node 0 of that layer.
    model = eqx.tree_at(
        lambda s: [s.network.layers[1].weight, s.network.layers[2].weight],
        model,
        [model.network.layers[1].weight.at[2].set(0), model.network.layers[2].weight.at[0, 0].set(0)],
    )
    scores = weight_significance(model, wide, rounding="outward", domain="interval")
    sampled = [sampled_weight_significance(model, x) for x in within(wide, 50)]
    for found, *shown in zip(scores, *sampled, strict=True):
        assert np.all(np.asarray(found) >= np.max(shown, axis=0))
        # A constant node has the width of its own rounding error.
        assert np.all(np.asarray(found) <= 10 * np.max(shown, axis=0) + 1e-14)
    assert [s.shape for s in scores] == [(2, 4, 2), (2, 3, 4), (2, 2, 3)]
    assert np.all(np.asarray(scores[2])[:, :, 2] < 1e-14)
    assert np.all(np.asarray(scores[1])[0, 0] < 1e-300)
    assert np.all(np.asarray(scores[1])[1, 0] > 0)


# Misuse


@pytest.mark.parametrize("score", [significance, weight_significance], ids=lambda f: f.__name__)
def test_an_unbounded_enclosure_is_refused(score):
    # Finite in parts, and no NaN: the output overflows to infinity at every point.
    huge = with_layers(([[1e160], [2e160]], [1.0, 1.0]), ([[1e160, 1e160]], [0.0]), activation=jax.nn.softplus)
    with pytest.raises(VacuousEnclosureError, match=r"unbounded.* smaller boxes"):
        score(huge, Box(jnp.ones(1), 2 * jnp.ones(1)), domain="interval")


def test_a_network_that_is_nan_on_the_region_says_where():
    model = with_layers(([[1.0]], [0.0]), ([[1.0]], [0.0]), activation=jnp.log)
    with pytest.raises(ValueError, match=r"output of the network is \[nan\] at \[-1.0\], a point of the region"):
        significance(model, Box(-jnp.ones(1), 4 * jnp.ones(1)))


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arguments_are_named():
    model = surrogate(WIDTHS)
    box = Box(-jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match="`region` has 3 inputs, the surrogate 2"):
        significance(model, box)
    with pytest.raises(ValueError, match="`boxes_at_once` is 0"):
        significance(model, region(), boxes_at_once=0)
    for score, where in ((significance, region()), (sampled_significance, points(4, 2))):
        with pytest.raises(ValueError, match="`of` is 'curvature'; it must be one of"):
            score(model, where, of="curvature")


def test_float32_stays_float32():
    double = surrogate((2, 3, 1)), region()
    with jax.enable_x64(False):
        single = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float32)), double)
        found = significance(*single).of_nodes()
        of_samples = sampled_significance(single[0], single[1].centres).of_nodes()
    assert {scores.dtype for scores in (*found, *of_samples)} == {np.dtype("float32")}
    for a, b in zip(found, significance(*double).of_nodes(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


def test_a_network_may_be_of_another_precision_than_the_region():
    """What is scored has the wider precision, and a pruned network stays in its own."""
    model, x = surrogate((2, 3, 1)), points(4, 2)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_array(leaf) else leaf, model)
    with jax.numpy_dtype_promotion("standard"):
        region = TrustRegions.around(x)
        for found, exact in (
            (
                weight_significance(single, region, domain="interval"),
                weight_significance(model, region, domain="interval"),
            ),
            (sampled_weight_significance(single, x), sampled_weight_significance(model, x)),
            (
                significance(single, region, of="gradients", domain="interval").hidden,
                significance(model, region, of="gradients", domain="interval").hidden,
            ),
        ):
            for a, b in zip(found, exact, strict=True):
                assert a.dtype == jnp.float64
                np.testing.assert_allclose(a, b, rtol=1e-4)
        pruned = prune(single, Kept(((0, 2),), (3,)), Midpoint(region))
    assert {leaf.dtype for leaf in jax.tree.leaves(pruned)} == {np.dtype("float32")}
    narrow = TrustRegions.around(x.astype(jnp.float32))
    with jax.numpy_dtype_promotion("standard"):
        assert significance(model, narrow, of="gradients", domain="interval").hidden[0].shape == (1, 3)
