"""Surrogates as ONNX graphs that return the value and the gradient.

The graph is the network's own arithmetic, for a batch of any size: with `h` the nodes of a layer and `s` the slopes of
its activation,

    forward:  h₀ = (x − x_mean) / x_scale,  hₗ = φ(hₗ₋₁ Wₗᵀ + bₗ),  value = y_mean + y_scale · (h W_outᵀ + b_out)
    reverse:  a = y_scale · W_out,  a ← (a · sₗ) Wₗ from the last hidden layer to the first,  gradient = a / x_scale

Units are part of it: raw inputs in, physical values and derivatives out. Each layer is one Gemm, the nodes of its
activation and slope, one Mul and one matrix product; all of them have float32 and float64 kernels in onnxruntime.
"""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._files import write_whole
from .._programs import limit_programs
from .._version import __version__
from ..surrogate import Surrogate, check_surrogate
from ._activation import Fragment, activation_name, translate
from ._operators import UntranslatableError

# Of 2022: runtimes have had time to learn it, and no operator used here needs a newer one.
OPSET = 17
# The IR version that belongs to the opset (ONNX versioning table); newer ones would shut out older runtimes.
_IR_VERSION = 8
_TOLERANCES = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-11}


class OnnxExportError(RuntimeError):
    """The surrogate cannot be written as ONNX, or the graph does not compute what the surrogate does.

    Nothing was written.
    """


@final
class OnnxExport(eqx.Module):
    """What was written, and how well it agrees with the surrogate.

    Attributes:
        path: of the file.
        opset: version of the ONNX operators.
        n_nodes: nodes of the graph.
        n_bytes: size of the file.
        n_checked: inputs on which onnxruntime was compared with JAX.
        value_deviation: largest absolute difference of a value, in physical units.
        gradient_deviation: largest absolute difference of a derivative, in physical units.
        relative_deviation: the larger of both, each relative to the size of its output; not above the tolerance.
    """

    path: Path
    opset: int
    n_nodes: int
    n_bytes: int
    n_checked: int
    value_deviation: float
    gradient_deviation: float
    relative_deviation: float


def export_onnx(
    surrogate: Surrogate,
    path: str | os.PathLike,
    *,
    check_inputs: Float[Array, "n d"] | Float[np.ndarray, "n d"] | None = None,
    tolerance: float | None = None,
) -> OnnxExport:
    """Write a surrogate as an ONNX graph that takes raw inputs and returns values and gradients.

    The graph has one input, `x (batch, d)`, and two outputs, `value (batch, m)` and `gradient (batch, m, d)`, all in
    the surrogate's precision and in physical units; the size of the batch is chosen at every call. Before anything is
    written, the graph passes the ONNX checker, and onnxruntime is compared with JAX on batches of several sizes.

    Args:
        surrogate: what to export, in float32 or float64.
        path: of the file; its folder must exist. A file that is already there is replaced in one step.
        check_inputs: where to compare, `(n, d)`, in physical units; if not given, 256 points that fill the box of
            three deviations around the mean.
        tolerance: largest difference that is accepted, relative to the size of the output: the largest magnitude over
            the checked inputs, or the deviation that the surrogate was normalised with, if that is larger. 1e-4 in
            float32 and 1e-11 in float64 if not given.

    Returns:
        The deviations found, and the size of what was written.

    Raises:
        TypeError: `surrogate` is no `Surrogate`; the message says how to make one.
        ValueError: `check_inputs` or `tolerance` is unusable.
        FileNotFoundError: there is no such folder.
        OnnxExportError: an activation that ONNX or onnxruntime lacks, or a deviation above the tolerance.
        ImportError: the extra `onnx` is not installed.
    """
    check_surrogate(surrogate)
    _require_extra()
    limit_programs()
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist.")
    dtype = np.dtype(surrogate.network.layers[0].weight.dtype)
    if dtype not in _TOLERANCES:
        raise OnnxExportError(f"the surrogate is in {dtype}; float32 and float64 can be exported.")
    tolerance = _TOLERANCES[dtype] if tolerance is None else tolerance
    if not tolerance > 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be positive.")
    x = _default_inputs(surrogate) if check_inputs is None else np.asarray(check_inputs, dtype)
    d = surrogate.network.widths[0]
    if x.ndim != 2 or x.shape[1] != d or len(x) == 0 or not np.all(np.isfinite(x)):
        raise ValueError(
            f"`check_inputs` of shape {x.shape} is unusable; give finite inputs of shape (n, {d}), at least one."
        )

    name = activation_name(surrogate.network.activation)
    try:
        activation = translate(surrogate.network.activation, dtype)
        model = _model(surrogate, activation, name)
    except UntranslatableError as error:
        raise OnnxExportError(f"the activation `{name}` cannot be exported: {error}.") from error
    data = model.SerializeToString()
    deviations = _verified(surrogate, model, name, data, x, tolerance)
    write_whole(path, data)
    return OnnxExport(path, OPSET, len(model.graph.node), len(data), len(x), *deviations)


