"""Relations of values whose entries are placed by indices or by padding.

A relation is moved as the values are: forwards by the operation itself, backwards by its transpose. JAX transposes an
operation as its parameters describe it, which is not always what the operation did. An index out of bounds that was
promised to be in bounds is clipped by a gather, but dropped by the transpose; what is filled in comes from no entry;
and the share of a padding value is computed as a difference, which rounding leaves different from zero. So the
operation is first written as one whose transpose is exact: in the mode that its evaluation follows, without promises
(sorted, unique), and with what is filled in apart from what is moved.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from .._origins import Origin
from .._registry import rule_for
from .._relational import Linear
from .._relations import Relations, laws, moved, summed

_Mode = lax.GatherScatterMode
_NO_PROMISE = {"unique_indices": False, "indices_are_sorted": False}


def _with(made: Origin, **params: Any) -> Origin:
    return made._replace(params=made.params | params)


def _gathered(walk: Relations, made: Origin, aval: Any) -> Any:
    """The entries at clipped indices; where one out of bounds is filled instead, only the filling is known."""
    mode = made.params["mode"]
    if mode not in (_Mode.CLIP, _Mode.PROMISE_IN_BOUNDS, _Mode.FILL_OR_DROP):
        return None
    clipped = moved(walk, _with(made, mode=_Mode.CLIP, fill_value=None, **_NO_PROMISE), aval)
    if clipped is None or mode is not _Mode.FILL_OR_DROP:
        return clipped
    operand, indices = (walk.value(n) for n in made.inputs)
    seen = jnp.ones(made.inputs[0].aval.shape, aval.dtype)
    filled = made.primitive.bind(seen, indices, **(made.params | {"fill_value": 0})) == 0
    hull = rule_for(made.primitive)(operand, indices, **made.params)
    both = (walk.domain.shared(clipped),) * 2
    return walk.domain.choice(jnp.zeros(aval.shape, bool), filled, both, hull)


def _padded(walk: Relations, made: Origin, aval: Any) -> Any:
    """The operand between zeros, plus the padding value where that stands."""
    operand, value = made.inputs
    if operand.aval.dtype != aval.dtype or value.aval.dtype != aval.dtype:
        return None

    def between(ends: Array, x: Array) -> Array:
        return made.primitive.bind(x, ends, **made.params)

    def placed(x: Array) -> Array:
        return between(jnp.zeros((), aval.dtype), x)

    inside = walk.domain.linear(Linear(placed, placed, 0), [walk.shared(operand)])
    if value.form is not None and value.form.value == 0:
        return inside
    padding = between(jnp.ones((), bool), jnp.zeros(operand.aval.shape, bool))
    hull = rule_for(made.primitive)(*map(walk.value, made.inputs), **made.params)
    both = (walk.domain.shared(inside), walk.shared(value, aval.shape))
    return walk.domain.choice(padding, jnp.zeros(aval.shape, bool), both, hull)


def _added(walk: Relations, made: Origin, aval: Any) -> Any:
    """A sum at indices. What is promised to be in bounds, and is not, is dropped."""
    mode = made.params["mode"]
    if mode is _Mode.PROMISE_IN_BOUNDS:
        mode = _Mode.FILL_OR_DROP
    return summed(lambda origin: origin.inputs[2].aval.size + 1)(walk, _with(made, mode=mode, **_NO_PROMISE), aval)


laws[lax.gather_p] = _gathered
laws[lax.pad_p] = _padded
laws[lax.scatter_add_p] = _added
