"""Networks, their derivatives, and the units around them."""

import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sobolev_pruning.reference import LabelWeights, Samples
from sobolev_pruning.surrogate import ACTIVATIONS, MLP, Dense, Normalisation, Surrogate, has_kinks
from sobolev_pruning.surrogate._surrogate import _gradient, _hessian, _value


def units(d, m):
    return Normalisation(
        jnp.linspace(-1.0, 2.0, d), jnp.linspace(0.5, 3.0, d), jnp.linspace(1.0, 4.0, m), jnp.linspace(0.2, 5.0, m)
    )


def surrogate(widths=(3, 5, 4, 2), activation=jax.nn.silu, seed=0):
    network = MLP.create(widths, activation=activation, key=jax.random.key(seed))
    return Surrogate(network, units(widths[0], widths[-1]))


def by_hand(network, x, activation):
    """The network in numpy, a loop over its layers."""
    for layer in network.layers[:-1]:
        x = activation(np.asarray(layer.weight) @ x + np.asarray(layer.bias))
    last = network.layers[-1]
    return np.asarray(last.weight) @ x + np.asarray(last.bias)


@pytest.mark.parametrize("widths", [[3, 2], [1, 1], [2, 1, 1], [3, 7, 2, 5, 4]], ids=str)
def test_any_widths(widths):
    network = MLP.create(widths, activation=jnp.tanh, key=jax.random.key(0))
    # Biases that are not zero, or a lost one would not be seen.
    network = eqx.tree_at(lambda n: [layer.bias for layer in n.layers], network, replace_fn=lambda b: b + 0.5)
    assert network.widths == widths
    assert network.n_parameters == sum((a + 1) * b for a, b in itertools.pairwise(widths))
    x = np.linspace(-1.0, 1.0, widths[0])
    np.testing.assert_allclose(network(jnp.asarray(x)), by_hand(network, x, np.tanh), rtol=1e-13)


@pytest.mark.parametrize(
    "activation", [jax.nn.relu, jnp.sin, lambda x: x * jnp.exp(-(x**2))], ids=["relu", "sin", "own"]
)
def test_any_activation(activation):
    network = MLP.create([2, 4, 1], activation=activation, key=jax.random.key(0))
    x = np.array([0.3, -0.7])
    expected = by_hand(network, x, lambda v: np.asarray(activation(jnp.asarray(v))))
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-13)


def test_initial_weights_keep_the_variance():
    network = MLP.create([400, 300, 1], key=jax.random.key(0))
    np.testing.assert_allclose(np.var(network.layers[0].weight), 1 / 400, rtol=0.02)
    assert not np.array_equal(network.layers[0].weight[0, :300], network.layers[1].weight[0])
    assert np.all(np.asarray(network.layers[0].bias) == 0)


@pytest.mark.parametrize("widths", [[3], [], [3, 0, 1]], ids=str)
def test_bad_widths_are_refused(widths):
    with pytest.raises(ValueError, match="`widths`"):
        MLP.create(widths, key=jax.random.key(0))


@pytest.mark.usefixtures("unchecked_shapes")
def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"layer 0 has 3 outputs, but layer 1 takes 2"):
        MLP((Dense(jnp.zeros((3, 2)), jnp.zeros(3)), Dense(jnp.zeros((1, 2)), jnp.zeros(1))), jnp.tanh)
    with pytest.raises(ValueError, match="do not fit"):
        Dense(jnp.zeros((3, 2)), jnp.zeros(2))
    with pytest.raises(ValueError, match="`layers` is empty"):
        MLP((), jnp.tanh)
    with pytest.raises(ValueError, match="the network has 3 inputs and 2 outputs, the normalisation 4 and 1"):
        Surrogate(MLP.create([3, 2], key=jax.random.key(0)), units(4, 1))


