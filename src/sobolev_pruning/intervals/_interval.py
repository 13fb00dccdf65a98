"""Intervals: pairs of bounds, as a pytree."""

import decimal
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Bool, Float

from ._rounding import format_of, outward


def _is_traced(x: Any) -> bool:
    return isinstance(x, Tracer)


def _as_bound(name: str, value: Any) -> Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"Interval: `{name}` must be an array of floats, got dtype {array.dtype}. Integers and booleans "
            "need no interval: pass them to the enclosed function as they are, or convert with `.astype(float)`."
        )
    return array


@final
@jax.tree_util.register_pytree_with_keys_class
class Interval:
    """Closed intervals of real numbers, one per entry of an array.

    An infinite end means that the interval is unbounded there; infinity itself is not a member (IEEE 1788-2015, clause
    4.2). A registered pytree of two leaves, so it passes through `jax.jit`, `jax.vmap` and `jax.tree.map`. Concrete
    bounds are checked when an interval is made; traced ones can not be.

    Attributes:
        lower: Lower bounds, any shape.
        upper: Upper bounds, same shape and dtype.

    >>> x = Interval([-1.0, 0.5], [1.0, 2.0])
    >>> x.contains(jnp.asarray([0.0, 3.0])).tolist()
    [True, False]
    """

    __slots__ = ("lower", "upper")

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]

    def __init__(self, lower: Any, upper: Any) -> None:
        """Makes an interval from its bounds.

        Args:
            lower: Lower bounds: an array of floats or what `jnp.asarray` makes one of, any shape.
            upper: Upper bounds, same shape and dtype as `lower`.

        Raises:
            TypeError: a bound is no float array, or the dtypes differ.
            ValueError: the shapes differ, or a concrete bound is NaN, or a concrete lower bound exceeds its upper one.
        """
        low, upp = _as_bound("lower", lower), _as_bound("upper", upper)
        if low.shape != upp.shape:
            raise ValueError(
                f"Interval: `lower` has shape {low.shape}, `upper` has shape {upp.shape}. Broadcast them to one shape, "
                "for example with `jnp.broadcast_arrays(lower, upper)`."
            )
        if low.dtype != upp.dtype:
            raise TypeError(
                f"Interval: `lower` has dtype {low.dtype}, `upper` has dtype {upp.dtype}. Convert one of them, but "
                "mind that rounding to a shorter format may move a bound inwards."
            )
        if not (_is_traced(low) or _is_traced(upp)):
            _check_bounds(np.asarray(low), np.asarray(upp))
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", upp)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"Interval: cannot set `{name}`, an interval is immutable. Make a new one: `Interval(lower, upper)`."
        )

    @classmethod
    def _make(cls, lower: Any, upper: Any) -> "Interval":
        # Unchecked: JAX unflattens with arbitrary leaves, and rules guarantee their own bounds.
        self = object.__new__(cls)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        return self

    def tree_flatten_with_keys(self) -> tuple[Any, None]:
        """Leaves and their names, for JAX."""
        key = jax.tree_util.GetAttrKey
        return ((key("lower"), self.lower), (key("upper"), self.upper)), None

    def tree_flatten(self) -> tuple[Any, None]:
        """Leaves, for JAX."""
        return (self.lower, self.upper), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Interval":
        """Rebuilds an interval from whatever JAX puts in place of the leaves."""
        return cls._make(*children)

    @classmethod
    def point(cls, x: Any) -> "Interval":
        """The interval that holds one number in each entry.

        Args:
            x: Floats, any shape.

        Raises:
            TypeError: `x` is not an array of floats.
            ValueError: a concrete entry of `x` is NaN.
        """
        array = _as_bound("x", x)
        if not _is_traced(array):
            _check_bounds(np.asarray(array), np.asarray(array))
        return cls._make(array, array)

    @classmethod
    def from_midpoint(cls, midpoint: Any, radius: Any) -> "Interval":
        """The interval `midpoint ± radius`, rounded outwards.

        Args:
            midpoint: Centres, any shape.
            radius: Non-negative radii, of the shape of `midpoint` or a scalar.

        Raises:
            TypeError: an argument is not an array of floats.
            ValueError: a concrete radius is negative or NaN, or a concrete midpoint is NaN.
        """
        mid, rad = _as_bound("midpoint", midpoint), _as_bound("radius", radius)
        if not _is_traced(rad) and not bool(np.all(np.asarray(rad) >= 0)):
            raise ValueError(
                f"Interval.from_midpoint: `radius` must be non-negative, got a smallest value of "
                f"{np.asarray(rad).min()}. Pass `abs(radius)` if its sign has no meaning."
            )
        if not _is_traced(mid) and bool(np.any(np.isnan(np.asarray(mid)))):
            raise ValueError("Interval.from_midpoint: `midpoint` holds NaN. Remove such rows first.")
        return cls._make(*outward(mid - rad, mid + rad))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the bounds."""
        return self.lower.shape

    @property
    def dtype(self) -> DTypeLike:
        """Dtype of the bounds."""
        return self.lower.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the bounds."""
        return self.lower.ndim

    @property
    def size(self) -> int:
        """Number of intervals."""
        return self.lower.size

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def width(self) -> Float[Array, "..."]:
        """`upper − lower`, rounded up (IEEE 1788, `wid`)."""
        width = jnp.maximum(_up(self.upper - self.lower), 0.0)
        return jnp.where(self.lower == self.upper, jnp.zeros_like(width), width)

    @property
    def midpoint(self) -> Float[Array, "..."]:
        """A finite number in the middle, up to rounding; 0 if both ends are infinite (IEEE 1788, `mid`)."""
        fmt = format_of(self.dtype)
        low, upp = (jnp.clip(end, -fmt.max, fmt.max) for end in (self.lower, self.upper))
        # Halves first: the sum of the ends may overflow. Their sum may leave a thin interval, hence the clip.
        return jnp.clip(0.5 * low + 0.5 * upp, self.lower, self.upper)

    @property
    def radius(self) -> Float[Array, "..."]:
        """The smallest distance from `midpoint` that covers the interval, rounded up (IEEE 1788, `rad`)."""
        middle = self.midpoint
        radius = jnp.maximum(_up(self.upper - middle), _up(middle - self.lower))
        return jnp.where(self.lower == self.upper, jnp.zeros_like(radius), radius)

    @property
    def magnitude(self) -> Float[Array, "..."]:
        """The largest absolute value in the interval (IEEE 1788, `mag`)."""
        return jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper))

    @property
    def mignitude(self) -> Float[Array, "..."]:
        """The smallest absolute value in the interval (IEEE 1788, `mig`)."""
        return jnp.maximum(jnp.maximum(self.lower, -self.upper), 0.0)

    def contains(self, x: ArrayLike) -> Bool[Array, "..."]:
        """Whether each interval contains the number in the same place of `x`; NaN and infinity never are members."""
        x = jnp.asarray(x, self.dtype)
        return (self.lower <= x) & (x <= self.upper) & jnp.isfinite(x)

    def subset(self, other: "Interval") -> Bool[Array, "..."]:
        """Whether each interval lies within the one in the same place of `other`."""
        return (other.lower <= self.lower) & (self.upper <= other.upper)

    def hull(self, other: "Interval") -> "Interval":
        """The smallest intervals that contain both (IEEE 1788, `convexHull`)."""
        return hull(self, other)

    def intersection(self, other: "Interval") -> "Interval":
        """The numbers in both; see `intersection`."""
        return intersection(self, other)

    def __getitem__(self, index: Any) -> "Interval":
        return Interval._make(self.lower[index], self.upper[index])

    def __repr__(self) -> str:
        if not (isinstance(self.lower, Array) and isinstance(self.upper, Array)):
            return f"Interval({self.lower!r}, {self.upper!r})"
        if _is_traced(self.lower) or _is_traced(self.upper):
            return f"Interval({self.lower}, {self.upper})"
        low, upp = np.asarray(self.lower), np.asarray(self.upper)
        if low.size > 1000:
            return f"Interval(shape={low.shape}, dtype={low.dtype})"
        pairs = [
            f"[{_decimal(a, decimal.ROUND_FLOOR)}, {_decimal(b, decimal.ROUND_CEILING)}]"
            for a, b in zip(low.ravel().tolist(), upp.ravel().tolist(), strict=True)
        ]
        text = np.array(pairs, dtype=object).reshape(low.shape).tolist()
        return f"Interval({str(text).replace(chr(39), '')}, dtype={low.dtype})"


