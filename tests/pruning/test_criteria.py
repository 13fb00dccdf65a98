"""Every criterion scores every input, node and weight, as its definition says."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import points, surrogate

from sobolev_pruning.pruning import (
    ActivationVariance,
    IntervalSignificance,
    Magnitude,
    Random,
    Saliency,
    SampledSignificance,
    Taylor,
    rank_by_significance,
    sampled_significance,
    sampled_weight_significance,
    significance,
)
from sobolev_pruning.reference import Samples
from sobolev_pruning.regions import Box, TrustRegions
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss
from sobolev_pruning.surrogate import Surrogate

MODEL = surrogate((2, 4, 3, 2))
X = points(12, 2)
SAMPLES = surrogate((2, 4, 3, 2), seed=5).evaluate(X)
REGION = TrustRegions(X[:3], jnp.array([0.02, 0.03]))
CRITERIA = {
    "interval significance": IntervalSignificance(REGION, domain="interval"),
    "sampled significance": SampledSignificance(X),
    "incoming": Magnitude(),
    "outgoing": Magnitude("outgoing"),
    "saliency": Saliency(SAMPLES, SobolevLoss()),
    "taylor": Taylor(SAMPLES, SobolevLoss()),
    "variance": ActivationVariance(X),
    "random": Random(jax.random.key(0)),
}
LAYERS = MODEL.network.layers


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA.keys())
def test_everything_is_scored(criterion):
    nodes, weights = criterion.nodes(MODEL), criterion.weights(MODEL)
    m = nodes.inputs.shape[0]
    assert m in (1, 2)
    assert [s.shape for s in (nodes.inputs, *nodes.hidden)] == [(m, 2), (m, 4), (m, 3)]
    assert [w.shape for w in weights] == [layer.weight.shape for layer in LAYERS]
    for scores in (nodes.inputs, *nodes.hidden, *weights):
        assert scores.dtype == X.dtype
        assert np.all(np.isfinite(scores) & (np.asarray(scores) > 0))
    kept = rank_by_significance(nodes).keep([2, None], inputs=1)
    best = np.argsort(-np.asarray(nodes.of_nodes()[0]))[:2]
    assert kept.hidden == (tuple(sorted(best.tolist())), None)
    assert kept.inputs == (int(np.argmax(nodes.of_inputs())),)


def test_significances_are_those_of_the_functions():
    found = IntervalSignificance(REGION, domain="interval").nodes(MODEL)
    expected = significance(MODEL, REGION, domain="interval")
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    found, expected = SampledSignificance(X, "gradients").nodes(MODEL), sampled_significance(MODEL, X, of="gradients")
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(SampledSignificance(X).weights(MODEL), sampled_weight_significance(MODEL, X), strict=True):
        np.testing.assert_array_equal(a, np.asarray(b).max(axis=0))


def test_magnitude_and_variance_by_hand():
    w = [np.asarray(layer.weight) for layer in LAYERS]
    incoming, outgoing = Magnitude().nodes(MODEL), Magnitude("outgoing").nodes(MODEL)
    np.testing.assert_allclose(incoming.hidden[0][0], np.sqrt((w[0] ** 2).sum(axis=1)))
    np.testing.assert_allclose(outgoing.hidden[0][0], np.sqrt((w[1] ** 2).sum(axis=0)))
    for found in (incoming, outgoing):
        np.testing.assert_allclose(found.inputs[0], np.sqrt((w[0] ** 2).sum(axis=0)))
    variance = ActivationVariance(X)
    nodes = jax.vmap(MODEL.forward)(X)[1]
    scale = np.asarray(MODEL.normalisation.x_scale)
    np.testing.assert_allclose(variance.nodes(MODEL).inputs[0], np.var(np.asarray(X) / scale, axis=0))
    np.testing.assert_allclose(variance.nodes(MODEL).hidden[1][0], np.var(nodes[1], axis=0))
    np.testing.assert_allclose(variance.weights(MODEL)[1], w[1] ** 2 * np.var(np.asarray(nodes[0]), axis=0))


def test_first_order_terms_by_differences():
    """A gate multiplies all that leaves a node; the loss looks at values and gradients."""
    units = MODEL.normalisation
    samples = units.normalise(SAMPLES)
    loss = SobolevLoss().calibrate(samples)

    def gated(alpha, rows):
        w1, w2, w3 = (layer.weight for layer in LAYERS)
        gates = (w1 * alpha[0][None], w2 * alpha[1][None], w3 * alpha[2][None])
        network = eqx.tree_at(lambda n: [layer.weight for layer in n.layers], MODEL.network, gates)
        return loss(network, jax.tree.map(lambda part: part[rows], samples))

    ones = [jnp.ones(n) for n in MODEL.network.widths[:-1]]
    saliency, taylor = CRITERIA["saliency"], CRITERIA["taylor"]
    evaluate = eqx.filter_jit(gated)
    rows = jnp.arange(X.shape[0])
    for layer, node in ((0, 1), (1, 2), (2, 0)):
        step = 1e-5 * jnp.zeros_like(ones[layer]).at[node].set(1.0)
        up, down = ([*ones[:layer], ones[layer] + s, *ones[layer + 1 :]] for s in (step, -step))
        found = [(s.nodes(MODEL).inputs, *s.nodes(MODEL).hidden)[layer][0, node] for s in (saliency, taylor)]
        slope = (evaluate(up, rows) - evaluate(down, rows)) / 2e-5
        np.testing.assert_allclose(found[0], abs(slope), rtol=1e-6)
        each = [(evaluate(up, rows[k : k + 1]) - evaluate(down, rows[k : k + 1])) / 2e-5 for k in range(rows.size)]
        np.testing.assert_allclose(found[1], np.mean(np.abs(each)), rtol=1e-6)
        assert found[0] < 0.999 * found[1]


def test_of_values_a_gate_is_the_product_of_activation_and_adjoint():
    samples = MODEL.normalisation.normalise(SAMPLES)

    def value(taps, k):
        y, nodes = MODEL.network.forward(samples.x[k], taps)
        return jnp.sum((y - samples.y[k]) ** 2), nodes

    zeros = [jnp.zeros(4), jnp.zeros(3)]
    bars, nodes = jax.vmap(lambda k: jax.grad(value, has_aux=True)(zeros, k))(jnp.arange(X.shape[0]))
    for criterion, fold in ((Saliency, lambda t: abs(t.mean(axis=0))), (Taylor, lambda t: abs(t).mean(axis=0))):
        found = criterion(SAMPLES, ValueLoss()).nodes(MODEL)
        for scores, bar, node in zip(found.hidden, bars, nodes, strict=True):
            np.testing.assert_allclose(scores[0], fold(np.asarray(bar * node)), rtol=1e-9)


def test_chance_depends_on_the_key_alone():
    first, again, other = (Random(jax.random.key(k)) for k in (0, 0, 1))
    for a, b, c in zip(
        *(jax.tree.leaves((r.nodes(MODEL), r.weights(MODEL))) for r in (first, again, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_single_precision_stays_single():
    with jax.enable_x64(False):
        single = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), (MODEL, X, SAMPLES))
        model, x, samples = single
        for criterion in (ActivationVariance(x), Taylor(samples, ValueLoss()), Random(jax.random.key(0)), Magnitude()):
            leaves = jax.tree.leaves((criterion.nodes(model), criterion.weights(model)))
            assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}


SMALL = Box(jnp.zeros(2), jnp.ones(2))
NONE = Samples(jnp.zeros((0, 2)), jnp.zeros((0, 2)))
WIDE = Samples(points(4, 3), points(4, 2))
BAD = {
    "no data for sampling": (lambda: SampledSignificance(None), TypeError, "NoneType; `SampledSignificance` needs"),
    "no rows": (lambda: ActivationVariance(X[:0]), ValueError, r"shape \(0, 2\); `ActivationVariance` needs data"),
    "no data for a loss": (lambda: Saliency(None, ValueLoss()), TypeError, "`Saliency` needs data with labels"),
    "no samples": (lambda: Taylor(NONE, ValueLoss()), ValueError, "`samples` holds none; `Taylor` needs data"),
    "no loss": (lambda: Taylor(SAMPLES, jnp.mean), TypeError, "`Taylor` needs a loss"),
    "labels that are not there": (
        lambda: Saliency(dataclasses.replace(SAMPLES, dydx=None), SobolevLoss()).nodes(MODEL),
        ValueError,
        "`samples.dydx` is None",
    ),
    "other inputs": (lambda: Saliency(WIDE, ValueLoss()).weights(MODEL), ValueError, "`samples` have 3 inputs and 2"),
    "other inputs, sampled": (lambda: SampledSignificance(points(4, 3)).nodes(MODEL), ValueError, "`x` has 3 inputs"),
    "other inputs, variance": (lambda: ActivationVariance(points(4, 3)).nodes(MODEL), ValueError, "`x` has 3 inputs"),
    "unknown side": (lambda: Magnitude("both"), ValueError, "`side` is 'both'; it must be one of"),
    "unknown quantity": (lambda: SampledSignificance(X, "curvature"), ValueError, "`of` is 'curvature'"),
    "gradients of weights": (
        lambda: IntervalSignificance(SMALL, "gradients").weights(MODEL),
        ValueError,
        "no significance of 'gradients'; use of='values'",
    ),
    "no region": (lambda: IntervalSignificance(X), TypeError, "`region` is .*; it must be a region"),
    "data outside": (
        lambda: IntervalSignificance(Box(jnp.min(X, axis=0), jnp.max(X[:-1], axis=0) - 1e-9), x=X),
        ValueError,
        r"of 12 points of `x` lie outside of the region, the first in row \d+; enlarge .* `Box.around",
    ),
}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_surrogate_of_one_layer_has_scores_of_inputs_alone():
    model = Surrogate(eqx.tree_at(lambda n: n.layers, MODEL.network, LAYERS[:1]), surrogate((2, 4)).normalisation)
    for criterion in (Magnitude(), Random(jax.random.key(0)), ActivationVariance(X)):
        assert criterion.nodes(model).hidden == ()
        assert criterion.weights(model)[0].shape == (4, 2)
