"""Interval rules, one file per law. Importing this package fills the registry, which it then hands on as `rules`."""

from .._registry import rules
from . import (
    accurate,
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
    "accurate",
    "bilinear",
    "control",
    "linear",
    "monotone",
    "periodic",
    "piecewise",
    "power",
    "reduction",
    "rules",
    "structural",
]
