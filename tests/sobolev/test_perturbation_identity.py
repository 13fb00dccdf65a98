"""What noise at the inputs makes of the squared error: the gradient term of the Sobolev loss, and one term more.

With `e = f − y` the error of a student f against a teacher y, both smooth, and ξ normal of variance σ² in every input,

    E[e(x + ξ)²] = e(x)² + σ² ‖∇e(x)‖² + σ² e(x) Δe(x) + O(σ⁴),                                         (1)

since `E[g(x + ξ)] = g + σ²/2 Δg + O(σ⁴)` and `Δ(e²) = 2 ‖∇e‖² + 2 e Δe`. The same noise reaches teacher and student:
noise on the student alone would smooth it, and is another term, without the teacher's gradient.

S. Srinivas and F. Fleuret (*Knowledge Transfer with Jacobian Matching*, ICML 2018, proposition 1) state (1) without its
third term. That is so, to O(σ⁴), wherever `e Δe` vanishes: where the student fits the values, and where the error has
no mean curvature, as for networks of piecewise linear activation between their kinks. Elsewhere the remainder is of
order σ², as the gradient term itself, which the last test shows. The first two terms are `SobolevLoss(σ²)` everywhere.

Expectations are by Gauss–Hermite quadrature with seven nodes for each input, exact for polynomials of degree 13.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sobolev_pruning.reference import Samples
from sobolev_pruning.sobolev import SobolevLoss
from sobolev_pruning.surrogate import MLP, Dense

DIM, N_OUTPUTS, N = 2, 2, 6
SIGMAS = (0.08, 0.04, 0.02)
SQUARES = np.square(SIGMAS)


def teacher(x):
    return jnp.stack([jnp.sin(x[0]) * jnp.exp(0.5 * x[1]), jnp.cos(x[0] + 2 * x[1])])


STUDENT = MLP.create([DIM, 5, N_OUTPUTS], activation=jnp.tanh, key=jax.random.key(0))
X = jax.random.normal(jax.random.key(1), (N, DIM))


@eqx.filter_jit
def terms(network, function):
    """The expected squared error and `SobolevLoss(σ²)`, for each σ; then the gradient term and that of `e Δe`."""

    def error(x):
        return network(x) - function(x)

    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    moves = jnp.asarray(np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, DIM))

    def with_noise(sigma):
        moved = X[:, None] + sigma * moves[None]
        squares = jnp.sum(jax.vmap(jax.vmap(error))(moved) ** 2, axis=2)
        return jnp.sum(squares * weights[None]) / N

    samples = Samples(X, jax.vmap(function)(X), jax.vmap(jax.jacfwd(function))(X))
    laplacians = jnp.trace(jax.vmap(jax.hessian(error))(X), axis1=2, axis2=3)
    return (
        jax.vmap(with_noise)(jnp.asarray(SIGMAS)),
        # The scale of the gradients is left at one.
        jnp.stack([SobolevLoss(sigma**2)(network, samples) for sigma in SIGMAS]),
        jnp.sum(jax.vmap(jax.jacfwd(error))(X) ** 2) / N,
        jnp.sum(jax.vmap(error)(X) * laplacians) / N,
    )


def orders(remainder):
    """Powers of σ by which it falls, from each halving to the next."""
    return np.log2(np.abs(remainder[:-1] / remainder[1:]))


def test_with_the_curvature_of_the_error_the_remainder_is_of_fourth_order():
    noisy, loss, _, curvature = terms(STUDENT, teacher)
    assert abs(curvature) > 0.01
    np.testing.assert_allclose(orders(noisy - loss - SQUARES * curvature), 4.0, atol=0.1)


def test_without_it_the_remainder_is_of_the_order_of_the_gradient_term():
    """The student plus a constant, so that its error is large: `σ² e Δe` is missed, and that alone."""
    *hidden, last = STUDENT.layers
    student = MLP((*hidden, Dense(last.weight, last.bias + 3.0)), STUDENT.activation)
    noisy, loss, gradients, curvature = terms(student, teacher)
    assert abs(curvature) > 0.3 * gradients
    np.testing.assert_allclose(orders(noisy - loss), 2.0, atol=0.1)
    np.testing.assert_allclose((noisy - loss)[-1] / SQUARES[-1], curvature, rtol=0.02)


def test_where_the_error_has_no_mean_curvature_the_identity_holds_as_published():
    """The teacher is the student plus a harmonic function, so the error is curved, and its Laplacian zero."""

    def function(x):
        return STUDENT(x) + jnp.stack([jnp.exp(x[0]) * jnp.sin(x[1]), x[0] ** 2 - x[1] ** 2])

    noisy, loss, _, curvature = terms(STUDENT, function)
    assert abs(curvature) < 1e-13
    np.testing.assert_allclose(orders(noisy - loss), 4.0, atol=0.1)


def test_where_the_values_fit_the_identity_holds_as_published():
    """The student meets every value, with gradients and curvature of its own."""

    def function(x):
        vanishes = jnp.prod(jnp.sin(x[0] - X[:, 0]))
        return STUDENT(x) + vanishes * jnp.stack([1 + x[1], jnp.cos(x[1])])

    noisy, loss, gradients, curvature = terms(STUDENT, function)
    assert abs(curvature) < 1e-14
    np.testing.assert_allclose(loss / SQUARES, gradients, rtol=1e-9)  # no value term
    np.testing.assert_allclose(orders(noisy - loss), 4.0, atol=0.3)


def test_piecewise_linear_networks_between_their_kinks():
    """Of absolute values, at samples so far from any kink that the noise does not reach one: no remainder at all."""
    student, other = (MLP.create([DIM, 4, N_OUTPUTS], activation=jnp.abs, key=jax.random.key(k)) for k in (2, 3))
    first = [np.asarray(network.layers[0].weight) for network in (student, other)]
    distances = [np.abs(np.asarray(X) @ w.T) / np.linalg.norm(w, axis=1) for w in first]
    # The outermost of seven nodes lies 3.75 deviations out, in both inputs.
    assert np.min(distances) > 3.76 * np.sqrt(2) * SIGMAS[-1]
    noisy, loss, _, _ = terms(student, other)
    np.testing.assert_allclose(noisy[-1], loss[-1], rtol=1e-12)
    assert not np.isclose(noisy[0], loss[0], rtol=1e-6)  # the widest noise does reach kinks
