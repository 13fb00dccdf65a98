"""Interval rules, one file per law; importing this package fills the registry."""

from . import (
    bilinear,
    control,
    linear,
    monotone,
    periodic,
    piecewise,
    power,
    reduction,
    structural,
)

__all__ = [
    "bilinear",
    "control",
    "linear",
    "monotone",
    "periodic",
    "piecewise",
    "power",
    "reduction",
    "structural",
]
