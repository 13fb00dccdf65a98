"""Every activation, and every primitive of the table, means to onnxruntime what it means to JAX."""

import functools
import math

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from flint import arb
from jax import lax

from sobolev_pruning.exchange import OnnxExportError, _activation, _onnx, export_onnx
from sobolev_pruning.exchange._operators import rules
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate
from sobolev_pruning.surrogate._activations import STORED
from sobolev_pruning.surrogate._mlp import Dense

PRECISIONS = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
_MAGNITUDES = 10.0 ** np.linspace(-8, 2, 301)
WIDE = np.concatenate([-_MAGNITUDES[::-1], [0.0], _MAGNITUDES])
POSITIVE = _MAGNITUDES
EXTREME = np.array([5e2, 7.1e2, 1e3, 1e5, 1e15, 1e25, 3e38])


def alone(activation, dtype):
    """A surrogate that is its activation: all weights and units are one and zero."""
    one, zero = jnp.ones(1, dtype), jnp.zeros(1, dtype)
    layer = Dense(one[:, None], zero)
    return Surrogate(MLP((layer, layer), activation), Normalisation(zero, one, zero, one), ())


def computed(activation, dtype, x):
    """Value and slope by onnxruntime and by JAX, without the export's own check, which is tested elsewhere."""
    x = x.astype(dtype)
    graph = _onnx._model(alone(activation, dtype), _activation.translate(activation, np.dtype(dtype)), "")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = [np.ravel(output) for output in session.run(["value", "gradient"], {"x": x[:, None]})]
    wanted = jax.jit(jax.vmap(jax.value_and_grad(lambda v: activation(v))))(x)
    return found, [np.asarray(part) for part in wanted]


def assert_close(found, wanted, tolerance):
    """Relative to the larger of the result and one; infinities and NaN of JAX are not compared."""
    found, wanted = found[np.isfinite(wanted)], wanted[np.isfinite(wanted)]
    assert np.all(np.isfinite(found))
    assert np.max(np.abs(found - wanted) / np.maximum(1, np.abs(wanted))) <= tolerance


@PRECISIONS
@pytest.mark.parametrize("name", STORED)
def test_every_named_activation_on_wide_inputs(name, dtype):
    x = np.concatenate([WIDE, -EXTREME, EXTREME])
    for found, wanted in zip(*computed(STORED[name], dtype, x), strict=True):
        # 42 and 160 epsilons at most, of the slope of GELU, where it cancels.
        assert_close(found[: len(WIDE)], wanted[: len(WIDE)], 1e-5 if dtype == np.float32 else 1e-13)
        # Overflow inside of a branch, or of an exponential, never spoils what JAX finds finite.
        assert np.all(np.isfinite(found[np.isfinite(wanted)]))


