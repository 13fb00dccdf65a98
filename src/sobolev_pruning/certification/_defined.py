"""Whether a function is defined on a whole region.

Enclosures are those of IEEE 1788: of the square root of a box that reaches below zero, the part above zero counts. A
certificate speaks of every point, and so it needs to know that there is a value at each.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..intervals import Decoration, Interval, inclusion

# Cells that are looked at together, and at most in all, about a second on one core.
_AT_ONCE, _MOST = 64, 4096


def defined(f: Callable[[Any], Any], box: Interval, inside: Callable[[Any], Any] | None) -> np.ndarray:
    """Of every entry of a function `(k,) -> (q,)`, whether it is proved to be defined everywhere in a box, `(q,)`.

    Cells where that is not seen at once are cut in two, as long as there are not too many of them.

    Args:
        f: the function.
        box: of its argument, `(k,)`.
        inside: as in `enclose_range`: where in the box it matters; None for everywhere.
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
            _looked_at(enclosed, low[k : k + _AT_ONCE], upp[k : k + _AT_ONCE]) for k in range(0, len(low), _AT_ONCE)
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


def _looked_at(enclosed: Callable[[Any], Any], low: np.ndarray, upp: np.ndarray) -> np.ndarray:
    """Where it is not proved that the function is defined, `(n, q)`; nowhere outside of the region."""
    n = len(low)
    ends = (jnp.asarray(np.concatenate([x, np.repeat(x[:1], _AT_ONCE - n, axis=0)])) for x in (low, upp))
    (value, maybe), (decorations, _) = enclosed(Interval(*ends))
    possible = np.asarray(getattr(maybe, "can_be_true", maybe))
    # An empty enclosure is one of a function without values.
    doubtful = (np.asarray(decorations) < Decoration.DEF) | np.asarray(~(value.lower <= value.upper))
    return (doubtful & possible[:, None])[:n]
