"""Directions have the law, the frames and the subspaces that they promise."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import (
    Axes,
    FunctionReference,
    Gaussian,
    InUnits,
    LeadingCurvature,
    NormalLaw,
    Orthonormal,
    PrincipalComponents,
    Rademacher,
)

# Those with E[v vᵀ] = I, random or not.
ISOTROPIC = {
    "signs": Rademacher(2),
    "normal": Gaussian(2),
    "frames": Orthonormal(2),
    "whole frames": Orthonormal(5),
    "axes": Axes(),
}
RANDOM = {name: ISOTROPIC[name] for name in ("signs", "normal", "frames", "whole frames")}
ALL = ISOTROPIC | {
    "components": PrincipalComponents(2),
    "curvature": LeadingCurvature(2, oversampling=1),
    "in units": InUnits(Rademacher(2), jnp.arange(1.0, 6.0)),
}


def symmetric(key, n, m, d):
    a = jax.random.normal(key, (n, m, d, d))
    return a + jnp.swapaxes(a, 2, 3)


def times(hessians):
    """The products that a reference would give."""
    return lambda v: jnp.einsum("nmde,nke->nmkd", hessians, v)


@eqx.filter_jit
def drawn(directions, key, gradients, hessians):
    return directions.draw(key, gradients, times(hessians))


def draw(directions, n=3, m=2, d=5, seed=0):
    keys = jax.random.split(jax.random.key(100 + seed))
    return drawn(directions, jax.random.key(seed), jax.random.normal(keys[0], (n, m, d)), symmetric(keys[1], n, m, d))


def z_scores(parts, expected):
    """Of the mean over the first axis; zero where nothing varies and the mean is right to rounding."""
    parts = np.asarray(parts)
    mean, error = parts.mean(0), parts.std(0, ddof=1) / math.sqrt(len(parts))
    return np.where(np.abs(mean - expected) < 1e-12, 0.0, (mean - expected) / np.maximum(error, 1e-300))


@pytest.mark.parametrize("directions", ISOTROPIC.values(), ids=ISOTROPIC.keys())
def test_the_second_moment_is_the_identity(directions):
    """Twenty-five numbers each, |z| < 4.5; means over the directions of a sample, which need not be independent."""
    v = draw(directions, n=4000)
    moments = jnp.einsum("nkd,nke->nde", v, v) / v.shape[1]
    assert np.all(np.abs(z_scores(moments, np.eye(5))) < 4.5)
    # The test has teeth: 5 % more length is seen.
    assert np.any(np.abs(z_scores(1.05 * moments, np.eye(5))) > 4.5)


@pytest.mark.parametrize("directions", ISOTROPIC.values(), ids=ISOTROPIC.keys())
def test_the_norm_of_a_hessian_is_estimated_without_bias(directions):
    """Hutchinson: the mean of ‖H v‖² is ‖H‖²; of the axes and of whole frames every single one is."""
    n, d = 4000, 5
    hessian = symmetric(jax.random.key(1), 1, 1, d)
    v = drawn(directions, jax.random.key(2), jnp.zeros((n, 1, d)), jnp.broadcast_to(hessian, (n, 1, d, d)))
    estimates = np.asarray(jnp.mean(jnp.sum((v @ hessian[0, 0]) ** 2, axis=2), axis=1))
    norm = float(jnp.sum(hessian**2))
    assert abs(z_scores(estimates, norm)) < 4.5
    if v.shape[1] == d:
        np.testing.assert_allclose(estimates, norm, rtol=1e-12)


@pytest.mark.parametrize("directions", RANDOM.values(), ids=RANDOM.keys())
def test_keys_decide_and_samples_differ(directions):
    v = draw(directions)
    assert jnp.array_equal(v, draw(directions))
    other = drawn(directions, jax.random.key(9), jnp.ones((3, 2, 5)), jnp.zeros((3, 2, 5, 5)))
    assert not jnp.array_equal(v, other)
    assert all(not jnp.array_equal(v[i], v[j]) for i, j in itertools.combinations(range(3), 2))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_frames_are_orthonormal(count):
    v = draw(Orthonormal(count))
    np.testing.assert_allclose(
        v @ jnp.swapaxes(v, 1, 2) / 5, np.broadcast_to(np.eye(count), (3, count, count)), atol=1e-14
    )


@pytest.mark.parametrize("directions", ALL.values(), ids=ALL.keys())
def test_single_precision_stays(directions):
    directions = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), directions)
    gradients, hessians = jnp.ones((2, 1, 5), jnp.float32), jnp.ones((2, 1, 5, 5), jnp.float32)
    assert drawn(directions, jax.random.key(0), gradients, hessians).dtype == jnp.float32


def gradients_within(basis, sizes, n=200, m=2):
    """Random gradients in the span of the rows of `basis`, with a mean that is not zero."""
    c = (jax.random.normal(jax.random.key(3), (n, m, len(sizes))) + 1.0) * jnp.asarray(sizes)[None, None]
    return c @ basis


def frame(k, d, seed=4):
    q, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (d, k)))
    return q.T


def test_components_are_the_leading_eigenvectors_of_the_second_moment():
    basis = frame(2, 6)
    gradients = gradients_within(basis, [3.0, 1.0])
    v = np.asarray(drawn(PrincipalComponents(2), jax.random.key(0), gradients, jnp.zeros((200, 1, 6, 6))))
    assert np.all(v == v[:1])
    unit = v[0] / math.sqrt(2)
    np.testing.assert_allclose(unit @ unit.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(unit.T @ unit, basis.T @ basis, atol=1e-12)
    rows = np.asarray(gradients).reshape(-1, 6)
    energies = np.sum((rows @ unit.T) ** 2, axis=0)
    assert energies[0] > energies[1]
    # By another way: singular values of the gradients, not centred.
    np.testing.assert_allclose(energies, np.linalg.svd(rows, compute_uv=False)[:2] ** 2, rtol=1e-10)


def test_the_number_of_components_follows_from_the_share():
    gradients = jnp.asarray([[[3.0, 0, 0]], [[0, 2.0, 0]], [[0, 0, 1.0]]])  # 9, 4 and 1 of 14
    counts = {share: PrincipalComponents.explaining(gradients, share).count for share in (0.5, 9 / 14, 0.65, 0.93, 1.0)}
    assert counts == {0.5: 1, 9 / 14: 1, 0.65: 2, 0.93: 3, 1.0: 3}
    assert PrincipalComponents.explaining(gradients_within(frame(2, 6), [3.0, 1.0]), 1.0).count == 2


@pytest.mark.parametrize("m", [1, 3])
def test_leading_curvature_is_exact_with_enough_directions(m):
    n, d = 4, 6
    hessians = symmetric(jax.random.key(5), n, m, d)
    v = np.asarray(drawn(LeadingCurvature(2), jax.random.key(6), jnp.zeros((n, m, d)), hessians)) / math.sqrt(2)
    for unit, h in zip(v, np.asarray(hessians), strict=True):
        _, _, rows = np.linalg.svd(h.reshape(m * d, d))
        np.testing.assert_allclose(np.abs(unit @ rows[:2].T), np.eye(2), atol=1e-10)


@pytest.mark.parametrize("m", [1, 3])
def test_leading_curvature_finds_a_subspace_of_low_rank(m):
    """Of rank 2 in 30 dimensions, another at each sample, by few products and with both signs of curvature."""
    n, d = 4, 30
    frames = jnp.stack([frame(2, d, seed) for seed in range(n)])
    sizes = jnp.asarray([[5.0, -2.0], [1.0, 1.0], [-3.0, 4.0]])[:m]
    hessians = jnp.einsum("nkd,mk,nke->nmde", frames, sizes, frames)
    v = drawn(LeadingCurvature(2, oversampling=1), jax.random.key(7), jnp.zeros((n, m, d)), hessians) / math.sqrt(2)
    np.testing.assert_allclose(jnp.einsum("nkd,nke->nde", v, v), jnp.einsum("nkd,nke->nde", frames, frames), atol=1e-9)


def test_iterations_turn_towards_the_leading_direction():
    d = 40
    sizes = jnp.concatenate([jnp.asarray([-2.0]), jnp.ones(d - 1)])
    hessians = jnp.broadcast_to(jnp.diag(sizes)[None, None], (50, 1, d, d))

    def missed(iterations):
        directions = LeadingCurvature(1, oversampling=1, iterations=iterations)
        v = drawn(directions, jax.random.key(8), jnp.zeros((50, 1, d)), hessians)
        return float(jnp.median(1 - v[:, 0, 0] ** 2))

    assert missed(6) < 0.01 * missed(2)


def test_curvatures_that_cancel_in_the_mean_are_found():
    """Half of the samples curve up, half down; the mean Hessian is zero."""
    w = frame(1, 8)[0]
    signs = jnp.asarray([1.0, -1.0, 1.0, -1.0])
    hessians = signs[:, None, None, None] * jnp.outer(w, w)[None, None]
    v = drawn(LeadingCurvature(1, oversampling=0), jax.random.key(9), jnp.zeros((4, 1, 8)), hessians)
    np.testing.assert_allclose(jnp.abs(v[:, 0] @ w), 1.0, rtol=1e-12)


def test_directions_in_other_units_are_those_of_the_scaled_reference():
    """Drawn through `InUnits` from physical parts, or drawn in those units and scaled by hand."""
    n, m, d = 3, 2, 5
    x_scale, y_scale = jnp.asarray([1.0, 10.0, 0.1, 3.0, 2.0]), jnp.asarray([4.0, 0.5])
    gradients, hessians = jax.random.normal(jax.random.key(1), (n, m, d)), symmetric(jax.random.key(2), n, m, d)
    scaled = gradients * x_scale[None, None] / y_scale[None, :, None]
    scaled_hessians = hessians * jnp.outer(x_scale, x_scale)[None, None] / y_scale[None, :, None, None]
    for directions in (Rademacher(2), PrincipalComponents(2), LeadingCurvature(2, oversampling=1)):
        inner = drawn(directions, jax.random.key(3), scaled, scaled_hessians)
        outer = drawn(InUnits(directions, x_scale, y_scale), jax.random.key(3), gradients, hessians)
        np.testing.assert_allclose(outer, inner * x_scale[None, None], rtol=1e-9)


@pytest.mark.parametrize("directions", ALL.values(), ids=ALL.keys())
def test_a_reference_labels_along_all_of_them(directions):
    reference = FunctionReference(
        lambda x: jnp.stack([jnp.sin(x @ jnp.arange(5.0)), jnp.prod(x)]), NormalLaw(np.zeros(5), np.ones(5))
    )
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), 3, directions=directions)
    hessians = reference.truth(samples.x).d2ydx2
    np.testing.assert_allclose(samples.hvps.products, times(hessians)(samples.hvps.directions), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [Orthonormal, PrincipalComponents, LeadingCurvature])
def test_more_directions_than_dimensions_are_refused(kind):
    with pytest.raises(ValueError, match=r"`count` is 6, more directions than dimensions: the reference has 5 inputs"):
        draw(kind(6))


@pytest.mark.parametrize("kind", [Gaussian, LeadingCurvature, Orthonormal, PrincipalComponents, Rademacher])
def test_no_directions_are_refused(kind):
    with pytest.raises(ValueError, match="`count` is 0"):
        kind(0)


REFUSED = {
    "oversampling": (lambda: LeadingCurvature(1, oversampling=-1), "`oversampling` is -1"),
    "iterations": (lambda: LeadingCurvature(1, iterations=0), "`iterations` is 0"),
    "share of nothing": (lambda: PrincipalComponents.explaining(jnp.ones((2, 1, 3)), 0.0), r"`share` is 0\.0"),
    "share above one": (lambda: PrincipalComponents.explaining(jnp.ones((2, 1, 3)), 1.5), r"`share` is 1\.5"),
    "no gradients": (lambda: PrincipalComponents.explaining(jnp.zeros((2, 1, 3)), 0.9), "zero everywhere"),
    "gradients not finite": (lambda: PrincipalComponents.explaining(jnp.full((2, 1, 3), jnp.nan), 0.9), "not finite"),
    "traced": (
        lambda: jax.jit(lambda g: PrincipalComponents.explaining(g, 0.9).count)(jnp.ones((2, 1, 3))),
        "`gradients` are traced",
    ),
    "scale of zero": (lambda: InUnits(Axes(), jnp.asarray([1.0, 0.0])), "`x_scale`"),
    "negative scale": (lambda: InUnits(Axes(), jnp.ones(2), jnp.asarray([-1.0])), "`y_scale`"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