# Every primitive of the table: a function that uses it, and where.
PRIMITIVES = {
    "add": (lambda x: lax.add(x, x * x), WIDE),
    "sub": (lambda x: lax.sub(x, x * x), WIDE),
    "mul": (lambda x: lax.mul(x, x), WIDE),
    "div": (lambda x: lax.div(x, 1 + x * x), WIDE),
    "neg": (lambda x: lax.neg(x), WIDE),
    "max and min": (lambda x: lax.max(x, x * x) - lax.min(x, x * x), WIDE),
    "abs": (lambda x: lax.abs(x), WIDE),
    "sign": (lambda x: lax.sign(x) * x, WIDE),
    "floor": (lambda x: lax.floor(x) + x, WIDE),
    "ceil": (lambda x: lax.ceil(x) + x, WIDE),
    "round": (lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN) + x, WIDE),
    "straight through": (lambda x: x + lax.stop_gradient(jnp.round(x) - x), WIDE),
    "clamp": (lambda x: lax.clamp(jnp.asarray(-1, x.dtype), x, jnp.asarray(2, x.dtype)), WIDE),
    "exp": (lambda x: lax.exp(x), WIDE),
    "exp2": (lambda x: lax.exp2(x), WIDE),
    "expm1": (lambda x: lax.expm1(x), WIDE[WIDE < 80]),
    "log": (lambda x: lax.log(x), POSITIVE),
    "log1p": (lambda x: lax.log1p(x), WIDE[WIDE > -1]),
    "sqrt": (lambda x: lax.sqrt(x), POSITIVE),
    "rsqrt": (lambda x: lax.rsqrt(x), POSITIVE),
    "square": (lambda x: lax.square(x), WIDE),
    "integer_pow": (lambda x: lax.integer_pow(x, 7) + lax.integer_pow(2 + x, -3), POSITIVE),
    "pow": (lambda x: lax.pow(x, jnp.asarray(1.5, x.dtype)) + lax.pow(x, 3), POSITIVE),
    "power": (lambda x: x**x, POSITIVE[POSITIVE < 10]),
    "tanh": (lambda x: lax.tanh(x), WIDE),
    "logistic": (lambda x: lax.logistic(x), WIDE),
    "erf": (lambda x: lax.erf(x), WIDE),
    "erfc": (lambda x: lax.erfc(x), WIDE),
    "exact GELU": (lambda x: jax.nn.gelu(x, approximate=False), WIDE),
    "sin": (lambda x: lax.sin(x), WIDE),
    "cos": (lambda x: lax.cos(x), WIDE),
    "tan": (lambda x: lax.tan(x), WIDE[np.abs(WIDE) < 1.4]),
    "atan": (lambda x: lax.atan(x), WIDE),
    "sinh": (lambda x: lax.sinh(x), WIDE[np.abs(WIDE) < 80]),
    "cosh": (lambda x: lax.cosh(x), WIDE[np.abs(WIDE) < 80]),
    "asinh": (lambda x: lax.asinh(x), WIDE),
    "comparisons": (
        lambda x: jnp.where((x > 1) & (x <= 2) | (x < -1) & (x >= -2) | (x == 0) | ~(x != 0.5), x, x * x),
        np.linspace(-3, 3, 25),
    ),
    "xor": (lambda x: jnp.where((x > 1) ^ (x > 0), x, x * x), np.linspace(-3, 3, 25)),
    "is_finite": (lambda x: jnp.where(jnp.isfinite(1 / x), x, x * x), np.linspace(-3, 3, 25)),
    "conversions": (lambda x: (x > 0).astype(x.dtype) * x + x.astype(bool).astype(x.dtype), WIDE),
    "shapes": (lambda x: jnp.squeeze(x[..., None] ** 2, -1) + x.reshape((*x.shape, 1)).reshape(x.shape), WIDE),
    "transpose": (lambda x: x * jnp.squeeze(jnp.matrix_transpose(x[..., None, None]), (-1, -2)), WIDE),
    "copy": (lambda x: jnp.copy(x) * x, WIDE),
}
# onnxruntime has no float64 kernels of these.
FLOAT32_ONLY = {
    "asin": (lambda x: lax.asin(x / (1 + jnp.abs(x))), WIDE[np.abs(WIDE) < 10]),
    "acos": (lambda x: lax.acos(x / (1 + jnp.abs(x))), WIDE[np.abs(WIDE) < 10]),
    "acosh": (lambda x: lax.acosh(2 + x * x), WIDE[np.abs(WIDE) > 1e-2]),
    "atanh": (lambda x: lax.atanh(x / (2 + jnp.abs(x))), WIDE),
}


# Formulas of our own: the truth, and the error in epsilons relative to the result, or to one for the last three.
FORMULAS = {
    "log1p": (lambda t: t.log1p(), 3),
    "expm1": (lambda t: t.expm1(), 6),
    "exp2": (lambda t: arb(2) ** t, 2),
    "sinh": (lambda t: t.sinh(), 100),  # of the exponent's rounding, as in JAX
    "cosh": (lambda t: t.cosh(), 100),
    "asinh": (lambda t: t.asinh(), 4),
    "atan": (lambda t: t.atan(), 5),
    "tan": (lambda t: t.tan(), 20),
    "erf": (lambda t: t.erf(), 4),
    "erfc": (lambda t: t.erfc(), 4),
    "logistic": (lambda t: 1 / (1 + (-t).exp()), 2),
}


@pytest.fixture
def digits():
    before, flint.ctx.prec = flint.ctx.prec, 200
    yield
    flint.ctx.prec = before


@PRECISIONS
@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.usefixtures("digits")
def test_every_primitive(name, dtype):
    function, x = PRIMITIVES[name]
    (value, slope), wanted = computed(function, dtype, x)
    for found, expected in zip((value, slope), wanted, strict=True):
        assert_close(found, expected, 1e-5 if dtype == np.float32 else 1e-13)
    truth, epsilons = FORMULAS.get(name, (None, 0))
    if truth is None:
        return
    for argument, found in zip(x.astype(dtype), value, strict=True):
        exact = truth(arb(float(argument)))
        size = 1.0 if name in ("erf", "erfc", "logistic") else abs(float(exact))
        assert float(abs(arb(float(found)) - exact)) <= epsilons * np.finfo(dtype).eps * size


