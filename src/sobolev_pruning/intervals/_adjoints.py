"""Enclosures of derivatives: differentiate first, enclose second.

The derivative of `f` by JAX is a program like any other, and the natural interval extension of that program encloses
the derivative over the box. Matrices of derivatives are products with unit vectors, all in one pass: a batch of
cotangents or tangents of one enclosed program.

A derivative may look defined where the function is not: that of `log x` is `1/x` for negative x, too. So the function
is enclosed along with its derivative, and where it is nowhere defined, nothing is said of either.

Reference: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., 2008, chapter 3; V. Vassiliadis et al., Towards
automatic significance analysis for approximate computing, CGO 2016 (interval adjoints).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._arguments import check_argnums, check_arithmetic, check_function, differentiated, direction_like
from ._inclusion import total_inclusion
from ._interval import Interval
from ._program import Program, replaced, trace

Mode = Literal["reverse", "forward"]


def interval_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses the gradient of a scalar function over a box.

    Args:
        f: A function that JAX can differentiate, of pytrees of arrays; returns one float, of shape `()`.
        argnums: Which positional arguments to differentiate with respect to. Their leaves are floats: intervals or
            arrays that are known exactly, such as parameters.
        has_aux: Whether `f` returns a pair of that float and more, which is enclosed as by `inclusion`.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function of the same arguments, each leaf of which is an `Interval` or, if it is exact, an array. Returns
        intervals in the structure of `jax.grad(f, argnums, has_aux)`. May be transformed by `jax.jit` and `jax.vmap`.

    Raises:
        TypeError: `f` is not callable, or `argnums` is no integer; when called, if an argument to differentiate holds
            other things than floats, or the result of `f` is no scalar.
        ValueError: `argnums`, `rounding` or `domain` names nothing that exists.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.

    >>> import jax.numpy as jnp
    >>> slope = interval_grad(lambda x: x**3)(Interval(jnp.asarray(1.0), jnp.asarray(2.0)))
    >>> slope.contains(jnp.asarray([3.0, 12.0])).tolist()
    [True, True]
    """
    both = _value_and_grad("interval_grad", f, argnums, has_aux, rounding, domain)

    @functools.wraps(f, updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, slope = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return gradient


def interval_value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses a scalar function and its gradient over a box: `(value, gradient)`, in one pass.

    Arguments, results and errors are those of `interval_grad`; the structure is that of `jax.value_and_grad`.
    """
    return _value_and_grad("interval_value_and_grad", f, argnums, has_aux, rounding, domain)


def _value_and_grad(
    caller: str, f: Callable[..., Any], argnums: Any, has_aux: bool, rounding: str, domain: str
) -> Callable[..., Any]:
    check_function(caller, f)
    check_arithmetic(caller, rounding, domain)
    several = check_argnums(caller, argnums)
    which = several if isinstance(argnums, Sequence) else several[0]

    @functools.wraps(f, updated=())
    def scalar(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        check_scalar(caller, result[0] if has_aux else result)
        return result

    enclosed = total_inclusion(jax.value_and_grad(scalar, which, has_aux), rounding=rounding, domain=domain)

    @functools.wraps(f, updated=())
    def gradient(*args: Any, **kwargs: Any) -> Any:
        differentiated(caller, f, several, args)
        return enclosed(*args, **kwargs)

    return gradient


def check_scalar(caller: str, value: Any) -> None:
    """Raises `TypeError` unless `value` is one float."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(value)]
    if jax.tree.structure(value) != jax.tree.structure(0) or shapes != [()]:
        raise TypeError(
            f"{caller}: `f` must return one float of shape (), got {_shapes(value)}. Use `interval_jacobian` for "
            "several outputs, or return one of them, such as `f(x)[0]`."
        )
    check_floats(caller, [value])


def check_floats(caller: str, outputs: Sequence[Any]) -> None:
    """Raises `TypeError` unless all outputs are floats."""
    for out in outputs:
        if not jnp.issubdtype(jnp.result_type(out), jnp.floating):
            raise TypeError(
                f"{caller}: `f` must return floats, got {jnp.result_type(out)}. Only floats have derivatives; leave "
                "the others out of what `f` returns."
            )


def _shapes(value: Any) -> str:
    if jax.tree.structure(value) == jax.tree.structure(0):
        return f"shape {jnp.shape(value)}"
    return f"a {type(value).__name__} of shapes {[jnp.shape(leaf) for leaf in jax.tree.leaves(value)]}"


def interval_vjp(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses a function and the product of a cotangent with its Jacobian.

    Args:
        f: A function that JAX can differentiate, of pytrees of arrays; returns a pytree of floats.
        argnums: As in `interval_grad`.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function `(*args, cotangent, **kwargs) -> (values, adjoints)`. The cotangent comes last and is shaped like
        what `f` returns; its leaves are intervals or exact arrays. The adjoints are shaped like the argument, or the
        tuple of arguments, that `argnums` names. For many cotangents, `jax.vmap` it.

    Raises:
        TypeError: as `interval_grad`, or, when called, the cotangent has another dtype than the output.
        ValueError: as `interval_grad`, or, when called, the cotangent has another structure or shape.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.
    """
    caller = "interval_vjp"
    check_function(caller, f)
    several = check_argnums(caller, argnums)

    def pull(args: tuple, kwargs: dict[str, Any], cotangent: Any) -> Any:
        positions = [i % len(args) for i in several]

        def of(*chosen: Any) -> Any:
            return f(*replaced(args, positions, chosen), **kwargs)

        values, pullback = jax.vjp(of, *(args[i] for i in positions))
        check_floats(caller, jax.tree.leaves(values))
        adjoints = pullback(direction_like(caller, "cotangent", cotangent, values))
        return values, adjoints if isinstance(argnums, Sequence) else adjoints[0]

    check_arithmetic(caller, rounding, domain)
    enclosed = total_inclusion(pull, rounding=rounding, domain=domain)

    @functools.wraps(f, updated=())
    def vjp(*args_and_cotangent: Any, **kwargs: Any) -> Any:
        args, cotangent = _split(caller, "cotangent", args_and_cotangent)
        differentiated(caller, f, several, args)
        return enclosed(args, kwargs, cotangent)

    return vjp


def interval_jvp(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses a function and its derivative along a tangent.

    Args:
        f: A function that JAX can differentiate, of pytrees of arrays.
        argnums: As in `interval_grad`.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function `(*args, tangent, **kwargs) -> (values, tangents)`. The tangent comes last and is shaped like the
        argument, or the tuple of arguments, that `argnums` names; its leaves are intervals or exact arrays.

    Raises:
        TypeError: as `interval_grad`, or, when called, the tangent has another dtype than the argument.
        ValueError: as `interval_grad`, or, when called, the tangent has another structure or shape.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.
    """

    def push(of: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        values, directions = jax.jvp(of, tuple(primals), tuple(tangents))
        check_floats("interval_jvp", jax.tree.leaves(values))
        return values, directions

    return _along("interval_jvp", "tangent", push, f, argnums, rounding, domain)


def interval_hvp(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses the product of the Hessian of a scalar function with a direction, forward over reverse.

    Args:
        f: A function that JAX can differentiate twice; returns one float, of shape `()`.
        argnums: As in `interval_grad`.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function `(*args, v, **kwargs) -> product`. The direction `v` comes last and is shaped like the argument, or
        the tuple of arguments, that `argnums` names, and so is the product.

    Raises:
        TypeError: as `interval_grad`, or, when called, `v` has another dtype than the argument.
        ValueError: as `interval_grad`, or, when called, `v` has another structure or shape.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.
    """

    def push(of: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        def scalar(*chosen: Any) -> Any:
            value = of(*chosen)
            check_scalar("interval_hvp", value)
            return value

        both = jax.value_and_grad(scalar, tuple(range(len(primals))))
        (value, _), (_, product) = jax.jvp(both, tuple(primals), tuple(tangents))
        return value, product if isinstance(argnums, Sequence) else product[0]

    along = _along("interval_hvp", "v", push, f, argnums, rounding, domain)

    @functools.wraps(f, updated=())
    def product(*args_and_direction: Any, **kwargs: Any) -> Any:
        return along(*args_and_direction, **kwargs)[1]

    return product


def _along(
    caller: str, name: str, push: Any, f: Callable[..., Any], argnums: Any, rounding: str, domain: str
) -> Callable[..., Any]:
    """The enclosure of `push` at the arguments to differentiate and a direction that is shaped like them."""
    check_function(caller, f)
    check_arithmetic(caller, rounding, domain)
    several = check_argnums(caller, argnums)

    def pushed(args: tuple, kwargs: dict[str, Any], tangents: tuple) -> Any:
        positions = [i % len(args) for i in several]

        def of(*chosen: Any) -> Any:
            return f(*replaced(args, positions, chosen), **kwargs)

        return push(of, [args[i] for i in positions], tangents)

    enclosed = total_inclusion(pushed, rounding=rounding, domain=domain)

    @functools.wraps(f, updated=())
    def along(*args_and_direction: Any, **kwargs: Any) -> Any:
        args, direction = _split(caller, name, args_and_direction)
        positions = differentiated(caller, f, several, args)
        like = tuple(args[i] for i in positions)
        if isinstance(argnums, Sequence):
            direction = direction_like(caller, name, tuple(direction), like)
        else:
            direction = (direction_like(caller, name, direction, like[0]),)
        return enclosed(args, kwargs, direction)

    return along


def _split(caller: str, name: str, args: tuple) -> tuple[tuple, Any]:
    if len(args) < 2:
        raise TypeError(f"{caller}: expected the arguments of `f` and, last, `{name}`, got {len(args)} arguments.")
    return args[:-1], args[-1]


def interval_jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: Mode | None = None,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses the Jacobian of a function over a box.

    Args:
        f: A function that JAX can differentiate, of pytrees of arrays; returns a pytree of floats.
        argnums: As in `interval_grad`.
        mode: `"reverse"` pulls a batch of unit cotangents back, one for every output; `"forward"` pushes a batch of
            unit tangents, one for every input. None takes the smaller batch, and reverse of equal ones. Both enclose
            the same Jacobian, with other widths: where width counts, try both and intersect.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function of the same arguments, as in `interval_grad`. Returns intervals in the structure of
        `jax.jacobian(f, argnums)`: the derivative of an output of shape `s` by an argument of shape `t` has the shape
        `s + t`.

    Raises:
        TypeError: as `interval_grad`, except that every float output will do.
        ValueError: as `interval_grad`, or `mode` is unknown.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.
    """
    caller = "interval_jacobian"
    check_function(caller, f)
    check_arithmetic(caller, rounding, domain)
    several = check_argnums(caller, argnums)
    if mode not in ("reverse", "forward", None):
        raise ValueError(f"{caller}: `mode` must be 'reverse', 'forward' or None, got {mode!r}.")

    @jax.jit
    def enclosed(args: tuple, kwargs: dict[str, Any]) -> Any:
        program = trace(f, args, kwargs)
        outs = program.closed.out_avals
        check_floats(caller, outs)
        positions = program.chosen([i % len(args) for i in several])
        chosen = [program.closed.in_avals[p] for p in positions]
        fewer_outs = sum(a.size for a in outs) <= sum(a.size for a in chosen)
        blocks = jacobian_blocks(program, positions, mode or ("reverse" if fewer_outs else "forward"), rounding, domain)
        rows = [_like_arguments(args, several, argnums, row) for row in blocks]
        return jax.tree.unflatten(program.out_tree, rows)

    @functools.wraps(f, updated=())
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        differentiated(caller, f, several, args)
        return enclosed(args, kwargs)

    return jacobian


def interval_hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    rounding: str = "outward",
    domain: str = "interval",
) -> Callable[..., Any]:
    """Encloses the Hessian of a scalar function over a box: forward over reverse, all columns in one batch.

    Args:
        f: A function that JAX can differentiate twice; returns one float, of shape `()`.
        argnums: As in `interval_grad`.
        rounding: As in `inclusion`.
        domain: As in `inclusion`.

    Returns:
        A function of the same arguments, as in `interval_grad`. Returns intervals in the structure of
        `jax.hessian(f, argnums)`: of arguments of the shapes `s` and `t`, the second derivative has the shape `s + t`.

    Raises:
        TypeError: as `interval_grad`. For several outputs take `interval_jacobian(jax.jacobian(f))`.
        ValueError: as `interval_grad`.
        UnsupportedPrimitiveError: when called, if the derivative uses an operation that has no interval rule.
    """
    caller = "interval_hessian"
    check_function(caller, f)
    check_arithmetic(caller, rounding, domain)
    several = check_argnums(caller, argnums)

    @jax.jit
    def enclosed(args: tuple, kwargs: dict[str, Any]) -> Any:
        program = trace(f, args, kwargs)
        check_scalar(caller, jax.tree.unflatten(program.out_tree, program.closed.out_avals))
        positions = program.chosen([i % len(args) for i in several])

        def slope(*leaves: Any) -> list[Array]:
            chosen = [leaves[p] for p in positions]
            both = jax.value_and_grad(lambda *c: program.of(positions, leaves)(*c)[0], tuple(range(len(positions))))
            value, gradient = both(*chosen)
            return [*gradient, value]

        derivative = trace(slope, program.leaves, {})
        *blocks, _ = jacobian_blocks(derivative, positions, "forward", rounding, domain)
        return _like_arguments(args, several, argnums, [_like_arguments(args, several, argnums, row) for row in blocks])

    @functools.wraps(f, updated=())
    def hessian(*args: Any, **kwargs: Any) -> Any:
        differentiated(caller, f, several, args)
        return enclosed(args, kwargs)

    return hessian


def _like_arguments(args: tuple, several: tuple[int, ...], argnums: Any, leaves: Sequence[Any]) -> Any:
    """Leaves in the structure of the argument, or the tuple of arguments, that is differentiated."""
    chosen = tuple(args[i] for i in several)
    like = chosen if isinstance(argnums, Sequence) else chosen[0]
    return jax.tree.unflatten(jax.tree.structure(like, is_leaf=lambda x: isinstance(x, Interval)), leaves)


def jacobian_blocks(
    program: Program, positions: Sequence[int], mode: Mode, rounding: str, domain: str = "interval"
) -> list[list[Interval]]:
    """The enclosed derivative of every output by every leaf at `positions`, of shape `output.shape + leaf.shape`.

    The batch of directions is laid around the enclosed product, not inside of it: so the enclosed program has the
    shapes of `f` itself, and its activations are recognised.
    """
    outs = program.closed.out_avals
    ins = [program.closed.in_avals[p] for p in positions]

    def pull(directions: Any, leaves: Any) -> Any:
        values, pullback = jax.vjp(program.of(positions, leaves), *(leaves[p] for p in positions))
        return values, list(pullback(directions))

    def push(directions: Any, leaves: Any) -> Any:
        of, chosen = program.of(positions, leaves), [leaves[p] for p in positions]
        return jax.jvp(of, tuple(chosen), tuple(directions))

    product = total_inclusion(pull if mode == "reverse" else push, rounding=rounding, domain=domain)
    rows, columns = (outs, ins) if mode == "reverse" else (ins, outs)
    # The values are wanted for one thing: where one is nowhere defined, the derivatives are unbounded.
    _, batch = jax.vmap(product, in_axes=(0, None))(unit_directions(rows), program.leaves)
    # Of a part of the batch and a result, `row.shape + column.shape`; forward it is the transpose that is wanted.
    ends = np.cumsum([0, *(row.size for row in rows)])

    def block(i: int, j: int) -> Interval:
        row, column, (start, stop) = rows[i], columns[j], ends[i : i + 2]

        def arranged(end: Array) -> Array:
            part = end[start:stop].reshape(row.shape + column.shape)
            return part if mode == "reverse" else jnp.moveaxis(part, range(row.ndim), range(-row.ndim, 0))

        return jax.tree.map(arranged, batch[j])

    if mode == "reverse":
        return [[block(i, j) for j in range(len(ins))] for i in range(len(outs))]
    return [[block(j, i) for j in range(len(ins))] for i in range(len(outs))]


def unit_directions(avals: Sequence[Any]) -> list[Array]:
    """The unit vectors of a list of arrays: leaf `k` has the shape `(total size,) + avals[k].shape`."""
    total = sum(a.size for a in avals)
    unit = np.eye(total, dtype=bool)
    ends = np.cumsum([0, *(a.size for a in avals)])
    return [
        jnp.asarray(unit[:, start:stop].reshape((total, *a.shape)), a.dtype)
        for a, start, stop in zip(avals, ends[:-1], ends[1:], strict=True)
    ]
