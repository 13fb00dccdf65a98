"""Surrogates on disk: safetensors with the architecture in its metadata. Loading runs no code from the file."""

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._files import write_whole
from .._reading import brief, check_file, from_json, reading, shown
from .._safetensors import contents_of, file_of
from .._version import __version__
from ._activations import STORED, activation_program, known_name
from ._certificate import Certificate
from ._conversion import check_finite, check_surrogate
from ._mlp import MLP, Dense
from ._normalisation import Normalisation
from ._sparse_weights import MOST_UNPACKED, packed, unpacked
from ._surrogate import Surrogate

_FORMAT = "sobolev-pruning/1"
# Reading takes a millisecond for each, and no deeper network could be compiled.
_MOST_LAYERS = 4096
_UNITS = ("x_mean", "x_scale", "y_mean", "y_scale")


class SurrogateChangedError(OSError):
    """A file holds another surrogate than it is expected to."""


def save(surrogate: Surrogate, path: str | os.PathLike, *, certificate: Certificate | None = None) -> None:
    """Write a surrogate to one safetensors file, or leave what was there untouched if that fails.

    Weights and normalisation are tensors; the widths, the activation's name, the precision, the library's version and
    the provenance are JSON in the metadata. Of weights that are mostly zero only the others are stored, with where they
    are, if that takes fewer bytes; `load` gives the same bits.

    Args:
        surrogate: what to store.
        path: of the file; its folder must exist.
        certificate: what has been proved of this surrogate, stored with it; `load_certificate` reads it back.

    Same surrogate, same bytes.

    Raises:
        TypeError: `surrogate` is no `Surrogate`; the message says how to make one.
        ValueError: a weight is not finite, or the certificate speaks of other weights.
        OSError: the file cannot be written.
    """
    check_surrogate(surrogate)
    check_finite(surrogate)
    path = Path(path)
    network, units = surrogate.network, surrogate.normalisation
    tensors = {name: np.asarray(getattr(units, name)) for name in _UNITS}
    for i, layer in enumerate(network.layers):
        weight = {f"layers.{i}.weight": np.ascontiguousarray(layer.weight)}
        tensors |= weight if network.n_parameters > MOST_UNPACKED else packed(*weight.popitem())
        tensors[f"layers.{i}.bias"] = np.asarray(layer.bias)
    activation = known_name(network.activation)
    config = {
        "widths": network.widths,
        "activation": activation or getattr(network.activation, "__name__", type(network.activation).__name__),
        "dtype": str(network.layers[0].weight.dtype),
        "provenance": dict(surrogate.provenance),
    }
    if activation is None:
        config["activation_program"] = _program_of(network)
    metadata = {"format": _FORMAT, "version": __version__, "config": json.dumps(config)}
    if certificate is not None:
        if not certificate.is_of(surrogate):
            raise ValueError(
                "`certificate` speaks of other weights or names than those of `surrogate`; certify it again."
            )
        metadata["certificate"] = certificate.to_json()
    write_whole(path, file_of(tensors, metadata))


