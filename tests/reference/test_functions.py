"""Functions over boxes and along cotangents: laws of the inputs, and what a label costs."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.reference import Cotangents, FunctionReference, NormalLaw, Rademacher, SobolBox, UniformBox, vjps

LOWER, UPPER = np.array([-1.0, 0.0, 10.0]), np.array([1.0, 0.5, 30.0])
N_OUTPUTS = 2000


@eqx.filter_jit
def draw(law, key, n):
    return law(key, n)


@pytest.mark.parametrize("kind", [UniformBox, SobolBox])
def test_points_are_uniform_over_the_box(kind):
    """Mean, variance and correlation of 4096 points: |z| < 4.5 for nine numbers as if they were independent."""
    n = 4096
    x = np.asarray(draw(kind(LOWER, UPPER), jax.random.key(0), n))
    unit = (x - LOWER) / (UPPER - LOWER)
    assert np.all((unit >= 0) & (unit <= 1))
    centred = (unit - 0.5) * math.sqrt(12)
    moments = centred.T @ centred / n
    # Deviations: of a mean 1, of a square sqrt(4/5), of a product 1.
    assert np.all(np.abs(centred.mean(0)) * math.sqrt(n) < 4.5)
    assert np.all(np.abs(moments - np.eye(3)) * math.sqrt(n) < 4.5)
    assert jnp.array_equal(x, draw(kind(LOWER, UPPER), jax.random.key(0), n))
    assert not np.any(x == draw(kind(LOWER, UPPER), jax.random.key(1), n))


def test_sobol_points_fill_every_cell_of_an_elementary_partition():
    """A (0, 3, 2)-net in the first two inputs and one point in each of n slices of every input, scrambled or not."""
    unit = (np.asarray(draw(SobolBox(LOWER, UPPER), jax.random.key(2), 64)) - LOWER) / (UPPER - LOWER)
    for column in unit.T:
        assert sorted(np.floor(64 * column)) == list(range(64))
    for rows in (1, 2, 4, 8, 16, 32, 64):
        cells = np.floor(unit[:, 0] * rows) * 64 + np.floor(unit[:, 1] * (64 // rows))
        assert len(set(cells)) == 64, f"{rows} rows"


def test_means_over_sobol_points_are_unbiased_and_far_quieter():
    """Of a smooth integrand over 128 scramblings, |z| < 4.5; its deviation is below a tenth of chance's."""

    @jax.jit
    @jax.vmap
    def means(key):
        x = (SobolBox(LOWER, UPPER)(key, 128) - LOWER[None]) / (UPPER - LOWER)[None]
        return jnp.mean(jnp.exp(jnp.sum(x, axis=1)))

    found = np.asarray(means(jax.random.split(jax.random.key(3), 128)))
    truth = (math.e - 1) ** 3
    deviation = math.sqrt(((math.e**2 - 1) / 2) ** 3 - truth**2)
    assert abs(found.mean() - truth) < 4.5 * found.std(ddof=1) / math.sqrt(128)
    assert found.std(ddof=1) < 0.1 * deviation / math.sqrt(128)


def test_moments_of_the_normal_law():
    """Six numbers, |z| < 4.5."""
    n, mean, deviation = 4000, np.array([1.0, -2.0, 0.0]), np.array([1.0, 0.1, 30.0])
    z = (np.asarray(draw(NormalLaw(mean, deviation), jax.random.key(4), n)) - mean) / deviation
    assert np.all(np.abs(z.mean(0)) * math.sqrt(n) < 4.5)
    assert np.all(np.abs(z.var(0) - 1) * math.sqrt(n / 2) < 4.5)


@pytest.mark.parametrize("law", [UniformBox, SobolBox, NormalLaw])
def test_laws_in_single_precision(law):
    with jax.enable_x64(False):
        x = draw(law(np.ones(2), 2 * np.ones(2)), jax.random.key(0), 5)
        assert x.dtype == jnp.float32
        assert law is NormalLaw or bool(jnp.all((x >= 1) & (x <= 2)))


def test_a_function_over_a_box():
    def function(x):
        return jnp.sin(x[0]) * x[1]

    reference = FunctionReference.over(function, LOWER[:2], UPPER[:2])
    assert (reference.dim_in, reference.dim_out) == (2, 1)
    samples = eqx.filter_jit(reference.sample)(jax.random.key(0), 7)
    assert jnp.array_equal(samples.x, UniformBox(LOWER[:2], UPPER[:2])(jax.random.key(0), 7))
    a, b = np.asarray(samples.x).T
    np.testing.assert_allclose(samples.y[:, 0], np.sin(a) * b, rtol=1e-14)
    np.testing.assert_allclose(samples.dydx[:, 0], np.stack([np.cos(a) * b, np.sin(a)], 1), rtol=1e-14)


