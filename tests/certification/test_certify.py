"""Certificates contain what samples find, decide what can be decided, and never certify what is not finite."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from sobolev_pruning.certification import certify, tables
from sobolev_pruning.intervals import UnsupportedPrimitiveError
from sobolev_pruning.reference import FunctionReference
from sobolev_pruning.regions import Box, Ellipsoid, TrustRegions
from sobolev_pruning.sobolev import SobolevLoss, fit_levenberg_marquardt
from sobolev_pruning.surrogate import MLP, Certificate, Dense, Normalisation, Surrogate, Verdict


def surrogate(*layers, activation=jnp.tanh):
    """A network with these (weight, bias) pairs, in units as they are."""
    dense = tuple(Dense(jnp.asarray(w, dtype=float), jnp.asarray(b, dtype=float)) for w, b in layers)
    network = MLP(dense, activation)
    return Surrogate(network, Normalisation.identity(network.widths[0], network.widths[-1]))


def random_network(widths=(3, 4, 2), activation=jax.nn.silu, seed=0):
    network = MLP.create(widths, activation=activation, key=jax.random.key(seed))
    return Surrogate(network, Normalisation.identity(widths[0], widths[-1]))


def contains(bounds, values):
    values = np.asarray(values)
    flat = np.reshape(np.asarray(bounds, object), -1)
    for bound, column in zip(flat, values.reshape(len(values), -1).T, strict=True):
        slack = 1e-12 * (1 + np.abs(column).max())
        assert bound.lower <= column.min() + slack
        assert column.max() - slack <= bound.upper
        assert bound.lower <= bound.least <= bound.most <= bound.upper


def test_a_certificate_contains_what_samples_find():
    model, other = random_network((2, 3, 2)), random_network((2, 3, 2), seed=1)
    box = Box(-jnp.ones(2), jnp.array([1.0, 0.5]))
    seen = []
    found = certify(model, box, against=other, seconds=6.0, tolerance=0.05, progress=seen.append)
    u = jax.random.uniform(jax.random.key(0), (5000, 2))
    x = box.lower[None] + (box.upper - box.lower)[None] * u
    at = model.evaluate(x)
    contains(found.values, at.y)
    contains(found.gradients, at.dydx)
    contains(found.hessians, at.d2ydx2)
    contains(found.lipschitz, np.linalg.norm(np.asarray(at.dydx), axis=2))
    eigenvalues = np.linalg.eigvalsh(np.asarray(at.d2ydx2))
    for k in range(2):
        assert found.curvature[k].lower <= eigenvalues[:, k].min()
        assert eigenvalues[:, k].max() <= found.curvature[k].upper
    theirs = other.evaluate(x)
    contains(found.differences["the other"].values, at.y - theirs.y)
    contains(found.differences["the other"].gradients, at.dydx - theirs.dydx)
    assert max(b.excess for b in (*found.values, *found.gradients[0], *found.gradients[1])) < 1.2
    assert {p.stage for p in seen} == {"values and first derivatives", "second derivatives", "difference to the other"}
    assert all(0 <= p.share <= 1 and p.boxes > 0 for p in seen)
    assert found.is_of(model)
    assert not found.is_of(other)
    assert Certificate.from_json(found.to_json()) == found
    assert found.where().to_dict() == box.to_dict()
    assert [t.row_count for t in tables(found)] == [2 * (1 + 2 + 1 + 2 + 1), 2 * (2 + 2 + 1), 2 * (1 + 2)]


def test_verdicts_are_proved_refuted_with_a_witness_or_open():
    # Increasing in x0 and decreasing in x1, by the signs of the weights; neither in x2.
    model = surrogate(([[1.0, -1.0, 1.0], [0.5, -2.0, -1.0]], [0.0, 0.2]), ([[1.0, 1.0]], [0.0]))
    box = Box(-jnp.ones(3), jnp.ones(3))
    found = certify(model, box, seconds=4.0, order=1)
    rising, falling, neither = found.monotone[0]
    assert (rising.statement, rising.verdict) == ("y0 is nondecreasing in x0", Verdict.PROVED)
    assert (falling.statement, falling.verdict) == ("y0 is nonincreasing in x1", Verdict.PROVED)
    assert neither.verdict is Verdict.REFUTED
    slope = model.gradient(jnp.array(neither.witness))[0, 2]
    assert slope < 0 if "nondecreasing" in neither.statement else slope > 0
    assert box.contains(jnp.array(neither.witness))
    assert (found.hessians, found.convex, found.convex_in, found.curvature) == ((), (), (), ())


def test_convexity_is_proved_for_a_convex_network():
    # A positive sum of softplus of linear functions is convex, and curved in every direction.
    model = surrogate(([[1.0, 0.3], [-0.5, 1.0]], [0.0, 0.2]), ([[1.0, 2.0]], [0.0]), activation=jax.nn.softplus)
    found = certify(model, Box(-jnp.ones(2), jnp.ones(2)), seconds=6.0)
    assert found.convex[0].verdict is Verdict.PROVED
    assert [c.verdict for c in found.convex_in[0]] == [Verdict.PROVED] * 2
    assert found.curvature[0].lower > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_certifies_nothing(bad):
    model = surrogate(([[1.0, 1.0]], [bad]), ([[1.0]], [0.0]))
    found = certify(model, Box(-jnp.ones(2), jnp.ones(2)), seconds=0.5, order=1, boxes_at_once=8)
    if np.isnan(bad):
        assert found.values[0].lower == -math.inf
        assert found.values[0].upper == math.inf
        assert {c.verdict for c in found.monotone[0]} == {Verdict.UNDECIDED}
    # tanh of infinity is one, a number; it must be within the bounds, whatever these are.
    assert found.values[0].lower <= 1 <= found.values[0].upper


def small(f=None, **options):
    """A certificate of one input on [0, 1], at little cost."""
    model = surrogate(([[1.0]], [0.0]), ([[1.0]], [0.0]), **options)
    against = {} if f is None else {"f": f}
    return certify(model, Box(jnp.zeros(1), jnp.ones(1)), against=against, seconds=0.2, order=1, boxes_at_once=8)


def proves_nothing(bound):
    return (bound.lower, bound.upper) == (-math.inf, math.inf)


def test_a_function_without_values_is_proved_to_be_nothing():
    """The enclosure of a division by a unit of 0 is empty, and the empty set is a subset of every claim."""
    model = surrogate(([[1.0]], [0.0]), ([[1.0]], [0.0]))
    model = eqx.tree_at(lambda s: s.normalisation.x_scale, model, jnp.zeros(1))
    found = certify(model, Box(jnp.ones(1), 2 * jnp.ones(1)), seconds=0.2, order=1, boxes_at_once=8)
    assert proves_nothing(found.values[0])
    assert proves_nothing(found.gradients[0][0])
    assert found.lipschitz[0].upper == math.inf
    assert found.monotone[0][0].verdict is Verdict.UNDECIDED
    assert Certificate.from_json(found.to_json()).to_json() == found.to_json()


@pytest.mark.parametrize(
    "partial",
    [lambda x: jnp.log(x - 0.001), lambda x: x / (x - x)],
    ids=["all but a thousandth", "nowhere"],
)
def test_no_difference_is_bounded_to_a_function_that_is_not_defined_everywhere(partial):
    difference = small(partial).differences["f"]
    assert proves_nothing(difference.values[0])
    assert proves_nothing(difference.gradients[0][0])


def test_a_function_that_is_defined_everywhere_is_seen_to_be():
    """Over the whole box at once, x² − x + 1/2 reaches below zero; in parts it does not."""
    difference = small(lambda x: jnp.sqrt(x * x - x + 0.5)).differences["f"]
    assert difference.values[0].magnitude < 0.75


def test_an_activation_that_is_not_defined_everywhere_proves_nothing():
    found = small(activation=lambda x: jnp.sqrt(x - 0.5))
    assert proves_nothing(found.values[0])
    assert found.monotone[0][0].verdict is Verdict.UNDECIDED


def _through(x):
    """A step whose derivative is declared to be one, as in networks of few bits."""
    return x + jax.lax.stop_gradient(jnp.where(x > 0.5, -1.0, 1.0) - x)


@pytest.mark.parametrize(
    "activation",
    [lambda x: jnp.where(x > 0.5, -1.0, 1.0), lambda x: -jnp.floor(2 * x), _through],
    ids=["step", "floor", "declared"],
)
def test_derivatives_of_what_jumps_prove_nothing(activation):
    """They are 0, or whatever was declared, while the function falls."""
    found = small(activation=activation)
    assert found.values[0].lower <= -1 <= 1 <= found.values[0].upper + 1
    assert math.isfinite(found.values[0].magnitude)
    assert proves_nothing(found.gradients[0][0])
    assert found.lipschitz[0].upper == math.inf
    assert found.monotone[0][0].verdict is Verdict.UNDECIDED


def test_a_declared_derivative_is_not_that_of_the_function():
    found = small(activation=lambda x: jax.lax.stop_gradient(-x))
    assert found.monotone[0][0].statement == "y0 is nonincreasing in x0"
    assert found.monotone[0][0].verdict is Verdict.PROVED
    assert found.lipschitz[0].lower <= 1 <= found.lipschitz[0].upper


@pytest.mark.parametrize("activation", [jax.nn.relu, lambda x: jnp.where(x > 0, x, 0.5 * x)], ids=["relu", "own"])
def test_second_derivatives_at_a_kink_prove_nothing(activation):
    """They are 0 on both sides, and the function is not convex."""
    model = surrogate(([[1.0]], [-0.5]), ([[-1.0]], [0.0]), activation=activation)
    found = certify(model, Box(jnp.zeros(1), jnp.ones(1)), seconds=0.2, boxes_at_once=8)
    assert math.isfinite(found.gradients[0][0].magnitude)
    assert proves_nothing(found.curvature[0])
    assert found.convex[0].verdict is found.convex_in[0][0].verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: jnp.fft.fft(x).real, UnsupportedPrimitiveError, "complex numbers"),
        (lambda x: np.sin(np.asarray(x)), TypeError, "`against` 'f' cannot be traced by JAX"),
        (random_network((2, 2, 1)), ValueError, r"`against` 'f' fails for one sample, of shape \(1,\)"),
        (lambda x: jax.pure_callback(np.sin, x, x), ValueError, "`against` 'f' has no derivative that JAX can compute"),
    ],
    ids=["no rule", "not JAX", "other inputs", "host"],
)
def test_what_cannot_be_enclosed_is_refused_before_any_search(f, error, message, monkeypatch):
    def search(*_, **__):
        raise AssertionError("a search began")

    monkeypatch.setattr("sobolev_pruning.certification._certify.enclose_range", search)
    with pytest.raises(error, match=message):
        small(f)


def test_claims_speak_of_the_names_that_the_model_has():
    model = surrogate(([[1.0]], [0.0]), ([[1.0]], [0.0])).named(inputs=["cost [/kg], {net}"], outputs=["price"])
    found = certify(model, Box(jnp.zeros(1), jnp.ones(1)), seconds=0.2, order=1, boxes_at_once=8)
    assert found.monotone[0][0].statement == "price is nondecreasing in cost [/kg], {net}"
    assert (found.inputs, found.outputs) == (("cost [/kg], {net}",), ("price",))


def bachelier(x):
    spot, volatility = x[0], x[1]
    u = (spot - 1.0) / volatility
    return (volatility * (u * norm.cdf(u) + norm.pdf(u)))[None]


def black_scholes(x):
    spot, volatility = x[0], x[1]
    d = (jnp.log(spot) + 0.5 * volatility**2) / volatility
    return (spot * norm.cdf(d) - norm.cdf(d - volatility))[None]


REGION = Box(jnp.array([0.6, 0.15]), jnp.array([1.4, 0.4]))


def trained(f, low, high, n=400, widths=(2, 5, 1)):
    def draw(key, n):
        return jax.random.uniform(key, (n, 2), minval=low, maxval=high)

    data = FunctionReference(f, draw).sample(jax.random.key(0), n)
    start = Surrogate(MLP.create(widths, key=jax.random.key(1)), Normalisation.from_samples(data))
    return fit_levenberg_marquardt(start, data, SobolevLoss(), max_steps=60).surrogate


@pytest.mark.parametrize(
    "f", [bachelier, pytest.param(black_scholes, marks=pytest.mark.slow)], ids=["bachelier", "black_scholes"]
)
def test_the_error_against_a_closed_form_is_certified_within_half(f):
    model = trained(f, REGION.lower, REGION.upper)
    found = certify(model, REGION, against=f, seconds=6.0, order=1, tolerance=0.2)
    difference = found.differences["the other"]
    for bound in (*difference.values, *difference.gradients[0]):
        assert bound.found <= bound.magnitude <= 1.5 * bound.found
    assert difference.values[0].magnitude < 0.02


def test_a_failure_in_the_wing_is_caught():
    # Trained, and judged, where the spots are; the wing is where nobody looked.
    model = trained(bachelier, jnp.array([0.85, 0.15]), jnp.array([1.15, 0.4]), widths=(2, 4, 1))
    x = jax.random.uniform(jax.random.key(5), (2000, 2), minval=jnp.array([0.85, 0.15]), maxval=jnp.array([1.15, 0.4]))
    error = jax.vmap(model)(x) - jax.vmap(bachelier)(x)
    assert jnp.sqrt(jnp.mean(error**2)) < 1e-3
    wide = Box(jnp.array([0.2, 0.15]), jnp.array([2.5, 0.4]))
    found = certify(model, wide, against={"Bachelier": bachelier}, seconds=6.0, order=1, tolerance=0.2)
    (value,) = found.differences["Bachelier"].values
    assert value.found > 0.05  # seen, at a point
    assert value.magnitude >= value.found  # and guaranteed to be no larger
    assert value.magnitude < 1.5 * value.found


def test_an_ellipsoid_is_certified_as_such():
    model = random_network((3, 4, 1))
    z = jax.random.normal(jax.random.key(2), (300, 3)) * jnp.array([1.0, 0.1, 0.1])[None]
    turn = jnp.linalg.qr(jnp.array([[1.0, 0.2, 0.0], [1.0, -1.0, 0.3], [1.0, 1.0, 1.0]]))[0]
    x = z @ turn.T
    ellipsoid, box = Ellipsoid.around(x), Box.around(x)
    found, whole = (certify(model, r, seconds=3.0, order=1, boxes_at_once=64) for r in (ellipsoid, box))
    contains(found.values, jax.vmap(model)(x))
    contains(found.gradients, jax.vmap(model.gradient)(x))
    assert found.values[0].upper - found.values[0].lower < whole.values[0].upper - whole.values[0].lower


def test_single_precision():
    model = jax.tree.map(lambda w: w.astype(jnp.float32), eqx.filter(random_network((2, 3, 1)), eqx.is_array))
    model = eqx.combine(model, random_network((2, 3, 1)))
    box = Box(-jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32))
    found = certify(model, box, seconds=2.0, order=1, boxes_at_once=32)
    assert (found.dtype, found.arithmetic) == ("float32", "float64")
    x = jax.random.uniform(jax.random.key(0), (1000, 2), jnp.float32, minval=-1, maxval=1)
    doubled = jax.tree.map(lambda w: w.astype(float) if eqx.is_array(w) else w, model)
    contains(found.values, jax.vmap(doubled)(x.astype(float)))
    assert found.is_of(model)
    assert not found.is_of(doubled)


MODEL = random_network((2, 3, 1))
BOX = Box(-jnp.ones(2), jnp.ones(2))


def loops(x):
    return jax.lax.while_loop(lambda x: x.max() < 2, lambda x: 2 * x, x)


def fails(x):
    raise ZeroDivisionError


BAD = {
    "another dimension": (
        lambda: certify(MODEL, Box(-jnp.ones(3), jnp.ones(3))),
        ValueError,
        "3 inputs, the surrogate 2",
    ),
    "no region": (lambda: certify(MODEL, "box"), TypeError, "`region` is str"),
    "many boxes": (lambda: certify(MODEL, TrustRegions(jnp.ones((2, 2)), jnp.ones(2))), ValueError, "many boxes"),
    "no budget": (lambda: certify(MODEL, BOX, seconds=0.0), ValueError, "`seconds` is 0.0"),
    "a budget in words": (lambda: certify(MODEL, BOX, seconds="60s"), TypeError, "`seconds` is '60s'"),
    "progress that is no function": (lambda: certify(MODEL, BOX, progress=3), TypeError, "`progress` is 3"),
    "order 3": (lambda: certify(MODEL, BOX, order=3), ValueError, "`order` is 3"),
    "other outputs": (
        lambda: certify(MODEL, BOX, against=lambda x: x),
        ValueError,
        r"returns ShapeDtypeStruct\(shape=\(2",
    ),
    "a function that fails without a word": (
        lambda: certify(MODEL, BOX, against={"it": fails}),
        ValueError,
        "'it' fails for one sample, of shape \\(2,\\): ZeroDivisionError$",
    ),
    "an activation without a derivative": (
        lambda: certify(random_network((2, 3, 1), loops), BOX),
        ValueError,
        "the activation of `surrogate` has no derivative that JAX can compute",
    ),
    "no function": (lambda: certify(MODEL, BOX, against={"it": 3}), TypeError, "holds int as 'it'"),
    "an unknown domain": (lambda: certify(MODEL, BOX, domain="taylor"), ValueError, "`domain` must be one of"),
    "an empty box": (lambda: certify(MODEL, Box(jnp.ones(2), -jnp.ones(2))), ValueError, "is empty"),
    "another precision": (
        lambda: certify(MODEL, Box(-jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32))),
        ValueError,
        "`region` is in float32",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_error(call, error, message, unchecked_shapes):
    with pytest.raises(error, match=message):
        call()
