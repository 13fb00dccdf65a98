"""Another object where a surrogate is wanted: what to say, and how it becomes one."""

import os
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._activations import known_name
from ._mlp import MLP

_OTHER_LIBRARIES = ("torch", "keras", "tensorflow", "flax", "haiku", "sklearn", "onnx", "onnxruntime", "jax2onnx")


def check_surrogate(surrogate: Any, name: str = "surrogate") -> None:
    """Refuse what is not a `Surrogate`, and say how it becomes one.

    Args:
        surrogate: what was passed.
        name: of the argument.

    Raises:
        TypeError: it is something else.
    """
    from ._surrogate import Surrogate  # which checks its network here

    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"`{name}` is {_kind(surrogate)}, and a `Surrogate` is wanted: {_remedy(surrogate)}.")


def check_network(network: Any, name: str = "network") -> None:
    """Refuse what is not an `MLP`, and say how it becomes one.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(network, MLP):
        raise TypeError(f"`{name}` is {_kind(network)}, and an `MLP` is wanted: {_remedy(network, mlp=True)}.")


def check_finite(surrogate: Any, name: str = "surrogate") -> None:
    """Refuse a surrogate with a number that is not finite.

    Raises:
        ValueError: a weight, bias or unit is NaN or infinite.
    """
    parts = {f"layers.{i}": layer for i, layer in enumerate(surrogate.network.layers)} | {
        "normalisation": surrogate.normalisation
    }
    for part, arrays in parts.items():
        for array in map(np.asarray, jax.tree.leaves(arrays)):
            if not np.isfinite(array).all():
                raise ValueError(
                    f"`{name}` holds {array[~np.isfinite(array)][0]} in `{part}`; its numbers must be finite. Has its "
                    "training diverged?"
                )


def is_defined_everywhere(surrogate: Any) -> bool:
    """Whether a surrogate, its gradient and its Hessian are known to have a value for every input.

    So it is with every known activation, by their definitions, where all numbers are finite and no scale is zero.
    """
    units = surrogate.normalisation
    arrays = map(np.asarray, jax.tree.leaves((surrogate.network, units)))
    return (
        known_name(surrogate.network.activation) is not None
        and all(np.isfinite(array).all() for array in arrays)
        and bool(np.all(np.asarray(units.x_scale) != 0))
    )


def _kind(x: Any) -> str:
    library, name = type(x).__module__.partition(".")[0], type(x).__qualname__
    return "None" if x is None else name if library in ("builtins", "sobolev_pruning") else f"{name} of {library}"


def _remedy(x: Any, *, mlp: bool = False) -> str:
    library = type(x).__module__.partition(".")[0]
    if isinstance(x, MLP):
        return "`Surrogate.of(network)` takes units of one, `Surrogate(network, normalisation)` those of the samples"
    if isinstance(x, eqx.nn.MLP):
        return "`MLP.from_equinox(network)` converts it" if mlp else "`Surrogate.of(network)` converts it"
    if isinstance(x, str | os.PathLike):
        return "`load(path)` reads one from a file"
    if isinstance(x, type):
        return "give an instance, not the class"
    if library == "sobolev_pruning":
        return "give its `.network`" if mlp else "give its `.surrogate`, or what `load` returns"
    if isinstance(x, eqx.Module) or library in _OTHER_LIBRARIES:
        build = "`MLP((Dense(weight, bias), …), activation)` takes the weights of a dense network"
        return build if mlp else f"{build}, and `Surrogate.of` that"
    if callable(x):
        return "train one on samples of it, such as those of `FunctionReference`"
    return "`MLP.create` makes one" if mlp else "give what `load` returns, or the `.surrogate` of a fit"