def test_more_outputs_than_inputs_are_differentiated_forwards():
    """The labels are the same, at the cost of d sweeps in place of m."""
    weights = jax.random.normal(jax.random.key(0), (50, 3))
    reference = FunctionReference.over(lambda x: jnp.tanh(weights @ x), LOWER, UPPER)
    samples = eqx.filter_jit(reference.sample)(jax.random.key(1), 4, directions=Rademacher(2))
    nodes, w = np.tanh(np.asarray(samples.x) @ np.asarray(weights).T), np.asarray(weights)
    np.testing.assert_allclose(samples.dydx, (1 - nodes**2)[:, :, None] * w[None], rtol=1e-9, atol=1e-14)
    along = np.einsum("md,nkd->nmk", w, samples.hvps.directions)
    expected = (-2 * nodes * (1 - nodes**2))[:, :, None, None] * along[..., None] * w[None, :, None]
    np.testing.assert_allclose(samples.hvps.products, expected, rtol=1e-7, atol=1e-12)
    jaxpr = str(jax.make_jaxpr(lambda key: reference.sample(key, 4))(jax.random.key(0)))
    assert "4,50,50" not in jaxpr


def test_second_derivatives_share_one_linearisation():
    """By the compiler's count: k directions cost at most 1 + 1.3 k labels of first order, and no activation again."""
    keys = jax.random.split(jax.random.key(0), 4)
    layers = [jax.random.normal(key, (32, 32)) / 6 for key in keys]

    def network(x):
        for layer in layers:
            x = jnp.tanh(layer[:, : x.shape[0]] @ x)
        return jnp.sum(x)

    reference = FunctionReference.over(network, np.zeros(7), np.ones(7))

    def cost(directions):
        step = jax.jit(lambda key: reference.sample(key, 64, directions=directions))
        counts = step.lower(jax.random.key(0)).compile().cost_analysis()
        return counts["flops"], counts["transcendentals"]

    flops, activations = cost(None)
    assert activations == 64 * 4 * 32
    more_flops, more_activations = cost(Rademacher(7))
    assert more_flops < (1 + 1.3 * 7) * flops
    assert more_activations == activations


def many_outputs(d=40):
    """A layer of tanh and one of many outputs."""
    keys = jax.random.split(jax.random.key(0))
    first, last = jax.random.normal(keys[0], (20, d)) / d, jax.random.normal(keys[1], (N_OUTPUTS, 20))
    return first, last, FunctionReference.over(lambda x: last @ jnp.tanh(first @ x), np.zeros(d), np.ones(d))


def compiled(cotangents, n=64):
    reference = dataclasses.replace(many_outputs()[-1], cotangents=cotangents)
    return jax.jit(lambda key: reference.sample(key, n)).lower(jax.random.key(0)).compile()


def test_memory_and_arithmetic_grow_with_the_cotangents_and_not_with_the_outputs():
    """By the compiler's own account: k of 2000 outputs against all rows."""

    def cost(cotangents):
        step = compiled(cotangents)
        memory = step.memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes, step.cost_analysis()["flops"]

    (memory, flops), (memory_more, flops_more) = cost(Cotangents(2)), cost(Cotangents(8))
    memory_whole, flops_whole = cost(None)
    # Four times the cotangents: at most four times the cost, and both far from that of whole Jacobians.
    assert memory_more < 4 * memory
    assert flops_more < 4 * flops
    assert memory < memory_whole / 5
    assert flops < flops_whole / 5


def test_products_with_cotangents_are_those_of_the_jacobian():
    first, last, reference = many_outputs(5)
    scale = jnp.exp(jax.random.normal(jax.random.key(2), (N_OUTPUTS,)))
    reference = dataclasses.replace(reference, cotangents=Cotangents(3, scale))
    samples = eqx.filter_jit(reference.sample)(jax.random.key(3), 4)
    assert samples.dydx is None
    nodes = np.tanh(np.asarray(samples.x) @ np.asarray(first).T)
    np.testing.assert_allclose(samples.y, nodes @ np.asarray(last).T, rtol=1e-9, atol=1e-12)
    dydx = np.asarray(last) @ ((1 - nodes**2)[:, :, None] * np.asarray(first))
    w = samples.vjps.cotangents
    np.testing.assert_allclose(jnp.abs(w) * scale[None, None], 1.0, rtol=1e-14)
    np.testing.assert_allclose(samples.vjps.products, w @ dydx, rtol=1e-9, atol=1e-9)
    # Fresh ones for every sample and key.
    signs = np.sign(np.asarray(w)).reshape(12, -1)
    assert np.max(np.abs(signs @ signs.T / N_OUTPUTS - np.eye(12))) < 5 / math.sqrt(N_OUTPUTS)


