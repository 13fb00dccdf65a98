"""The mean-value form, and monotonicity: enclosures that use the derivative.

Let `f` be continuous and piecewise differentiable on the box `[x]`, and `[J]` enclose its derivative there. Along a
segment between `c` and `x` in the box, `f(x) − f(c)` is the integral of the derivative, so `f(x) ∈ f(c) + [J](x − c)`.
The excess width of this form falls with the square of the width of the box, where that of the natural extension falls
linearly. Where an entry of `[J]` has a definite sign, `f` is monotone in that input, and has its bounds at the ends.

Reference: R. Moore, R. Kearfott, M. Cloud, Introduction to Interval Analysis, 2009, sections 6.2 and 6.4; E. Baumann,
Optimal centered forms, BIT 28 (1988) (the centres).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import jaxpr_as_fun

from ._adjoints import jacobian_blocks
from ._arguments import check_arithmetic, check_function
from ._inclusion import inclusion, total_inclusion
from ._interval import Interval
from ._program import Program, replaced, trace
from ._smoothness import differentiable, proved_continuous


def mean_value(f: Callable[..., Any], *, rounding: str = "outward", domain: str = "interval") -> Callable[..., Any]:
    """An interval extension like `inclusion`, intersected with the mean-value form and sharpened by monotonicity.

    Never wider than `inclusion(f, domain=domain)`, except that nothing is said of any output if one of them is nowhere
    defined on the box: all are unbounded then. It tightens where `f` is proved to be continuous over the box with a
    derivative that bounds its slopes, and keeps the natural enclosure elsewhere: for outputs that are no floats, for
    unbounded boxes, and for programs with steps that jump (comparisons, `floor`, `sign`), with loops other than `scan`,
    or with an operand that comes too near to the end of a domain (`log`, `sqrt`, division). Declared derivatives
    (`jax.custom_jvp`, `jax.custom_vjp`, `jax.lax.stop_gradient`) are not trusted: the function is differentiated step
    by step.

    For m outputs the cost is that of the natural enclosure, the interval Jacobian, and 4·m enclosures more. It is meant
    for few outputs and for boxes that are not large: `mean_value(jax.grad(f))` encloses a gradient.

    Args:
        f: A function that JAX can trace and differentiate, of pytrees of arrays.
        rounding: As in `inclusion`.
        domain: As in `inclusion`, for values and derivatives.

    Returns:
        A function of the same arguments and results as `inclusion(f)`. May be transformed by `jax.jit` and `jax.vmap`.

    Raises:
        TypeError: `f` is not callable; when called, as `inclusion`.
        ValueError: `rounding` or `domain` is unknown.
        UnsupportedPrimitiveError: when called, if `f` uses an operation that has no interval rule, or its derivative
            does where it is needed.

    >>> import jax.numpy as jnp
    >>> f = lambda x: x * x - x
    >>> box = Interval(jnp.asarray(1.0), jnp.asarray(1.25))
    >>> bool(mean_value(f)(box).width < 0.32)
    True
    """
    check_function("mean_value", f)
    check_arithmetic("mean_value", rounding, domain)
    arithmetic: dict[str, Any] = {"rounding": rounding, "domain": domain}

    @jax.jit
    def enclosed(args: tuple, kwargs: dict[str, Any]) -> Any:
        program = trace(f, args, kwargs)
        return jax.tree.unflatten(program.out_tree, _enclose(program, arithmetic))

    @functools.wraps(f, updated=())
    def sharpened(*args: Any, **kwargs: Any) -> Any:
        return enclosed(args, kwargs)

    return sharpened


def _enclose(program: Program, arithmetic: dict[str, Any]) -> list[Any]:
    natural = total_inclusion(jaxpr_as_fun(program.closed), **arithmetic)(*program.leaves)
    inputs = [p for p, x in enumerate(program.leaves) if isinstance(x, Interval) and _is_float(x)]
    outputs = [k for k, aval in enumerate(program.closed.out_avals) if _is_float(aval) and aval.size]
    proved = proved_continuous(program, arithmetic) if inputs and outputs else None
    if proved is None:
        return natural
    box = [program.leaves[p] for p in inputs]
    proper = functools.reduce(jnp.logical_and, [_is_bounded(x) for x in box])
    replayed = program._replace(closed=differentiable(program.closed))
    lows, upps = _sharp_bounds(replayed, inputs, outputs, arithmetic)
    results = list(natural)
    for k, low, upp in zip(outputs, lows, upps, strict=True):
        x = natural[k]
        lower, upper = jnp.maximum(x.lower, low), jnp.minimum(x.upper, upp)
        # Rounded to nearest, the two may miss each other.
        known = proved & proper & (lower <= upper)
        results[k] = Interval._make(jnp.where(known, lower, x.lower), jnp.where(known, upper, x.upper))
    return results


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _is_bounded(x: Interval) -> Array:
    return ((x.lower <= x.upper) & jnp.isfinite(x.upper - x.lower)).all()


def _sharp_bounds(
    program: Program, inputs: Sequence[int], outputs: Sequence[int], arithmetic: dict[str, Any]
) -> tuple[list[Array], list[Array]]:
    """Lower and upper bounds of the float outputs, from the derivative."""
    outs = [program.closed.out_avals[k] for k in outputs]
    every = program._replace(closed=jax.make_jaxpr(_floats(program, outputs))(*program.closed.in_avals))
    sizes = sum(a.size for a in outs), sum(program.leaves[p].size for p in inputs)
    blocks = jacobian_blocks(every, inputs, "reverse" if sizes[0] <= sizes[1] else "forward", **arithmetic)
    box = [program.leaves[p] for p in inputs]
    # The derivative of every single output (first axis) by each input.
    rows = [
        [
            jax.tree.map(lambda e, a=a, x=x: e.reshape((a.size, *x.shape)), block)
            for block, x in zip(row, box, strict=True)
        ]
        for row, a in zip(blocks, outs, strict=True)
    ]
    sides = [[_sides(j, x) for j, x in zip(row, box, strict=True)] for row in rows]
    # One batch: boxes with the monotone inputs pinned for the lower and the upper bound, and the centres of both.
    batch = [
        jax.tree.map(lambda *ends: jnp.concatenate(ends), *(row[j][s] for s in range(4) for row in sides))
        for j in range(len(inputs))
    ]
    values = jax.vmap(
        inclusion(lambda b: jaxpr_as_fun(every.closed)(*replaced(every.leaves, inputs, b)), **arithmetic)
    )(batch)
    centred = inclusion(_centred, rounding=arithmetic["rounding"])
    total, ends = sizes[0], np.cumsum([0, *(a.size for a in outs)])
    lows, upps = [], []
    for k, a in enumerate(outs):
        own = np.arange(ends[k], ends[k + 1])  # of its rows of the batch, each output takes its own entry

        def mine(end: Array, own: Any = own, a: Any = a) -> Array:
            return end.reshape(4, total, a.size)[:, own, np.arange(a.size)]

        value = jax.tree.map(mine, values[k])
        pinned_low, pinned_upp, at_low, at_upp = (value[s] for s in range(4))
        slopes, (low_box, upp_box, low_centre, upp_centre) = rows[k], zip(*sides[k], strict=True)
        form_low = centred(at_low, slopes, low_box, [c.lower for c in low_centre])
        form_upp = centred(at_upp, slopes, upp_box, [c.lower for c in upp_centre])
        lows.append(jnp.maximum(pinned_low.lower, form_low.lower).reshape(a.shape))
        upps.append(jnp.minimum(pinned_upp.upper, form_upp.upper).reshape(a.shape))
    return lows, upps


def _floats(program: Program, outputs: Sequence[int]) -> Callable[..., list[Array]]:
    def floats(*leaves: Any) -> list[Array]:
        results = jaxpr_as_fun(program.closed)(*leaves)
        return [results[k] for k in outputs]

    return floats


def _sides(slope: Interval, x: Interval) -> tuple[Interval, Interval, Interval, Interval]:
    """The parts of the box where each output has its lower and its upper bound, and the best centre in each.

    With the slope in `[l, u]`, `l < 0 < u`, the lower bound of the form is largest at the centre
    `(u·lower − l·upper)/(u − l)`, and the upper bound least at its mirror image.
    """
    rising, falling = slope.lower >= 0, slope.upper <= 0
    span = slope.upper - slope.lower
    known = jnp.isfinite(span) & (span > 0)
    share = jnp.where(known, -slope.lower, 0.5) / jnp.where(known, span, 1.0)
    share = jnp.clip(share, 0.0, 1.0).astype(x.dtype)
    low, upp = (jnp.broadcast_to(end, slope.shape) for end in (x.lower, x.upper))
    step = share * (upp - low)

    def side(first: Array, last: Array, centre: Array) -> tuple[Interval, Interval]:
        pinned = Interval._make(
            jnp.where(rising, first, jnp.where(falling, last, low)),
            jnp.where(rising, first, jnp.where(falling, last, upp)),
        )
        middle = jnp.clip(centre, pinned.lower, pinned.upper)
        return pinned, Interval._make(middle, middle)

    (low_box, low_centre), (upp_box, upp_centre) = side(low, upp, low + step), side(upp, low, upp - step)
    return low_box, upp_box, low_centre, upp_centre


def _centred(value: Array, slopes: Sequence[Array], x: Sequence[Array], centre: Sequence[Array]) -> Array:
    """`f(c) + J(x − c)`, for every output."""
    for slope, entry, c in zip(slopes, x, centre, strict=True):
        product = slope.astype(value.dtype) * (entry - c).astype(value.dtype)
        value = value + product.reshape(value.shape[0], -1).sum(axis=1)
    return value
