"""Softmax, log-softmax and logsumexp along axes: recognised by what they compute, and enclosed by their exact ranges.

With `Sᵢ = Σ_{j≠i} exp(xⱼ)` they are `softmaxᵢ(x) = σ(xᵢ − log Sᵢ)`, `log softmaxᵢ(x) = −softplus(log Sᵢ − xᵢ)`, both
increasing in xᵢ and decreasing in every other entry, and `logsumexp(x) = log Σⱼ exp(xⱼ)`, increasing in every entry. So
the ranges over a box are attained at its corners.

Recognised is, with `D = x − m` and any m that does not vary along the axes (the maximum, or none at all),

* `exp(D)/Σ exp(D)`, and `exp(D)·(c/Σ exp(D))` with a factor c, as in the gradient of logsumexp: softmax of x
* `log Σ exp(D)` and `m + log Σ exp(D)`: logsumexp of D, and of x
* `D − log Σ exp(D)`, and `x −` logsumexp of x: log-softmax of x

These are identities of real numbers for every m. They are read off the operations that made the values
(`_origins.py`); how broadcasts lay out the sum and m is followed axis by axis.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive, primitives

from . import _arithmetic as ia
from . import _balls as balls
from ._balls import Ball
from ._elementary import evaluate, margin
from ._interval import Interval
from ._origins import Layout, is_same, layout_of, same_as
from ._registry import rule_for
from ._rounding import format_of, gamma
from ._univariate import softplus_range

if TYPE_CHECKING:
    from ._interpret import Interpreter, Node

_SUMS = frozenset({lax.add_p, primitives.add_jaxvals_p})


class Sum(NamedTuple):
    """`Σ exp(x)` along axes of x."""

    exponential: "Node"
    x: "Node"
    axes: tuple[int, ...]

    def axis_of(self, axis: int) -> int | None:
        """The axis of the sum that runs along an axis of x."""
        if axis in self.axes or self.x.aval.shape[axis] == 1:
            return None
        return axis - sum(a < axis for a in self.axes)


class LogSum(NamedTuple):
    """`log Σ exp(x)` along axes of x; axis k of the value runs along axis `layout[k]` of the sum."""

    sum: Sum
    x: "Node"
    layout: tuple[int | None, ...]


class Softmax:
    """Recognises the functions in a walk."""

    def __init__(self, walk: "Interpreter") -> None:
        self._walk = walk

    def recognised(
        self, primitive: Primitive, params: dict[str, Any], inputs: list["Node"], aval: Any
    ) -> Interval | None:
        """The range of the result of an operation, if it is one of the functions."""
        if primitive is lax.log_p:
            return self._logsumexp(self._log(inputs[0]), aval)
        if primitive in _SUMS:
            return self._logsumexp(self._shifted_log(inputs), aval)
        if primitive is lax.sub_p:
            return self._log_softmax(inputs, aval)
        if primitive is lax.div_p:
            total = self._sum_along(inputs[1], inputs[0])
            return None if total is None else softmax(self._base(total), total.axes)
        if primitive is lax.mul_p:
            x, y = inputs
            return self._quotient(x, y, aval) or self._quotient(y, x, aval)
        return None

    # Parts.

    def _layout(self, node: "Node", rank: int) -> Layout:
        root, axes = layout_of(node, self._walk.nodes)
        return Layout(root, axes if axes or not rank else (None,) * rank)

    def _sum(self, node: "Node") -> Sum | None:
        origin = same_as(node, self._walk.nodes).origin
        if origin is None or origin.primitive is not lax.reduce_sum_p:
            return None
        exponential = origin.inputs[0]
        inner = same_as(exponential, self._walk.nodes).origin
        if inner is None or inner.primitive is not lax.exp_p or not exponential.aval.size:
            return None
        return Sum(exponential, inner.inputs[0], tuple(map(int, origin.params["axes"])))

    def _sum_along(self, node: "Node", exponential: "Node") -> Sum | None:
        """The sum of the entries of `exponential`, if that is what the node broadcasts along them."""
        rank = len(exponential.aval.shape)
        root, axes = self._layout(node, rank)
        total = self._sum(root)
        if total is None or len(axes) != rank or not is_same(total.exponential, exponential, self._walk.nodes):
            return None
        return total if all(axes[k] == total.axis_of(k) for k in range(rank)) else None

    def _shift(self, node: "Node", axes: tuple[int, ...]) -> tuple["Node", "Node"] | None:
        """`(x, m)` where the node is `x ± m` and m does not vary along the axes."""
        origin = same_as(node, self._walk.nodes).origin
        if origin is None or origin.primitive not in (lax.sub_p, *_SUMS):
            return None
        rank = len(node.aval.shape)
        pairs = [origin.inputs] if origin.primitive is lax.sub_p else [origin.inputs, origin.inputs[::-1]]
        for x, m in pairs:
            along = self._layout(m, rank).axes
            if x.aval.shape == node.aval.shape and len(along) == rank and all(along[k] is None for k in axes):
                return x, m
        return None

    def _base(self, total: Sum) -> Interval:
        """The values of x without all shifts."""
        x = total.x
        while (shift := self._shift(x, total.axes)) is not None:
            x = shift[0]
        return self._values(x)

    def _values(self, x: "Node") -> Interval:
        value = self._walk.value(x)
        assert isinstance(value, Interval)
        return value

    def _log(self, operand: "Node") -> LogSum | None:
        root, axes = self._layout(operand, len(operand.aval.shape))
        total = self._sum(root)
        return None if total is None else LogSum(total, total.x, axes)

    def _log_node(self, node: "Node") -> LogSum | None:
        origin = same_as(node, self._walk.nodes).origin
        if origin is None:
            return None
        if origin.primitive is lax.log_p:
            return self._log(origin.inputs[0])
        return self._shifted_log(list(origin.inputs)) if origin.primitive in _SUMS else None

    def _laid_out(self, node: "Node", rank: int) -> LogSum | None:
        """The logarithm of a sum that a node repeats, with the layout of the node."""
        root, axes = self._layout(node, rank)
        inner = self._log_node(root)
        if inner is None or len(axes) != rank:
            return None
        return inner._replace(layout=tuple(None if k is None else inner.layout[k] for k in axes))

    def _shifted_log(self, inputs: list["Node"]) -> LogSum | None:
        """`m + log Σ exp(x − m)`."""
        rank = max(len(n.aval.shape) for n in inputs)
        for node, other in (inputs, inputs[::-1]):
            found = self._laid_out(node, rank)
            if found is None:
                continue
            origin = same_as(found.x, self._walk.nodes).origin
            if origin is None or origin.primitive is not lax.sub_p:
                continue
            shift = self._shift(found.x, found.sum.axes)
            if shift is None:
                continue
            x, m = shift
            subtracted = self._layout(m, len(x.aval.shape))
            added = self._layout(other, rank)
            axis_of_x = {found.sum.axis_of(k): k for k in range(len(x.aval.shape))}
            expected = tuple(None if k is None else subtracted.axes[axis_of_x[k]] for k in found.layout)
            if added.axes == expected and is_same(added.root, subtracted.root, self._walk.nodes):
                return found._replace(x=x)
        return None

    # Functions.

    def _logsumexp(self, found: LogSum | None, aval: Any) -> Interval | None:
        if found is None:
            return None
        value = logsumexp(self._values(found.x), found.sum.axes)
        return None if value is None else _arranged(value, found.layout, aval.shape)

    def _log_softmax(self, inputs: list["Node"], aval: Any) -> Interval | None:
        x, subtracted = inputs
        rank = len(aval.shape)
        found = self._laid_out(subtracted, rank)
        if found is None or x.aval.shape != aval.shape or not is_same(x, found.x, self._walk.nodes):
            return None
        if any(found.layout[k] != found.sum.axis_of(k) for k in range(rank)):
            return None
        return log_softmax(self._base(found.sum), found.sum.axes)

    def _quotient(self, factor: "Node", exponential: "Node", aval: Any) -> Interval | None:
        """`exp(x)·(c/Σ exp(x))`."""
        if exponential.aval.shape != aval.shape:
            return None
        rank = len(aval.shape)
        root, axes = self._layout(factor, rank)
        origin = root.origin
        if origin is None or origin.primitive is not lax.div_p or len(axes) != rank:
            return None
        c, below = origin.inputs
        inner_rank = len(root.aval.shape)
        inner = self._layout(below, inner_rank)
        total = self._sum(inner.root)
        if total is None or len(inner.axes) != inner_rank:
            return None
        if not is_same(total.exponential, exponential, self._walk.nodes):
            return None
        for k in range(rank):
            along = axes[k]
            if (None if along is None else inner.axes[along]) != total.axis_of(k):
                return None
        range_of = softmax(self._base(total), total.axes)
        if range_of is None or (c.form is not None and c.form.value == 1):
            return range_of
        value = self._values(c)
        full = Interval._make(*(jnp.broadcast_to(end, root.aval.shape) for end in (value.lower, value.upper)))
        return ia.mul(_arranged(full, axes, aval.shape), range_of)


def _arranged(x: Interval, axes: tuple[int | None, ...], shape: tuple[int, ...]) -> Interval:
    """The array of this shape whose axis k runs along axis `axes[k]` of x; the others of x have size one."""
    used = [k for k in axes if k is not None]
    where = tuple(position for position, k in enumerate(axes) if k is not None)

    def arrange(end: Array) -> Array:
        kept = lax.squeeze(end, [k for k in range(end.ndim) if k not in used])
        order = sorted(used)
        return lax.broadcast_in_dim(lax.transpose(kept, [order.index(k) for k in used]), shape, where)

    return Interval._make(arrange(x.lower), arrange(x.upper))


# Ranges.


def _error(n: int, dtype: Any) -> float | None:
    """The relative error of a sum of n exponentials of differences to their maximum, less one of them, if it is useful.

    With `dⱼ ≥ 0` the differences and `s = Σ exp(−dⱼ) ≥ 1`: the rounding of `dⱼ` costs `½·eps·Σ dⱼ·exp(−dⱼ) ≤
    ½·eps·s·log n` (Gibbs' inequality), exp its margin, the sum γₙ. A term that is taken away again is at most half of
    the sum, which doubles the error, and has one of its own. One ulp more pays for underflows.
    """
    eps = format_of(dtype).eps
    if n * eps >= 0.1:
        return None
    of_exp = margin(lax.exp_p, dtype)
    relative = eps * (3 * of_exp + math.log(n) + 1.7) + 2 * gamma(n, dtype)
    return 1.05 * relative / (1 - 2 * relative) if relative < 0.25 else None


def _log_ball(total: Array, relative: float) -> Ball:
    """The logarithm of a sum `≥ 1` with a relative error."""
    value = evaluate(lax.log_p, jnp.maximum(total, 1))
    eps = format_of(total.dtype).eps
    return Ball(value, relative * (1 + 2 * relative) + margin(lax.log_p, total.dtype) * eps * jnp.abs(value))


def _exponentials(x: Array, most: Array) -> Array:
    # What is infinitely far below the maximum is zero, whatever the maximum.
    return jnp.where(x == -jnp.inf, 0, evaluate(lax.exp_p, x - most))


def _odds(own: Array, others: Array, relative: float) -> Interval:
    """`log Σ_{j≠i} exp(othersⱼ) − ownᵢ` along the last axis.

    All terms but one are scaled by the largest of all; those without it by the second largest. So every sum holds a
    one, and nothing that matters underflows.
    """
    is_most = lax.broadcasted_iota(jnp.int32, others.shape, others.ndim - 1) == jnp.argmax(
        others, axis=-1, keepdims=True
    ).astype(jnp.int32)
    rest = jnp.where(is_most, -jnp.inf, others)
    most, second = (jnp.max(x, axis=-1, keepdims=True) for x in (others, rest))
    terms = _exponentials(others, most)
    total = jnp.where(
        is_most,
        jnp.sum(_exponentials(rest, second), axis=-1, keepdims=True),
        jnp.sum(terms, axis=-1, keepdims=True) - terms,
    )
    scale = jnp.where(is_most, second, most)
    odds = (_log_ball(total, relative) + (balls.point(scale) + balls.point(-own))).interval()
    difference = scale - own
    infinite = jnp.isinf(difference)
    return Interval._make(jnp.where(infinite, difference, odds.lower), jnp.where(infinite, difference, odds.upper))


def _last(x: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """The array with its axes merged into one, the last."""
    order = [k for k in range(x.ndim) if k not in axes] + list(axes)
    moved = lax.transpose(x, order)
    kept = x.ndim - len(axes)
    return moved.reshape(*moved.shape[:kept], math.prod(moved.shape[kept:])), moved.shape


def _back(x: Interval, axes: tuple[int, ...], moved: tuple[int, ...]) -> Interval:
    order = [k for k in range(len(moved)) if k not in axes] + list(axes)
    inverse = [order.index(k) for k in range(len(order))]
    return Interval._make(*(lax.transpose(end.reshape(moved), inverse) for end in (x.lower, x.upper)))


def _all_odds(x: Interval, axes: tuple[int, ...]) -> tuple[Interval, tuple[int, ...]] | None:
    """The range of `log Sᵢ − xᵢ`: its least value has the others at their lower ends, its greatest at their upper."""
    low, moved = _last(x.lower, axes)
    upp, _ = _last(x.upper, axes)
    relative = _error(low.shape[-1], x.dtype)
    if relative is None:
        return None
    if ia.is_point(x):
        return _odds(low, low, relative), moved
    return Interval._make(_odds(upp, low, relative).lower, _odds(low, upp, relative).upper), moved


def softmax(x: Interval, axes: tuple[int, ...]) -> Interval | None:
    """The range of `exp(x)/Σ exp(x)` along axes; None where sums are too long for a bound."""
    found = _all_odds(x, axes)
    if found is None:
        return None
    odds, moved = found
    return _back(rule_for(lax.logistic_p)(ia.neg(odds)), axes, moved)


def log_softmax(x: Interval, axes: tuple[int, ...]) -> Interval | None:
    """The range of `x − log Σ exp(x)` along axes; None where sums are too long for a bound."""
    found = _all_odds(x, axes)
    if found is None:
        return None
    odds, moved = found
    return _back(ia.neg(softplus_range(odds)), axes, moved)


def logsumexp(x: Interval, axes: tuple[int, ...]) -> Interval | None:
    """The range of `log Σ exp(x)` along axes; None where sums are too long for a bound."""
    relative = _error(math.prod(x.shape[k] for k in axes), x.dtype)
    if relative is None:
        return None

    def at(end: Array) -> Interval:
        merged, _ = _last(end, axes)
        most = jnp.max(merged, axis=-1)
        total = jnp.sum(_exponentials(merged, most[..., None]), axis=-1)
        value = (_log_ball(total, relative) + balls.point(most)).interval()
        infinite = jnp.isinf(most)
        # No logsumexp is below the maximum.
        return Interval._make(
            jnp.where(infinite, most, jnp.maximum(value.lower, most)), jnp.where(infinite, most, value.upper)
        )

    low = at(x.lower)
    return low if ia.is_point(x) else Interval._make(low.lower, at(x.upper).upper)
