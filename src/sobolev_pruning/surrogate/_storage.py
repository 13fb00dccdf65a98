"""Surrogates on disk: safetensors with the architecture in its metadata. Loading runs no code from the file."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .._version import __version__
from ._mlp import MLP, Dense
from ._normalisation import Normalisation
from ._surrogate import Surrogate

_FORMAT = "sobolev-pruning/1"
_UNITS = ("x_mean", "x_scale", "y_mean", "y_scale")


# A name in a file selects one of these; it never imports or runs anything else.
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    f"{prefix}.{name}": getattr(module, name)
    for prefix, module, names in (
        (
            "jax.nn",
            jax.nn,
            "celu elu gelu hard_sigmoid hard_silu hard_tanh identity leaky_relu log_sigmoid mish relu relu6 selu "
            "sigmoid silu soft_sign softplus sparse_plus sparse_sigmoid squareplus tanh",
        ),
        ("jax.numpy", jnp, "arctan cos exp sin tanh"),
    )
    for name in names.split()
}


def _activation_name(activation: Callable[[Array], Array]) -> str:
    for name, known in _ACTIVATIONS.items():
        if known is activation:
            return name
    return getattr(activation, "__name__", type(activation).__name__)


def save(surrogate: Surrogate, path: str | os.PathLike) -> None:
    """Write a surrogate to one safetensors file, or leave what was there untouched if that fails.

    Weights and normalisation are tensors; the widths, the activation's name, the precision, the library's version and
    the provenance are JSON in the metadata.

    Args:
        surrogate: what to store.
        path: of the file; its folder must exist.
    """
    path = Path(path)
    network, units = surrogate.network, surrogate.normalisation
    tensors = {name: np.asarray(getattr(units, name)) for name in _UNITS}
    for i, layer in enumerate(network.layers):
        tensors[f"layers.{i}.weight"] = np.ascontiguousarray(layer.weight)
        tensors[f"layers.{i}.bias"] = np.asarray(layer.bias)
    config = {
        "widths": network.widths,
        "activation": _activation_name(network.activation),
        "dtype": str(network.layers[0].weight.dtype),
        "provenance": dict(surrogate.provenance),
    }
    metadata = {"format": _FORMAT, "version": __version__, "config": json.dumps(config)}
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            file.write(to_bytes(tensors, metadata))
            file.close()
            os.chmod(file.name, 0o666 & ~_umask())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(path: str | os.PathLike, *, activation: Callable[[Array], Array] | None = None) -> Surrogate:
    """Read a surrogate that `save` wrote.

    Args:
        path: of the file.
        activation: needed where the network's activation is not a public function of `jax.nn` or `jax.numpy`.

    Raises:
        ValueError: the file is not a surrogate, is damaged, or holds float64 while JAX is set to float32.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error}).") from None
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: not a surrogate of this library (its format is {metadata.get('format')!r}, not {_FORMAT!r})."
        )
    try:
        config = json.loads(metadata["config"])
        widths = config["widths"]
        n_layers = len(widths) - 1
        weights = [tensors[f"layers.{i}.weight"] for i in range(n_layers)]
        biases = [tensors[f"layers.{i}.bias"] for i in range(n_layers)]
        units = [tensors[name] for name in _UNITS]
        name = config["activation"]
        provenance = tuple((str(k), str(v)) for k, v in config["provenance"].items())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: the surrogate is incomplete or damaged ({type(error).__name__}: {error}).") from None
    if [w.shape for w in weights] != list(zip(widths[1:], widths[:-1], strict=True)):
        raise ValueError(f"{path}: the weights do not have the widths {widths} that the file states.")
    if weights[0].dtype == np.float64 and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ValueError(
            f"{path}: the surrogate is in float64, and JAX is set to float32. Call "
            '`jax.config.update("jax_enable_x64", True)` before anything else.'
        )
    chosen = _ACTIVATIONS.get(name) if activation is None else activation
    if chosen is None:
        raise ValueError(
            f"{path}: the activation {name!r} is none that a name can stand for; pass the function as `activation=`."
        )
    layers = tuple(Dense(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True))
    return Surrogate(MLP(layers, chosen), Normalisation(*map(jnp.asarray, units)), provenance)
