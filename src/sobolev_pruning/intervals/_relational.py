"""What a relational domain is: a class of values that remember how they depend on common unknowns.

An interval forgets where it comes from, so that `x − x` has twice the width of x. A relation keeps more. A domain says
what the relations are and how each *family* of operations acts on them; which primitive belongs to which family is
said once for all domains, in `_relations.py`. Every method returns an enclosure: whatever values the operands take
together, the result takes with them.
"""

import abc
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ._interval import Interval
from ._lines import Lines
from ._rounding import bracket, format_of

R = TypeVar("R")


class Linear(NamedTuple):
    """A function of arrays that is linear in all of them together.

    Attributes:
        apply: Evaluates it, with float rounding.
        magnitude: Evaluates it with the absolute values of all coefficients.
        terms: Every entry of the result is a sum of at most so many products; 0 if entries are only moved.
        absolute: A bound of the error of each coefficient: exact arrays may have subnormal entries, read as zero.
    """

    apply: Callable[..., Array]
    magnitude: Callable[..., Array]
    terms: int
    absolute: float = 0.0


class Coefficient(NamedTuple):
    """A float near a rational number, and a bound of its error."""

    near: float
    error: float


def coefficient(value: Fraction, dtype: DTypeLike) -> Coefficient:
    """The float that stands for a factor; of a number beyond all floats the error is infinite."""
    low, upp = bracket(value, dtype)
    if low == upp:
        return Coefficient(low, 0.0)
    near = low if np.isfinite(low) else upp
    return Coefficient(near, max((upp - low) * (1 + 1e-6), format_of(dtype).tiny))


class AbstractDomain(abc.ABC, Generic[R]):
    """A relational domain; R is the type of its relations."""

    @abc.abstractmethod
    def constant(self, value: Interval) -> R:
        """A number that is known up to rounding."""

    @abc.abstractmethod
    def unrelated(self, value: Interval) -> R:
        """A value of which only the enclosure is known."""

    @abc.abstractmethod
    def shared(self, relation: R) -> R:
        """The same value, prepared for being used more than once: what is not common to other values is kept apart."""

    @abc.abstractmethod
    def linear(self, function: Linear, operands: Sequence[R]) -> R:
        """A linear function of several values."""

    @abc.abstractmethod
    def combination(self, terms: Sequence[tuple[Fraction, R]], constant: Interval) -> R:
        """`Σ cₖ·xₖ + constant`, entry by entry."""

    @abc.abstractmethod
    def product(self, x: R, y: R) -> R:
        """The product, entry by entry."""

    @abc.abstractmethod
    def bilinear(self, function: Callable[[Array, Array], Array], terms: int, x: R, y: R) -> R:
        """A function that is linear in each of two values, with coefficients 0 and 1, such as a matrix product."""

    @abc.abstractmethod
    def univariate(self, lines: Lines, x: R) -> R:
        """A function of one variable, entry by entry, whose graph over the enclosures of x is given."""

    @abc.abstractmethod
    def choice(self, second: Array, undecided: Array, cases: tuple[R, R], hull: Interval) -> R:
        """The first case, or the second where that is chosen; only the hull is known where it is undecided."""

    @abc.abstractmethod
    def enclosure(self, relation: R) -> Interval:
        """The interval that the relation implies; unbounded where nothing is known."""

    @abc.abstractmethod
    def confined(self, relation: R, value: Interval) -> R:
        """The relation, given that the value also lies in an interval."""
