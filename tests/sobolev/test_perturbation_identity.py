"""What noise at the inputs makes of the squared error: the gradient term of the Sobolev loss, and one term more.

With `e = f − y` the error of a student f against a teacher y, both smooth, and ξ normal of variance σ² in every input,

    E[e(x + ξ)²] = e(x)² + σ² ‖∇e(x)‖² + σ² e(x) Δe(x) + O(σ⁴),                                         (1)

since `E[g(x + ξ)] = g + σ²/2 Δg + O(σ⁴)` and `Δ(e²) = 2 ‖∇e‖² + 2 e Δe`. The same noise reaches teacher and student:
noise on the student alone would smooth it, and is another term, without the teacher's gradient.

S. Srinivas and F. Fleuret (*Knowledge Transfer with Jacobian Matching*, ICML 2018, proposition 1) state (1) without its
third term. That is so, to O(σ⁴), wherever `e Δe` vanishes: where the student fits the values, and where the error has no
mean curvature, as for networks of piecewise linear activation between their kinks. Elsewhere the remainder is of order
σ² as the gradient term itself, which the last test shows. The first two terms are `SobolevLoss(σ²)` in all cases.

Expectations are by Gauss–Hermite quadrature with seven nodes for each input, exact for polynomials of degree 13.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import Samples
from sobolev_pruning.sobolev import SobolevLoss
from sobolev_pruning.surrogate import MLP, Dense

DIM, N_OUTPUTS, N = 2, 2, 6
SIGMAS = (0.1, 0.05, 0.025)


def teacher(x):
    return jnp.stack([jnp.sin(x[0]) * jnp.exp(0.5 * x[1]), jnp.cos(x[0] + 2 * x[1])])


STUDENT = MLP.create([DIM, 5, N_OUTPUTS], activation=jnp.tanh, key=jax.random.key(0))
X = jax.random.normal(jax.random.key(1), (N, DIM))


def labels(function, x):
    return Samples(x, jax.vmap(function)(x), jax.vmap(jax.jacfwd(function))(x))


def with_noise(network, function, sigma):
    """Mean over the samples of the expected squared error, with the same noise on both."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights = weights / weights.sum()
    total = 0.0
    for (i, j), weight in zip(itertools.product(range(7), repeat=2), np.outer(weights, weights).ravel(), strict=True):
        moved = X + sigma * jnp.asarray([nodes[i], nodes[j]])[None]
        error = jax.vmap(network)(moved) - jax.vmap(function)(moved)
        total += float(weight) * float(jnp.sum(error**2)) / N
    return total


def sobolev(network, function, sigma):
    """Value term plus σ² times the gradient term, by the library's loss with its scale left at one."""
    return float(SobolevLoss(sigma**2)(network, labels(function, X)))


def curvature_term(network, function):
    """Mean of `e · Δe`, summed over the outputs."""

    def error(x):
        return network(x) - function(x)

    laplacians = jnp.trace(jax.vmap(jax.hessian(error))(X), axis1=2, axis2=3)
    return float(jnp.sum(jax.vmap(error)(X) * laplacians)) / N


def remainders(network, function, third=0.0):
    """What the terms up to σ² leave of the expected squared error, at each σ."""
    return [
        with_noise(network, function, sigma) - sobolev(network, function, sigma) - sigma**2 * third for sigma in SIGMAS
    ]


def orders(remainder):
    """Powers of σ by which it falls, from each halving to the next."""
    return np.log2(np.abs(np.array(remainder[:-1]) / np.array(remainder[1:])))


def test_with_the_curvature_of_the_error_the_remainder_is_of_fourth_order():
    third = curvature_term(STUDENT, teacher)
    assert abs(third) > 0.01
    np.testing.assert_allclose(orders(remainders(STUDENT, teacher, third)), 4.0, atol=0.1)


def shifted(network, by):
    """The network plus a constant vector: another function with the same derivatives."""
    *hidden, last = network.layers
    return MLP((*hidden, Dense(last.weight, last.bias + by)), network.activation)


def harmonic(x):
    """Of Laplacian zero, though curved."""
    return jnp.stack([jnp.exp(x[0]) * jnp.sin(x[1]), x[0] ** 2 - x[1] ** 2])


def test_where_the_error_has_no_mean_curvature_the_identity_holds_as_published():
    """The teacher is the student plus a harmonic function, so the error is curved, and its Laplacian zero."""

    def function(x):
        return STUDENT(x) + harmonic(x)

    assert abs(curvature_term(STUDENT, function)) < 1e-13
    np.testing.assert_allclose(orders(remainders(STUDENT, function)), 4.0, atol=0.1)


def test_where_the_values_fit_the_identity_holds_as_published():
    """The student meets every value, with gradients and curvature of its own."""

    def function(x):
        # A factor that vanishes at every sample, and the student itself.
        return STUDENT(x) + jnp.prod(jnp.sin(x[0] - X[:, 0])) * jnp.stack([1 + x[1], jnp.cos(x[1])])

    assert float(jnp.max(jnp.abs(jax.vmap(STUDENT)(X) - jax.vmap(function)(X)))) < 1e-14
    assert sobolev(STUDENT, function, 1.0) > 1e-4
    np.testing.assert_allclose(orders(remainders(STUDENT, function)), 4.0, atol=0.3)


def test_piecewise_linear_networks_between_their_kinks():
    """A student and a teacher of absolute values, so far from any kink that the noise does not reach one."""
    student = MLP.create([DIM, 4, N_OUTPUTS], activation=jnp.abs, key=jax.random.key(2))
    other = MLP.create([DIM, 4, N_OUTPUTS], activation=jnp.abs, key=jax.random.key(3))
    nodes = jnp.concatenate([jax.vmap(lambda x, n=n: n.layers[0](x))(X) for n in (student, other)], axis=1)
    assert float(jnp.min(jnp.abs(nodes))) > 0
    sigma = 1e-3
    assert with_noise(student, other, sigma) == pytest.approx(sobolev(student, other, sigma), rel=1e-12)


def test_elsewhere_the_remainder_is_of_the_order_of_the_gradient_term():
    """An error of constant curvature and a large value: the published form misses `σ² e Δe`, and that alone."""
    student = shifted(STUDENT, 3.0)
    left = remainders(student, teacher)
    np.testing.assert_allclose(orders(left), 2.0, atol=0.1)
    np.testing.assert_allclose(left[-1] / SIGMAS[-1] ** 2, curvature_term(student, teacher), rtol=0.02)