def _require_extra() -> None:
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the ONNX export needs {' and '.join(missing)}, not installed here: pip install 'sobolev-pruning[onnx]'",
            name=missing[0],
        )


def _default_inputs(surrogate: Surrogate, n: int = 256) -> np.ndarray:
    """`n` points that fill `mean ± 3 deviations`: an additive recurrence, the R-sequence of M. Roberts (2018)."""
    units = surrogate.normalisation
    d = units.x_mean.shape[0]
    root = 2.0
    for _ in range(64):  # the positive root of r**(d + 1) = r + 1, by fixed-point iteration
        root = (1.0 + root) ** (1.0 / (d + 1))
    u = (0.5 + np.arange(1, n + 1)[:, None] * root ** -np.arange(1.0, d + 1)) % 1.0
    mean, scale = np.asarray(units.x_mean), np.asarray(units.x_scale)
    return (mean + scale * (6.0 * u - 3.0)).astype(mean.dtype)


class _Graph:
    """Nodes and constants in the order in which they are needed."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}:{operator}", **attributes))
        return output

    def insert(self, fragment: Fragment, argument: str, prefix: str) -> tuple[str, str | np.ndarray]:
        """The fragment applied to `argument`: the names of value and slope, or the slope itself if it is constant."""
        names = {fragment.argument: argument}
        for name, value in fragment.constants.items():
            # Shared by all layers.
            names[name] = self.constant(f"activation/{name}", value)
        for operator, inputs, output in fragment.nodes:
            names[output] = self.node(operator, [names[name] for name in inputs], f"{prefix}/{output}")
        return names[fragment.value], fragment.constants.get(fragment.slope, names[fragment.slope])


def _model(surrogate: Surrogate, activation: Fragment, activation_name: str) -> Any:
    """The ONNX model of a surrogate, from the activation's translation."""
    from onnx import helper, numpy_helper

    network, units = surrogate.network, surrogate.normalisation
    widths = network.widths
    d, m = widths[0], widths[-1]
    graph = _Graph()

    centred = graph.node("Sub", ["x", graph.constant("x_mean", units.x_mean)], "centred")
    nodes = graph.node("Div", [centred, graph.constant("x_scale", units.x_scale)], "normalised")
    slopes = []
    for i, layer in enumerate(network.layers):
        weight = graph.constant(f"weight_{i}", layer.weight)
        bias = graph.constant(f"bias_{i}", layer.bias)
        nodes = graph.node("Gemm", [nodes, weight, bias], f"affine_{i}", transB=1)
        if i < len(network.layers) - 1:
            nodes, slope = graph.insert(activation, nodes, f"layer_{i}")
            slopes.append(slope)
    scaled = graph.node("Mul", [nodes, graph.constant("y_scale", units.y_scale)], "scaled")
    graph.node("Add", [scaled, graph.constant("y_mean", units.y_mean)], "value")

    # The adjoint of the layers, (m, n) while it is the same for all samples and a node of the graph after.
    adjoint: str | np.ndarray = np.asarray(units.y_scale)[:, None] * np.asarray(network.layers[-1].weight)
    axis = graph.constant("output_axis", np.array([1], np.int64))
    for i, slope in reversed(list(enumerate(slopes))):
        weight = np.asarray(network.layers[i].weight)
        if isinstance(slope, np.ndarray) and isinstance(adjoint, np.ndarray):
            adjoint = (adjoint * slope) @ weight
            continue
        if isinstance(slope, np.ndarray):
            slope = graph.constant("slope", slope)
        elif m > 1:
            slope = graph.node("Unsqueeze", [slope, axis], f"slope_{i}")
        if isinstance(adjoint, np.ndarray):
            adjoint = graph.constant("adjoint", adjoint)
        adjoint = graph.node("Mul", [adjoint, slope], f"adjoint_{i}")
        adjoint = graph.node("MatMul", [adjoint, f"weight_{i}"], f"adjoint_{i}_in")
    if isinstance(adjoint, np.ndarray):
        # An affine surrogate: one Jacobian, repeated for every sample.
        jacobian = graph.constant("jacobian", adjoint[None] / np.asarray(units.x_scale))
        batch = graph.node("Shape", ["x"], "batch_size", end=1)
        sizes = graph.node("Concat", [batch, graph.constant("sizes", np.array([m, d], np.int64))], "shape", axis=0)
        graph.node("Expand", [jacobian, sizes], "gradient")
    elif m == 1:
        scaled = graph.node("Div", [adjoint, "x_scale"], "scaled_gradient")
        graph.node("Unsqueeze", [scaled, axis], "gradient")
    else:
        graph.node("Div", [adjoint, "x_scale"], "gradient")

    element = helper.np_dtype_to_tensor_dtype(np.dtype(network.layers[0].weight.dtype))
    used = {name for node in graph.nodes for name in node.input}
    described = helper.make_graph(
        graph.nodes,
        "surrogate",
        [helper.make_tensor_value_info("x", element, ["batch", d], "inputs in physical units")],
        [
            helper.make_tensor_value_info("value", element, ["batch", m], "values in physical units"),
            helper.make_tensor_value_info(
                "gradient", element, ["batch", m, d], "derivative of every value by every input, in physical units"
            ),
        ],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items() if name in used],
    )
    model = helper.make_model(
        described,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="sobolev-pruning",
        producer_version=__version__,
        doc_string=(
            f"Surrogate {'-'.join(map(str, widths))} with its gradient. x (batch, {d}), value (batch, {m}) and "
            f"gradient (batch, {m}, {d}) are in physical units; the normalisation is inside."
        ),
    )
    facts = {
        "version": __version__,
        "widths": json.dumps(widths),
        "activation": activation_name,
        "dtype": str(network.layers[0].weight.dtype),
        "provenance": json.dumps(dict(surrogate.provenance)),
    }
    helper.set_model_props(model, facts)
    return model