def test_forward_shows_every_hidden_node():
    network = MLP.create([3, 5, 4, 2], activation=jnp.tanh, key=jax.random.key(0))
    x = np.array([0.1, -0.4, 0.9])
    y, nodes = network.forward(jnp.asarray(x))
    assert [part.shape for part in nodes] == [(5,), (4,)]
    first = np.tanh(np.asarray(network.layers[0].weight) @ x)
    np.testing.assert_allclose(nodes[0], first, rtol=1e-13)
    np.testing.assert_allclose(nodes[1], np.tanh(np.asarray(network.layers[1].weight) @ first), rtol=1e-13)
    np.testing.assert_allclose(y, network(jnp.asarray(x)), rtol=1e-15)


def test_derivatives_by_taps_are_the_adjoints_of_the_nodes():
    network = MLP.create([3, 5, 4, 2], activation=jnp.tanh, key=jax.random.key(0))
    x = jnp.array([0.1, -0.4, 0.9])
    zeros = (jnp.zeros(5), jnp.zeros(4))
    np.testing.assert_array_equal(network.forward(x, zeros)[0], network(x))
    adjoints = jax.jit(jax.jacrev(lambda taps: network.forward(x, taps)[0]))(zeros)
    # Of the last hidden layer: the output weights. Of the first: through the second layer, by the chain rule.
    _, nodes = network.forward(x)
    last, second = (np.asarray(network.layers[i].weight) for i in (2, 1))
    np.testing.assert_allclose(adjoints[1], last, rtol=1e-13)
    np.testing.assert_allclose(adjoints[0], last * (1 - np.asarray(nodes[1]) ** 2) @ second, rtol=1e-12)
    # A tap moves what comes after it, and the node that is shown.
    assert jnp.array_equal(network.forward(x, (jnp.ones(5), jnp.zeros(4)))[1][0], nodes[0] + 1)


def test_derivatives_of_a_surrogate_agree_with_finite_differences():
    model = surrogate()
    x = np.array([0.5, -1.0, 2.0])
    value, gradient, hessian = (eqx.filter_jit(f) for f in (model, model.gradient, model.hessian))
    assert gradient(jnp.asarray(x)).shape == (2, 3)
    assert hessian(jnp.asarray(x)).shape == (2, 3, 3)
    for j, step in enumerate(1e-5 * np.eye(3)):
        above, below = jnp.asarray(x + step), jnp.asarray(x - step)
        np.testing.assert_allclose((value(above) - value(below)) / 2e-5, gradient(jnp.asarray(x))[:, j], rtol=1e-7)
        curvature = (gradient(above) - gradient(below)) / 2e-5
        np.testing.assert_allclose(curvature, hessian(jnp.asarray(x))[:, :, j], rtol=1e-6, atol=1e-9)
    check_grads(lambda x: value(jnp.asarray(x)), (jnp.asarray(x),), order=2, rtol=1e-4)


def test_units_of_a_surrogate():
    model = surrogate()
    u, x = model.normalisation, np.array([0.5, -1.0, 2.0])
    inside = model.network(jnp.asarray((x - u.x_mean) / u.x_scale))
    np.testing.assert_allclose(model(jnp.asarray(x)), u.y_mean + u.y_scale * inside, rtol=1e-14)


@pytest.mark.parametrize(("n", "batch_size"), [(7, 3), (6, 3), (2, 256), (1, 1)])
def test_evaluate_in_batches_equals_single_calls(n, batch_size):
    model = surrogate()
    x = jax.random.normal(jax.random.key(1), (n, 3))
    found = model.evaluate(x, batch_size=batch_size)
    single = [eqx.filter_jit(f) for f in (model, model.gradient, model.hessian)]
    for part, f in zip((found.y, found.dydx, found.d2ydx2), single, strict=True):
        np.testing.assert_allclose(part, np.stack([f(row) for row in x]), rtol=1e-11, atol=1e-13)
    assert jnp.array_equal(found.x, x)


