"""An exported graph computes what the surrogate does, at any batch size, or nothing is written."""

import collections
import functools
import json
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from sobolev_pruning import exchange
from sobolev_pruning.exchange import OnnxExportError, export_onnx
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate

ACTIVATIONS = {
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "relu": jax.nn.relu,
    "identity": jax.nn.identity,
    "own": lambda x: x * jnp.exp(-(x**2)),
    "twice": lambda x: x + x,
}


def soft_arcsin(x):
    """onnxruntime has no kernel of its arc sine in float64."""
    return jnp.arcsin(x / (1 + jnp.abs(x)))


def surrogate(widths=(3, 4, 5, 1), activation=jax.nn.silu, provenance=()):
    """Biases, and units far from zero and one: whatever is forgotten in the graph is seen."""
    network = MLP.create(widths, activation=activation, key=jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), len(widths)))
    network = eqx.tree_at(
        lambda n: [layer.bias for layer in n.layers],
        network,
        replace_fn=lambda b: jax.random.normal(next(keys), b.shape, b.dtype),
    )
    d, m = widths[0], widths[-1]
    units = (np.linspace(5.0, 9.0, d), np.linspace(0.5, 3.0, d), np.linspace(-40.0, 7.0, m), np.linspace(0.3, 20.0, m))
    return Surrogate(network, Normalisation(*(jnp.asarray(part, dtype=float) for part in units)), provenance)


def inputs(model, n):
    units = model.normalisation
    z = np.random.default_rng(n).normal(size=(n, units.x_mean.shape[0]))
    return (np.asarray(units.x_mean) + np.asarray(units.x_scale) * z).astype(units.x_mean.dtype)


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


@eqx.filter_jit
def values_and_jacobians(model, x):
    """By forward mode, which the graph does not use."""
    return jax.vmap(model)(x), jax.vmap(jax.jacfwd(model))(x)


def assert_agrees(model, path, rtol):
    """At batch sizes of 1, 3 and 256, relative to the largest value or derivative."""
    run = session(path).run
    x = inputs(model, 256)
    expected = [np.asarray(part) for part in values_and_jacobians(model, jnp.asarray(x))]
    for n in (1, 3, 256):
        outputs = run(["value", "gradient"], {"x": x[:n]})
        for found, wanted in zip(outputs, (part[:n] for part in expected), strict=True):
            assert found.shape == wanted.shape
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * np.max(np.abs(wanted)))


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_both_precisions(tmp_path, name, x64):
    with jax.enable_x64(x64):
        model = surrogate(activation=ACTIVATIONS[name])
        result = export_onnx(model, tmp_path / "a.onnx")
        assert result.relative_deviation <= (1e-12 if x64 else 2e-5)
        if x64:  # the check of the export is checked itself, where it is sharpest
            assert_agrees(model, tmp_path / "a.onnx", 1e-12)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("widths", [(2, 3), (1, 3, 1), (7, 8, 8, 8, 8, 8, 8, 1), (3, 5, 4, 3)], ids=str)
def test_every_shape(tmp_path, widths, x64):
    with jax.enable_x64(x64):
        model = surrogate(widths)
        export_onnx(model, tmp_path / "a.onnx")
        assert_agrees(model, tmp_path / "a.onnx", 1e-12 if x64 else 2e-5)


def test_a_constant_slope_and_several_outputs(tmp_path):
    model = surrogate((3, 5, 4, 3), jax.nn.identity)
    export_onnx(model, tmp_path / "a.onnx")
    assert_agrees(model, tmp_path / "a.onnx", 1e-12)


def test_what_onnxruntime_lacks_is_refused_by_name(tmp_path):
    with jax.enable_x64(False):
        model = surrogate(activation=soft_arcsin)
        export_onnx(model, tmp_path / "a.onnx")
        assert_agrees(model, tmp_path / "a.onnx", 2e-5)
    os.unlink(tmp_path / "a.onnx")
    with pytest.raises(OnnxExportError) as caught:
        export_onnx(surrogate(activation=soft_arcsin), tmp_path / "a.onnx")
    assert "the activation `soft_arcsin` cannot be exported in float64" in str(caught.value)
    assert os.listdir(tmp_path) == []


def sorting(x):
    return jnp.sort(jnp.stack([x, -x]))[0]


def constant(x):
    return jnp.ones_like(x)


