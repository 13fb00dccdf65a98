"""Balances of the terms: what each says it minimises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import Axes, CotangentProducts, HessianProducts, LabelWeights, Samples
from sobolev_pruning.sobolev import GeometricMean, LabelNoise, LabelScale, SobolevLoss
from sobolev_pruning.surrogate import MLP

NETWORK = MLP.create([3, 4, 2], activation=jnp.tanh, key=jax.random.key(0))


def samples(n=6):
    keys = jax.random.split(jax.random.key(1), 4)
    shapes = ((n, 3), (n, 2), (n, 2, 3), (n, 2, 3, 3))
    return Samples(*(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)))


def errors(samples):
    """Mean squared norms of the errors, order by order."""
    found = (jax.vmap(f)(samples.x) for f in (NETWORK, jax.jacrev(NETWORK), jax.hessian(NETWORK)))
    labels = (samples.y, samples.dydx, samples.d2ydx2)
    return [float(jnp.sum((a - b) ** 2) / samples.n) for a, b in zip(found, labels, strict=True)]


def gradient(loss, samples):
    found = eqx.filter_grad(lambda network: loss(network, samples))(NETWORK)
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(found)])


def test_label_noise_weighs_by_the_inverse_variance():
    loss = SobolevLoss(1.0, 0.5, balance=LabelNoise(2.0, 8.0, 0.1)).calibrate(samples())
    e0, e1, e2 = errors(samples())
    np.testing.assert_allclose(loss(NETWORK, samples()), e0 + e1 * 2 / 8 + 0.5 * e2 * 2 / 0.1, rtol=1e-12)


def test_label_noise_finds_the_most_likely_slope():
    """A straight line from noisy values and slopes: the generalised least squares estimate has a formula."""
    x = jnp.linspace(-1.0, 1.0, 50)[:, None]
    keys = jax.random.split(jax.random.key(2))
    y = 2 * x + 0.5 * jax.random.normal(keys[0], x.shape)
    slopes = 2 + 0.1 * jax.random.normal(keys[1], x.shape)
    batch = Samples(x, y, slopes[:, :, None])
    loss = SobolevLoss(1.0, balance=LabelNoise(0.25, 0.01)).calibrate(batch)

    def of(slope):
        return loss(lambda x: slope * x, batch)

    best = (jnp.sum(x * y) / 0.25 + jnp.sum(slopes) / 0.01) / (jnp.sum(x**2) / 0.25 + 50 / 0.01)
    assert abs(float(jax.grad(of)(best))) < 1e-12
    assert abs(float(jax.grad(of)(best + 0.01))) > 1e-3


def test_noise_is_estimated_without_bias_from_repeats():
    """Chi-square of the estimates: `2 N` independent squares for N pairs, within 4.5 deviations."""
    truth, deviations = samples(400), (0.3, 0.02, 5.0)

    def noisy(key):
        keys = jax.random.split(key, 3)
        parts = zip(keys, (truth.y, truth.dydx, truth.d2ydx2), deviations, strict=True)
        return Samples(truth.x, *(part + s * jax.random.normal(key, part.shape) for key, part, s in parts))

    first, second = noisy(jax.random.key(3)), noisy(jax.random.key(4))
    found = LabelNoise.from_repeats(first, second)
    for name, s in zip(("y", "dydx", "d2ydx2"), deviations, strict=True):
        size = getattr(truth, name).size
        z = (getattr(found, name) / s**2 - 1) / np.sqrt(2 / size)
        assert abs(z) < 4.5

    w = 3.0 * jax.random.normal(jax.random.key(5), (400, 4, 2))
    v = 0.5 * jax.random.normal(jax.random.key(6), (400, 2, 3))

    def contracted(one):
        vjps = CotangentProducts(w, jnp.einsum("nmd,ncm->ncd", one.dydx, w))
        hvps = HessianProducts(v, jnp.einsum("nmij,nkj->nmki", one.d2ydx2, v))
        return Samples(one.x, one.y, vjps=vjps, hvps=hvps)

    along = LabelNoise.from_repeats(contracted(first), contracted(second))
    assert along.dydx == pytest.approx(found.dydx, rel=0.15)
    assert along.d2ydx2 == pytest.approx(found.d2ydx2, rel=0.15)
    # Labels that are not known say nothing about the noise.
    known = LabelWeights(y=jnp.ones(truth.y.shape).at[7].set(0.0))
    spoilt = Samples(first.x, first.y.at[7].set(jnp.nan), weights=known)
    assert LabelNoise.from_repeats(spoilt, second).y == pytest.approx(found.y, rel=0.1)


def test_the_geometric_mean_is_one_and_shrinks_all_terms_alike():
    batch = samples()
    loss = SobolevLoss(2.0, 0.5, Axes(), balance=GeometricMean()).calibrate(batch)
    e0, e1, e2 = errors(batch)
    c1, c2 = (float(jnp.sum(part**2) / batch.n) for part in (batch.dydx, batch.d2ydx2))
    expected = (e0 * (e1 / c1) ** 2 * (e2 / c2) ** 0.5) ** (1 / 3.5)
    np.testing.assert_allclose(loss(NETWORK, batch), expected, rtol=1e-6)
    # Its gradient is that of the sum whose weights are the inverse errors.
    equal = SobolevLoss(2.0 * e0 / e1, 0.5 * e0 / e2, Axes())
    np.testing.assert_allclose(
        gradient(loss, batch), gradient(equal, batch) * expected / e0 / 3.5, rtol=1e-6, atol=1e-9
    )


def test_the_geometric_mean_does_not_care_for_the_size_of_a_term():
    loss = SobolevLoss(1.0, balance=GeometricMean())
    batch = samples()
    along = [gradient(eqx.tree_at(lambda s: s.gradient_scale, loss, jnp.asarray(c)), batch) for c in (1.0, 1e-3)]
    a, b = (g / jnp.linalg.norm(g) for g in along)
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_geometric_mean_stays_finite_at_the_truth():
    batch = samples()
    exact = Samples(batch.x, jax.vmap(NETWORK)(batch.x), jax.vmap(jax.jacrev(NETWORK))(batch.x))
    loss = SobolevLoss(1.0, balance=GeometricMean()).calibrate(exact)
    assert float(loss(NETWORK, exact)) == pytest.approx(1e-8)
    assert bool(jnp.all(jnp.isfinite(gradient(loss, exact))))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`y` is 0"):
        LabelNoise(0.0)
    with pytest.raises(ValueError, match=r"`LabelNoise` has no `d2ydx2`"):
        SobolevLoss(1.0, 1.0, balance=LabelNoise(1.0, 1.0)).calibrate(samples())
    with pytest.raises(ValueError, match="`floor`"):
        GeometricMean(0.0)
    with pytest.raises(ValueError, match="no sum of squares"):
        SobolevLoss(1.0, balance=GeometricMean()).residuals(NETWORK, samples())
    with pytest.raises(ValueError, match=r"`first\.x` and `second\.x` differ"):
        LabelNoise.from_repeats(samples(6), samples(7))
    with pytest.raises(ValueError, match="noise variance `y` is 0"):
        LabelNoise.from_repeats(samples(), samples())
    assert SobolevLoss().balance == LabelScale()
