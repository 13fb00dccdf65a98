"""What is read of JAX is checked: versions, parameters of primitives, and the programs that equations stand for."""

import os
import tomllib
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, ctx
from jax import lax
from jax.extend.core import Literal, Primitive, jaxpr_as_fun, primitives

from sobolev_pruning import _compat
from sobolev_pruning._compat import Parameters, UntriedJaxWarning, check_version
from sobolev_pruning.exchange import OnnxExportError, export_onnx
from sobolev_pruning.intervals import (
    Interval,
    UnsupportedPrimitiveError,
    inclusion,
    interval_adjoints,
    register_rule,
    tap,
)
from sobolev_pruning.pruning import find_groups
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate
from sobolev_pruning.surrogate._activations import activation_program

# Versions.


@pytest.mark.parametrize("version", [_compat.OLDEST, "0.11.0", "0.12.0", _compat.NEWEST])
def test_tried_versions_pass_in_silence(version):
    check_version(version)


@pytest.mark.parametrize("version", ["0.10.1", "0.9.2", "0.4.38"])
def test_an_older_version_is_refused(version):
    with pytest.raises(ImportError, match=rf"needs JAX {_compat.OLDEST} or later, and this is {version}.*pip install"):
        check_version(version)


@pytest.mark.parametrize("version", ["0.12.0.2", "0.12.1", "0.13.0.dev20270101", "1.0.0rc1", "0.100"])
def test_a_newer_version_warns_unless_it_is_asked_for(version, monkeypatch):
    monkeypatch.delenv(_compat.UNTRIED, raising=False)
    with pytest.warns(
        UntriedJaxWarning, match=rf"JAX {version}, .* tried with .* to {_compat.NEWEST}.*{_compat.UNTRIED}=1"
    ):
        check_version(version)
    monkeypatch.setenv(_compat.UNTRIED, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_version(version)


# Parameters.


@pytest.fixture
def changed(monkeypatch):
    """A library that knows other parameters of a primitive than the installed JAX has."""

    def change(name, *, unknown=(), missing=()):
        listed = _compat.PARAMETERS[name]
        fewer = Parameters(listed.needed - {*unknown} | {*missing}, listed.known - {*unknown} | {*missing})
        monkeypatch.setitem(_compat.PARAMETERS, name, fewer)

    return change


BOX = Interval(jnp.zeros(3), jnp.ones(3))


def looped(x):
    return lax.scan(lambda c, v: (tap(c * v, "product"), None), x[0], x)[0]


@pytest.mark.parametrize(
    ("name", "parameter", "function"),
    [
        ("sin", "accuracy", jnp.sin),  # a rule that does not look at its parameters
        ("reduce_sum", "axes", jnp.sum),
        ("scan", "length", looped),
        ("jit", "jaxpr", jax.jit(jnp.cos)),
        ("custom_jvp_call", "call_jaxpr", jax.nn.relu),
        ("integer_pow", "y", lambda x: x**3),
    ],
)
def test_an_operation_with_an_unknown_parameter_is_refused_by_name(changed, name, parameter, function):
    inclusion(function)(BOX)
    changed(name, unknown=[parameter])
    with pytest.raises(
        UnsupportedPrimitiveError,
        match=rf"`{name}` has the unknown parameter `{parameter}` in JAX {jax.__version__}.*{_compat.OLDEST} to",
    ):
        inclusion(function)(BOX)


def test_an_operation_that_lacks_a_parameter_is_refused_by_name(changed):
    changed("sin", missing=["units", "angle"])
    with pytest.raises(UnsupportedPrimitiveError, match=r"`sin` lacks the parameters `angle`, `units` in JAX.*used at"):
        inclusion(jnp.sin)(BOX)


def test_nothing_else_reads_a_changed_primitive(changed):
    changed("scan", unknown=["reverse"])
    with pytest.raises(UnsupportedPrimitiveError, match="`scan` has the unknown parameter `reverse`"):
        interval_adjoints(looped)(BOX)


def test_a_network_is_not_pruned_through_a_changed_primitive(changed):
    network = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    changed("dot_general", unknown=["precision"])
    with pytest.raises(_compat.ChangedPrimitiveError, match="`dot_general` has the unknown parameter `precision`"):
        find_groups(network, jnp.ones(2))


def test_an_activation_is_not_exported_through_a_changed_primitive(changed, tmp_path):
    pytest.importorskip("onnxruntime")
    zero, one = jnp.zeros(1), jnp.ones(1)
    network = MLP.create([1, 2, 1], activation=jnp.sin, key=jax.random.key(0))
    surrogate = Surrogate(network, Normalisation(zero, one, zero, one), ())
    changed("cos", unknown=["accuracy"])
    with pytest.raises(OnnxExportError, match="its primitive `cos` has the unknown parameter `accuracy`"):
        export_onnx(surrogate, tmp_path / "x.onnx")


def test_a_parameter_that_jax_adds_is_seen():
    (eqn,) = jax.make_jaxpr(jnp.sin)(1.0).eqns
    _compat.body(eqn)
    with pytest.raises(_compat.ChangedPrimitiveError, match="`sin` has the unknown parameters `degrees`, `fast` in"):
        _compat.body(eqn.replace(params={**eqn.params, "fast": True, "degrees": False}))


def test_a_primitive_of_a_user_may_have_any_name_and_parameters(rules_restored):
    mine = Primitive("sin")
    mine.def_impl(lambda x, *, frequency: jnp.sin(frequency * x))
    mine.def_abstract_eval(lambda x, **_: x)
    register_rule(mine, lambda x, *, frequency: rules_restored["sine"](x, frequency))
    out = inclusion(lambda x: mine.bind(x, frequency=3.0))(BOX)
    np.testing.assert_allclose(out.upper, 1, atol=1e-12)


@pytest.fixture
def rules_restored():
    from sobolev_pruning.intervals import _registry

    saved = dict(_registry._rules)
    yield {"sine": lambda x, frequency: inclusion(lambda y: jnp.sin(frequency * y))(x)}
    _registry._rules.clear()
    _registry._rules.update(saved)
    _registry._unproved.intersection_update(saved)


# Programs.


def test_scans_are_read():
    closed = jax.make_jaxpr(
        lambda w, c, x: lax.scan(lambda c, x: ((c[0] * w, c[1] + x), c[0]), c, x, reverse=True, unroll=2)
    )(2.0, (1.0, 0.0), jnp.arange(4.0))
    (eqn,) = (e for e in closed.jaxpr.eqns if e.primitive is primitives.scan_p)
    scan = _compat.scan_parts(eqn.params)
    assert (scan.n_consts, scan.n_carry, scan.length, scan.reverse, scan.unroll) == (1, 2, 4, True, 2)
    out = jaxpr_as_fun(scan.body)(2.0, 1.0, 0.0, 3.0)
    np.testing.assert_allclose(out, [2.0, 3.0, 1.0])


def evaluated(closed, args):
    """A program with every equation written out by `_compat.body`."""
    env = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    env |= dict(zip(closed.jaxpr.invars, args, strict=True))

    def read(atom):
        return jnp.asarray(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else env[atom]

    for eqn in closed.jaxpr.eqns:
        inputs, body = [read(a) for a in eqn.invars], _compat.body(eqn)
        if body is not None:
            results = evaluated(body, inputs)
        else:
            results = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
            results = results if eqn.primitive.multiple_results else [results]
        env.update(zip(eqn.outvars, results, strict=True))
    return [read(a) for a in closed.jaxpr.outvars]


TABLE = jnp.linspace(0.0, 1.0, 4)


@pytest.mark.parametrize(
    "function",
    [
        jnp.log2,
        lambda x: jnp.polyval(jnp.array([1.0, -2.0, 3.0]), x),
        lambda x: jnp.searchsorted(TABLE, x),
        lambda x: jnp.interp(x, TABLE, TABLE**2),
        jax.grad(lambda x: lax.erf(x).sum()),
        jnp.frexp,
        jax.checkpoint(jnp.sin),
    ],
    ids=["log2", "polyval", "searchsorted", "interp", "erf", "frexp", "remat"],
)
def test_a_body_computes_what_its_equation_does(function):
    x = jnp.linspace(0.1, 0.9, 5)
    out = evaluated(jax.make_jaxpr(function)(x), [x])
    for mine, theirs in zip(out, jax.tree.leaves(function(x)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-14, atol=1e-14)


def _in_reverse(x):
    return lax.while_loop(lambda x: x < 2, lambda x: 2 * x, x)


@jax.custom_vjp
def _in_reverse_alone(x):
    return x * x


_in_reverse_alone.defvjp(lambda x: (x * x, x), lambda x, cotangent: (2 * x * cotangent,))
WITHOUT_DERIVATIVE = {
    "whole numbers": (jax.grad(lambda x: jnp.round(x).astype(int)), TypeError),
    "a rule for reverse mode, in forward mode": (jax.jacfwd(_in_reverse_alone), TypeError),
    "a loop in reverse": (jax.grad(_in_reverse), ValueError),
    "a callback": (jax.grad(lambda x: jax.pure_callback(np.sin, x, x)), ValueError),
    "no rule": (jax.grad(lambda x: Primitive("unheard_of").bind(x)), NotImplementedError),
}


@pytest.mark.parametrize(("derivative", "error"), WITHOUT_DERIVATIVE.values(), ids=WITHOUT_DERIVATIVE)
def test_errors_of_missing_derivatives_are_known(derivative, error):
    with pytest.raises(error):
        jax.eval_shape(derivative, jax.ShapeDtypeStruct((), float))
    assert error in _compat.NO_DERIVATIVE


def test_functions_that_differ_within_an_operation_are_not_the_same_program():
    def steps(side):
        return activation_program(lambda x: jnp.searchsorted(TABLE, x, side=side).astype(x.dtype), [3], np.dtype(float))

    assert steps("left") == steps("left")
    assert steps("left") != steps("right")


def test_a_function_of_a_user_is_not_taken_for_one_of_jax():
    @jax.custom_jvp
    def exp_neg_sq(x):
        return 2 * x

    exp_neg_sq.defjvp(lambda primals, tangents: (exp_neg_sq(*primals), 2 * tangents[0]))
    out = inclusion(exp_neg_sq)(Interval(1.0, 2.0))
    np.testing.assert_allclose([out.lower, out.upper], [2.0, 4.0], rtol=1e-14)


# Functions that versions write with different primitives are enclosed alike, and as narrowly.


def gaussian(x):
    return (-x * x).exp() * 2 / arb.pi().sqrt()


def curvature():
    """The largest second derivative of erf, at −√½."""
    return 2 * arb(0.5).sqrt() * gaussian(arb(0.5).sqrt())


# Name → function, derivative of it that is enclosed, box, and the ends of the true range.
ALIKE = {
    "log2": (jnp.log2, 0, (0.5, 3.0), lambda: (arb(-1), arb(3).log() / arb(2).log())),
    "slope of log2": (jnp.log2, 1, (0.5, 3.0), lambda: (1 / (3 * arb(2).log()), 2 / arb(2).log())),
    "log2 of a square": (lambda x: jnp.log2(x * x + 1), 1, (-3.0, 4.0), lambda: (-1 / arb(2).log(), 1 / arb(2).log())),
    "slope of tanh": (jnp.tanh, 1, (-1.0, 3.0), lambda: (1 - arb(3).tanh() ** 2, arb(1))),
    "slope of asin": (jnp.arcsin, 1, (-0.5, 0.5), lambda: (arb(1), 2 / arb(3).sqrt())),
    "slope of erf": (lax.erf, 1, (-1.0, 2.0), lambda: (gaussian(arb(2)), gaussian(arb(0)))),
    # JAX cuts the second derivative of erf off at 28 (11 in float32), where it is below the smallest number.
    "curvature of erf": (lax.erf, 2, (-45.0, 45.0), lambda: (-curvature(), curvature())),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ALIKE)
def test_functions_are_enclosed_by_their_ranges_in_every_version(name, dtype):
    function, order, (low, high), ends = ALIKE[name]
    for _ in range(order):
        function = jax.grad(function)
    out = inclusion(function)(Interval(jnp.asarray(low, dtype), jnp.asarray(high, dtype)))
    with ctx.workprec(200):
        least, most = ends()
        lower, upper, slack = arb(float(out.lower)), arb(float(out.upper)), 64 * float(np.finfo(dtype).eps)
        assert lower <= least
        assert most <= upper
        assert least - lower < slack * (most - least)
        assert upper - most < slack * (most - least)


def test_polynomials_and_what_is_cut_off_are_enclosed():
    box = Interval(-2.0, 1.0)
    out = inclusion(jax.grad(lambda x: jnp.polyval(jnp.array([1.0, 0.0, -3.0, 1.0]), x)))(box)
    assert out.lower <= -3.0
    assert out.upper >= 9.0
    # A choice of a user's own at the same place is no part of the derivative of erf.
    own = inclusion(lambda x: jnp.where(jnp.abs(x) < 28.0, x, 0.0) + jax.grad(lax.erf)(x))(Interval(29.0, 30.0))
    assert own.lower <= 0.0 <= own.upper
    assert own.upper < 1e-300


# What is installed.

ROOT = Path(__file__).parents[1]


def test_the_project_allows_the_versions_that_were_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"jax>={_compat.OLDEST},<={_compat.NEWEST}" in project["dependencies"]


def test_the_pins_hold_both_ends():
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert {pin for pin in pins if pin.startswith(("jax==", "jaxlib=="))} == {
        f'{name}=={version}; python_version {when} "3.12"'
        for name in ("jax", "jaxlib")
        for version, when in ((_compat.OLDEST, "<"), (_compat.NEWEST, ">="))
    }
    assert jax.__version__ in (_compat.OLDEST, _compat.NEWEST) or os.environ.get(_compat.UNTRIED)
