"""What all ways of training ask of their arguments."""

import math
import warnings
import weakref
from typing import Any

import jax
from jax.core import Tracer

from ..reference import (
    AbstractReferenceModel,
    ContradictionWarning,
    DataSet,
    MappedDataSet,
    Samples,
    check_derivatives,
)
from ..surrogate import Surrogate
from ._loss import AbstractLoss, ValueLoss

# Of data on disk.
_MOST_ROWS = 20_000


def as_reference(reference: Any) -> AbstractReferenceModel:
    """A reference model as it is, samples as a `DataSet`.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(reference, Samples):
        return DataSet(reference)
    if isinstance(reference, AbstractReferenceModel):
        return reference
    raise TypeError(
        f"`reference` is {type(reference).__name__}; it must be a reference model or samples. Wrap a function as "
        "`FunctionReference(function, inputs)`."
    )


def check_kinds(key: Any, loss: Any, optimizer: Any) -> None:
    """What a training is given is of the right kind, so that no library has to complain of it later.

    Raises:
        TypeError: it is not.
    """
    if not hasattr(key, "dtype"):
        raise TypeError(f"`key` is {type(key).__name__}; it must be a random key, such as `jax.random.key(0)`.")
    if not isinstance(loss, AbstractLoss):
        kind = f"the class {loss.__name__}" if isinstance(loss, type) else type(loss).__name__
        raise TypeError(f"`loss` is {kind}; it must be a loss, such as `SobolevLoss()`.")
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        kind = type(optimizer).__name__
        raise TypeError(f"`optimizer` is {kind}; it must be one of Optax, such as `optax.adam(1e-3)`.")


def check_numbers(**numbers: int) -> None:
    """Each is at least one.

    Raises:
        ValueError: one is not.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` is {number}; it must be at least 1.")


def check_clip_norm(clip_norm: float | None) -> None:
    """A bound of gradients is positive.

    Raises:
        ValueError: it is not.
    """
    if clip_norm is not None and not (clip_norm > 0 and math.isfinite(clip_norm)):
        raise ValueError(f"`clip_norm` is {clip_norm}; it must be finite and positive, or None for no limit.")


def check_dimensions(surrogate: Surrogate, reference: AbstractReferenceModel) -> None:
    """Network and reference have the same inputs and outputs.

    Raises:
        ValueError: they have not.
    """
    widths = surrogate.network.widths
    if (reference.dim_in, reference.dim_out) != (widths[0], widths[-1]):
        raise ValueError(
            f"the reference maps {reference.dim_in} inputs to {reference.dim_out} outputs, the network {widths[0]} to "
            f"{widths[-1]}."
        )


# What was found in arrays that are still there: a search trains on the same ones a hundred times.
_FOUND: dict[int, tuple[weakref.ref[jax.Array], tuple[str, ...]]] = {}


def warn_of_contradictions(reference: Any, loss: AbstractLoss) -> None:
    """Warn of derivatives that contradict the values of samples, if a loss learns from them.

    Warns:
        ContradictionWarning: see `check_derivatives`.
    """
    if isinstance(loss, ValueLoss):
        return
    if isinstance(reference, DataSet):
        reference = reference.samples
    elif isinstance(reference, MappedDataSet):
        reference = reference.rows(0, _MOST_ROWS)
    if not isinstance(reference, Samples) or reference.dydx is None or isinstance(reference.dydx, Tracer):
        return
    key = id(reference.dydx)
    found = _FOUND.get(key)
    if found is None or found[0]() is not reference.dydx:
        messages = check_derivatives(reference).messages
        found = _FOUND[key] = weakref.ref(reference.dydx, lambda _: _FOUND.pop(key, None)), messages
    for message in found[1]:
        warnings.warn(message, ContradictionWarning, stacklevel=3)
