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
    Cotangents,
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


N, DIM = 4000, 5
HESSIAN = symmetric(jax.random.key(1), 1, 1, DIM)


def draw(directions, seed=0):
    """Of one shape in all tests, so that each kind compiles once."""
    gradients = jax.random.normal(jax.random.key(2), (N, 1, DIM))
    return drawn(directions, jax.random.key(seed), gradients, jnp.broadcast_to(HESSIAN, (N, 1, DIM, DIM)))


def z_scores(parts, expected):
    """Of the mean over the first axis; zero where nothing varies and the mean is right to rounding."""
    parts = np.asarray(parts)
    mean, error = parts.mean(0), parts.std(0, ddof=1) / math.sqrt(len(parts))
    return np.where(np.abs(mean - expected) < 1e-12, 0.0, (mean - expected) / np.maximum(error, 1e-300))


@pytest.mark.parametrize("directions", ISOTROPIC.values(), ids=ISOTROPIC.keys())
def test_the_second_moment_is_the_identity(directions):
    """Twenty-five numbers each, |z| < 4.5; means over the directions of a sample, which need not be independent."""
    v = draw(directions)
    moments = jnp.einsum("nkd,nke->nde", v, v) / v.shape[1]
    assert np.all(np.abs(z_scores(moments, np.eye(DIM))) < 4.5)
    # The test has teeth: 5 % more length is seen.
    assert np.any(np.abs(z_scores(1.05 * moments, np.eye(DIM))) > 4.5)


@pytest.mark.parametrize("directions", ISOTROPIC.values(), ids=ISOTROPIC.keys())
def test_the_norm_of_a_hessian_is_estimated_without_bias(directions):
    """Hutchinson: the mean of ‖H v‖² is ‖H‖²; of the axes and of whole frames every single one is."""
    v = draw(directions, seed=1)
    estimates = np.asarray(jnp.mean(jnp.sum((v @ HESSIAN[0, 0]) ** 2, axis=2), axis=1))
    norm = float(jnp.sum(HESSIAN**2))
    assert abs(z_scores(estimates, norm)) < 4.5
    if v.shape[1] == DIM:
        np.testing.assert_allclose(estimates, norm, rtol=1e-12)


@pytest.mark.parametrize("directions", RANDOM.values(), ids=RANDOM.keys())
def test_keys_decide_and_samples_differ(directions):
    v = np.asarray(draw(directions))
    assert np.array_equal(v, draw(directions))
    assert not np.array_equal(v, draw(directions, seed=1))
    assert all(not np.array_equal(v[i], v[j]) for i, j in itertools.combinations([0, 1, 2, N - 1], 2))


@pytest.mark.parametrize("count", [2, DIM])
def test_frames_are_orthonormal(count):
    v = np.asarray(draw(Orthonormal(count)))
    moments = v @ np.swapaxes(v, 1, 2) / DIM
    np.testing.assert_allclose(moments, np.broadcast_to(np.eye(count), moments.shape), atol=1e-14)


@pytest.mark.parametrize("directions", ALL.values(), ids=ALL.keys())
def test_single_precision_stays(directions):
    directions = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), directions)
    gradients, hessians = jnp.ones((2, 1, 5), jnp.float32), jnp.ones((2, 1, 5, 5), jnp.float32)
    v = eqx.filter_eval_shape(drawn, directions, jax.random.key(0), gradients, hessians)
    assert v.dtype == jnp.float32


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


def test_leading_curvature_finds_a_subspace_of_low_rank():
    """Of rank 2 in 30 dimensions, by few products, with curvatures of both signs that cancel in the mean Hessian."""
    n, m, d = 4, 3, 30
    frames = jnp.repeat(frame(4, d).reshape(2, 2, d), 2, axis=0)
    sizes = jnp.asarray([[5.0, -2.0], [1.0, 1.0], [-3.0, 4.0]])
    signs = jnp.asarray([1.0, -1.0, 1.0, -1.0])
    hessians = signs[:, None, None, None] * jnp.einsum("nkd,mk,nke->nmde", frames, sizes, frames)
    assert not np.any(hessians.sum(0))
    v = drawn(LeadingCurvature(2, oversampling=1), jax.random.key(7), jnp.zeros((n, m, d)), hessians) / math.sqrt(2)
    found, expected = (np.einsum("nkd,nke->nde", part, part) for part in (np.asarray(v), np.asarray(frames)))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_iterations_turn_towards_the_leading_direction():
    """Twice the curvature of 39 others: each iteration leaves a quarter of the squared sine, which begins near one."""
    d = 40
    sizes = jnp.concatenate([jnp.asarray([-2.0]), jnp.ones(d - 1)])
    hessians = jnp.broadcast_to(jnp.diag(sizes)[None, None], (50, 1, d, d))
    directions = LeadingCurvature(1, oversampling=1, iterations=6)
    v = np.asarray(drawn(directions, jax.random.key(8), jnp.zeros((50, 1, d)), hessians))
    np.testing.assert_allclose(np.sum(v**2, axis=2), 1.0, rtol=1e-12)
    assert np.median(1 - v[:, 0, 0] ** 2) < 0.02