def _check_bounds(low: np.ndarray, upp: np.ndarray) -> None:
    for name, bound in (("lower", low), ("upper", upp)):
        if np.any(np.isnan(bound)):
            raise ValueError(
                f"Interval: `{name}` holds NaN at index {_first(np.isnan(bound))}. Pass -inf and inf "
                "for what is unknown."
            )
    if np.any(low > upp):
        where = _first(low > upp)
        raise ValueError(
            f"Interval: `lower` exceeds `upper` at index {where}: {low[where]} > {upp[where]}. Swap them, or take "
            "`jnp.minimum` and `jnp.maximum` of the two."
        )


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _up(x: Array) -> Array:
    return outward(x, x)[1]


def _decimal(value: float, direction: str) -> str:
    """A short decimal on the safe side of `value`."""
    if not np.isfinite(value):
        return str(value)
    context = decimal.Context(prec=7, rounding=direction)
    return f"{float_text(context.create_decimal_from_float(value))}"


def float_text(value: decimal.Decimal) -> str:
    """Decimal digits without trailing zeros."""
    if value == 0:
        return "0"
    value = value.normalize()
    exponent = value.adjusted()
    return f"{value:f}" if -5 <= exponent <= 7 else f"{value:e}"


def hull(first: Interval, second: Interval) -> Interval:
    """The smallest intervals that contain both (IEEE 1788-2015, clause 9.3, `convexHull`).

    Args:
        first: Intervals of any shape.
        second: Intervals of a shape and dtype that fit those of `first`.
    """
    return Interval._make(jnp.minimum(first.lower, second.lower), jnp.maximum(first.upper, second.upper))


