"""Enclosed derivatives, taps, and the mean-value form: structure, truth, transformations, refusals."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from interval_checks import DTYPES
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from sobolev_pruning.intervals import (
    Interval,
    adjoints,
    inclusion,
    interval_adjoints,
    interval_grad,
    interval_hessian,
    interval_hvp,
    interval_jacobian,
    interval_jvp,
    interval_value_and_grad,
    interval_vjp,
    mean_value,
    tap,
)


def is_interval(x):
    return isinstance(x, Interval)


# A polynomial of two arguments with exact derivatives: rows of x³ and of products with the weights.


def cubic(x, params):
    """`(2,) -> (3,)`."""
    return jnp.stack([x[0] ** 3 * params["w"], x[0] * x[1] * params["w"], x[1] - params["b"][0]])


def exact_jacobian(x, w):
    """d(cubic)/dx, d/dw, d/db, row by row."""
    a, b = x
    by_x = [[3 * a * a * w, Fraction(0)], [b * w, a * w], [Fraction(0), Fraction(1)]]
    return by_x, [a**3, a * b, Fraction(0)], [[0, 0], [0, 0], [-1, 0]]


def exact_hessian(x, w):
    """Of the sum of the outputs, by x."""
    a, _ = x
    return [[6 * a * w, w], [w, Fraction(0)]]


def scalar(x, params):
    return cubic(x, params).sum()


def setting(dtype):
    box = Interval(np.array([0.5, -1.0], dtype), np.array([0.75, 0.5], dtype))
    params = {"w": jnp.asarray(1.25, dtype), "b": jnp.asarray([0.5, 2.0], dtype)}
    points = [tuple(map(Fraction, p)) for p in itertools.product((0.5, 0.625, 0.75), (-1.0, 0.0, 0.5))]
    return box, params, points


def assert_holds(out, values, width):
    """The interval holds every array of exact numbers, and is at most `width` wide."""
    low, upp = np.asarray(out.lower, np.float64), np.asarray(out.upper, np.float64)
    for value in values:
        array = np.asarray(value, object)
        assert array.shape == low.shape
        for i in np.ndindex(array.shape):
            assert Fraction(float(low[i])) <= array[i] <= Fraction(float(upp[i])), (i, out)
    assert float((upp - low).max()) <= width


@pytest.mark.parametrize("dtype", DTYPES)
def test_jacobians_in_both_modes(dtype):
    box, params, points = setting(dtype)
    truths = [exact_jacobian(x, Fraction(5, 4)) for x in points]
    for mode in ("reverse", "forward") if dtype == np.float64 else (None,):
        by_x, by_params = interval_jacobian(cubic, (0, -1), mode=mode)(box, params)
        assert_holds(by_x, [t[0] for t in truths], 2)
        assert_holds(by_params["w"], [t[1] for t in truths], 1.2)
        assert_holds(by_params["b"], [t[2] for t in truths], 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_and_products(dtype):
    box, params, points = setting(dtype)
    w = Fraction(5, 4)

    def total(rows):
        return [sum(column) for column in zip(*rows, strict=True)]

    slopes = [total(exact_jacobian(x, w)[0]) for x in points]
    gradient = interval_grad(scalar)(box, params)
    assert_holds(gradient, slopes, 3.1)
    value, (again, by_params) = interval_value_and_grad(scalar, (0, 1))(box, params)
    assert_holds(value, [(a**3 + a * b) * w + b - Fraction(1, 2) for a, b in points], 4)
    assert np.array_equal(again.lower, gradient.lower)
    assert by_params["b"].shape == (2,)
    cotangent = jnp.asarray([1.0, 1.0, 1.0], dtype)
    assert_holds(interval_vjp(cubic)(box, params, cotangent)[1], slopes, 3.1)
    wide = Interval(0.5 * cotangent, 2 * cotangent)
    assert bool(interval_vjp(cubic)(box, params, wide)[1].lower[0] < gradient.lower[0])
    along = [[sum(row) for row in exact_jacobian(x, w)[0]] for x in points]
    assert_holds(interval_jvp(cubic)(box, params, jnp.ones(2, dtype))[1], along, 3.1)


def test_hessians_and_their_products():
    box, params, points = setting(np.float64)
    hessians = [exact_hessian(x, Fraction(5, 4)) for x in points]
    hessian = interval_hessian(scalar, (0, 1))(box, params)
    assert_holds(hessian[0][0], hessians, 2)
    by_weight = [[3 * a * a + b, a] for a, b in points]
    assert_holds(hessian[0][1]["w"], by_weight, 2.5)
    assert_holds(hessian[1]["w"][0], by_weight, 2.5)
    assert_holds(hessian[1]["w"][1]["w"], [0], 1e-300)
    product = interval_hvp(scalar)(box, params, jnp.ones(2))
    assert_holds(product, [[sum(row) for row in h] for h in hessians], 2)


def test_structures_are_those_of_jax():
    box, params, _ = setting(np.float64)
    x = box.midpoint

    def outputs(x, p):
        return {"y": cubic(x, p), "z": p["w"] * x[0]}

    for ours, theirs in (
        (interval_jacobian(outputs, (0, 1)), jax.jacrev(outputs, (0, 1))),
        (interval_jacobian(outputs, 1, mode="forward"), jax.jacrev(outputs, 1)),
        (interval_jacobian(outputs, (1,)), jax.jacrev(outputs, (1,))),
        (interval_hessian(scalar, (0, 1)), jax.hessian(scalar, (0, 1))),
        (interval_hessian(scalar, 1), jax.hessian(scalar, 1)),
        (interval_grad(scalar, (1,)), jax.grad(scalar, (1,))),
    ):
        mine, plain = jax.eval_shape(ours, box, params), jax.eval_shape(theirs, x, params)
        assert jax.tree.structure(jax.tree.map(lambda v: 0, mine, is_leaf=is_interval)) == jax.tree.structure(plain)
        for a, b in zip(jax.tree.leaves(mine, is_leaf=is_interval), jax.tree.leaves(plain), strict=True):
            assert a.lower.shape == a.upper.shape == b.shape
            assert a.lower.dtype == a.upper.dtype == b.dtype


def test_transformations_keywords_and_auxiliary_values():
    box, params, _ = setting(np.float64)

    def f(x, *, params):
        return x[0] * x[1] * params["w"], {"first": x[0], "n": jnp.asarray(3)}

    gradient, aux = interval_grad(f, has_aux=True)(box, params=params)
    assert int(aux["n"]) == 3
    assert np.array_equal(aux["first"].lower, box.lower[:1][0])
    batch = Interval(jnp.stack([box.lower] * 3), jnp.stack([box.upper] * 3))

    def of(b):
        return interval_grad(f, has_aux=True)(b, params=params)[0]

    batched = jax.jit(jax.vmap(of))(batch)
    assert np.allclose(batched.lower, gradient.lower[None], rtol=1e-14)
    assert np.allclose(batched.upper, gradient.upper[None], rtol=1e-14)

    def product(x):
        return x[0] * x[1]

    for g in (interval_jacobian(product), interval_hessian(product), mean_value(product)):
        many = jax.jit(jax.vmap(g))(batch)
        assert np.allclose(many.upper[1], g(box).upper, rtol=1e-14)
    nearest = interval_grad(f, has_aux=True, rounding="nearest")(box, params=params)[0]
    assert bool(nearest.subset(gradient).all())
    assert bool((nearest.width < gradient.width).any())


def test_traced_once():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return tap(x * x, "square")

    for g in (interval_grad(f), interval_jacobian(f), interval_hessian(f), interval_adjoints(f), mean_value(f)):
        count = 0
        for k in range(3):
            g(Interval(jnp.asarray(0.0), jnp.asarray(1.0 + k)))
        assert count == 1


# Taps.


def chain(x, w):
    """Two taps, one of them in a jitted and rematerialised function."""
    inner = jax.checkpoint(jax.jit(lambda x: tap(x * x, "squares") * w))
    total = tap(inner(x).sum(), "total")
    return total * total


@pytest.mark.parametrize("dtype", DTYPES)
def test_taps_and_their_adjoints(dtype):
    box = Interval(np.array([1.0, 2.0], dtype), np.array([1.5, 2.25], dtype))
    w = jnp.asarray([0.5, 3.0], dtype)
    out = interval_adjoints(chain, argnums=(0, 1))(box, w)
    truths = []
    for a, b in itertools.product((Fraction(1), Fraction(3, 2)), (Fraction(2), Fraction(9, 4))):
        total = a * a / 2 + 3 * b * b
        by_squares = [total, 6 * total]
        by_x = [2 * a * by_squares[0], 2 * b * by_squares[1]]
        truths.append(
            (total**2, [a * a, b * b], total, by_squares, 2 * total, by_x, [2 * total * a * a, 2 * total * b * b])
        )
    enclosures = (
        out.value, out.taps["squares"], out.taps["total"], out.adjoints["squares"], out.adjoints["total"], *out.inputs,
    )  # fmt: skip
    for enclosure, values in zip(enclosures, zip(*truths, strict=True), strict=True):
        assert_holds(enclosure, values, 350)
    # The zeros that are added to the taps widen nothing.
    assert np.array_equal(out.value.lower, inclusion(chain)(box, w).lower)
    point = adjoints(chain, ["total"])(box.lower, w)
    assert list(point.taps) == ["total"]
    assert float(point.adjoints["total"]) == 25.0
    assert point.inputs is None


def test_outputs_of_several_entries_and_batches():
    def f(x):
        return jnp.stack([tap(x * x, "s").sum(), x[0]])

    box = Interval(jnp.ones((3, 2)), 2 * jnp.ones((3, 2)))
    out = jax.jit(jax.vmap(interval_adjoints(f, argnums=0)))(box)
    assert out.adjoints["s"].shape == (3, 2, 2)
    assert out.inputs.shape == (3, 2, 2)
    assert out.taps["s"].shape == (3, 2)
    assert_holds(out.adjoints["s"][0], [[[1, 1], [0, 0]]], 1e-12)
    matrix = interval_adjoints(lambda x: jnp.outer(tap(x, "x"), x))(box[0])
    assert matrix.adjoints["x"].shape == (2, 2, 2)
    plain = adjoints(f, argnums=0)(jnp.asarray([1.5, 2.0]))
    assert plain.inputs.tolist() == [[3.0, 4.0], [1.0, 0.0]]


def test_taps_in_scans_have_one_entry_for_every_step():
    def f(x):
        def outer(carry, factor):
            def inner(c, z):
                return tap(c * z, "product"), None

            carry, _ = lax.scan(inner, carry, jnp.asarray([1.0, 2.0]))
            return tap(carry + factor, "sum"), carry

        last, _ = lax.scan(outer, x, jnp.asarray([1.0, 0.5, 0.25]))
        return last

    out = interval_adjoints(f)(Interval(jnp.asarray(1.0), jnp.asarray(2.0)))
    # Each outer step doubles and adds: 3, 6.5, 13.25 from 1, and 5, 10.5, 21.25 from 2.
    assert_holds(out.taps["sum"], [[3, Fraction(13, 2), Fraction(53, 4)], [5, Fraction(21, 2), Fraction(85, 4)]], 8.1)
    assert_holds(out.adjoints["sum"], [[4, 2, 1]], 1e-12)
    assert_holds(out.taps["product"], [[[1, 2], [3, 6], [Fraction(13, 2), 13]]], 8.1)
    assert_holds(out.adjoints["product"], [[[8, 4], [4, 2], [2, 1]]], 1e-12)


def custom(x):
    @jax.custom_jvp
    def f(x):
        return checkpoint_name(x, "hidden") * 2

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * 2))
    return f(x).sum()


def in_a_loop(x):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: checkpoint_name(c * 2, "hidden"), x).sum()


def in_a_branch(x):
    return lax.cond(x[0] > 0, lambda x: checkpoint_name(x, "hidden").sum(), lambda x: x.sum(), x)


@pytest.mark.parametrize(
    ("f", "names", "message"),
    [
        (lambda x: x.sum(), None, r"marks no value.*tap\(x, 'name'\)"),
        (lambda x: checkpoint_name(x, "a").sum(), ["a", "b"], r"asks for \['b'\], but `f` marks only \['a'\]"),
        (
            lambda x: (checkpoint_name(x, "a") * checkpoint_name(2 * x, "a")).sum(),
            None,
            r"'a' marks 2 values.*test_interval_adjoints\.py:\d+",
        ),
        (custom, None, r"'hidden' stands in a function with a derivative of its own.*test_interval_adjoints\.py:\d+"),
        (in_a_loop, None, r"'hidden' stands in the body of `while`, at .*test_interval_adjoints\.py:\d+.*lax\.scan"),
        (in_a_branch, None, r"'hidden' stands in the body of `cond`, at .*test_interval_adjoints\.py:\d+"),
    ],
    ids=["none", "unknown", "twice", "custom", "loop", "branch"],
)
def test_taps_that_cannot_be_had_are_named(f, names, message):
    with pytest.raises(ValueError, match=message):
        interval_adjoints(f, names)(Interval(jnp.zeros(2), jnp.ones(2)))


def test_a_repeated_name_does_not_matter_where_it_is_not_wanted():
    def f(x):
        return (tap(x, "a") * tap(tap(2 * x, "a"), "b")).sum()

    out = interval_adjoints(f, ["b"])(Interval(jnp.ones(2), 2 * jnp.ones(2)))
    assert list(out.taps) == ["b"]


# Refusals: at the call, by the name of the argument.


@pytest.fixture
def unchecked():
    """Without jaxtyping's checks, which would be faster than the library's own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ONE = Interval(jnp.ones(2), 2 * jnp.ones(2))
