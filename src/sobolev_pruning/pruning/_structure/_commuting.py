"""Whether a smaller program does, on the entries that are kept, what a program does on all of them.

Two programs run the same steps. Let R take the kept entries of a value, and let Z fill the removed entries of an
operand with what leaves a sum, a product or a maximum alone. If every step commutes with the removal,

    small step(R(a), R(b), …) = R(step(Z(a), Z(b), …))   for all a, b, …,

then by induction the smaller network returns what the network returns without the removed channels. Each step is tried
by itself, on operands drawn at random: a reshape that puts entries of two heads into one, a slice with written bounds
or a convolution whose groups have changed shows itself at that step, in its shape or in its numbers.

The numbers in the programs are compared as well. Those that have become others, such as the scale `1/√d`, and counts of
means that have remained what they were are returned to whoever asks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jaxtyping import Array

from ._labels import Axes, Channels
from ._program import Program, Step, apply
from ._rules import ENTRYWISE, RULES, Body, scan_counts

# What leaves a reduction alone.
_NEUTRAL: dict[Primitive, Any] = {
    lax.reduce_sum_p: lambda dtype: np.zeros((), dtype),
    lax.reduce_prod_p: lambda dtype: np.ones((), dtype),
    lax.reduce_max_p: lambda dtype: _extreme(dtype, -1),
    lax.reduce_min_p: lambda dtype: _extreme(dtype, 1),
    lax.reduce_and_p: lambda dtype: np.invert(np.zeros((), dtype)),
    lax.reduce_or_p: lambda dtype: np.zeros((), dtype),
}
# Integers among their operands are places to look at, and any others would be out of range.
_LOOKING = frozenset({lax.gather_p, lax.dynamic_slice_p})


def _extreme(dtype: Any, sign: int) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.bool_):
        return np.array(sign > 0)
    if jnp.issubdtype(dtype, jnp.integer):
        return np.array(jnp.iinfo(dtype).max if sign > 0 else jnp.iinfo(dtype).min, dtype)
    return np.array(sign * np.inf).astype(dtype)


class OtherStepsError(Exception):
    """Two programs do not run the same steps on the same operands."""


@final
@dataclass(frozen=True)
class Removal:
    """What is removed from the values of a program.

    Attributes:
        channels: of its atoms.
        gone: of every channel, whether it is removed.
    """

    channels: Channels
    gone: np.ndarray

    def kept(self, axes: Axes) -> list[np.ndarray]:
        """For every axis the entries that stay."""
        return [np.nonzero(~self.gone[self.channels.of[atoms]])[0] for atoms in axes]

    def touches(self, axes: Axes) -> bool:
        """Whether any entry is removed."""
        return any(self.gone[self.channels.of[atoms]].any() for atoms in axes)

    def taken(self, value: Array, axes: Axes) -> Array:
        """The entries that stay."""
        for axis, left in enumerate(self.kept(axes)):
            if left.size < value.shape[axis]:
                value = jnp.take(value, left, axis=axis)
        return value

    def filled(self, value: Array, axes: Axes, along: Sequence[int], neutral: Any) -> Array:
        """Removed entries of some axes replaced."""
        for axis in along:
            gone = self.gone[self.channels.of[axes[axis]]]
            if gone.any():
                shape = [1] * value.ndim
                shape[axis] = gone.size
                value = jnp.where(gone.reshape(shape), neutral, value)
        return value

    def without(self, step: Step, operands: Sequence[Any], axes: Sequence[Axes]) -> list[Any]:
        """The results of a step that sees nothing of what is removed."""
        if step.primitive in _NEUTRAL:
            neutral = _NEUTRAL[step.primitive](operands[0].dtype)
            return apply(step, [self.filled(operands[0], axes[0], _integers(step.params["axes"]), neutral)])
        along = _summed(step)
        return apply(
            step,
            [
                self.filled(value, a, summed, np.zeros((), value.dtype)) if summed else value
                for value, a, summed in zip(operands, axes, along, strict=True)
            ],
        )


def _integers(axes: Sequence[Any]) -> tuple[int, ...]:
    """Axes as Python's integers; JAX leaves NumPy's where a code has computed them."""
    return tuple(map(int, axes))


def _summed(step: Step) -> list[tuple[int, ...]]:
    """For every operand the axes that a product sums over."""
    if step.primitive is lax.dot_general_p:
        return [_integers(axes) for axes in step.params["dimension_numbers"][0]]
    if step.primitive is lax.conv_general_dilated_p:
        numbers = step.params["dimension_numbers"]
        return [(numbers.lhs_spec[1],), (numbers.rhs_spec[1],)]
    return [()] * len(step.inputs)


@final
@dataclass(frozen=True)
class Changed:
    """A number in the program that is another one with fewer channels.

    Attributes:
        step: that uses it.
        before, after: the number.
    """

    step: Step
    before: Any
    after: Any

    def __str__(self) -> str:
        """Both numbers, and where they are used."""
        return f"{_in_words(self.before)} becomes {_in_words(self.after)} in {self.step.name}"


def _in_words(number: Any) -> str:
    array = np.asarray(number)
    return f"{array.item():.6g}" if array.size == 1 else f"an array of shape {array.shape}"


@final
@dataclass(frozen=True)
class Numbers:
    """What is to be said of the numbers in a smaller program.

    Attributes:
        changed: those that have become others.
        stale: means of channels that still divide by the number of all of them, in words.
    """

    changed: list[Changed]
    stale: list[str]


def first_difference(whole: Body, small: Body, removal: Removal) -> tuple[str | None, Numbers]:
    """Where a smaller program does something else than a program without what is removed, if anywhere.

    Args:
        whole: the program.
        small: the smaller one.
        removal: what is removed of the first.

    Returns:
        The first step that differs, in words, or None; and what is to be said of the numbers.

    Raises:
        OtherStepsError: the programs run different steps, so they cannot be compared one by one.
    """
    numbers = Numbers([], [])
    return next(_differences(whole, small, removal, numbers), None), numbers


def _differences(whole: Body, small: Body, removal: Removal, numbers: Numbers) -> Iterator[str]:
    before, after = whole.program, small.program
    if len(before.steps) != len(after.steps):
        raise OtherStepsError
    same = dict(zip(before.inputs, after.inputs, strict=True))
    counts: dict[int, int] = {}
    for step, other in zip(before.steps, after.steps, strict=True):
        if step.primitive is not other.primitive or len(step.inputs) != len(other.inputs):
            raise OtherStepsError
        for i, j in zip(step.inputs, other.inputs, strict=True):
            if i in before.constants and j in after.constants:
                pair = np.asarray(before.constants[i]), np.asarray(after.constants[j])
                if not _equal(*pair):
                    numbers.changed.append(Changed(step, *pair))
                elif any(_is_count(step, pair[0], counts[k]) for k in step.inputs if k in counts):
                    numbers.stale.append(
                        f"{step.name} still divides by {_in_words(pair[0])}, the number of all of them"
                    )
            elif same.get(i) != j:
                raise OtherStepsError
        same.update(zip(step.outputs, other.outputs, strict=True))
        for i, j in zip((*step.inputs, *step.outputs), (*other.inputs, *other.outputs), strict=True):
            wanted = tuple(left.size for left in removal.kept(whole.axes[i]))
            if after.shapes[j] != wanted:
                verb = "makes" if i in step.outputs else "is given"
                yield (
                    f"{other.name} {verb} an array of shape {after.shapes[j]}; of {before.shapes[i]} the kept channels "
                    f"have shape {wanted}."
                )
        yield from _differences_of_step(whole, small, step, other, removal, numbers)
        _follow_counts(whole, step, removal, counts)
    for i, j in zip(before.outputs, after.outputs, strict=True):
        if same.get(i) != j and not (i in before.constants and j in after.constants):
            raise OtherStepsError


# What a sum passes on its way to the number that it is divided by.
_PASSING = frozenset({lax.broadcast_in_dim_p, lax.reshape_p, lax.squeeze_p, lax.convert_element_type_p})


def _follow_counts(whole: Body, step: Step, removal: Removal, counts: dict[int, int]) -> None:
    """Keep in mind which values are sums over channels of which some are gone, and of how many entries."""
    if step.primitive is lax.reduce_sum_p:
        shape, axes = whole.program.shapes[step.inputs[0]], whole.axes[step.inputs[0]]
        if removal.touches([axes[i] for i in step.params["axes"]]):
            counts[step.outputs[0]] = int(np.prod([shape[i] for i in step.params["axes"]]))
    elif step.primitive in _PASSING and step.inputs[0] in counts:
        counts[step.outputs[0]] = counts[step.inputs[0]]


def _is_count(step: Step, number: np.ndarray, count: int) -> bool:
    """Whether a sum of so many entries is divided by their number, or by one less as for a variance."""
    if number.size != 1 or step.primitive not in (lax.div_p, lax.mul_p):
        return False
    value = float(number.item().real)
    found = value if step.primitive is lax.div_p else 1 / value if value else 0.0
    return any(abs(found - n) < 1e-3 for n in (count, count - 1))


def _equal(before: np.ndarray, after: np.ndarray) -> bool:
    return before.shape == after.shape and before.tobytes() == after.tobytes()


def _differences_of_step(
    whole: Body, small: Body, step: Step, other: Step, removal: Removal, numbers: Numbers
) -> Iterator[str]:
    if step.primitive in (lax.scan_p, lax.cond_p):
        if any(step.params.get(name) != other.params.get(name) for name in ("length", "reverse")):
            yield f"{other.name} runs another number of times."
        for body, smaller in zip(whole.inside(step), small.inside(other), strict=True):
            yield from _differences(body, smaller, removal, numbers)
        return
    touched = any(removal.touches(whole.axes[i]) for i in (*step.inputs, *step.outputs))
    altered = _params(step) != _params(other)
    if not altered and (step.primitive in ENTRYWISE or not touched):
        return
    different = f"{other.name} does something else with the channels that stay than it did with all of them."
    if step.primitive not in RULES:
        # Nothing is removed of what it is given, and it does not know what it should do with less.
        yield different
        return
    program = whole.program
    operands = [
        jnp.asarray(program.constants[i]) if i in program.constants else _drawn(program, step, place)
        for place, i in enumerate(step.inputs)
    ]
    axes = [whole.axes[i] for i in step.inputs]
    expected = removal.without(step, operands, axes)
    smaller = [removal.taken(value, a) for value, a in zip(operands, axes, strict=True)]
    try:
        found = apply(other, smaller)
    except (TypeError, ValueError) as error:
        yield f"{other.name} fails on the channels that stay: {error}"
        return
    for i, wanted, result in zip(step.outputs, expected, found, strict=True):
        if not close(removal.taken(wanted, whole.axes[i]), result):
            yield different


def _params(step: Step) -> dict[str, str]:
    """Parameters in words: programs among them are compared by what they say, since each trace makes new ones."""
    return {name: str(value) for name, value in step.params.items() if not callable(value)}


def _drawn(program: Program, step: Step, place: int) -> Array:
    """An operand of a step: random floats; integers in their order, so that each is told from the others."""
    shape, dtype = program.shapes[step.inputs[place]], program.dtypes[step.inputs[place]]
    rng = np.random.default_rng(place)
    if jnp.issubdtype(dtype, jnp.bool_):
        return jnp.asarray(rng.integers(2, size=shape).astype(bool))
    if jnp.issubdtype(dtype, jnp.integer):
        looking = step.primitive in _LOOKING and place > 0
        numbers = np.zeros(shape, int) if looking else np.arange(int(np.prod(shape))).reshape(shape) % 97
        return jnp.asarray(numbers, dtype)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(rng.uniform(0.5, 1.5, size=shape), dtype)
    # Keys of random numbers, which have a type of their own.
    return jax.random.split(jax.random.key(0), int(np.prod(shape))).reshape(shape)


def close(wanted: Array, found: Array) -> bool:
    """Whether two results are the same but for the order of sums: what really differs does so in the first digits."""
    if wanted.shape != found.shape:
        return False
    if not jnp.issubdtype(wanted.dtype, jnp.inexact):
        return bool(jnp.all(wanted == found))
    a, b = (np.asarray(v, np.complex128 if jnp.iscomplexobj(v) else np.float64) for v in (wanted, found))
    tolerance = float(jnp.finfo(wanted.dtype).eps) ** 0.5
    largest = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def evaluate_without(whole: Body, removal: Removal, args: Sequence[Any]) -> list[Any]:
    """The results of a program that sees nothing of what is removed, on arguments of full size."""
    program = whole.program
    env: dict[int, Any] = dict(program.constants)
    env.update(zip(program.inputs, args, strict=True))
    for step in program.steps:
        results = _evaluated(whole, step, removal, [env[i] for i in step.inputs])
        env.update(zip(step.outputs, results, strict=True))
    return [env[i] for i in program.outputs]


def _evaluated(whole: Body, step: Step, removal: Removal, operands: list[Any]) -> Sequence[Any]:
    inner = whole.inside(step)
    if step.primitive is lax.cond_p:
        branches = [lambda *args, body=body: evaluate_without(body, removal, args) for body in inner]
        return lax.switch(operands[0], branches, *operands[1:])
    if step.primitive is lax.scan_p:
        n_consts, n_carry = scan_counts(step)
        n_fixed = n_consts + n_carry

        def one(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
            results = evaluate_without(inner[0], removal, [*operands[:n_consts], *carry, *x])
            return results[:n_carry], results[n_carry:]

        length, reverse = step.params["length"], step.params["reverse"]
        carry, ys = lax.scan(one, operands[n_consts:n_fixed], operands[n_fixed:], length=length, reverse=reverse)
        return [*carry, *ys]
    return removal.without(step, operands, [whole.axes[i] for i in step.inputs])