@pytest.mark.parametrize("name", FLOAT32_ONLY)
def test_every_primitive_without_a_float64_kernel(tmp_path, name):
    function, x = FLOAT32_ONLY[name]
    for found, wanted in zip(*computed(function, np.float32, x), strict=True):
        assert_close(found, wanted, 1e-5)
    with pytest.raises(OnnxExportError, match="cannot be exported in float64: onnxruntime lacks a kernel"):
        export_onnx(alone(function, np.float64), tmp_path / "a.onnx")


def test_no_rule_is_left_untested(monkeypatch):
    used = set()

    class Recorder(dict):
        def __getitem__(self, primitive):
            used.add(primitive)
            return super().__getitem__(primitive)

    monkeypatch.setattr(_activation, "rules", Recorder(rules))
    for function, _ in (PRIMITIVES | FLOAT32_ONLY).values():
        _activation.translate(function, np.dtype(np.float64))
    assert used == set(rules)


@jax.custom_vjp
def own_vjp(x):
    return jnp.tanh(x)


own_vjp.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (g * jnp.exp(-x * x),))


@jax.custom_jvp
def own_jvp(x):
    return jnp.tanh(x)


own_jvp.defjvp(lambda primals, tangents: (own_jvp(*primals), tangents[0] * jnp.exp(-(primals[0] ** 2))))


class Parametric(eqx.Module):
    slope: float

    def __call__(self, x):
        return jnp.where(x > 0, x, jnp.asarray([self.slope], x.dtype)[0] * x)


@PRECISIONS
@pytest.mark.parametrize(
    "activation",
    [
        own_vjp,
        own_jvp,
        jax.checkpoint(lambda x: jnp.sin(jnp.exp(-x * x))),
        functools.partial(jax.nn.leaky_relu, negative_slope=0.3),
        Parametric(0.25),
        lambda x: x * jnp.sort(jnp.asarray([3.0, 2.0], x.dtype))[0],
        lambda x: jnp.where(jnp.asarray(True), x * x, jnp.exp(x)),
    ],
    ids=["custom_vjp", "custom_jvp", "checkpoint", "partial", "module", "folded", "decided"],
)
def test_programs_inside_are_read_through(activation, dtype):
    for found, wanted in zip(*computed(activation, dtype, np.linspace(-4, 4, 33)), strict=True):
        assert_close(found, wanted, 1e-6 if dtype == np.float32 else 1e-14)


def stacked(x):
    return jnp.sum(jnp.full(3, x))


def halved(x):
    return (x.astype(jnp.bfloat16) * 2).astype(x.dtype)


def truncated(x):
    return x * x.astype(jnp.int32).astype(x.dtype)


def away(x):
    return x + lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)


def ordered(x):
    return jnp.where(jnp.maximum(x > 0, x > 1), x, 0)


def chosen(x):
    return jnp.where(lax.select(x > 0, x > 1, x < -1), x, 0)


@pytest.mark.parametrize(
    ("activation", "primitive"),
    [
        (jnp.cbrt, "cbrt"),
        (lambda x: x + lax.stop_gradient(lax.nextafter(lax.stop_gradient(x), jnp.full_like(x, math.inf))), "nextafter"),
        (lambda x: x * lax.lgamma(x), "lgamma"),
        (lambda x: lax.fori_loop(0, 3, lambda _, v: v * v, x), "scan"),
        (stacked, "broadcast_in_dim"),
        (halved, "convert_element_type"),
        (truncated, "convert_element_type"),
        (away, "round"),
        (ordered, "max"),
        (chosen, "select_n"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_has_no_rule_is_refused_by_name(tmp_path, activation, primitive):
    with pytest.raises(OnnxExportError, match=rf"the activation `.*` cannot be exported: its primitive `{primitive}`"):
        export_onnx(alone(activation, np.float64), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_nodes_are_shared_and_none_is_idle():
    """SiLU and its slope: σ, 1 − σ, σ (1 − σ), x σ, x σ (1 − σ), and one sum."""
    nodes = _activation.translate(jax.nn.silu, np.dtype(np.float32)).nodes
    assert sorted(node.operator for node in nodes) == ["Add", "Mul", "Mul", "Mul", "Sigmoid", "Sub"]
