"""The second order of the Sobolev loss: against whole Hessians, in any units, with any directions."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    Axes,
    CotangentProducts,
    FunctionReference,
    HessianProducts,
    Orthonormal,
    PrincipalComponents,
    Rademacher,
    Samples,
)
from sobolev_pruning.sobolev import NoisyCurvatureWarning, SobolevLoss, ValueLoss
from sobolev_pruning.surrogate import MLP, Normalisation


def problem(d=3, m=2, n=6, activation=jnp.tanh):
    keys = jax.random.split(jax.random.key(1), 4)
    network = MLP.create([d, 4, m], activation=activation, key=jax.random.key(0))
    x, y = jax.random.normal(keys[0], (n, d)), jax.random.normal(keys[1], (n, m))
    hessians = jax.random.normal(keys[3], (n, m, d, d))
    return network, Samples(x, y, jax.random.normal(keys[2], (n, m, d)), hessians + jnp.swapaxes(hessians, 2, 3))


def along(samples, v):
    """The same samples with products in place of Hessians."""
    products = jnp.einsum("nmij,nkj->nmki", samples.d2ydx2, v)
    return Samples(samples.x, samples.y, samples.dydx, hvps=HessianProducts(v, products))


def by_hand(network, samples, gradient_weight, curvature_weight):
    """Whole Jacobians and Hessians by AD, each term over the size of its labels."""
    total = jnp.sum((jax.vmap(network)(samples.x) - samples.y) ** 2)
    for weight, labels, of in (
        (gradient_weight, samples.dydx, jax.jacrev),
        (curvature_weight, samples.d2ydx2, jax.hessian),
    ):
        difference = jax.vmap(of(network))(samples.x) - labels
        total += weight * jnp.sum(difference**2) / (jnp.sum(labels**2) / samples.n)
    return total / samples.n


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("key", [None, jax.random.key(3)], ids=["no key", "key"])
@pytest.mark.parametrize("directions", [None, Axes(), Orthonormal(3)], ids=["default", "axes", "frame"])
def test_all_axes_are_the_whole_hessian(m, key, directions):
    network, samples = problem(m=m)
    loss = SobolevLoss(0.7, 0.3, directions).calibrate(samples)
    np.testing.assert_allclose(loss(network, samples, key=key), by_hand(network, samples, 0.7, 0.3), rtol=1e-12)


@pytest.mark.parametrize("directions", [Rademacher(2), None], ids=["random", "default"])
def test_directions_are_fresh_with_every_key_and_right_on_average(directions):
    network, samples = problem(d=5)
    loss = SobolevLoss(0.7, 0.3, directions).calibrate(samples)
    keys = jax.random.split(jax.random.key(4), 2000)
    found = jax.jit(jax.vmap(lambda key: loss(network, samples, key=key)))(keys)
    assert len(np.unique(found)) > 100
    # The calibration has directions of its own, so the expected loss is that of its scale.
    whole = SobolevLoss(0.7, 0.3, Axes(), gradient_scale=loss.gradient_scale, curvature_scale=loss.curvature_scale)
    z = (np.mean(found) - float(whole(network, samples))) / (np.std(found) / np.sqrt(len(found)))
    assert abs(z) < 4.5


def test_the_samples_own_directions_are_used():
    network, samples = problem()
    v = jax.random.normal(jax.random.key(5), (samples.n, 2, 3))
    with_products = along(samples, v)
    loss = SobolevLoss(0.0, 0.4).calibrate(with_products)
    labels = with_products.hvps.products
    found = jnp.einsum("nmij,nkj->nmki", jax.vmap(jax.hessian(network))(samples.x), v)
    values = jnp.mean(jnp.sum((jax.vmap(network)(samples.x) - samples.y) ** 2, 1))
    expected = values + 0.4 * jnp.sum((found - labels) ** 2) / jnp.sum(labels**2)
    for key in (None, jax.random.key(0)):
        np.testing.assert_allclose(loss(network, with_products, key=key), expected, rtol=1e-12)


def test_orders_of_weight_zero_need_no_labels():
    network, samples = problem()
    only_values = Samples(samples.x, samples.y)
    assert float(SobolevLoss(0.0, 0.0).calibrate(only_values)(network, only_values)) == float(
        ValueLoss()(network, samples)
    )
    no_gradients = Samples(samples.x, samples.y, d2ydx2=samples.d2ydx2)
    loss = SobolevLoss(0.0, 1.0).calibrate(no_gradients)
    np.testing.assert_allclose(loss(network, no_gradients), by_hand(network, samples, 0.0, 1.0), rtol=1e-12)


def test_the_loss_is_zero_at_the_truth_and_sees_wrong_curvature():
    network, samples = problem()
    y, dydx, d2ydx2 = (jax.vmap(f)(samples.x) for f in (network, jax.jacrev(network), jax.hessian(network)))
    exact = Samples(samples.x, y, dydx, d2ydx2)
    assert float(SobolevLoss(1.0, 1.0)(network, exact)) < 1e-28
    wrong = Samples(samples.x, y, dydx, d2ydx2 + 0.1)
    assert float(SobolevLoss(1.0, 1.0)(network, wrong)) == pytest.approx(0.01 * 2 * 9)
    assert float(SobolevLoss(1.0)(network, wrong)) < 1e-28


@pytest.mark.parametrize("case", ["values", "gradients", "curvature", "cotangents"])
def test_residuals_and_loss_agree(case):
    network, samples = problem()
    if case == "cotangents":
        w = jax.random.normal(jax.random.key(6), (samples.n, 3, 2))
        vjps = CotangentProducts(w, jnp.einsum("nmd,ncm->ncd", samples.dydx, w))
        samples = Samples(samples.x, samples.y, vjps=vjps)
    orders = {"values": (0.0, 0.0), "gradients": (0.7, 0.0), "curvature": (0.7, 0.3), "cotangents": (0.7, 0.0)}
    loss = SobolevLoss(*orders[case]).calibrate(samples)
    residuals = loss.residuals(network, samples)
    assert residuals.shape[0] == samples.n
    np.testing.assert_allclose(jnp.sum(residuals**2) / samples.n, loss(network, samples), rtol=1e-13)


def test_cotangents_are_compared_along_themselves_and_average_to_the_jacobian():
    network, samples = problem(n=4)
    w = jax.random.rademacher(jax.random.key(7), (samples.n, 4000, 2), float)
    vjps = CotangentProducts(w, jnp.einsum("nmd,ncm->ncd", samples.dydx, w))
    sampled = Samples(samples.x, samples.y, vjps=vjps)
    loss = SobolevLoss(1.0)
    jacobians = jax.vmap(jax.jacrev(network))(samples.x)
    difference = jnp.einsum("nmd,ncm->ncd", jacobians - samples.dydx, w)
    values = float(ValueLoss()(network, samples))
    # By hand, exactly; and the whole Jacobian as a statistic of the cotangents.
    by_cotangent = np.asarray(jnp.sum(difference**2, (0, 2)) / samples.n)
    found = float(loss(network, sampled))
    np.testing.assert_allclose(found, values + by_cotangent.mean(), rtol=1e-12)
    z = (found - float(loss(network, samples))) / (by_cotangent.std() / np.sqrt(len(by_cotangent)))
    assert abs(z) < 4.5


@pytest.mark.parametrize(
    "directions", [None, Rademacher(2), PrincipalComponents(2)], ids=["default", "signs", "leading"]
)
def test_the_loss_does_not_depend_on_the_units_of_the_reference(directions):
    """A reference asked for directions in physical units, in two systems of units, gives the same normalised loss."""

    def measured(x_unit, y_unit):
        shift = jnp.arange(1.0, 6.0)

        def function(x):
            z = x / x_unit
            return y_unit * jnp.stack([jnp.sin(z @ shift), jnp.sum(z**3)])

        reference = FunctionReference(function, lambda key, n: x_unit[None] * jax.random.normal(key, (n, 5)))
        loss = SobolevLoss(1.0, 1.0, directions)

        @eqx.filter_jit
        def evaluated(key):
            units = Normalisation.from_samples(reference.sample(key, 64))
            batch = units.normalise(reference.sample(key, 64, directions=loss.directions(units)))
            return loss.calibrate(batch)(MLP.create([5, 4, 2], key=jax.random.key(0)), batch)

        return float(evaluated(jax.random.key(8)))

    here = measured(jnp.ones(5), jnp.ones(2))
    there = measured(jnp.asarray([1e-3, 0.1, 1.0, 20.0, 3e4]), jnp.asarray([1e3, 1e-2]))
    assert there == pytest.approx(here, rel=1e-8)


def test_no_directions_are_asked_for_without_curvature():
    units = Normalisation.identity(3, 2)
    assert SobolevLoss(1.0).directions(units) is None
    assert ValueLoss().directions(units) is None
    assert SobolevLoss(1.0, 1.0).directions(units) is not None


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_bad_weight_is_named(weight):
    with pytest.raises(ValueError, match="`curvature_weight`"):
        SobolevLoss(1.0, weight)


def test_missing_labels_are_named():
    _, samples = problem()
    with pytest.raises(ValueError, match=r"`samples\.d2ydx2` and `samples\.hvps` are None"):
        SobolevLoss(1.0, 1.0).calibrate(Samples(samples.x, samples.y, samples.dydx))
    with pytest.raises(ValueError, match=r"`samples\.dydx` is None, but `PrincipalComponents`"):
        SobolevLoss(0.0, 1.0, PrincipalComponents(1)).calibrate(Samples(samples.x, samples.y, d2ydx2=samples.d2ydx2))


def leak(x):
    """Nobody's list of names knows this one."""
    return jnp.where(x > 0.3, x, 0.1 * x)