@pytest.mark.parametrize(("n", "batch_size", "name"), [(0, 4, "x"), (3, 0, "batch_size"), (3, -1, "batch_size")])
def test_evaluate_refuses_nothing_to_do(n, batch_size, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        surrogate().evaluate(jnp.zeros((n, 3)), batch_size=batch_size)


def test_evaluate_is_traced_once():
    traces = []

    def activation(x):
        traces.append(None)
        return jnp.tanh(x)

    model = surrogate((3, 2, 1), activation)
    model.evaluate(jnp.ones((8, 3)), batch_size=4)
    n_traces = len(traces)
    assert n_traces > 0
    # Other numbers, other weights: the same program.
    other = eqx.tree_at(lambda s: s.network.layers[0].weight, model, replace_fn=lambda w: w + 1)
    other.evaluate(jnp.zeros((8, 3)), batch_size=4)
    assert len(traces) == n_traces


def test_provenance_is_merged():
    model = surrogate().with_provenance(a="1", b="2").with_provenance(b="3")
    assert dict(model.provenance) == {"a": "1", "b": "3"}
    assert model.normalisation is not None


def test_normalisation_learns_means_and_deviations():
    x = np.random.default_rng(0).normal([1.0, -5.0], [2.0, 0.1], (50, 2))
    y = x[:, :1] ** 2
    learned = Normalisation.from_samples(Samples(jnp.asarray(x), jnp.asarray(y)))
    np.testing.assert_allclose(learned.x_mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(learned.x_scale, x.std(0), rtol=1e-13)
    np.testing.assert_allclose(learned.y_mean, y.mean(0), rtol=1e-13)
    np.testing.assert_allclose(learned.y_scale, y.std(0), rtol=1e-13)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1e6, -3.3])
def test_a_constant_column_is_refused_by_name(constant):
    x = jnp.asarray(np.stack([np.arange(7.0), np.full(7, constant)], -1))
    as_input, as_output = Samples(x, x[:, :1]), Samples(x[:, :1], x)
    names = {"inputs": ["a", "b"], "outputs": ["c", "d"]}
    what = rf"is {re.escape(f'{constant:.6g}')} in all 7 samples, so there is no deviation to normalise by; leave that"
    for learn in (Normalisation.from_samples, lambda samples, **names: Normalisation.from_stream([samples], **names)):
        with pytest.raises(ValueError, match=rf"`samples\.x` does not vary in column 1 but {what} input out"):
            learn(as_input)
        with pytest.raises(ValueError, match=rf"`samples\.x` does not vary in column 1, 'b', but {what} input out"):
            learn(as_input, **names)
        with pytest.raises(ValueError, match=rf"`samples\.y` does not vary in column 1, 'd', but {what} output out"):
            learn(as_output, **names)


def test_a_constant_column_under_jit_is_centred_and_left_unscaled():
    x = jnp.asarray(np.stack([np.arange(7.0), np.full(7, 0.1)], -1))
    learned = jax.jit(Normalisation.from_samples)(Samples(x, x[:, 1:]))
    assert float(learned.x_scale[1]) == 1.0
    np.testing.assert_allclose(learned.normalise(Samples(x, x[:, 1:])).x[:, 1], 0.0, atol=1e-9)
    assert float(learned.x_scale[0]) == pytest.approx(2.0)


