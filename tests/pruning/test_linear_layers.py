"""Nearly linear layers go, and no sample shows more error than was guaranteed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pruning_networks import surrogate, with_layers

from sobolev_pruning.pruning import layer_significance, merge_linear_layers
from sobolev_pruning.regions import AlignedBox, Box, TrustRegions
from sobolev_pruning.surrogate import MLP, Dense, Normalisation, Surrogate

CENTRE = jnp.array([0.4, -0.9])
MODEL = surrogate((2, 4, 3, 2))


def nearly_linear(layer):
    """A network of which one layer sees so little of its inputs that it hardly sees the activation's bend."""
    layers = list(MODEL.network.layers)
    layers[layer] = Dense(0.02 * layers[layer].weight, layers[layer].bias)
    layers[layer + 1] = Dense(50 * layers[layer + 1].weight, layers[layer + 1].bias)
    return Surrogate(MLP(tuple(layers), MODEL.network.activation), MODEL.normalisation)


def samples(region, n=400):
    low, high = region.coordinates.lower, region.coordinates.upper
    u = jax.random.uniform(jax.random.key(0), (n, 1, low.shape[1]), minval=1e-9, maxval=1 - 1e-9)
    return jax.vmap(region.point)((low[None] + u * (high - low)[None]).reshape(-1, low.shape[1]))


def largest_error(found, original, region):
    x = samples(region)
    return np.asarray(jnp.max(jnp.abs(jax.vmap(found)(x) - jax.vmap(original)(x)), axis=0))


REGIONS = {
    "box": Box(CENTRE - 0.1, CENTRE + 0.1),
    "trust regions": TrustRegions(jnp.stack([CENTRE, CENTRE + 0.3]), jnp.array([0.05, 0.1])),
}


@pytest.mark.parametrize(("layer", "name"), [(0, "box"), (1, "trust regions")])
def test_the_bound_holds_and_is_not_far_from_the_error(layer, name):
    model, region = nearly_linear(layer), REGIONS[name]
    bound = np.asarray(layer_significance(model, region, domain="interval"))
    assert bound.shape == (2, 2)
    assert np.all(bound[:, layer] < bound[:, 1 - layer])
    made = merge_linear_layers(model, region, tolerance=float(bound[:, layer].max()), domain="interval")
    assert made.merged == (layer,)
    np.testing.assert_array_equal(made.bound, bound[:, layer])
    error = largest_error(made.surrogate, model, region)
    assert np.all(error > 0)
    assert np.all(error <= np.asarray(made.bound))
    assert np.all(made.bound < 10 * error)


def test_layers_of_no_bend_go_without_a_trace():
    """All of them, and what is left is the affine map that they were; the bound is a rounding error, not zero."""
    model = surrogate((2, 3, 4, 2), jax.nn.identity)
    made = merge_linear_layers(model, REGIONS["box"], tolerance=1e-12, domain="interval")
    assert made.merged == (0, 1)
    assert made.surrogate.network.widths == [2, 2]
    error = largest_error(made.surrogate, model, REGIONS["box"])
    assert np.all((error <= 1e-13) & (np.asarray(made.bound) > 0) & (np.asarray(made.bound) < 1e-12))


def test_the_rounding_of_merged_weights_is_in_the_bound():
    """In single precision it is nearly all of the error; the exact functions are compared, in double precision."""

    def to(dtype, tree):
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), tree)

    model = to(jnp.float32, surrogate((2, 3, 2), jax.nn.identity))
    region = to(jnp.float32, REGIONS["box"])
    made = merge_linear_layers(model, region, tolerance=1e-4, domain="interval")
    assert made.bound.dtype == jnp.float32
    assert made.merged == (0,)
    # Units would round in float32, and are the same in both.
    exact = [Surrogate(to(jnp.float64, s.network), to(jnp.float64, s.normalisation)) for s in (made.surrogate, model)]
    error = largest_error(*exact, to(jnp.float64, region))
    assert np.all(error > 1e-10)
    assert np.all(error <= np.asarray(made.bound))
    assert np.all(made.bound < 3e-5)


def test_the_tolerance_counts_all_layers_together():
    region = AlignedBox(CENTRE, jnp.array([[0.6, -0.8], [0.8, 0.6]]), jnp.array([0.1, 0.02]))
    single = np.asarray(layer_significance(MODEL, region, domain="interval")).max(axis=0)
    nothing = merge_linear_layers(MODEL, region, tolerance=0.5 * single.min(), domain="interval")
    assert nothing.merged == ()
    assert nothing.surrogate is MODEL
    assert np.all(np.asarray(nothing.bound) == 0)
    # Enough for either, and not for both.
    made = merge_linear_layers(MODEL, region, tolerance=1.001 * single.max(), domain="interval")
    assert made.merged == (int(single.argmin()),)
    everything = merge_linear_layers(MODEL, region, tolerance=10 * single.sum(), domain="interval")
    assert everything.merged == (0, 1)
    assert np.all(largest_error(everything.surrogate, MODEL, region) <= np.asarray(everything.bound))


BAD = {
    "jumping activation": (
        lambda: layer_significance(with_layers(([[1.0]], [0.0]), ([[1.0]], [0.0]), activation=jnp.floor), UNIT),
        "activation 'floor' is not proved to be continuous.* by `prune`",
    ),
    "negative tolerance": (lambda: merge_linear_layers(MODEL, REGIONS["box"], tolerance=-1.0), "`tolerance` is -1.0"),
    "infinite tolerance": (
        lambda: merge_linear_layers(MODEL, REGIONS["box"], tolerance=float("inf")),
        "`tolerance` is inf; it must be finite",
    ),
    "other inputs": (lambda: layer_significance(MODEL, UNIT), "`region` has 1 inputs, the surrogate 2"),
}
UNIT = Box(jnp.zeros(1), jnp.ones(1))


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_network_without_hidden_layers_has_none_to_merge():
    model = Surrogate(MLP((MODEL.network.layers[0],), jnp.tanh), Normalisation.identity(2, 4))
    assert layer_significance(model, REGIONS["box"]).shape == (4, 0)
    assert merge_linear_layers(model, REGIONS["box"], tolerance=1.0).merged == ()
