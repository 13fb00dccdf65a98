"""The interval rule of `accurate`, the primitive behind the library's own elementary functions.

It appears where an inclusion is nested in another. Its first result rounds the function that it is named after, and
is enclosed as that; the second is what the first lacks, at most an eps of it.
"""

from typing import Any

from jax.extend.core import Primitive

from .._elementary import PRIMITIVES, accurate_p
from .._interval import Interval
from .._registry import defrule, rule_for
from .._rounding import format_of


def _accurate(_: Primitive, *x: Interval, function: str, **params: Any) -> list[Interval]:
    value = rule_for(PRIMITIVES[function])(*x, **params)
    fmt = format_of(value.dtype)
    rest = fmt.eps * value.magnitude + fmt.tiny
    return [value, Interval._make(-rest, rest)]


defrule(accurate_p, _accurate)
