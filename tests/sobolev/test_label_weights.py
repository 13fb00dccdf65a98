"""Weights of labels in every term: unknown labels add exactly nothing, known ones are averaged over."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import CotangentProducts, HessianProducts, LabelWeights, Rademacher, Samples
from sobolev_pruning.sobolev import SobolevLoss, ValueLoss
from sobolev_pruning.surrogate import MLP

N, D, M = 6, 3, 2
NETWORK = MLP.create([D, 4, M], activation=jnp.tanh, key=jax.random.key(0))
SHAPES = {"y": (N, M), "dydx": (N, M, D), "d2ydx2": (N, M, D, D)}
LOSS = SobolevLoss(0.7, 0.3)


def labels():
    keys = dict(zip(("x", *SHAPES), jax.random.split(jax.random.key(1), 4), strict=True))
    return {name: jax.random.normal(keys[name], shape) for name, shape in ({"x": (N, D)} | SHAPES).items()}


def masks(seed=2):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        name: jax.random.bernoulli(key, 0.6, shape).astype(float)
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def samples(weights=None, **changed):
    return Samples(**(labels() | changed), weights=None if weights is None else LabelWeights(**weights))


@eqx.filter_jit
def value_and_gradient(loss, samples, key=None):
    return eqx.filter_value_and_grad(lambda network: loss(network, samples, key=key))(NETWORK)


def test_a_loop_over_the_known_labels_finds_the_same():
    weights = {name: mask * jnp.linspace(0.5, 1.5, mask.size).reshape(mask.shape) for name, mask in masks().items()}
    found = {
        "y": jax.jit(jax.vmap(NETWORK))(labels()["x"]),
        "dydx": jax.jit(jax.vmap(jax.jacrev(NETWORK)))(labels()["x"]),
        "d2ydx2": jax.jit(jax.vmap(jax.hessian(NETWORK)))(labels()["x"]),
    }
    expected = 0.0
    for name, factor in (("y", 1.0), ("dydx", 0.7), ("d2ydx2", 0.3)):
        w, label, of_network = (np.asarray(part[name]) for part in (weights, labels(), found))
        error = size = 0.0
        for index in np.argwhere(w > 0):
            i = tuple(index)
            error += w[i] * (of_network[i] - label[i]) ** 2
            size += w[i] * label[i] ** 2
        per_sample = w[0].size / np.sum(w > 0)
        expected += factor * (error * per_sample if name == "y" else error / size)
    batch = samples(weights)
    np.testing.assert_allclose(LOSS.calibrate(batch)(NETWORK, batch), expected, rtol=1e-12)
    residuals = LOSS.calibrate(batch).residuals(NETWORK, batch)
    np.testing.assert_allclose(jnp.sum(residuals**2) / N, expected, rtol=1e-12)


@pytest.mark.parametrize("key", [None, jax.random.key(5)], ids=["axes", "drawn"])
def test_unknown_labels_add_exactly_nothing_also_when_they_are_nan(key):
    weights = masks()
    # Rows that are known as a whole, so that drawn directions find some.
    weights["d2ydx2"] = weights["d2ydx2"].at[:3].set(1.0)
    loss = SobolevLoss(0.7, 0.3, Rademacher(2))
    clean = samples(weights)
    poisoned = {name: jnp.where(weights[name] > 0, labels()[name], jnp.nan) for name in SHAPES}
    for changed in (poisoned, {name: jnp.where(weights[name] > 0, labels()[name], 1e9) for name in SHAPES}):
        batch = samples(weights, **changed)
        calibrated = loss.calibrate(batch)
        found, expected = (
            value_and_gradient(calibrated, batch, key),
            value_and_gradient(loss.calibrate(clean), clean, key),
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SHAPES)
def test_weights_of_one_are_no_weights(name):
    ones = samples({name: jnp.ones(SHAPES[name])})
    a, b = LOSS.calibrate(ones)(NETWORK, ones), LOSS.calibrate(samples())(NETWORK, samples())
    np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_sample_without_labels_is_no_sample():
    gone = {name: jnp.ones(shape).at[4].set(0.0) for name, shape in SHAPES.items()}
    batch, loss = samples(gone), SobolevLoss(0.7, 0.3)
    rest = jax.tree.map(lambda part: jnp.delete(part, 4, axis=0), samples())
    a, b = loss.calibrate(batch)(NETWORK, batch), loss.calibrate(rest)(NETWORK, rest)
    np.testing.assert_allclose(a, b, rtol=1e-13)
    np.testing.assert_allclose(ValueLoss()(NETWORK, batch), ValueLoss()(NETWORK, rest), rtol=1e-13)


def test_sums_of_labels_are_known_where_all_their_parts_are():
    """Products with directions and cotangents: zero weight if an unknown entry takes part, else inverse variance."""
    h, j = labels()["d2ydx2"], labels()["dydx"]
    v = jnp.asarray([[[1.0, 0.0, 0.0], [2.0, -1.0, 0.0]]] * N)
    w = jnp.asarray([[[1.0, 0.0], [1.0, 2.0]]] * N)
    hvps = HessianProducts(v, jnp.einsum("nmij,nkj->nmki", h, v))
    vjps = CotangentProducts(w, jnp.einsum("nmd,ncm->ncd", j, w))
    weights = {"dydx": jnp.ones(SHAPES["dydx"]), "d2ydx2": jnp.ones(SHAPES["d2ydx2"])}
    # Input 1 of output 0 has no curvature of its own, output 1 no gradients in sample 2; others are half as certain.
    weights["d2ydx2"] = weights["d2ydx2"].at[:, 0, :, 1].set(0.0).at[:, 1, :, 1].set(0.5)
    weights["dydx"] = weights["dydx"].at[2, 1].set(0.0).at[3, 1].set(0.5)
    batch = samples(weights, dydx=None, d2ydx2=None, vjps=vjps, hvps=hvps)
    loss = SobolevLoss(1.0, 1.0)
    network_h = jnp.einsum("nmij,nkj->nmki", jax.vmap(jax.hessian(NETWORK))(batch.x), v)
    network_j = jnp.einsum("nmd,ncm->ncd", jax.vmap(jax.jacrev(NETWORK))(batch.x), w)
    of_h, of_j = np.ones((N, M, 2, D)), np.ones((N, 2, D))
    of_h[:, 0, 1] = 0.0
    of_h[:, 1, 1] = 5 / (4 + 1 / 0.5)
    of_j[2, 1] = 0.0
    of_j[3, 1] = 5 / (1 + 4 / 0.5)
    expected = float(ValueLoss()(NETWORK, batch))
    for weight, found, label in ((of_h, network_h, hvps.products), (of_j, network_j, vjps.products)):
        squares = weight * np.asarray(found - label) ** 2
        expected += np.sum(squares) / np.sum(weight > 0) * weight[0].size / 2
    np.testing.assert_allclose(loss(NETWORK, batch), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_a_mask_that_leaves_nothing_is_refused(name):
    nothing = samples({name: jnp.zeros(SHAPES[name])})
    # Derivatives determine a function but for its level, so that values are needed only where there are none.
    loss = ValueLoss() if name == "y" else LOSS
    with pytest.raises(ValueError, match=rf"`samples\.{name}` leave no label"):
        loss.calibrate(nothing)


def test_derivatives_are_learned_without_values():
    LOSS.calibrate(samples({"y": jnp.zeros(SHAPES["y"])}))


def test_hessians_that_all_miss_an_entry_can_be_compared_along_axes_only():
    weights = {"d2ydx2": jnp.ones(SHAPES["d2ydx2"]).at[..., 0].set(0.0)}
    with pytest.raises(ValueError, match=r"compare them along `Axes\(\)`"):
        SobolevLoss(1.0, 1.0, Rademacher(2)).calibrate(samples(weights))
    SobolevLoss(1.0, 1.0).calibrate(samples(weights))


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none_are_refused(bad):
    wrong = samples({"y": jnp.ones(SHAPES["y"]).at[2, 1].set(bad)})
    for loss in (ValueLoss(), LOSS):
        with pytest.raises(ValueError, match=r"weights of `samples\.y` hold numbers"):
            loss.calibrate(wrong)


def test_a_batch_in_which_nothing_is_known_adds_nothing():
    """Calibration has seen labels; a later batch may have none, and must not divide by their number."""
    nothing = samples({"dydx": jnp.zeros(SHAPES["dydx"])})
    value, gradient = value_and_gradient(SobolevLoss(1.0), nothing)
    np.testing.assert_allclose(value, ValueLoss()(NETWORK, nothing), rtol=1e-14)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