def load(path: str | os.PathLike, *, activation: Callable[[Array], Array] | None = None) -> Surrogate:
    """Read a surrogate that `save` wrote.

    Args:
        path: of the file.
        activation: needed where the network's activation is not a public function of `jax.nn` or `jax.numpy`. It must
            be the function that the surrogate was stored with.

    Raises:
        ValueError: the file is not a surrogate, is damaged, holds units that are zero or numbers that are not finite,
            or is in float64 while JAX is set to float32; or `activation` is another function.

    Warns:
        UserWarning: another version of JAX wrote the file, so that `activation` could not be compared.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    metadata, tensors = _contents(path)
    with reading(path, "the surrogate is incomplete or damaged"):
        config = from_json(metadata["config"])
        widths, name = config["widths"], str(config["activation"])
        if not (isinstance(widths, list) and all(type(width) is int and width > 0 for width in widths)):
            raise ValueError(f"its widths are {shown(widths)}, not a list of positive whole numbers")
        provenance = tuple((str(k), str(v)) for k, v in config["provenance"].items())
        program = {str(k): str(v) for k, v in config.get("activation_program", {}).items()}
    if not 2 <= len(widths) <= min(len(tensors), _MOST_LAYERS):
        raise ValueError(
            f"{path}: the file states {len(widths)} widths, {shown(widths)}, and holds {len(tensors)} tensors; a "
            f"network has two to {_MOST_LAYERS} widths, and tensors for each."
        )
    d, m = widths[0], widths[-1]
    shapes: dict[str, tuple[int, ...]] = dict(zip(_UNITS, [(d,), (d,), (m,), (m,)], strict=True))
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        shapes |= {f"layers.{i}.weight": (n_out, n_in), f"layers.{i}.bias": (n_out,)}
    try:
        tensors = unpacked(tensors, shapes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for tensor in sorted(shapes.keys() | tensors.keys()):
        wanted = shapes.get(tensor, "absent")
        found = tensors[tensor].shape if tensor in tensors else "absent"
        if wanted != found:
            raise ValueError(
                f"{path}: `{brief(tensor, 80)}` is {found}; with the stated widths {shown(widths)} it is {wanted}."
            )
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if dtypes not in ({np.dtype(np.float32)}, {np.dtype(np.float64)}):
        raise ValueError(f"{path}: the tensors are {sorted(map(str, dtypes))}; all must be float32, or all float64.")
    if np.dtype(np.float64) in dtypes and jax.dtypes.canonicalize_dtype(np.float64) != np.float64:
        raise ValueError(
            f"{path}: the surrogate is in float64, and JAX is set to float32. Call "
            '`jax.config.update("jax_enable_x64", True)` before anything else.'
        )
    chosen = STORED.get(name) if activation is None else activation
    if chosen is None:
        raise ValueError(
            f"{path}: the activation {shown(name)} is none that a name can stand for; pass the function as "
            "`activation=`."
        )
    arrays = {tensor: jnp.asarray(array) for tensor, array in tensors.items()}
    layers = [Dense(arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]) for i in range(len(widths) - 1)]
    network = MLP(tuple(layers), chosen)
    if activation is not None:
        _check_activation(path, network, name, program)
    try:
        surrogate = Surrogate(network, Normalisation(*(arrays[unit] for unit in _UNITS)), provenance)
        check_finite(surrogate)
        return surrogate
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_certificate(path: str | os.PathLike, surrogate: Surrogate) -> Certificate | None:
    """Read the certificate that is stored with a surrogate; None if there is none.

    Args:
        path: of the file that `save` wrote.
        surrogate: what `load` made of the same file.

    Raises:
        ValueError: the file is not a surrogate, the certificate is damaged, or it speaks of other weights.
        FileNotFoundError: there is no such file.
    """
    check_surrogate(surrogate)
    path = Path(path)
    metadata, _ = _contents(path)
    if "certificate" not in metadata:
        return None
    try:
        certificate = Certificate.from_json(metadata["certificate"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not certificate.is_of(surrogate):
        raise ValueError(
            f"{path}: the certificate speaks of other weights or names than those of `surrogate`, or another version "
            "of JAX has written down its activation; certify it again."
        )
    return certificate


def store_certificate(
    certificate: Certificate, path: str | os.PathLike, *, activation: Callable[[Array], Array] | None = None
) -> None:
    """Put a certificate into the file of a surrogate, as the file is now; all else in it stays.

    Args:
        certificate: what has been proved of the surrogate in that file.
        path: of the file.
        activation: as in `load`.

    Raises:
        SurrogateChangedError: the file holds another surrogate than the certificate speaks of, such as one that was
            trained again meanwhile. The file is unchanged.
        ValueError: the file is not a surrogate.
        FileNotFoundError: there is no such file.
    """
    surrogate = load(path, activation=activation)
    if not certificate.is_of(surrogate):
        raise SurrogateChangedError(f"{os.fspath(path)}: the file now holds another surrogate than was certified")
    save(surrogate, path, certificate=certificate)


def _program_of(network: MLP) -> dict[str, str]:
    """What an activation without a name computes, as a digest; nothing where that cannot be read."""
    try:
        program = activation_program(network.activation, network.widths[1:-1], network.layers[0].weight.dtype)
    except ValueError:
        return {}
    return {"sha256": hashlib.sha256(program).hexdigest(), "jax": jax.__version__}


def _check_activation(path: Path, network: MLP, name: str, stored: dict[str, str]) -> None:
    """Refuse an activation that is not the one in the file.

    Raises:
        ValueError: it is another function.
    """
    if name in STORED:
        same = network.activation is STORED[name]
    else:
        found = _program_of(network)
        if not stored or not found:  # an earlier version wrote the file, or the function calls back to Python
            return
        if stored.get("jax") != found.get("jax"):
            warnings.warn(
                f"{path}: `activation` could not be compared with the function that the surrogate was stored with, "
                f"since JAX {stored.get('jax')} wrote the file and this is {jax.__version__}.",
                stacklevel=3,
            )
            return
        same = stored == found
    if not same:
        raise ValueError(f"{path}: the surrogate was stored with the activation {shown(name)}; `activation` is another")


def _contents(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    check_file(path, "there is no such file; give the file that `save` wrote")
    metadata, tensors = contents_of(path, len(_UNITS) + 3 * _MOST_LAYERS)
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: not a surrogate of this library (its format is {shown(metadata.get('format'))}, not {_FORMAT!r})."
        )
    return metadata, tensors