def _verified(
    surrogate: Surrogate, model: Any, name: str, data: bytes, x: np.ndarray, tolerance: float
) -> tuple[float, float, float]:
    """Largest deviations of value and gradient, absolute, and the larger of both, relative.

    Raises:
        OnnxExportError: the graph is invalid, cannot be run, or deviates by more than the tolerance.
    """
    import onnx
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as MissingKernel

    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; nothing else is news
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except MissingKernel as error:
        raise OnnxExportError(
            f"the activation `{name}` cannot be exported in {x.dtype}: onnxruntime lacks a kernel ({error})."
        ) from error

    expected = [np.asarray(part) for part in _values_and_gradients(surrogate, jnp.asarray(x))]
    if not all(np.all(np.isfinite(part)) for part in expected):
        raise OnnxExportError("the surrogate itself is not finite at some of the checked inputs.")
    absolute = np.zeros(2)
    # One sample, few, and all: a batch size that is frozen in the graph does not pass.
    for rows in (slice(0, 1), slice(0, 3), slice(None)):
        outputs = [np.asarray(output) for output in session.run(None, {"x": x[rows]})]
        for i, (found, wanted) in enumerate(zip(outputs, expected, strict=True)):
            if found.shape != wanted[rows].shape or found.dtype != wanted.dtype:
                raise OnnxExportError(
                    f"the graph returns {found.dtype} {found.shape} where the surrogate returns {wanted.dtype} "
                    f"{wanted[rows].shape}."
                )
            # `maximum` keeps a NaN, `max` would not.
            absolute[i] = np.maximum(absolute[i], np.max(np.abs(found - wanted[rows])))
    y_scale, x_scale = np.max(surrogate.normalisation.y_scale), np.min(surrogate.normalisation.x_scale)
    scales = (y_scale, y_scale / x_scale)
    sizes = [max(float(scale), float(np.max(np.abs(part)))) for scale, part in zip(scales, expected, strict=True)]
    relative = float(np.max(absolute / sizes))
    if not relative <= tolerance:
        raise OnnxExportError(
            f"onnxruntime deviates from JAX by {absolute[0]:.3g} in a value and {absolute[1]:.3g} in a derivative, "
            f"relatively {relative:.3g}; the tolerance is {tolerance:.3g}. Nothing was written. Activation: `{name}`."
        )
    return float(absolute[0]), float(absolute[1]), relative


@eqx.filter_jit
def _values_and_gradients(surrogate: Surrogate, x: Float[Array, "n d"]):
    return jax.vmap(surrogate)(x), jax.vmap(surrogate.gradient)(x)
