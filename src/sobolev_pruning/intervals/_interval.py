"""Intervals: pairs of bounds, as a pytree."""

import operator
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Bool, Float

from ._bits import at_most, order
from ._decimals import enclosing_floats, lower_decimal, upper_decimal
from ._rounding import format_of, outward


def _is_traced(x: Any) -> bool:
    return isinstance(x, Tracer)


def _as_bound(name: str, value: Any, where: str = "Interval") -> Array:
    if isinstance(value, Interval):
        raise TypeError(
            f"{where}: `{name}` is an Interval, but only an array of floats can stand here. Take its `.lower`, "
            "`.upper` or `.midpoint`."
        )
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{where}: `{name}` must be an array of floats, got dtype {array.dtype}. Integers and booleans "
            "need no interval: pass them to the enclosed function as they are, or convert with `.astype(float)`."
        )
    return array


@final
@jax.tree_util.register_pytree_with_keys_class
class Interval:
    """Closed intervals of real numbers, one per entry of an array.

    An infinite end means that the interval is unbounded there; infinity itself is not a member (IEEE 1788-2015, clause
    4.2). The empty set has the ends `inf` and `−inf`. A registered pytree of two leaves, so it passes through
    `jax.jit`, `jax.vmap` and `jax.tree.map`.

    Concrete bounds are checked when an interval is made. Traced ones cannot be: an interval whose lower bound exceeds
    its upper one, or that has a NaN among them, is empty then.

    `+ − * / @ **`, unary minus, `abs` and the comparisons enclose what they do to arrays; anything else is enclosed by
    `inclusion`. Enclosures of integers that are undecided over a box (of `argmax`, say) have an integer dtype.

    Attributes:
        lower: Lower bounds, any shape.
        upper: Upper bounds, same shape and dtype.

    >>> x = Interval([-1.0, 0.5], [1.0, 2.0])
    >>> x.contains(jnp.asarray([0.0, 3.0])).tolist()
    [True, False]
    """

    __slots__ = ("lower", "upper")
    __array_ufunc__ = None  # so that NumPy leaves `array + interval` to the interval

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]

    def __init__(self, lower: Any, upper: Any) -> None:
        """Makes an interval from its bounds.

        Args:
            lower: Lower bounds: an array of floats or what `jnp.asarray` makes one of, any shape.
            upper: Upper bounds, same shape and dtype as `lower`.

        Raises:
            TypeError: a bound is no float array, or the dtypes differ.
            ValueError: the shapes differ, or a concrete bound is NaN, or a concrete lower bound exceeds its upper one,
                or both are the same infinity, which no number reaches.
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
        if _is_traced(low) or _is_traced(upp):
            low, upp = _empty_unless((low <= upp) & (low < jnp.inf) & (upp > -jnp.inf), low, upp)
        else:
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

    # Construction.

    @classmethod
    def point(cls, x: Any) -> "Interval":
        """The interval that holds one number in each entry.

        Args:
            x: Floats, any shape.

        Raises:
            TypeError: `x` is not an array of floats.
            ValueError: a concrete entry of `x` is NaN or infinite.
        """
        array = _as_bound("x", x, "Interval.point")
        if _is_traced(array):
            return cls._make(*_empty_unless(jnp.isfinite(array), array, array))
        _check_bounds(np.asarray(array), np.asarray(array))
        return cls._make(array, array)

    @classmethod
    def from_midpoint(cls, midpoint: Any, radius: Any) -> "Interval":
        """The interval `midpoint ± radius`, rounded outwards.

        Args:
            midpoint: Centres, any shape.
            radius: Non-negative radii, of a shape that broadcasts to that of `midpoint`.

        Raises:
            TypeError: an argument is not an array of floats, or they have different dtypes.
            ValueError: a concrete radius is negative or NaN, or a concrete midpoint is NaN or infinite.
        """
        where = "Interval.from_midpoint"
        mid, rad = _as_bound("midpoint", midpoint, where), _as_bound("radius", radius, where)
        if isinstance(radius, float):  # a Python number takes the format of the midpoint, rounded up
            rad = jnp.asarray(
                enclosing_floats(radius, np.dtype(mid.dtype))[1] if np.isfinite(radius) else radius, mid.dtype
            )
        if mid.dtype != rad.dtype:
            raise TypeError(
                f"{where}: `midpoint` has dtype {mid.dtype}, `radius` has dtype {rad.dtype}. Convert one of them, "
                "but mind that a shorter format may round the radius down."
            )
        if rad.ndim > mid.ndim or any(
            n not in (1, m) for n, m in zip(reversed(rad.shape), reversed(mid.shape), strict=False)
        ):
            raise ValueError(
                f"{where}: `radius` of shape {rad.shape} does not broadcast to `midpoint` of shape {mid.shape}."
            )
        if not _is_traced(rad) and not bool(np.all(np.asarray(rad) >= 0)):
            raise ValueError(
                f"{where}: `radius` must be non-negative, got a smallest value of {np.asarray(rad).min()}. Pass "
                "`abs(radius)` if its sign has no meaning."
            )
        if not _is_traced(mid) and not bool(np.all(np.isfinite(np.asarray(mid)))):
            raise ValueError(f"{where}: `midpoint` holds NaN or infinity. Remove such rows first.")
        rad = jnp.broadcast_to(rad, mid.shape)
        lower, upper = outward(mid - rad, mid + rad)
        # Decided by bits: XLA takes a subnormal radius for zero.
        exact = order(rad) == 0
        lower, upper = jnp.where(exact, mid, lower), jnp.where(exact, mid, upper)
        if _is_traced(mid) or _is_traced(rad):
            lower, upper = _empty_unless(jnp.isfinite(mid) & (rad >= 0), lower, upper)
        return cls._make(lower, upper)

    @classmethod
    def enclosing(cls, value: Any, dtype: DTypeLike | None = None) -> "Interval":
        """The smallest intervals around numbers that need not be representable.

        Args:
            value: A number or the text of one: `"0.1"`, `Fraction(1, 3)`, `Decimal("0.1")`, an integer, a float (which
                is what it is: `0.1` is not a tenth); or nested sequences of them, or an array.
            dtype: float32 or float64; JAX's default float if not given.

        Raises:
            TypeError: an entry is no real number, or the dtype is no other than these two.
            ValueError: an entry is text that is no number, or is NaN or infinite.

        >>> tenth = Interval.enclosing("0.1", jnp.float32)
        >>> bool(tenth.lower < tenth.upper)
        True
        """
        kind = np.dtype(jnp.result_type(float) if dtype is None else dtype)
        format_of(kind)
        lower, upper = enclosing_floats(value, kind)
        return cls._make(jnp.asarray(lower), jnp.asarray(upper))

    @classmethod
    def empty(cls, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> "Interval":
        """Empty sets, of which every property is NaN (IEEE 1788, `empty`)."""
        kind = jnp.result_type(float) if dtype is None else dtype
        return cls._make(jnp.full(shape, jnp.inf, kind), jnp.full(shape, -jnp.inf, kind))

    @classmethod
    def entire(cls, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> "Interval":
        """All real numbers in each entry: nothing is known (IEEE 1788, `entire`)."""
        kind = jnp.result_type(float) if dtype is None else dtype
        return cls._make(jnp.full(shape, -jnp.inf, kind), jnp.full(shape, jnp.inf, kind))

    # Shape.

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

    def __getitem__(self, index: Any) -> "Interval":
        return Interval._make(self.lower[index], self.upper[index])

    def reshape(self, *shape: Any) -> "Interval":
        """The same intervals in another shape, as `jnp.reshape` would have it."""
        return Interval._make(self.lower.reshape(*shape), self.upper.reshape(*shape))

    def astype(self, dtype: DTypeLike) -> "Interval":
        """The same intervals in another float format, rounded outwards."""
        return _enclosed("astype", lambda x: x.astype(dtype), np.dtype(dtype))(self)

    # What is asked of them.

    @property
    def is_empty(self) -> Bool[Array, "..."]:
        """Whether an interval holds no number."""
        return ~(self.lower <= self.upper)

    @property
    def is_entire(self) -> Bool[Array, "..."]:
        """Whether an interval holds every number, which says nothing. Divergence is legal, and this asks for it."""
        return (self.lower == -jnp.inf) & (self.upper == jnp.inf)

    @property
    def is_bounded(self) -> Bool[Array, "..."]:
        """Whether both ends are finite; the empty set is bounded."""
        return self.is_empty | (jnp.isfinite(self.lower) & jnp.isfinite(self.upper))

    @property
    def is_singleton(self) -> Bool[Array, "..."]:
        """Whether an interval holds one number alone."""
        return jnp.isfinite(self.lower) & (order(self.lower) == order(self.upper))

    @property
    def width(self) -> Float[Array, "..."]:
        """`upper − lower`, rounded up; NaN for the empty set (IEEE 1788, `wid`)."""
        width = jnp.maximum(_up(self.upper - self.lower), 0.0)
        width = jnp.where(order(self.lower) == order(self.upper), jnp.zeros_like(width), width)
        return self._unless_empty(width)

    @property
    def midpoint(self) -> Float[Array, "..."]:
        """A finite member in the middle, up to rounding; 0 if both ends are infinite (IEEE 1788, `mid`)."""
        fmt = format_of(self.dtype)
        low, upp = (jnp.clip(end, -fmt.max, fmt.max) for end in (self.lower, self.upper))
        # Halves first: the sum of the ends may overflow. Their sum may leave a thin interval, hence the clip.
        middle = jnp.clip(0.5 * low + 0.5 * upp, self.lower, self.upper)
        # Between subnormal ends, XLA computes zero, which need not be a member.
        inside = at_most(self.lower, middle) & at_most(middle, self.upper)
        return self._unless_empty(jnp.where(inside, middle, self.lower))

    @property
    def radius(self) -> Float[Array, "..."]:
        """The smallest distance from `midpoint` that covers the interval, rounded up (IEEE 1788, `rad`)."""
        middle = self.midpoint
        radius = jnp.maximum(_up(self.upper - middle), _up(middle - self.lower))
        radius = jnp.where(order(self.lower) == order(self.upper), jnp.zeros_like(radius), radius)
        return self._unless_empty(radius)

    @property
    def magnitude(self) -> Float[Array, "..."]:
        """The largest absolute value in the interval (IEEE 1788, `mag`)."""
        return self._unless_empty(jnp.maximum(jnp.abs(self.lower), jnp.abs(self.upper)))

    @property
    def mignitude(self) -> Float[Array, "..."]:
        """The smallest absolute value in the interval (IEEE 1788, `mig`)."""
        return self._unless_empty(jnp.maximum(jnp.maximum(self.lower, -self.upper), 0.0))

    def _unless_empty(self, value: Array) -> Array:
        return jnp.where(self.is_empty, jnp.nan, value)

    def contains(self, x: ArrayLike) -> Bool[Array, "..."]:
        """Whether each interval contains the number in the same place of `x`; NaN and infinity never are members.

        Args:
            x: Numbers, of a shape that broadcasts with that of the intervals. A number that the dtype of the intervals
                cannot hold exactly is compared after rounding: use `enclosing(x).subset(interval)` to be rigorous.
        """
        x = jnp.asarray(x, self.dtype)
        return at_most(self.lower, x) & at_most(x, self.upper) & jnp.isfinite(x)

    def subset(self, other: "Interval") -> Bool[Array, "..."]:
        """Whether each interval lies within the one in the same place of `other` (IEEE 1788, `subset`)."""
        return self.is_empty | (at_most(other.lower, self.lower) & at_most(self.upper, other.upper))

    def interior(self, other: "Interval") -> Bool[Array, "..."]:
        """Whether each interval lies in the interior of the one in its place in `other` (IEEE 1788, `interior`)."""
        below = ~at_most(self.lower, other.lower) | (other.lower == -jnp.inf)
        above = ~at_most(other.upper, self.upper) | (other.upper == jnp.inf)
        return self.is_empty | (below & above & ~other.is_empty)

    def disjoint(self, other: "Interval") -> Bool[Array, "..."]:
        """Whether the intervals in the same place have no number in common (IEEE 1788, `disjoint`)."""
        apart = ~at_most(self.lower, other.upper) | ~at_most(other.lower, self.upper)
        return self.is_empty | other.is_empty | apart

    def hull(self, other: "Interval") -> "Interval":
        """The smallest intervals that contain both; see `hull`."""
        from ._sets import hull  # `_sets` is about intervals

        return hull(self, other)

    def intersection(self, other: "Interval") -> "Interval":
        """The numbers in both; see `intersection`."""
        from ._sets import intersection

        return intersection(self, other)

    def split(self, parts: int = 2, *, at: int | tuple[int, ...] | None = None) -> "Interval":
        """Cuts a box along one of its entries; see `split`."""
        from ._sets import split

        return split(self, parts, at=at)

    # Arithmetic: what the operators do to arrays, enclosed.

    def __add__(self, other: Any) -> "Interval":
        return _enclosed("add", operator.add)(self, other)

    def __radd__(self, other: Any) -> "Interval":
        return _enclosed("add", operator.add)(other, self)

    def __sub__(self, other: Any) -> "Interval":
        return _enclosed("sub", operator.sub)(self, other)

    def __rsub__(self, other: Any) -> "Interval":
        return _enclosed("sub", operator.sub)(other, self)

    def __mul__(self, other: Any) -> "Interval":
        return _enclosed("mul", operator.mul)(self, other)

    def __rmul__(self, other: Any) -> "Interval":
        return _enclosed("mul", operator.mul)(other, self)

    def __truediv__(self, other: Any) -> "Interval":
        return _enclosed("truediv", operator.truediv)(self, other)

    def __rtruediv__(self, other: Any) -> "Interval":
        return _enclosed("truediv", operator.truediv)(other, self)

    def __matmul__(self, other: Any) -> "Interval":
        return _enclosed("matmul", operator.matmul)(self, other)

    def __rmatmul__(self, other: Any) -> "Interval":
        return _enclosed("matmul", operator.matmul)(other, self)

    def __pow__(self, exponent: Any) -> "Interval":
        if isinstance(exponent, int):  # a power of whole numbers, not of reals: defined for negative bases as well
            return _enclosed("pow", lambda x: x**exponent, exponent)(self)
        return _enclosed("pow", operator.pow)(self, exponent)

    def __rpow__(self, base: Any) -> "Interval":
        return _enclosed("pow", operator.pow)(base, self)

    def __neg__(self) -> "Interval":
        return _enclosed("neg", operator.neg)(self)

    def __pos__(self) -> "Interval":
        return self

    def __abs__(self) -> "Interval":
        return _enclosed("abs", abs)(self)

    def __lt__(self, other: Any) -> Any:
        return _enclosed("lt", operator.lt)(self, other)

    def __le__(self, other: Any) -> Any:
        return _enclosed("le", operator.le)(self, other)

    def __gt__(self, other: Any) -> Any:
        return _enclosed("gt", operator.gt)(self, other)

    def __ge__(self, other: Any) -> Any:
        return _enclosed("ge", operator.ge)(self, other)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(
            "An Interval is no array: NumPy and jax.numpy would drop one of its bounds. Enclose the function, "
            "`inclusion(f)(interval)`, or take `.lower`, `.upper` or `.midpoint`."
        )

    def __repr__(self) -> str:
        if not (isinstance(self.lower, Array) and isinstance(self.upper, Array)):
            return f"Interval({self.lower!r}, {self.upper!r})"
        if _is_traced(self.lower) or _is_traced(self.upper):
            return f"Interval({self.lower}, {self.upper})"
        low, upp = np.asarray(self.lower), np.asarray(self.upper)
        if low.size > 1000:
            return f"Interval(shape={low.shape}, dtype={low.dtype})"
        pairs = [
            f"[{lower_decimal(a)}, {upper_decimal(b)}]" if a <= b else "∅"
            for a, b in zip(low.ravel().tolist(), upp.ravel().tolist(), strict=True)
        ]
        text = np.array(pairs, dtype=object).reshape(low.shape).tolist()
        return f"Interval({str(text).replace(chr(39), '')}, dtype={low.dtype})"


_operations: dict[Any, Callable[..., Any]] = {}


def _enclosed(name: str, operation: Callable[..., Any], *static: Any) -> Callable[..., Any]:
    from ._inclusion import inclusion  # which is about functions of intervals

    key = (name, *static)
    if key not in _operations:
        _operations[key] = inclusion(operation)
    return _operations[key]


def _empty_unless(keep: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    return jnp.where(keep, lower, jnp.inf), jnp.where(keep, upper, -jnp.inf)


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
            "`jnp.minimum` and `jnp.maximum` of the two; the empty set is `Interval.empty(shape)`."
        )
    infinite = np.isinf(low) & (low == upp)
    if np.any(infinite):
        raise ValueError(
            f"Interval: both ends are {low[_first(infinite)]} at index {_first(infinite)}, and infinity is no "
            "number. Pass a finite end on the other side."
        )


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _up(x: Array) -> Array:
    return outward(x, x)[1]
