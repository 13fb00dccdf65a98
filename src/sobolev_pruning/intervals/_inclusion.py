"""`inclusion`: from a function of numbers to a function of intervals."""

import functools
from collections.abc import Callable
from typing import Any, cast, get_args

import jax
import jax.numpy as jnp

from ._interpret import Interpreter, clean, is_float
from ._interval import Interval, Ternary
from ._rounding import Rounding, rounding_mode, unbounded_if_nan


def _is_interval(x: Any) -> bool:
    return isinstance(x, Interval)


def inclusion(f: Callable[..., Any], *, rounding: str = "outward") -> Callable[..., Any]:
    """The natural interval extension of a JAX function, sharpened by exact ranges of activations.

    The result contains the range of `f` over the box, where `f` is the *exact function of real numbers* that its jaxpr
    describes, with its float constants taken as they are. A derivative is enclosed by differentiating first:
    `inclusion(jax.grad(f))`.

    The range is that over the points of the box at which all steps of `f` are defined: of `log` of a box that reaches
    below zero, the part above zero counts, and where nothing is left, the value is taken for any number at all (so
    `tanh` of it lies in [−1, 1]). Constants and exact arguments are meant to be finite: an infinite one is a number
    beyond all others, and a NaN among them makes every result unbounded, except for a NaN that is written out in `f`
    as a scalar: it is taken for any number.

    Args:
        f: A function that JAX can trace, of pytrees of arrays. It is traced once per structure, shape and dtype.
        rounding: `"outward"` covers all rounding errors. `"nearest"` leaves the margins out, which is cheaper;
            nothing is then guaranteed, and the result serves for rankings only.

    Returns:
        A function of the same arguments, each leaf of which is an `Interval` or, if it is exact, an array. Returns
        the pytree that `f` returns with an `Interval` in place of every float array. Integers and booleans are
        returned as arrays; a boolean that depends on an interval is returned as a `Ternary`. It is jitted, and may be
        transformed by `jax.jit`, `jax.vmap` and `jax.grad`.

    Raises:
        ValueError: `rounding` is not one of the two.
        UnsupportedPrimitiveError: when called, if `f` uses an operation that has no interval rule.
        TypeError: when called, if `f` computes in a format other than float32 and float64.

    >>> import jax, jax.numpy as jnp
    >>> box = Interval(-jnp.ones(()), jnp.ones(()))
    >>> inclusion(lambda x: x * jax.nn.sigmoid(x))(box).contains(0.0).item()
    True

    Reference: IEEE 1788-2015; R. Moore, R. Kearfott, M. Cloud, Introduction to Interval Analysis, 2009, section 5.4.
    """
    if rounding not in get_args(Rounding):
        raise ValueError(
            f"inclusion: `rounding` must be one of {get_args(Rounding)}, got {rounding!r}. Use 'outward' unless only a "
            "ranking is wanted."
        )

    @functools.wraps(f)
    def enclosed(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_interval)
        representatives = [x.lower if _is_interval(x) else x for x in leaves]
        out_tree = None

        def flat(*flat_leaves: Any) -> Any:
            nonlocal out_tree
            flat_args, flat_kwargs = jax.tree.unflatten(tree, flat_leaves)
            out, out_tree = jax.tree.flatten(f(*flat_args, **flat_kwargs))
            return out

        closed = jax.make_jaxpr(flat)(*representatives)
        assert out_tree is not None
        walk = Interpreter()
        nodes = [
            walk.interval(clean(x), aval) if _is_interval(x) else walk.exact(jnp.asarray(x), aval)
            for x, aval in zip(leaves, closed.in_avals, strict=True)
        ]
        with rounding_mode(cast(Rounding, rounding)):
            outputs = walk.run(closed.jaxpr, closed.consts, nodes)
            values = [walk.value(node) for node in outputs]
        nan = _any_nan([*closed.consts, *(x for x in leaves if not _is_interval(x))])
        return jax.tree.unflatten(
            out_tree,
            [_finished(v, n.aval, nan) for v, n in zip(values, outputs, strict=True)],
        )

    return jax.jit(enclosed)


def _any_nan(exact: list[Any]) -> Any:
    """Whether an exact array holds NaN: functions with bounded ranges would make a bound of it."""
    arrays = [jnp.asarray(x) for x in exact if not jnp.issubdtype(jnp.result_type(x), jax.dtypes.extended)]
    return functools.reduce(jnp.logical_or, [jnp.isnan(x).any() for x in arrays if is_float(x)], jnp.zeros((), bool))


def _finished(value: Any, aval: Any, nan: Any) -> Any:
    if isinstance(value, Ternary):
        return Ternary(value.can_be_true | nan, value.can_be_false | nan)
    if not is_float(aval) or not isinstance(value, Interval):
        return value
    lower, upper = unbounded_if_nan(value.lower, value.upper)
    lower, upper = jnp.where(nan, -jnp.inf, lower), jnp.where(nan, jnp.inf, upper)
    return Interval._make(jnp.broadcast_to(lower, aval.shape), jnp.broadcast_to(upper, aval.shape))