def test_values_of_weight_zero_play_no_part_in_the_units():
    y = np.arange(12.0).reshape(6, 2) ** 2
    unknown = np.array(y)
    unknown[[1, 4], 0] = [np.nan, 1e9]
    weights = LabelWeights(jnp.asarray((unknown == y).astype(float)))
    samples = Samples(jnp.asarray(y), jnp.asarray(unknown), weights=weights)
    kept = y[[0, 2, 3, 5], 0]
    for learned in (Normalisation.from_samples(samples), Normalisation.from_stream([samples])):
        np.testing.assert_allclose(learned.y_mean, [kept.mean(), y[:, 1].mean()], rtol=1e-14)
        np.testing.assert_allclose(learned.y_scale, [kept.std(), y[:, 1].std()], rtol=1e-14)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_units_of_a_stream_are_those_of_the_whole(rows):
    """Also far from zero, where the difference of two sums of squares would have no correct digit."""
    x = np.random.default_rng(0).normal([1.0, 1e9], [2.0, 0.1], (50, 2))
    chunks = [Samples(jnp.asarray(x[i : i + rows]), jnp.asarray(x[i : i + rows, :1])) for i in range(0, 50, rows)]
    learned = Normalisation.from_stream(chunks)
    np.testing.assert_allclose(learned.x_mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(learned.x_scale, x.std(0), rtol=1e-6)
    np.testing.assert_allclose(learned.y_scale, x[:, :1].std(0), rtol=1e-13)


def test_a_stream_names_the_row_of_the_whole():
    good, bad = jnp.ones((4, 1)), jnp.asarray([[0.0], [np.inf]])
    with pytest.raises(ValueError, match=r"`samples\.y` holds inf in row 5, column 0"):
        Normalisation.from_stream([Samples(good, good), Samples(bad[:1].repeat(2, 0), bad)])
    with pytest.raises(ValueError, match="`chunks` hold 1 samples"):
        Normalisation.from_stream([Samples(good[:1], good[:1])])


@pytest.mark.parametrize("part", ["x", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_named(part, value):
    parts = {"x": np.zeros((4, 2)), "y": np.zeros((4, 2))}
    parts[part][2, 1] = value
    with pytest.raises(ValueError, match=rf"`samples.{part}` holds {value} in row 2, column 1"):
        Normalisation.from_samples(Samples(**{name: jnp.asarray(array) for name, array in parts.items()}))


def test_one_sample_has_no_deviation():
    with pytest.raises(ValueError, match="`samples` holds 1"):
        Normalisation.from_samples(Samples(jnp.zeros((1, 2)), jnp.zeros((1, 1))))


def test_normalised_derivatives_are_those_of_the_composed_function():
    """In normalised units the function is `normalise_y ∘ f ∘ denormalise_x`; AD of that is the reference."""
    u = units(3, 2)

    def f(x):
        return jnp.stack([jnp.sin(x[0]) * x[1] ** 2, x[2] ** 3 + x[0] * x[2]])

    def composed(z):
        return (f(u.x_mean + u.x_scale * z) - u.y_mean) / u.y_scale

    @jax.jit
    @jax.vmap
    def labels(x):
        return x, f(x), jax.jacfwd(f)(x), jax.hessian(f)(x)

    @jax.jit
    @jax.vmap
    def expected(z):
        return z, composed(z), jax.jacfwd(composed)(z), jax.hessian(composed)(z)

    z = jax.random.normal(jax.random.key(0), (5, 3))
    physical = Samples(*labels(u.x_mean[None] + u.x_scale[None] * z))
    normalised = eqx.filter_jit(u.normalise)(physical)
    for part, wanted in zip(jax.tree.leaves(normalised), expected(z), strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-10, atol=1e-12)


def test_absent_derivatives_stay_absent():
    normalised = units(3, 2).normalise(Samples(jnp.zeros((4, 3)), jnp.zeros((4, 2))))
    assert normalised.dydx is None
    assert normalised.d2ydx2 is None


def test_identity_changes_nothing():
    samples = Samples(jnp.ones((4, 3)), jnp.ones((4, 2)), 2 * jnp.ones((4, 2, 3)))
    same = Normalisation.identity(3, 2).normalise(samples)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, samples, same)))


def test_float32_stays_float32():
    with jax.enable_x64(False):
        x = jax.random.normal(jax.random.key(0), (6, 3))
        samples = Samples(x, x[:, :2], jnp.ones((6, 2, 3)))
        learned = Normalisation.from_samples(samples)
        model = Surrogate(MLP.create([3, 4, 2], key=jax.random.key(0)), learned)
        parts = jax.tree.leaves((learned.normalise(samples), model, model.evaluate(x)))
        assert {part.dtype for part in parts} == {jnp.dtype("float32")}


