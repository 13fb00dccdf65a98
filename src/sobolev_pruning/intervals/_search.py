"""Branch and bound over the cells of a box: many cells in one compiled call, the worst first.

Cells live in arrays on the host that grow by doubling. Cutting a cell writes one half over it and appends the other.
Cells whose bounds reach nowhere beyond what is attained are put aside: only their bounds are remembered.

A cell whose enclosure is empty proves nothing: f is not defined there, though it ought to be. So its bounds are
infinite, and where such a cell is known to hold points of the region, the search is over. A cell that is undefined in
part has the enclosure of the rest, so cells around points where f was not a number are looked at before all others.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ._directions import Axes, Coordinates, jacobian, midpoints
from ._inclusion import inclusion
from ._interval import Interval
from ._ternary import Ternary

# Points that are tried before anything is cut; rounds of tries around the best, and tries around each in a round.
_POINTS = 2048
_ROUNDS = 16
_TRIES = 8

# Points that are evaluated together.
_AT_ONCE = 512

# How large a cell around a point where f is not a number is, as a share of the box.
_AROUND = 2.0**-10

# After how many rounds all cells are looked at again, for what is attained changes.
_REVIEW = 16


class Search:
    """The cells of a box that are still of interest, with enclosures of f, a function `(d,) → (q,)`, over them.

    The derivative of the guide, another function `(d,) → (r,)`, says which coordinate of a cell matters most.

    Attributes:
        count: cells enclosed so far.
        undefined: whether f is nowhere defined on a cell of the region; nothing is said of its range then.
        least, most: of every entry, the least and largest value attained, `(q,)`.
        at_least, at_most: where, `(q, d)`.
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        guide: Callable[[Any], Any],
        coordinates: Coordinates,
        *,
        inside: Callable[[Any], Any] | None,
        domain: str,
        rounding: str,
        cells_at_once: int,
    ) -> None:
        self._coordinates = coordinates
        devices = jax.local_devices()
        self._size = -(-cells_at_once // len(devices)) * len(devices)
        enclosed = inclusion(
            lambda p: _with_constraint(f, inside)(coordinates.point(p)), rounding=rounding, domain=domain
        )
        at_point = _with_constraint(f, inside)
        self._enclosed = _shared_out(enclosed, devices)
        self._values = jax.jit(jax.vmap(at_point))
        self._slopes = jax.jit(jax.vmap(jacobian(guide)))
        self._guided = jax.jit(jax.vmap(guide))
        self.count = 0
        self.undefined = False
        self._rounds = 0
        self._whole = np.maximum(coordinates.upp - coordinates.low, np.finfo(coordinates.low.dtype).tiny)
        self._strange = np.zeros((0, coordinates.box[0].size), coordinates.box[0].dtype)
        self._explore()
        if len(self._strange):
            self._evaluate(*self._around(self._strange))
        low, upp = self._first_cells()
        *cells, _ = self._evaluate(low, upp)
        # Bounds of what has been put aside.
        q = cells[2].shape[1]
        dtype = cells[2].dtype
        self._aside = np.full(q, np.inf, dtype), np.full(q, -np.inf, dtype)
        self._cells = [*cells, self._beyond(cells[2], cells[3])]
        self._n = len(low)

    def _first_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """As many cells as are enclosed together, cut without looking at enclosures: one would cost as much."""
        low, upp = self._coordinates.low[None], self._coordinates.upp[None]
        while 2 * len(low) <= self._size:
            axis = self._effects(low, upp).argmax(1)
            rows = np.arange(len(low))
            middle = midpoints(low, upp)[rows, axis]
            if np.any((middle == low[rows, axis]) | (middle == upp[rows, axis])):
                break
            low, upp, possible = self._coordinates.contracted(*_halves(low, upp, axis, middle))
            low, upp = low[possible], upp[possible]
        return low, upp

    def _around(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Small cells around points `(n, d)`, of which the directions, if there are any, are not cut."""
        low, upp = self._coordinates.box
        first, last = (end[: len(end) - x.shape[1]] for end in (self._coordinates.low, self._coordinates.upp))
        radius = _AROUND * (upp - low)
        cells = (np.maximum(x - radius, low), np.minimum(x + radius, upp))
        low, upp = (
            np.concatenate([np.tile(end, (len(x), 1)), by_axis], 1)
            for end, by_axis in zip((first, last), cells, strict=True)
        )
        return low, upp

    # What is attained.

    def _explore(self) -> None:
        """Tries points, and others around the best: the better what is attained is known, the fewer cells matter."""
        rng = np.random.default_rng(0)
        low, upp = self._coordinates.box
        d = low.size
        share = rng.random((_POINTS, d))
        share[::4] = np.round(share[::4])
        x = np.clip(low + (upp - low) * share, low, upp).astype(low.dtype)
        values = self._at(x)[0]
        q = values.shape[1]
        self.least, self.most = np.full(q, np.inf, values.dtype), np.full(q, -np.inf, values.dtype)
        self.at_least, self.at_most = np.zeros((q, d), low.dtype), np.zeros((q, d), low.dtype)
        self._try(x)
        for k in range(_ROUNDS):
            best = np.tile(np.concatenate([self.at_least, self.at_most]), (_TRIES, 1))
            moved = best + 0.3 * 0.7**k * (upp - low) * rng.standard_normal(best.shape)
            # The extremes are often at the ends of some inputs.
            ends = np.where(rng.random(best.shape) < 0.5, low, upp)
            alone = rng.random(best.shape) < 1 / d
            x = np.where((rng.random(len(best)) < 0.5)[:, None], moved, np.where(alone, ends, best))
            self._try(np.clip(x, low, upp).astype(low.dtype))
        units = np.asarray(
            self._guided(jnp.asarray(np.clip(low + (upp - low) * share[:_AT_ONCE], low, upp, dtype=low.dtype)))
        )
        span = np.ptp(np.where(np.isfinite(units), units, 0), axis=0)
        self._guide_unit = np.where(span > 0, span, 1)

    def _at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at points, and whether they are in the region; the last batch is filled up."""
        filled = np.concatenate([x, np.repeat(x[:1], -len(x) % _AT_ONCE, axis=0)])
        parts = [self._values(jnp.asarray(filled[k : k + _AT_ONCE])) for k in range(0, len(filled), _AT_ONCE)]
        values, inside = (np.concatenate([np.asarray(p[i]) for p in parts])[: len(x)] for i in (0, 1))
        return values, inside

    def _try(self, x: np.ndarray) -> None:
        """Evaluates points, and remembers the best."""
        self._take(x, *self._at(x))

    def _take(self, x: np.ndarray, values: np.ndarray, possible: np.ndarray) -> None:
        """Remembers the best of points `(n, d)` with values `(n, q)`."""
        usable = np.isfinite(values) & possible[:, None]
        strange = np.isnan(values).any(1) & possible
        self._strange = np.concatenate([self._strange, x[strange]])[: self._size]
        for sign, best, where in ((1, "least", "at_least"), (-1, "most", "at_most")):
            tried = np.where(usable, sign * values, np.inf)
            k = tried.argmin(0)
            found = np.take_along_axis(tried, k[None], 0)[0]
            better = found < sign * getattr(self, best)
            setattr(self, best, np.where(better, sign * found, getattr(self, best)))
            setattr(self, where, np.where(better[:, None], x[k], getattr(self, where)))

    # What is enclosed.

    def _evaluate(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, ...]:
        """Contracted cells with their bounds, the effect of each coordinate, and whether f is nowhere defined.

        The bounds are infinite where it is not, and empty where no point of the region can be.
        """
        parts = [self._batch(low[k : k + self._size], upp[k : k + self._size]) for k in range(0, len(low), self._size)]
        self.count += len(low)
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _batch(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, ...]:
        n = len(low)
        low, upp = (np.concatenate([x, np.repeat(x[:1], self._size - n, axis=0)]) for x in (low, upp))
        low, upp, possible = self._coordinates.contracted(low, upp)
        enclosure, maybe = self._enclosed(Interval._make(jnp.asarray(low), jnp.asarray(upp)))
        middle = self._coordinates.middle(low, upp)
        values, inside = map(np.asarray, self._values(jnp.asarray(middle)))
        self._take(middle[:n], values[:n], inside[:n])
        if isinstance(maybe, Ternary):  # of a predicate that is nowhere defined, neither is known
            maybe = maybe.can_be_true | ~maybe.can_be_false
        possible = possible & np.asarray(maybe)
        lower, upper = np.asarray(enclosure.lower), np.asarray(enclosure.upper)
        nowhere = possible & (lower > upper).any(1)
        # Midpoints along directions may lie outside of their cells: there f says itself whether it is defined.
        known = inside & (isinstance(self._coordinates, Axes) | np.isnan(values).any(1))
        self.undefined |= bool((nowhere & known).any())
        lower, upper = (np.where(nowhere[:, None], end, x) for x, end in ((lower, -np.inf), (upper, np.inf)))
        lower, upper = (np.where(possible[:, None], x, end) for x, end in ((lower, np.inf), (upper, -np.inf)))
        smear = self._effects(low, upp)
        return low[:n], upp[:n], lower[:n], upper[:n], smear[:n], nowhere[:n]

    def _effects(self, low: np.ndarray, upp: np.ndarray) -> np.ndarray:
        """How much every coordinate moves the guide within each cell, `(n, k)`."""
        slopes = np.asarray(self._slopes(jnp.asarray(self._coordinates.middle(low, upp))))
        width = upp - low
        # Every entry counts as a share of its own range.
        with np.errstate(over="ignore", invalid="ignore"):
            by_entry = np.abs(self._coordinates.slopes(slopes)) / self._guide_unit[None, :, None]
            effect = np.where(np.isfinite(by_entry), by_entry, 0).max(1) * width
        # A little for the width itself, since a slope may vanish at the midpoint.
        return effect + 1e-3 * (width / self._whole)

    def _unit(self) -> np.ndarray:
        """The attained range of every entry; never zero."""
        with np.errstate(invalid="ignore"):
            span = self.most.astype(np.float64) - self.least
        size = np.maximum(abs(self.most), abs(self.least)).astype(np.float64)
        floor = np.maximum(size * np.finfo(self.least.dtype).eps, np.finfo(self.least.dtype).tiny)
        return np.where(np.isfinite(span), np.maximum(span, floor), 1.0)

    def _beyond(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """How far the bounds of each cell reach beyond what is attained, as a share of the attained range."""
        with np.errstate(invalid="ignore", over="ignore"):
            below, above = self.least - lower.astype(np.float64), upper.astype(np.float64) - self.most
            reach = np.maximum(below, above) / self._unit()
        reach = np.where(np.isnan(reach), np.inf, reach).max(1)
        return np.where((lower > upper).any(1), -np.inf, reach)  # nothing reaches beyond from where nothing is

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """What holds over the whole box, `(q,)` each."""
        if self.undefined:
            return np.full_like(self.least, -np.inf), np.full_like(self.most, np.inf)
        lower, upper = self._cells[2][: self._n], self._cells[3][: self._n]
        return np.fmin(self._aside[0], lower.min(0, initial=np.inf)), np.fmax(
            self._aside[1], upper.max(0, initial=-np.inf)
        )

    def excess(self) -> float:
        """How far the worst bound reaches beyond what is attained."""
        lower, upper = self.bounds()
        return float(self._beyond(lower[None], upper[None])[0])

    def cut(self, tolerance: float) -> bool:
        """Cuts the cells that reach farthest; False if none does that can be cut, or if it would be in vain."""
        if self.undefined:
            return False
        self._rounds += 1
        if self._rounds % _REVIEW == 0:
            self._put_aside()
        beyond = self._cells[5][: self._n]
        k = min(max(self._size // 2, 1), self._n)
        chosen = np.argpartition(-beyond, k - 1)[:k] if k < self._n else np.arange(self._n)
        lower, upper = self._cells[2][chosen], self._cells[3][chosen]
        now = self._beyond(lower, upper)
        self._cells[5][chosen] = now
        low, upp = self._cells[0][chosen], self._cells[1][chosen]
        axis = self._cells[4][chosen].argmax(1)
        rows = np.arange(len(chosen))
        middle = midpoints(low, upp)[rows, axis]
        atoms = (now > tolerance) & ((middle == low[rows, axis]) | (middle == upp[rows, axis]))
        self._remember(lower[atoms], upper[atoms])
        self._cells[5][chosen[atoms]] = -np.inf
        wanted = (now > tolerance) & ~atoms
        if not wanted.any():
            self._put_aside()
            return bool(np.any(self._cells[5][: self._n] > tolerance))
        chosen, lower, upper = chosen[wanted], lower[wanted], upper[wanted]
        halves = _halves(low[wanted], upp[wanted], axis[wanted], middle[wanted])
        new_low, new_upp, new_lower, new_upper, smear, nowhere = self._evaluate(*halves)
        # What holds for a cell holds for its parts, where f is defined.
        new_lower = np.where(nowhere[:, None], new_lower, np.maximum(new_lower, np.tile(lower, (2, 1))))
        new_upper = np.where(nowhere[:, None], new_upper, np.minimum(new_upper, np.tile(upper, (2, 1))))
        new = [new_low, new_upp, new_lower, new_upper, smear, self._beyond(new_lower, new_upper)]
        self._grow(len(chosen))
        for cells, values in zip(self._cells, new, strict=True):
            cells[chosen] = values[: len(chosen)]
            cells[self._n : self._n + len(chosen)] = values[len(chosen) :]
        self._n += len(chosen)
        return True

    def _remember(self, lower: np.ndarray, upper: np.ndarray) -> None:
        """The bounds of cells that are put aside."""
        least, most = self._aside
        self._aside = (
            np.fmin(least, lower.min(0, initial=np.inf)),
            np.fmax(most, upper.max(0, initial=-np.inf)),
        )

    def _grow(self, more: int) -> None:
        room = len(self._cells[0])
        if self._n + more > room:
            extra = max(room, more)
            self._cells = [np.concatenate([c, np.empty((extra, *c.shape[1:]), c.dtype)]) for c in self._cells]

    def _put_aside(self) -> None:
        """Forgets cells that reach nowhere, but for their bounds."""
        cells = [c[: self._n] for c in self._cells]
        beyond = np.where(np.isneginf(cells[5]), -np.inf, self._beyond(cells[2], cells[3]))
        done = beyond <= 0
        self._remember(cells[2][done], cells[3][done])
        self._cells = [c[~done] for c in cells[:5]] + [beyond[~done]]
        self._n = len(self._cells[5])


def _halves(low: np.ndarray, upp: np.ndarray, axis: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell cut in two along an axis of its own: first all lower halves, then all upper ones."""
    rows = np.arange(len(low))
    end, start = upp.copy(), low.copy()
    end[rows, axis] = start[rows, axis] = at
    return np.concatenate([low, start]), np.concatenate([end, upp])


def _with_constraint(f: Callable[[Any], Any], inside: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """The value of f, and whether the point belongs to the region."""

    def both(x: Any) -> Any:
        return f(x), jnp.ones((), bool) if inside is None else jnp.all(inside(x))

    return both


def _shared_out(enclosed: Callable[[Any], Any], devices: list[Any]) -> Callable[[Any], Any]:
    """The enclosure of many cells, of which each device takes its share."""
    batched = jax.vmap(enclosed)
    if len(devices) == 1:
        return jax.jit(batched)
    mesh, cells = Mesh(np.array(devices), ("cells",)), PartitionSpec("cells")
    # Without the check of what varies among devices, which would put its own operations into what is enclosed.
    return jax.jit(jax.shard_map(batched, mesh=mesh, in_specs=cells, out_specs=cells, check_vma=False))
