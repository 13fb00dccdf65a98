"""What the functions of this package refuse, before anything is traced."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ._interval import Interval
from ._program import is_interval
from ._relational_domains import DOMAINS
from ._rounding import Rounding, format_of


def check_function(caller: str, f: Any) -> None:
    """Raises `TypeError` unless `f` can be called."""
    if not callable(f):
        raise TypeError(
            f"{caller}: `f` must be a function of arrays, got {type(f).__name__}. Pass the function first and its "
            f"arguments to what is returned: `{caller}(f)(box)`."
        )


def check_arithmetic(caller: str, rounding: Any, domain: Any = "interval") -> None:
    """Raises `ValueError` unless `rounding` and `domain` name what there is."""
    if rounding not in get_args(Rounding):
        raise ValueError(
            f"{caller}: `rounding` must be one of {get_args(Rounding)}, got {rounding!r}. Use 'outward' unless only a "
            "ranking is wanted."
        )
    if domain not in DOMAINS:
        raise ValueError(
            f"{caller}: `domain` must be one of {tuple(DOMAINS)}, got {domain!r}. Use 'interval' for speed, 'affine' "
            "for composed functions such as networks."
        )


def check_arguments(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises `TypeError` for what is no array, and for floats other than float32 and float64."""
    for path, leaf in jax.tree_util.tree_leaves_with_path((args, kwargs), is_leaf=is_interval):
        if is_interval(leaf):
            if not isinstance(leaf.lower, jax.Array | np.ndarray):
                continue  # inside of a transformation that puts placeholders in
            if leaf.lower.dtype not in (np.float32, np.float64) and jnp.issubdtype(leaf.lower.dtype, jnp.floating):
                format_of(leaf.lower.dtype)
        elif not _has_dtype(leaf):
            where = _argument_name(f, path)
            raise TypeError(
                f"inclusion: {where} of `{getattr(f, '__name__', 'f')}` is a {type(leaf).__name__}, but only "
                "intervals and arrays can be enclosed. Bind anything else beforehand, as with `functools.partial`."
            )


def _argument_name(f: Callable[..., Any], path: tuple[Any, ...]) -> str:
    """How a user would call the leaf at a path of `(args, kwargs)`."""
    kind, which, *rest = path
    name = str(which.key) if kind.idx else _positional_name(f, which.idx) or f"[{which.idx}]"
    return f"the argument `{name}{jax.tree_util.keystr(tuple(rest))}`"


def _positional_name(f: Callable[..., Any], i: int) -> str | None:
    try:
        parameters = inspect.signature(f).parameters.values()
        return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][i]
    except (TypeError, ValueError, IndexError):  # a builtin, or `*args`
        return None


def check_argnums(caller: str, argnums: Any) -> tuple[int, ...]:
    """`argnums` as a tuple.

    Raises:
        TypeError: it is neither an integer nor a tuple of integers.
        ValueError: it is empty.
    """
    several = tuple(argnums) if isinstance(argnums, Sequence) and not isinstance(argnums, str) else (argnums,)
    if not all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in several):
        raise TypeError(
            f"{caller}: `argnums` must be an integer or a tuple of integers, got {argnums!r}. It counts the positional "
            "arguments of `f` from 0."
        )
    if not several:
        raise ValueError(f"{caller}: `argnums` is empty. Name at least one argument to differentiate with respect to.")
    return tuple(int(i) for i in several)


def differentiated(caller: str, f: Callable[..., Any], argnums: tuple[int, ...], args: Sequence[Any]) -> list[int]:
    """The positions of the arguments that `argnums` names, counted from 0.

    Raises:
        ValueError: there is no such argument, or it is named twice.
        TypeError: an entry of such an argument is not a float.
    """
    n = len(args)
    for i in argnums:
        if not -n <= i < n:
            raise ValueError(
                f"{caller}: `argnums` names argument {i}, but `f` was called with {n} positional arguments. Count from "
                "0, and pass what you differentiate with respect to by position, not by keyword."
            )
    positions = [i % n for i in argnums]
    if len(set(positions)) < len(positions):
        raise ValueError(f"{caller}: `argnums` names an argument twice: {argnums}.")
    for i in positions:
        for leaf in jax.tree.leaves(args[i], is_leaf=is_interval):
            if not is_interval(leaf) and not _is_float(leaf):
                kind = jnp.result_type(leaf) if _has_dtype(leaf) else type(leaf).__name__
                raise TypeError(
                    f"{caller}: {_described(f, i)} is to be differentiated (`argnums`), but holds {kind}. Only floats "
                    "have derivatives: convert it with `.astype(float)`, or name another argument."
                )
    return positions


def _has_dtype(x: Any) -> bool:
    if isinstance(x, str | bytes):  # NumPy's have one
        return False
    return isinstance(x, bool | int | float | complex) or hasattr(x, "dtype")


def _is_float(x: Any) -> bool:
    return _has_dtype(x) and jnp.issubdtype(jnp.result_type(x), jnp.floating)


def _described(f: Callable[..., Any], i: int) -> str:
    name = _positional_name(f, i)
    return f"argument {i} (`{name}`)" if name else f"argument {i}"


def direction_like(caller: str, name: str, direction: Any, like: Any) -> Any:
    """A direction (a tangent or a cotangent) with the structure, the shapes and the dtypes of what it belongs to.

    Raises:
        ValueError: the structure or a shape differs.
        TypeError: a dtype differs.
    """
    leaves, tree = jax.tree.flatten(direction, is_leaf=is_interval)
    models, expected = jax.tree.flatten(like, is_leaf=is_interval)
    if tree != expected:
        raise ValueError(f"{caller}: `{name}` has the structure {tree}, expected that of its counterpart, {expected}.")
    result = []
    for leaf, model in zip(leaves, models, strict=True):
        wanted, shape = jnp.result_type(_end(model)), jnp.shape(_end(model))
        # A Python number takes the dtype of its counterpart.
        leaf = jnp.asarray(leaf, wanted) if isinstance(leaf, int | float) else leaf
        dtype = jnp.result_type(_end(leaf))
        if jnp.shape(_end(leaf)) != shape:
            raise ValueError(
                f"{caller}: `{name}` has an entry of shape {jnp.shape(_end(leaf))} where its counterpart has the shape "
                f"{shape}."
            )
        if dtype != wanted:
            raise TypeError(
                f"{caller}: `{name}` has an entry of dtype {dtype} where its counterpart has {wanted}. Convert it "
                f"with `.astype({wanted})`."
            )
        result.append(leaf)
    return jax.tree.unflatten(tree, result)


def _end(x: Any) -> Any:
    return x.lower if isinstance(x, Interval) else x
