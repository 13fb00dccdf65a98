"""What the parameters of the estimator may be, each with one message."""

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from sklearn.utils import check_random_state

from ..surrogate import ACTIVATIONS


@final
@dataclass(frozen=True)
class _Rule:
    """What a parameter may be, in words and as a test of its value."""

    words: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any, least: int) -> bool:
    # A boolean is a whole number to Python, and a mistake here.
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_) and int(value) >= least


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _are_widths(value: Any) -> bool:
    if isinstance(value, np.ndarray) and value.ndim != 1:
        return False
    return isinstance(value, list | tuple | np.ndarray) and all(_is_whole(width, 1) for width in value)


def _is_seed(value: Any) -> bool:
    try:
        check_random_state(value)
    except ValueError:
        return False
    return not isinstance(value, bool | np.bool_)


_COUNT = _Rule("a whole number of at least 1", lambda value: _is_whole(value, 1))
_RULES = {
    "hidden": _Rule("widths of the hidden layers, such as (20, 20), whole numbers of at least 1", _are_widths),
    "activation": _Rule(
        f"one of the names {', '.join(ACTIVATIONS)}", lambda value: isinstance(value, str) and value in ACTIVATIONS
    ),
    "gradient_weight": _Rule("a finite number of at least 0", lambda value: _is_real(value) and 0 <= value < math.inf),
    "steps": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": _Rule("a finite positive number", lambda value: _is_real(value) and 0 < value < math.inf),
    "second_order_below": _Rule("a number of at least 0", lambda value: _is_real(value) and value >= 0),
    "second_order_steps": _COUNT,
    "starts": _COUNT,
    "random_state": _Rule("None, a whole number in [0, 4294967295] or a `numpy.random.RandomState`", _is_seed),
}


def check_parameters(given: Mapping[str, Any]) -> None:
    """Refuse what a parameter cannot be.

    Raises:
        ValueError: the first parameter that is something else; the message says what it must be.
    """
    for name, value in given.items():
        rule = _RULES[name]
        if not rule.holds(value):
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
            raise ValueError(f"`{name}` is {shown} ({type(value).__name__}); it must be {rule.words}.")
