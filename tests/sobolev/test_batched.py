"""The shared linearisation agrees with plain AD, one sample at a time, and passes the same parameter gradients on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.sobolev._batched import derivatives
from sobolev_pruning.surrogate import MLP

SMOOTH = {
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "mish": jax.nn.mish,
    "square": lambda x: x**2,
}
KINKED = {"relu": jax.nn.relu, "elu": jax.nn.elu, "hard_silu": jax.nn.hard_silu}
# No hidden layer, one, several of differing widths; one output and more.
SHAPES = [[3, 1], [3, 2], [3, 4, 1], [4, 3, 5, 2], [2, 6, 4, 3, 1]]


def problem(widths, activation, dtype=jnp.float64, n=5, k=2, c=3):
    keys = jax.random.split(jax.random.key(len(widths)), 4)
    network = MLP.create(widths, activation=activation, key=keys[0])
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), network)
    x = jax.random.normal(keys[1], (n, widths[0]), dtype)
    v = jax.random.normal(keys[2], (n, k, widths[0]), dtype)
    w = jax.random.normal(keys[3], (n, c, widths[-1]), dtype)
    return network, x, v, w


def by_ad(network, x, v, w):
    """Whole Jacobians and Hessians, then contracted."""
    y, jacobian = jax.vmap(network)(x), jax.vmap(jax.jacrev(network))(x)
    hessian = jax.vmap(jax.jacfwd(jax.jacrev(network)))(x)
    gradients = jnp.einsum("nmd->dmn", jacobian) if w is None else jnp.einsum("nmd,ncm->dcn", jacobian, w)
    return y.T, gradients, jnp.einsum("nmij,nkj->imkn", hessian, v)


def all_of(network, x, v, w):
    found = derivatives(network, x, order=2, cotangents=w, directions=v)
    return found.values, found.gradients, found.products


CASES = [(name, activation, [3, 4, 3, 2]) for name, activation in (SMOOTH | KINKED).items()]
CASES += [("tanh", jnp.tanh, widths) for widths in SHAPES]


@pytest.mark.parametrize("along", [False, True], ids=["jacobians", "cotangents"])
@pytest.mark.parametrize(
    ("activation", "widths"), [case[1:] for case in CASES], ids=[f"{case[0]} {case[2]}" for case in CASES]
)
def test_agrees_with_ad_in_itself_and_in_its_parameter_gradient(activation, widths, along):
    network, x, v, w = problem(widths, activation)
    w = w if along else None

    @eqx.filter_jit
    def both(network):
        def loss(network, evaluate):
            parts = evaluate(network, x, v, w)
            # Every entry with a weight of its own, so that no two can be confused.
            return sum(jnp.sum(part * jnp.cos(jnp.arange(part.size)).reshape(part.shape)) for part in parts), parts

        of = eqx.filter_value_and_grad(loss, has_aux=True)
        return of(network, all_of), of(network, by_ad)

    found, expected = both(network)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("along", [False, True], ids=["jacobians", "cotangents"])
def test_any_function_takes_the_slow_path_to_the_same_numbers(order, along):
    network, x, v, w = problem([3, 4, 2], jax.nn.silu)
    options = {"order": order, "cotangents": w if along else None, "directions": v}
    fast = derivatives(network, x, **options)
    slow = derivatives(lambda x: network(x), x, **options)
    assert jax.tree.structure(fast) == jax.tree.structure(slow)
    for a, b in zip(jax.tree.leaves(fast), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_single_precision_stays_single_and_loses_only_rounding():
    network, x, v, w = problem([7, 8, 8, 2], jax.nn.silu, jnp.float32)
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (network, x, v, w))
    for a, b in zip(all_of(network, x, v, w), all_of(*exact), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(b))))


def products_of_matrices(function, *arguments):
    """Floating-point operations of all products of matrices in the compiled function, by shape."""
    jaxpr = jax.make_jaxpr(function)(*arguments)
    total = 0
    for equation in jaxpr.jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (left, _), _ = equation.params["dimension_numbers"]
            inner = np.prod([equation.invars[0].aval.shape[axis] for axis in left])
            total += 2 * inner * np.prod(equation.outvars[0].aval.shape)
    return total


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_arithmetic_of_k_directions_is_that_of_1_plus_k_first_order_steps(k):
    """The products of matrices, which are nearly all of a step; the machine's own time is in `benchmarks/`."""
    network, x, v, _ = problem([7, 128, 128, 128, 1], jax.nn.silu, n=16, k=k)
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def gradient(order):
        def loss(params):
            found = derivatives(eqx.combine(params, static), x, order=order, directions=v)
            return sum(jnp.sum(part**2) for part in jax.tree.leaves(found))

        return jax.grad(loss)

    first, second = (products_of_matrices(gradient(order), params) for order in (1, 2))
    assert first > 0
    assert second / first <= 1 + 1.05 * k
