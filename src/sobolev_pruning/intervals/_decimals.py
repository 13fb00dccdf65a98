"""Decimals on the safe side, for printing; and the floats around what a user writes."""

import decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ._rounding import bracket


def lower_decimal(value: float | int) -> str:
    """A short decimal at or below `value`."""
    return _decimal(value, decimal.ROUND_FLOOR)


def upper_decimal(value: float | int) -> str:
    """A short decimal at or above `value`."""
    return _decimal(value, decimal.ROUND_CEILING)


def _decimal(value: float | int, direction: str) -> str:
    if isinstance(value, int):
        return str(value)
    if not np.isfinite(value):
        return str(value)
    number = decimal.Context(prec=7, rounding=direction).create_decimal_from_float(value)
    if number == 0:
        return "0"
    number = number.normalize()
    return f"{number:f}" if -5 <= number.adjusted() <= 7 else f"{number:e}"


def enclosing_floats(value: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The floats around exact numbers.

    Args:
        value: A number, the text of one, or nested sequences or an array of these.
        dtype: The format of the floats.

    Raises:
        TypeError: an entry is no real number.
        ValueError: an entry is text that is no number, or is NaN or infinite.
    """
    entries = np.asarray(value, dtype=object)
    lower, upper = np.empty(entries.shape, dtype), np.empty(entries.shape, dtype)
    for index in np.ndindex(entries.shape):
        lower[index], upper[index] = bracket(_exact(entries[index]), dtype)
    return lower, upper


def _exact(entry: Any) -> Fraction:
    if isinstance(entry, np.generic):
        entry = entry.item()
    try:
        return Fraction(entry)
    except TypeError:
        raise TypeError(
            f"Interval.enclosing: `value` must hold numbers or their text, got {entry!r}. Pass what "
            "`fractions.Fraction` accepts, for example '0.1', Fraction(1, 3), Decimal('0.1') or 0.1 (the float itself)."
        ) from None
    except (ValueError, OverflowError):
        raise ValueError(
            f"Interval.enclosing: `value` must hold finite numbers, got {entry!r}. For what is unbounded, make the "
            "interval from its ends: `Interval(lower, jnp.inf)`."
        ) from None