STRAIGHT = [jax.nn.relu, jax.nn.relu6, jax.nn.leaky_relu, jax.nn.hard_tanh, jax.nn.hard_sigmoid, leak]
CURVED = [jax.nn.silu, jax.nn.gelu, jax.nn.elu, jax.nn.softplus, jax.nn.hard_silu, jnp.tanh, jnp.sin, jax.nn.celu]


@pytest.mark.parametrize("activation", STRAIGHT, ids=lambda f: f.__name__)
def test_activations_without_curvature_are_refused_by_name(activation):
    network, samples = problem(activation=activation)
    loss = SobolevLoss(1.0, 1.0)
    with pytest.raises(ValueError, match=f"`{activation.__name__}` has zero curvature almost everywhere"):
        loss(network, samples)
    with pytest.raises(ValueError, match="zero curvature"):
        jax.eval_shape(lambda s: loss(network, s), samples)
    assert jnp.isfinite(SobolevLoss(1.0)(network, samples))


@pytest.mark.parametrize("activation", CURVED, ids=lambda f: f.__name__)
def test_smooth_activations_pass(activation):
    network, samples = problem(activation=activation)
    jax.eval_shape(lambda s: SobolevLoss(1.0, 1.0)(network, s), samples)


def test_noise_in_single_precision_is_reported_and_curvature_is_not():
    _, samples = problem(d=5, n=64)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), samples)
    loss = SobolevLoss(1.0, 1.0, Rademacher(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss.calibrate(single)
    noise = jax.random.normal(jax.random.key(9), single.d2ydx2.shape, jnp.float32)

    def noisy(share):
        scale = jnp.sqrt(jnp.mean(single.d2ydx2**2) * share / (1 - share))
        return eqx.tree_at(lambda s: s.d2ydx2, single, single.d2ydx2 + scale * noise)

    with pytest.warns(NoisyCurvatureWarning, match="float32 is noise"):
        loss.calibrate(noisy(0.8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss.calibrate(noisy(0.2))


def test_curvature_below_rounding_is_not_blown_up_to_size_one():
    _, samples = problem(d=5)
    tiny = eqx.tree_at(lambda s: s.d2ydx2, samples, 1e-16 * samples.d2ydx2)
    with pytest.warns(NoisyCurvatureWarning, match="no more than rounding in float64"):
        loss = SobolevLoss(1.0, 1.0).calibrate(tiny)
    assert float(loss.curvature_scale) == 1.0
    # A function that has none is no rounding.
    flat = eqx.tree_at(lambda s: s.d2ydx2, samples, 0 * samples.d2ydx2)
    assert float(SobolevLoss(1.0, 1.0).calibrate(flat).curvature_scale) == 1.0
