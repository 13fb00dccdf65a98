"""Whether a function is defined, and continuous, on a whole region, and whether its derivatives are its own.

Enclosures are those of IEEE 1788: of the square root of a box that reaches below zero, the part above zero counts. A
certificate speaks of every point, and so it needs to know that there is a value at each. A bound of a derivative says
how a function changes only where the function does not jump, and where the derivative is that of the function: neither
is so of a step, or of an activation whose derivative was declared to be another one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._compat import NO_DERIVATIVE
from ..intervals import Decoration, Interval, inclusion, stepwise
from ..surrogate import ACTIVATIONS, MLP, Surrogate

# Cells that are looked at together, and at most in all, about a second on one core.
_AT_ONCE, _MOST = 64, 4096


def defined(
    f: Callable[[Any], Any], box: Interval, inside: Callable[[Any], Any] | None, least: Decoration = Decoration.DEF
) -> np.ndarray:
    """Of every entry of a function `(k,) -> (q,)`, whether it is proved to be defined everywhere in a box, `(q,)`.

    Cells where that is not seen at once are cut in two, as long as there are not too many of them.

    Args:
        f: the function.
        box: of its argument, `(k,)`.
        inside: as in `enclose_range`: where in the box it matters; None for everywhere.
        least: `DAC` asks whether it is continuous as well.
    """

    def both(u: Any) -> Any:
        return f(u), jnp.ones((), bool) if inside is None else jnp.all(inside(u))

    enclosed = jax.jit(jax.vmap(inclusion(both, decorated=True)))
    low, upp = np.asarray(box.lower)[None], np.asarray(box.upper)[None]
    whole = np.maximum(upp[0] - low[0], np.finfo(low.dtype).tiny)
    sure: np.ndarray | None = None
    seen = 0
    while True:
        parts = [
            _looked_at(enclosed, low[k : k + _AT_ONCE], upp[k : k + _AT_ONCE], least)
            for k in range(0, len(low), _AT_ONCE)
        ]
        doubtful = np.concatenate(parts)
        seen += len(low)
        sure = np.ones(doubtful.shape[1], bool) if sure is None else sure
        # Once an entry is doubtful in the end, nothing is gained by looking at it again.
        cells = (doubtful & sure).any(1)
        if not cells.any():
            return sure
        low, upp, doubtful = low[cells], upp[cells], doubtful[cells]
        axis = ((upp - low) / whole).argmax(1)
        rows = np.arange(len(low))
        middle = low[rows, axis] + (upp[rows, axis] - low[rows, axis]) / 2
        atoms = (middle <= low[rows, axis]) | (middle >= upp[rows, axis])
        if seen + 2 * len(low) > _MOST or atoms.any():
            return sure & ~doubtful.any(0)
        end, start = upp.copy(), low.copy()
        end[rows, axis] = start[rows, axis] = middle
        low, upp = np.concatenate([low, start]), np.concatenate([end, upp])


def own_derivatives(surrogate: Surrogate) -> Surrogate:
    """A surrogate whose activation has the derivatives of its steps, if it declares others.

    Known activations are as they are. Of others, first and second derivatives are compared at points, so that rules
    which only say the same in a better way (as those of `jax.nn.softplus` and `relu`) stay.
    """
    activation = surrogate.network.activation
    if any(activation is known for known in ACTIVATIONS.values()):
        return surrogate
    steps = stepwise(activation)
    x = jnp.linspace(-19.37, 20.11, 1001, dtype=surrogate.network.layers[0].weight.dtype)

    def derivatives(f: Callable[[Any], Any]) -> list[np.ndarray]:
        slope = jax.grad(lambda x: f(x).sum())
        return [np.asarray(d) for d in (slope(x), jax.jvp(slope, (x,), (jnp.ones_like(x),))[1])]

    try:
        pairs = zip(derivatives(activation), derivatives(steps), strict=True)
        same = all(np.allclose(*_finite(*pair), rtol=1e-3, atol=1e-3) for pair in pairs)
    except NO_DERIVATIVE:  # what is declared cannot be compared, so it does not count
        same = False
    if same:
        return surrogate
    return Surrogate(MLP(surrogate.network.layers, steps), surrogate.normalisation, surrogate.provenance)


def _finite(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def _looked_at(enclosed: Callable[[Any], Any], low: np.ndarray, upp: np.ndarray, least: Decoration) -> np.ndarray:
    """Where it is not proved that the function is as asked for, `(n, q)`; nowhere outside of the region."""
    n = len(low)
    ends = (jnp.asarray(np.concatenate([x, np.repeat(x[:1], _AT_ONCE - n, axis=0)])) for x in (low, upp))
    (value, maybe), (decorations, _) = enclosed(Interval(*ends))
    possible = np.asarray(getattr(maybe, "can_be_true", maybe))
    # An empty enclosure is one of a function without values.
    doubtful = (np.asarray(decorations) < least) | np.asarray(~(value.lower <= value.upper))
    return (doubtful & possible[:, None])[:n]
