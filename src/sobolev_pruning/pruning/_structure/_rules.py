"""How the primitives of JAX carry channels from operands to results, one law after the other.

A rule is given the atoms of every axis of the operands and returns those of the results. A primitive without a rule
fixes everything that it touches.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np
from jax import lax
from jax.extend.core import Primitive, primitives

from ..._compat import closed, scan_parts, since
from ._labels import Axes, Labels
from ._program import Program, Step, flatten

Rule = Callable[[Labels, Step, list[Axes], list[tuple[int, ...]]], list[Axes]]
_rules: dict[Primitive, Rule] = {}
RULES = MappingProxyType(_rules)


@final
@dataclass(frozen=True, eq=False)
class Body:
    """A program with the atoms of its values.

    Attributes:
        program: such as a network, or what a scan repeats.
        axes: the atoms of every axis of every value.
        bodies: by the identity of a step, the programs that it runs itself: of a scan one, of a condition its branches.
    """

    program: Program
    axes: list[Axes]
    bodies: Mapping[int, list["Body"]]

    def inside(self, step: Step) -> list["Body"]:
        """The programs that a step runs."""
        return self.bodies.get(id(step), [])


def propagate(labels: Labels, program: Program, inputs: Sequence[Axes]) -> Body:
    """The atoms of every value of a program, given those of its arguments."""
    axes: list[Axes] = [[] for _ in program.shapes]
    for number, argument in zip(program.inputs, inputs, strict=True):
        axes[number] = argument
    for number in program.constants:
        axes[number] = labels.fresh_axes(program.shapes[number])
        for atoms in axes[number]:
            labels.pin(atoms, "meets an array that is written into the program as a constant")
    for step in program.steps:
        rule = _rules.get(step.primitive, _unknown)
        results = rule(labels, step, [axes[i] for i in step.inputs], [program.shapes[i] for i in step.outputs])
        for number, result in zip(step.outputs, results, strict=True):
            axes[number] = result
    return Body(program, axes, labels.bodies)


def pinned_axes(labels: Labels, shape: Sequence[int], reason: str) -> Axes:
    """Axes that no channel passes."""
    axes = labels.fresh_axes(shape)
    for atoms in axes:
        labels.pin(atoms, reason)
    return axes


def _unknown(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    reason = f"is used by {step.name}, for which there is no rule"
    for atoms in (atoms for operand in operands for atoms in operand):
        labels.pin(atoms, reason)
    return [pinned_axes(labels, shape, reason) for shape in shapes]


def _entrywise(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Entry by entry: all arrays have the same channels, but for scalars and axes of one entry, which are broadcast."""
    joined = _joined(labels, operands, shapes[0])
    return [joined for _ in shapes]


def _joined(labels: Labels, operands: list[Axes], shape: Sequence[int]) -> Axes:
    axes = []
    for i, size in enumerate(shape):
        alike = [operand[i] for operand in operands if operand and operand[i].size == size]
        for other in alike[1:]:
            labels.join(alike[0], other)
        axes.append(alike[0] if alike else labels.fresh(size))
    return axes