@pytest.mark.parametrize("activation", [sorting, constant])
def test_what_cannot_be_translated_is_refused_by_name(tmp_path, activation):
    with pytest.raises(OnnxExportError, match=f"the activation `{activation.__name__}` cannot be exported"):
        export_onnx(surrogate(activation=activation), tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_the_graph_describes_itself(tmp_path):
    model = surrogate((3, 4, 2), provenance=(("seed", "7"),))
    result = export_onnx(model, tmp_path / "a.onnx")
    stored = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(stored, full_check=True)

    def described(values):
        return {
            value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in values
        }

    assert described(stored.graph.input) == {"x": ["batch", 3]}
    assert described(stored.graph.output) == {"value": ["batch", 2], "gradient": ["batch", 2, 3]}
    assert all(value.doc_string for value in [*stored.graph.input, *stored.graph.output])
    assert "3-4-2" in stored.doc_string
    facts = {entry.key: entry.value for entry in stored.metadata_props}
    assert json.loads(facts["widths"]) == [3, 4, 2]
    assert json.loads(facts["provenance"]) == {"seed": "7"}
    assert (facts["activation"], facts["dtype"]) == ("silu", "float64")
    assert stored.producer_version == facts["version"]
    assert result.n_nodes == len(stored.graph.node)
    assert result.n_bytes == (tmp_path / "a.onnx").stat().st_size
    assert result.opset == stored.opset_import[0].version
    assert result.n_checked == 256


def test_the_graph_is_lean(tmp_path):
    """Per hidden layer: Gemm, six nodes of SiLU and slope, Mul and MatMul; nothing that handles shapes."""
    export_onnx(surrogate((7, *[8] * 6, 1)), tmp_path / "a.onnx")
    graph = onnx.load(tmp_path / "a.onnx").graph
    operators = collections.Counter(node.op_type for node in graph.node)
    assert len(graph.node) == 6 * 9 + 7
    assert operators["Gemm"] == 7
    assert operators["MatMul"] == 6
    assert operators["Sigmoid"] == 6
    assert not operators.keys() & {"Shape", "Gather", "Reshape", "Expand", "Transpose", "Loop", "Scan"}
    # Every weight is stored once.
    assert sum(np.prod(tensor.dims, dtype=int) == 64 for tensor in graph.initializer) == 5


def test_own_inputs_are_used_for_the_check(tmp_path):
    model = surrogate()
    result = export_onnx(model, tmp_path / "a.onnx", check_inputs=inputs(model, 5))
    assert result.n_checked == 5
    assert 0 <= result.value_deviation < 1e-12
    assert 0 <= result.gradient_deviation < 1e-12


def test_a_deviation_leaves_nothing_on_disk(tmp_path):
    with pytest.raises(OnnxExportError, match="onnxruntime deviates from JAX"):
        export_onnx(surrogate(), tmp_path / "a.onnx", tolerance=1e-30)
    assert os.listdir(tmp_path) == []
    (tmp_path / "a.onnx").write_text("old")
    with pytest.raises(OnnxExportError, match="Nothing was written"):
        export_onnx(surrogate(), tmp_path / "a.onnx", tolerance=1e-30)
    assert (tmp_path / "a.onnx").read_text() == "old"


def test_a_wrong_graph_is_caught(tmp_path, monkeypatch):
    """A graph of another surrogate: only its first bias differs."""
    model = surrogate()
    other = eqx.tree_at(lambda s: s.network.layers[0].bias, model, replace_fn=lambda b: b + 1e-6)
    build = exchange._onnx._model
    monkeypatch.setattr(exchange._onnx, "_model", lambda _, *rest: build(other, *rest))
    with pytest.raises(OnnxExportError, match="onnxruntime deviates from JAX"):
        export_onnx(model, tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_text("old")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        export_onnx(surrogate(), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.onnx"]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"check_inputs": np.zeros((4, 2))}, "check_inputs"),
        ({"check_inputs": np.zeros(3)}, "check_inputs"),
        ({"check_inputs": np.zeros((0, 3))}, "check_inputs"),
        ({"check_inputs": np.full((2, 3), np.nan)}, "check_inputs"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        export_onnx(surrogate(), tmp_path / "a.onnx", **options)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export_onnx(surrogate(), tmp_path / "nowhere" / "a.onnx")


def test_a_surrogate_that_is_not_finite_is_told(tmp_path):
    model = eqx.tree_at(lambda s: s.network.layers[0].bias, surrogate(), replace_fn=lambda b: b + jnp.nan)
    with pytest.raises(OnnxExportError, match="not finite"):
        export_onnx(model, tmp_path / "a.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_one_clear_error(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'sobolev-pruning\[onnx\]'"):
        export_onnx(surrogate(), tmp_path / "a.onnx")


def test_export_is_silent_and_leaves_the_session_as_it_was(tmp_path):
    """In a process of its own: the first export is the noisy one, and x64 is off there."""
    program = """
import sys
import jax, jax.numpy as jnp
from sobolev_pruning.exchange import export_onnx
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate
assert not {"onnx", "onnxruntime"} & sys.modules.keys(), "imported before it is needed"
functions = {"silu": jax.nn.silu, "tanh": jnp.tanh}
config = dict(jax.config.values)
model = Surrogate(MLP.create([3, 4, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
export_onnx(model, sys.argv[1])
assert dict(jax.config.values) == config, "configuration changed"
assert jnp.ones(1).dtype == jnp.float32
assert jax.nn.silu is functions["silu"]
assert jnp.tanh is functions["tanh"]
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "a.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert os.listdir(tmp_path) == ["a.onnx"]