def intersection(first: Interval, second: Interval) -> Interval:
    """The numbers in both (IEEE 1788-2015, clause 9.3, `intersection`).

    Args:
        first: Intervals of any shape.
        second: Intervals of a shape and dtype that fit those of `first`.

    Returns:
        The intersection. Where it is empty, which an `Interval` cannot express, `lower > upper` in the traced case.

    Raises:
        ValueError: the bounds are concrete and some intersection is empty.
    """
    lower = jnp.maximum(first.lower, second.lower)
    upper = jnp.minimum(first.upper, second.upper)
    if not _is_traced(lower) and not _is_traced(upper) and bool(jnp.any(lower > upper)):
        raise ValueError(
            "intersection: the intervals at index "
            f"{_first(np.asarray(lower > upper))} have no number in common. Two enclosures of one quantity "
            "always have: check that these are enclosures of the same."
        )
    return Interval._make(lower, upper)


@final
@jax.tree_util.register_pytree_node_class
class Ternary:
    """What is known of a condition over a box: it may hold somewhere, and it may fail somewhere.

    The comparison of overlapping intervals is undecided: both are possible. (IEEE 1788-2015, clause 10.5, returns the
    set of possible outcomes likewise.)

    Attributes:
        can_be_true: Whether the condition may hold at some point of the box.
        can_be_false: Whether it may fail at some point.
    """

    __slots__ = ("can_be_false", "can_be_true")

    can_be_true: Bool[Array, "..."]
    can_be_false: Bool[Array, "..."]

    def __init__(self, can_be_true: Any, can_be_false: Any) -> None:
        self.can_be_true = can_be_true
        self.can_be_false = can_be_false

    def tree_flatten(self) -> tuple[Any, None]:
        """Leaves, for JAX."""
        return (self.can_be_true, self.can_be_false), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Ternary":
        """Rebuilds the pair from whatever JAX puts in place of the leaves."""
        return cls(*children)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both arrays."""
        return self.can_be_true.shape

    def __repr__(self) -> str:
        return f"Ternary(can_be_true={self.can_be_true}, can_be_false={self.can_be_false})"