def _passed(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Every operand is handed on as it is."""
    return operands


def _broadcast(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Axes are added, and axes of one entry widened."""
    (shape,) = shapes
    axes = labels.fresh_axes(shape)
    for atoms, dimension in zip(operands[0], step.params["broadcast_dimensions"], strict=True):
        if atoms.size == shape[dimension]:
            axes[dimension] = atoms
    return [axes]


def _transpose(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    return [[operands[0][i] for i in step.params["permutation"]]]


def _squeeze(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    gone = {i % len(operands[0]) for i in step.params["dimensions"]}
    return [[atoms for i, atoms in enumerate(operands[0]) if i not in gone]]


def _reversed(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    return [[atoms[::-1] if i in step.params["dimensions"] else atoms for i, atoms in enumerate(operands[0])]]


def _slice(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    starts, limits = step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(starts)
    return [[a[i:j:k] for a, i, j, k in zip(operands[0], starts, limits, strides, strict=True)]]


def _split(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axis = step.params["axis"]
    parts = np.split(operands[0][axis], np.cumsum(step.params["sizes"])[:-1])
    return [[*operands[0][:axis], part, *operands[0][axis + 1 :]] for part in parts]


def _concatenate(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axis = step.params["dimension"]
    others = shapes[0][:axis] + shapes[0][axis + 1 :]
    joined = _joined(labels, [o[:axis] + o[axis + 1 :] for o in operands], others)
    return [[*joined[:axis], np.concatenate([o[axis] for o in operands]), *joined[axis:]]]


def _stack(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axis = step.params["axis"]
    joined = _joined(labels, operands, shapes[0][:axis] + shapes[0][axis + 1 :])
    new = labels.fresh(len(operands))
    labels.pin(new, f"counts what {step.name} stacks")
    return [[*joined[:axis], new, *joined[axis:]]]


def _unstack(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axis = step.params["axis"]
    labels.pin(operands[0][axis], f"is taken apart by {step.name}")
    return [operands[0][:axis] + operands[0][axis + 1 :] for _ in shapes]


def _pad(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axes = []
    for atoms, (low, high, interior), size in zip(operands[0], step.params["padding_config"], shapes[0], strict=True):
        if min(low, high) < 0 or interior:
            labels.pin(atoms, f"is cropped or spread by {step.name}")
            axes.append(labels.fresh(size))
            labels.pin(axes[-1], f"comes from {step.name}")
        else:
            axes.append(np.concatenate([labels.fresh(int(low)), atoms, labels.fresh(int(high))]))
    return [axes]


def _reshape(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Axes are split into factors, and factors multiplied to axes."""
    (shape,) = shapes
    before = [atoms for atoms in operands[0] if atoms.size != 1]
    after = labels.fresh_axes(shape)
    long = [atoms for atoms in after if atoms.size != 1]
    if step.params["dimensions"] is not None or any(size == 0 for size in shape):
        return _unknown(labels, step, operands, shapes)

    def strides(axes: Axes) -> list[int]:
        return [int(np.prod([a.size for a in axes[i:]])) for i in range(len(axes) + 1)]

    cuts = sorted({*strides(before), *strides(long)}, reverse=True)
    if any(a % b for a, b in itertools.pairwise(cuts)):
        return _unknown(labels, step, operands, shapes)
    factors = {a: labels.fresh(a // b) for a, b in itertools.pairwise(cuts)}
    for axes in (before, long):
        ends = strides(axes)
        for atoms, begin, end in zip(axes, ends[:-1], ends[1:], strict=True):
            labels.product(atoms, [f for cut, f in factors.items() if end < cut <= begin], step.name)
    return [after]


def _reduced(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """The axes that are reduced end here; what is reduced together is mixed."""
    axes = step.params["axes"]
    for i in axes:
        labels.mix(operands[0][i], step.name)
    return [[atoms for i, atoms in enumerate(operands[0]) if i not in axes]]


def _index_reduced(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """The result counts entries, so they must stay in their places."""
    for i in step.params["axes"]:
        labels.pin(operands[0][i], f"is counted along by {step.name}")
    return _reduced(labels, step, operands, shapes)


def _along(name: str) -> Rule:
    """Entries of one axis meet in their order; the others are independent."""

    def rule(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
        joined = _entrywise(labels, step, operands, shapes)
        labels.pin(joined[0][step.params[name]], f"has an order that matters to {step.name}")
        return joined

    return rule


def _iota(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axes = labels.fresh_axes(shapes[0])
    labels.pin(axes[step.params["dimension"]], f"meets numbers counted by {step.name}")
    return [axes]


def _window(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """An axis with a window of one entry passes, the others are places, which are fixed."""
    params, axes = step.params, []
    for i, (atoms, size) in enumerate(zip(operands[0], shapes[0], strict=True)):
        trivial = params["window_dimensions"][i] == 1 and tuple(params["padding"][i]) == (0, 0)
        trivial = trivial and params["window_strides"][i] == 1
        trivial = trivial and params.get("base_dilation", (1,) * len(shapes[0]))[i] == 1
        if trivial:
            axes.append(atoms)
        else:
            labels.pin(atoms, f"is passed over by the window of {step.name}")
            axes.extend(pinned_axes(labels, [size], f"comes from the window of {step.name}"))
    return [axes]


def _gather(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Axes that are taken whole pass; those that are looked into are fixed."""
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    result = labels.fresh_axes(shapes[0])
    batching = tuple(numbers.operand_batching_dims)
    offsets = iter(numbers.offset_dims)
    used = set()
    for i, atoms in enumerate(operands[0]):
        if i in numbers.collapsed_slice_dims or i in batching:
            labels.pin(atoms, f"is looked into by {step.name}")
            continue
        place = next(offsets)
        if sizes[i] == atoms.size and i not in numbers.start_index_map:
            result[place] = atoms
            used.add(place)
        else:
            labels.pin(atoms, f"is looked into by {step.name}")
    for atoms in (a for i, a in enumerate(result) if i not in used):
        labels.pin(atoms, f"comes from the indices of {step.name}")
    for atoms in operands[1]:
        labels.pin(atoms, f"holds indices of {step.name}")
    return [result]


def _dynamic_slice(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    axes = []
    for atoms, size in zip(operands[0], shapes[0], strict=True):
        if atoms.size == size:
            axes.append(atoms)
        else:
            labels.pin(atoms, f"is looked into by {step.name}")
            axes.extend(pinned_axes(labels, [size], f"comes from {step.name}"))
    return [axes]


def _dot(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """Axes that are summed over or run in parallel are joined; the others become those of the result."""
    left, right = operands
    (left_sum, right_sum), (left_batch, right_batch) = step.params["dimension_numbers"]
    for i, j in zip((*left_sum, *left_batch), (*right_sum, *right_batch), strict=True):
        labels.join(left[i], right[j])
    return [
        [
            *(left[i] for i in left_batch),
            *(atoms for i, atoms in enumerate(left) if i not in {*left_sum, *left_batch}),
            *(atoms for j, atoms in enumerate(right) if j not in {*right_sum, *right_batch}),
        ]
    ]


def _convolution(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """A product in the features; in several groups, an axis of features is (group, feature in the group)."""
    image, kernel = operands
    if step.params["batch_group_count"] != 1:
        return _unknown(labels, step, operands, shapes)
    numbers = step.params["dimension_numbers"]
    batch, features, *places = numbers.lhs_spec
    out, into, *window = numbers.rhs_spec
    out_batch, out_features, *out_places = numbers.out_spec
    n_groups = step.params["feature_group_count"]
    result = labels.fresh_axes(shapes[0])
    for i, j, k in zip(places, window, out_places, strict=True):
        labels.pin(image[i], f"is passed over by the window of {step.name}")
        labels.pin(kernel[j], f"is the window of {step.name}")
        labels.pin(result[k], f"comes from the window of {step.name}")
    if n_groups == 1:
        labels.join(image[features], kernel[into])
    else:
        group = labels.fresh(n_groups)
        labels.product(image[features], [group, kernel[into]], step.name)
        labels.product(kernel[out], [group, labels.fresh(kernel[out].size // n_groups)], step.name)
    result[out_batch], result[out_features] = image[batch], kernel[out]
    return [result]


def scan_counts(step: Step) -> tuple[int, int]:
    """How many operands of a scan are the same in all its steps, and how many are carried from one to the next."""
    scan = scan_parts(step.params)
    return scan.n_consts, scan.n_carry


def _scan(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """What is carried has the same channels in every step; the axis of the steps is fixed."""
    scan = scan_parts(step.params)
    body, n_consts, n_carry = flatten(scan.body), scan.n_consts, scan.n_carry
    n_fixed = n_consts + n_carry
    for operand in operands[n_fixed:]:
        labels.pin(operand[0], f"counts the steps of {step.name}")
    inputs = operands[:n_fixed] + [operand[1:] for operand in operands[n_fixed:]]
    inside = propagate(labels, body, inputs)
    labels.bodies[id(step)] = [inside]
    results = [inside.axes[i] for i in body.outputs]
    carried = inputs[n_consts:n_fixed]
    for before, after in zip(carried, results, strict=False):
        for first, second in zip(before, after, strict=True):
            labels.join(first, second)
    stacked = results[n_carry:]
    counts = f"counts the steps of {step.name}"
    return results[:n_carry] + [pinned_axes(labels, [scan.length], counts) + s for s in stacked]


def _cond(labels: Labels, step: Step, operands: list[Axes], shapes: list[tuple[int, ...]]) -> list[Axes]:
    """All branches return the same channels."""
    inside = [propagate(labels, flatten(closed(branch)), operands[1:]) for branch in step.params["branches"]]
    labels.bodies[id(step)] = inside
    results = [[body.axes[i] for i in body.program.outputs] for body in inside]
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            for a, b in zip(first, second, strict=True):
                labels.join(a, b)
    return results[0]


def _register(rule: Rule, *defined: Primitive) -> None:
    for primitive in defined:
        if primitive in _rules:
            raise ValueError(f"`{primitive.name}` has two rules.")
        _rules[primitive] = rule


_ENTRYWISE = (
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e",
    "cbrt", "ceil", "clamp", "convert_element_type", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igammac", "integer_pow", "is_finite", "le", "lgamma",
    "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "polygamma", "pow",
    "reduce_precision", "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh",
    "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor", "zeta",
)  # fmt: skip
_register(_entrywise, *(getattr(lax, f"{name}_p") for name in _ENTRYWISE))
_register(_entrywise, primitives.add_jaxvals_p, primitives.copy_p, primitives.name_p, *since("one_minus_square"))
_register(_passed, lax.optimization_barrier_p)
ENTRYWISE = frozenset(_rules)
"""What treats every entry by itself, so that it does the same to fewer of them."""

_register(_broadcast, lax.broadcast_in_dim_p)
_register(_transpose, lax.transpose_p)
_register(_squeeze, lax.squeeze_p)
_register(_reversed, lax.rev_p)
_register(_slice, lax.slice_p)
_register(_split, lax.split_p)
_register(_concatenate, lax.concatenate_p)
_register(_stack, lax.stack_p)
_register(_unstack, lax.unstack_p)
_register(_pad, lax.pad_p)
_register(_reshape, lax.reshape_p)
_register(
    _reduced, lax.reduce_sum_p, lax.reduce_max_p, lax.reduce_min_p, lax.reduce_prod_p, lax.reduce_and_p,
    lax.reduce_or_p,
)  # fmt: skip
_register(_index_reduced, lax.argmax_p, lax.argmin_p)
_register(_along("axis"), lax.cumsum_p, lax.cumprod_p, lax.cummax_p, lax.cummin_p, lax.cumlogsumexp_p)
_register(_along("dimension"), lax.sort_p)
_register(_iota, lax.iota_p)
_register(_window, lax.reduce_window_sum_p, lax.reduce_window_max_p, lax.reduce_window_min_p)
_register(_gather, lax.gather_p)
_register(_dynamic_slice, lax.dynamic_slice_p)
_register(_dot, lax.dot_general_p)
_register(_convolution, lax.conv_general_dilated_p)
_register(_scan, lax.scan_p)
_register(_cond, lax.cond_p)
