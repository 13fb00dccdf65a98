"""What all ways of training ask of their arguments."""

import math
from typing import Any

from ..reference import AbstractReferenceModel, DataSet, Samples
from ..surrogate import Surrogate


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