def test_cotangents_estimate_the_norm_of_a_jacobian_without_bias():
    """E[w wᵀ] = I and E‖wᵀ J‖² = ‖J‖²: ten numbers and one, |z| < 4.5."""
    n, jacobian = 4000, jax.random.normal(jax.random.key(0), (4, 3))
    y, products = jax.jit(lambda x, key: vjps(lambda x: jacobian @ x, x, key, 1))(jnp.ones((n, 3)), jax.random.key(1))
    assert y.shape == (n, 4)
    w = np.asarray(products.cotangents[:, 0])
    moments = w[:, :, None] * w[:, None]
    upper = moments.reshape(n, -1)[:, np.triu(np.ones((4, 4)), 1).ravel() > 0]
    assert np.all(np.diagonal(moments, axis1=1, axis2=2) == 1)
    assert np.all(np.abs(upper.mean(0)) * math.sqrt(n) < 4.5)
    estimates = np.sum(np.asarray(products.products[:, 0]) ** 2, axis=1)
    error = estimates.std(ddof=1) / math.sqrt(n)
    assert abs(estimates.mean() - float(jnp.sum(jacobian**2))) < 4.5 * error


def scalar(x):
    return jnp.sum(x)


REFUSED = {
    "no width": (lambda: UniformBox(np.zeros(2), np.array([1.0, 0.0])), r"`lower` is 0\.0 .* for input 1"),
    "other sizes": (lambda: SobolBox(np.zeros(2), np.ones(3)), r"`lower` has shape \(2,\) and `upper` \(3,\)"),
    "not finite": (lambda: UniformBox(np.zeros(1), np.array([np.inf])), "`upper` is"),
    "no spread": (lambda: NormalLaw(np.zeros(2), np.array([1.0, 0.0])), r"`deviation` is 0\.0 for input 1"),
    "matrix": (lambda: FunctionReference.over(lambda x: x[None], LOWER, UPPER), r"`function` returns shape \(1, 3\)"),
    "pair": (lambda: FunctionReference.over(lambda x: (x, x), LOWER, UPPER), "`function` returns tuple"),
    "no cotangents": (lambda: Cotangents(0), "`count` is 0"),
    "bad scale": (lambda: Cotangents(1, jnp.zeros(2)), "`scale`"),
    "scale of other outputs": (
        lambda: vjps(lambda x: x, jnp.ones((2, 3)), jax.random.key(0), Cotangents(1, jnp.ones(2))),
        r"`scale` has shape \(2,\), and there are 3 outputs",
    ),
    "curvature of many outputs": (
        lambda: FunctionReference.over(scalar, LOWER, UPPER, cotangents=Cotangents()).sample(
            jax.random.key(0), 2, directions=Rademacher()
        ),
        "`cotangents` are set",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="`function` is ArrayImpl"):
        FunctionReference.over(jnp.ones(3), LOWER, UPPER)


def assigning(x):
    x[0] = 1.0
    return x


UNTRACEABLE = {
    "NumPy": lambda x: np.sin(x),
    "math": lambda x: jnp.asarray([math.sin(x[0])]),
    "a branch": lambda x: x if x[0] > 0 else -x,
    "float": lambda x: float(x[0]),
    "a number of steps": lambda x: jnp.zeros(int(x[0])),
    "a mask": lambda x: x[x > 0],
    "an index": lambda x: jnp.asarray([np.arange(5.0)[x[0].astype(int)]]),
    "assignment": assigning,
    "a string": lambda x: f"{x[0]:.3f}",
    "a callback": lambda x: jax.pure_callback(np.sin, x, x),
    "an open loop": lambda x: jax.lax.while_loop(lambda y: y[0] < 9, lambda y: 2 * y + 1, x),
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_jax_cannot_trace_or_differentiate_is_sent_to_the_host(name):
    with pytest.raises(TypeError, match=r"^JAX cannot (trace|differentiate) `function` .*`HostFunction\(function, "):
        FunctionReference.over(UNTRACEABLE[name], np.zeros(2), np.ones(2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: [x[0], x[1]], r"returns list for one sample.*`jnp.stack`"),
        (lambda x: None, "returns NoneType for one sample"),
        (lambda x: x.astype(int), "returns int.*real floating-point"),
        (lambda x: jax.lax.complex(x, x), "returns complex.*real floating-point"),
        (lambda x: x[:0], "returns no number"),
    ],
)
def test_what_a_function_must_return(function, message):
    with pytest.raises(ValueError, match=message):
        FunctionReference.over(function, np.zeros(2), np.ones(2))


def test_errors_of_a_function_stay_its_own():
    with pytest.raises(TypeError, match=r"^test_errors.*missing 1 required positional argument"):
        FunctionReference.over(lambda x, y: x, np.zeros(2), np.ones(2))