def in_units(directions):
    """Drawn from physical parts in other units, and the gradients and Hessians in those units, by hand."""
    n, m = 4, 3
    x_scale, y_scale = np.array([1.0, 10.0, 0.1, 3.0, 2.0]), np.array([4.0, 0.5, 1.0])
    gradients, hessians = jax.random.normal(jax.random.key(1), (n, m, DIM)), symmetric(jax.random.key(2), n, m, DIM)
    wrapped = InUnits(directions, jnp.asarray(x_scale), jnp.asarray(y_scale))
    v = np.asarray(drawn(wrapped, jax.random.key(3), gradients, hessians)) / x_scale / math.sqrt(directions.count)
    scaled = np.asarray(gradients) * x_scale / y_scale[:, None]
    return v, scaled, np.asarray(hessians) * np.outer(x_scale, x_scale) / y_scale[:, None, None]


def test_leading_curvature_in_other_units():
    """With as many directions as dimensions it is exact: right singular vectors of the stacked Hessians."""
    v, _, hessians = in_units(LeadingCurvature(2, oversampling=3))
    for unit, h in zip(v, hessians, strict=True):
        _, _, rows = np.linalg.svd(h.reshape(-1, DIM))
        np.testing.assert_allclose(np.abs(unit @ rows[:2].T), np.eye(2), atol=1e-10)


def test_components_in_other_units():
    v, gradients, _ = in_units(PrincipalComponents(2))
    _, _, rows = np.linalg.svd(gradients.reshape(-1, DIM))
    np.testing.assert_allclose(np.abs(v[0] @ rows[:2].T), np.eye(2), atol=1e-10)


def test_a_reference_labels_along_them():
    """Along directions that are chosen by its own products, in other units; so many samples that some are at a time."""
    n = 1027
    weights = jnp.arange(1.0, 4.0)
    reference = FunctionReference(
        lambda x: jnp.stack([jnp.sin(x @ weights), jnp.prod(x)]), NormalLaw(np.zeros(3), np.ones(3))
    )
    directions = InUnits(LeadingCurvature(1, oversampling=1), jnp.asarray([1.0, 2.0, 0.5]))
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), n, directions=directions)
    x, w, v = np.asarray(samples.x), np.asarray(weights), np.asarray(samples.hvps.directions)
    sine = -np.sin(x @ w)[:, None, None] * np.outer(w, w)[None]
    product = np.zeros((n, 3, 3))
    for i, j, k in itertools.permutations(range(3)):
        product[:, i, j] = x[:, k]
    expected = np.stack([sine, product], axis=1)[:, :, None] @ v[:, None, :, :, None]
    np.testing.assert_allclose(samples.hvps.products, expected[..., 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [Orthonormal, PrincipalComponents, LeadingCurvature])
def test_more_directions_than_dimensions_are_refused(kind):
    with pytest.raises(ValueError, match=r"`count` is 6, more directions than dimensions: the reference has 5 inputs"):
        draw(kind(DIM + 1))


@pytest.mark.parametrize("kind", [Gaussian, LeadingCurvature, Orthonormal, PrincipalComponents, Rademacher])
def test_no_directions_are_refused(kind):
    with pytest.raises(ValueError, match="`count` is 0"):
        kind(0)


def test_known_scales_may_be_given_while_jax_traces():
    """As by the fingerprint of a fit with curvature, which looks at the shapes of a batch alone."""
    known = jnp.asarray([1.0, 2.0])
    shape = jax.eval_shape(lambda: (InUnits(Axes(), known, known).x_scale, Cotangents(1, known).scale))
    assert [part.shape for part in shape] == [(2,), (2,)]


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