# Warm calls, without `jit` of one's own.


def counted():
    """An activation that counts how often it is traced."""
    seen = []

    def activation(x):
        seen.append(x)
        return jnp.tanh(x)

    return activation, seen


def of(activation, seed=0):
    network = MLP.create([2, 3, 2], activation=activation, key=jax.random.key(seed))
    return Surrogate(network, Normalisation.identity(2, 2))


@pytest.mark.parametrize("kind", ["__call__", "gradient", "hessian"])
@pytest.mark.usefixtures("unchecked_shapes")
def test_calls_outside_of_jit_share_one_program(kind):
    activation, seen = counted()
    calls = [of(activation, seed).with_provenance(stage=str(seed)) for seed in range(3)]
    getattr(calls[0], kind)(jnp.zeros(2))
    n = len(seen)
    for surrogate in calls:
        for x in ([0.1, 0.2], (0.3, 0.4), np.array([0.5, 0.6]), jnp.array([0.7, 0.8])):
            found = getattr(surrogate, kind)(x)
            plain = jax.vmap(getattr(of(jnp.tanh, 0), kind))(jnp.asarray(x)[None])[0]
            assert found.shape == plain.shape
    assert len(seen) == n


@pytest.mark.parametrize("kind", ["__call__", "gradient", "hessian"])
def test_calls_inside_of_a_program_are_part_of_it(kind):
    surrogate = of(jnp.tanh)
    inside = jax.make_jaxpr(getattr(surrogate, kind))(jnp.zeros(2))
    assert not any("_value" in str(equation) or "_gradient" in str(equation) for equation in inside.eqns)
    x = jnp.array([0.3, -0.2])
    np.testing.assert_allclose(
        getattr(surrogate, kind)(x), jax.jit(lambda x: getattr(surrogate, kind)(x))(x), rtol=1e-12, atol=1e-14
    )
    weights = jax.jacrev(lambda network: getattr(Surrogate(network, surrogate.normalisation), kind)(x).sum())(
        surrogate.network
    )
    assert weights.layers[0].weight.shape == (3, 2)


def test_an_activation_without_a_hash_is_evaluated_all_the_same():
    class Slope:
        def __eq__(self, other):
            return False

        def __call__(self, x):
            return x * 2

    surrogate = of(Slope())
    assert surrogate(jnp.ones(2)).shape == (2,)
    assert surrogate.gradient(jnp.ones(2)).shape == (2, 2)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_sample_of_another_shape_is_refused_by_every_call():
    for call in (of(jnp.tanh), of(jnp.tanh).gradient, of(jnp.tanh).hessian):
        with pytest.raises(ValueError, match=r"one sample of this surrogate has shape \(2,\)"):
            call([1.0, 2.0, 3.0])


def test_whole_numbers_are_inputs_as_floats_are():
    model = surrogate()
    whole, x = np.array([1, 0, 2]), jnp.array([1.0, 0.0, 2.0])
    for kind in (_value, _gradient, _hessian):
        np.testing.assert_array_equal(model._at_once(kind, whole), model._at_once(kind, x))
        batch = jax.vmap(lambda x, kind=kind: model._at_once(kind, x))(whole[None])
        np.testing.assert_allclose(batch[0], model._at_once(kind, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_that_jump_are_known(name):
    """Between neighbours on a grid around the places where the activations of JAX change their pieces."""
    activation, step = ACTIVATIONS[name], 2.0**-13
    x = jnp.arange(-3.5, 3.5, step) + step / 2
    slopes = np.asarray(jax.vmap(jax.grad(activation))(x))
    assert (np.abs(np.diff(slopes)).max() > 0.01) == has_kinks(activation)
