"""Interval rules, one file per law. Importing this package fills the registry, which it then hands on as `rules`."""

from .._registry import rules
from . import (
    bessel,
    bilinear,
    control,
    formats,
    incomplete,
    linear,
    monotone,
    periodic,
    piecewise,
    power,
    quotients,
    reduction,
    special,
    structural,
)

__all__ = [
    "bessel",
    "bilinear",
    "control",
    "formats",
    "incomplete",
    "linear",
    "monotone",
    "periodic",
    "piecewise",
    "power",
    "quotients",
    "reduction",
    "rules",
    "special",
    "structural",
]