PUBLIC = (
    interval_grad, interval_value_and_grad, interval_vjp, interval_jvp, interval_jacobian, interval_hessian,
    interval_hvp, interval_adjoints, mean_value,
)  # fmt: skip


def untraceable(*args):
    raise AssertionError("traced")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", PUBLIC, ids=lambda g: g.__name__)
def test_wrong_functions_and_roundings_are_refused(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: `f` must be a function of arrays, got Interval"):
        function(ONE)
    with pytest.raises(ValueError, match=f"{function.__name__}: `rounding` must be one of.*'up'"):
        function(untraceable, rounding="up")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", PUBLIC[:-2], ids=lambda g: g.__name__)
def test_wrong_argnums_are_refused(function):
    last = (ONE,) if function in (interval_vjp, interval_jvp, interval_hvp) else ()
    name = function.__name__
    with pytest.raises(TypeError, match=f"{name}: `argnums` must be an integer or a tuple of integers, got '0'"):
        function(untraceable, "0")
    with pytest.raises(ValueError, match=f"{name}: `argnums` is empty"):
        function(untraceable, ())
    with pytest.raises(ValueError, match=f"{name}: `argnums` names argument 2, but `f` was called with 2 positional"):
        function(untraceable, 2)(ONE, ONE, *last)
    with pytest.raises(ValueError, match="names an argument twice"):
        function(untraceable, (0, -2))(ONE, ONE, *last)

    def named(x, steps):
        return untraceable(x, steps)

    with pytest.raises(TypeError, match=r"argument 1 \(`steps`\) is to be differentiated.*holds int64"):
        function(named, 1)(ONE, jnp.asarray(3), *last)


@pytest.mark.usefixtures("unchecked")
def test_wrong_outputs_are_refused():
    vector, integer = (lambda x: x), (lambda x: jnp.asarray(1))
    for function in (interval_grad, interval_value_and_grad, interval_hessian):
        with pytest.raises(
            TypeError, match=r"must return one float of shape \(\), got shape \(2,\).*interval_jacobian"
        ):
            function(vector)(ONE)
        with pytest.raises(TypeError, match="must return one float"):
            function(lambda x: (x[0], x[1]))(ONE)
    with pytest.raises(TypeError, match="interval_jacobian"):
        interval_hvp(vector)(ONE, jnp.ones(2))
    for function, last in ((interval_jacobian, ()), (interval_vjp, (jnp.asarray(1),)), (interval_jvp, (jnp.ones(2),))):
        with pytest.raises(TypeError, match="must return floats, got int64"):
            function(integer)(ONE, *last)
    with pytest.raises(TypeError, match="must return one array, got 2"):
        interval_adjoints(lambda x: (tap(x, "a"), x))(ONE)
    with pytest.raises(ValueError, match="`mode` must be 'reverse', 'forward' or None, got 'up'"):
        interval_jacobian(vector, mode="up")


@pytest.mark.parametrize(
    ("direction", "error", "message"),
    [
        (jnp.ones(3), ValueError, r"shape \(3,\) where its counterpart has the shape \(2,\)"),
        ((jnp.ones(2),), ValueError, "has the structure"),
        (jnp.ones(2, jnp.float32), TypeError, "dtype float32 where its counterpart has float64"),
        (Interval(jnp.ones(3), jnp.ones(3)), ValueError, r"shape \(3,\)"),
    ],
    ids=["shape", "structure", "dtype", "interval"],
)
def test_wrong_directions_are_refused(direction, error, message):
    with pytest.raises(error, match=f"interval_jvp: `tangent` .*{message}"):
        interval_jvp(untraceable)(ONE, direction)
    with pytest.raises(error, match=f"interval_hvp: `v` .*{message}"):
        interval_hvp(untraceable)(ONE, direction)
    with pytest.raises(error, match=f"interval_vjp: `cotangent` .*{message}"):
        interval_vjp(lambda x: 2 * x)(ONE, direction)


@pytest.mark.usefixtures("unchecked")
def test_other_refusals():
    with pytest.raises(TypeError, match="expected the arguments of `f` and, last, `cotangent`, got 1 arguments"):
        interval_vjp(untraceable)(ONE)
    with pytest.raises(TypeError, match="`name` must be a string"):
        tap("a", jnp.ones(2))
    with pytest.raises(TypeError, match=r"`x` must be an array of floats.*got dtype int64"):
        tap(jnp.asarray(1), "n")
    with pytest.raises(TypeError, match="got an Interval"):
        tap(ONE, "x")
    with pytest.raises(TypeError, match="`names` must be a sequence of strings"):
        interval_adjoints(untraceable, "a")
    with pytest.raises(TypeError, match="Use `interval_adjoints`"):
        adjoints(untraceable)(ONE)
    with pytest.raises(TypeError, match="is to be differentiated"):
        interval_adjoints(untraceable, argnums=0)(jnp.asarray(1))
