"""Coordinates in which a box is searched: its own, and the directions along which a function changes most.

Many functions of many variables change along few directions: a basket's price along its weights. Cutting a box along
its own axes has to halve all of them to see that. So a point x of a box is written with coordinates `t = Bᵀ(x − c)` as

    x = A·t + (x − A·Bᵀ·(x − c)),

which is an identity for any A, B and c. With t and x taken for independent, the right-hand side encloses the part of
the box in which t lies in a given interval, and a relational domain sees how little of f depends on the rest of x.

Reference: P. Constantine, Active Subspaces, SIAM 2015, for the directions: principal components of the gradients.
"""

import abc
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

# Directions that are added, at most.
MOST = 3

# Share of the gradients' second moment that they must explain to be worth their cost.
_SHARE = 0.9

# Points at which gradients are taken.
_POINTS = 256


class Coordinates(abc.ABC):
    """What a box of points is cut in. Cells are `(n, k)` arrays of lower and upper ends, on the host."""

    low: np.ndarray
    upp: np.ndarray
    box: tuple[np.ndarray, np.ndarray]

    @abc.abstractmethod
    def point(self, p: Any) -> Any:
        """The point, `(d,)`, of coordinates `(k,)`, if these fit together; traceable."""

    @abc.abstractmethod
    def contracted(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells that hold the same points, and whether they can hold any."""

    @abc.abstractmethod
    def middle(self, low: np.ndarray, upp: np.ndarray) -> np.ndarray:
        """A point of the box, `(n, d)`, that is near the middle of each cell."""

    @abc.abstractmethod
    def slopes(self, by_point: np.ndarray) -> np.ndarray:
        """Derivatives by the coordinates, `(n, q, k)`, from those by the point, `(n, q, d)`."""


@final
class Axes(Coordinates):
    """The axes of the box itself."""

    def __init__(self, low: np.ndarray, upp: np.ndarray) -> None:
        self.low, self.upp = self.box = low, upp

    def point(self, p: Any) -> Any:
        """The coordinates are the point."""
        return p

    def contracted(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nothing is to be gained."""
        return low, upp, np.ones(len(low), bool)

    def middle(self, low: np.ndarray, upp: np.ndarray) -> np.ndarray:
        """The midpoints."""
        return midpoints(low, upp)

    def slopes(self, by_point: np.ndarray) -> np.ndarray:
        """The same."""
        return by_point


@final
class Directions(Coordinates):
    """Some directions, and the axes of the box.

    Args:
        low, upp: the box, `(d,)`.
        directions: `(d, m)`, orthonormal after every axis is divided by the radius of the box.
    """

    def __init__(self, low: np.ndarray, upp: np.ndarray, directions: np.ndarray) -> None:
        dtype = low.dtype
        radius = 0.5 * upp - 0.5 * low
        self._a = (radius[:, None] * directions).astype(dtype)
        self._b = np.divide(directions, radius[:, None], out=np.zeros_like(directions), where=radius[:, None] > 0)
        self._b = self._b.astype(dtype)
        self._c = midpoints(low, upp)
        self._m = directions.shape[1]
        self.box = low, upp
        t_low, t_upp = self._along(low[None], upp[None])
        self.low, self.upp = np.concatenate([t_low[0], low]), np.concatenate([t_upp[0], upp])

    def _along(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The range of t over boxes, rounded outwards."""
        dtype = low.dtype
        b, c, low, upp = (x.astype(np.float64) for x in (self._b, self._c, low, upp))
        up, down = np.maximum(b, 0), np.minimum(b, 0)
        # Bound of what d + 3 roundings of each sum may amount to.
        size = np.maximum(abs(low), abs(upp)) @ abs(b) + abs(c) @ abs(b)
        slack = 4 * (len(b) + 4) * np.finfo(np.float64).eps * size + np.finfo(np.float64).tiny
        least = low @ up + upp @ down - c @ b - slack
        most = upp @ up + low @ down - c @ b + slack
        return np.nextafter(least.astype(dtype), dtype.type(-np.inf)), np.nextafter(
            most.astype(dtype), dtype.type(np.inf)
        )

    def point(self, p: Any) -> Any:
        """The identity of the head of this file."""
        t, x = p[: self._m], p[self._m :]
        a, b, c = jnp.asarray(self._a), jnp.asarray(self._b), jnp.asarray(self._c)
        return a @ t + (x - a @ (b.T @ (x - c)))

    def contracted(self, low: np.ndarray, upp: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What t can be at the points of the cell."""
        m = self._m
        least, most = self._along(low[:, m:], upp[:, m:])
        least, most = np.maximum(low[:, :m], least), np.minimum(upp[:, :m], most)
        possible = np.all(least <= most, axis=1)
        least, most = (np.where(possible[:, None], new, old[:, :m]) for new, old in ((least, low), (most, upp)))
        return np.concatenate([least, low[:, m:]], 1), np.concatenate([most, upp[:, m:]], 1), possible

    def middle(self, low: np.ndarray, upp: np.ndarray) -> np.ndarray:
        """The midpoint of the axes, moved along the directions to where t is in the middle, inside of the cell."""
        m = self._m
        middle = midpoints(low, upp)
        x = middle[:, m:]
        moved = x + (middle[:, :m] - (x - self._c) @ self._b) @ self._a.T
        return np.clip(moved, low[:, m:], upp[:, m:]).astype(low.dtype)

    def slopes(self, by_point: np.ndarray) -> np.ndarray:
        """The chain rule through `point`."""
        along = by_point @ self._a
        return np.concatenate([along, by_point - along @ self._b.T], -1)


def coordinates(f: Callable[[Any], Any], low: np.ndarray, upp: np.ndarray) -> Coordinates:
    """The coordinates that suit f, a function `(d,) → (q,)`: with directions if few of them explain its gradients."""
    d = low.size
    if d <= MOST:
        return Axes(low, upp)
    share = np.random.default_rng(0).random((_POINTS, d))
    x = np.clip(low + (upp - low) * share, low, upp).astype(low.dtype)
    values, rows = jax.jit(jax.vmap(lambda x: (f(x), jacobian(f)(x))))(jnp.asarray(x))
    values, rows = np.asarray(values, np.float64), np.asarray(rows, np.float64)
    # Each function counts alike, and each axis by how long it is.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rows = rows * (0.5 * upp - 0.5 * low) / np.ptp(values, axis=0)[None, :, None]
    rows = rows.reshape(-1, d)
    rows = rows[np.isfinite(rows).all(1)]
    if not rows.any():
        return Axes(low, upp)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    m = min(MOST, int((sizes > 1e-12 * sizes[0]).sum()))
    if (sizes[:m] ** 2).sum() < _SHARE * (sizes**2).sum():
        return Axes(low, upp)
    return Directions(low, upp, directions[:m].T)


def jacobian(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The Jacobian of `(d,) → (q,)`, by whichever mode takes fewer passes."""

    def of(x: Any) -> Any:
        outputs = jax.eval_shape(f, x).shape[0]
        return (jax.jacfwd if outputs > x.shape[0] else jax.jacrev)(f)(x)

    return of


def midpoints(low: np.ndarray, upp: np.ndarray) -> np.ndarray:
    """The middle of each interval, between its ends."""
    return np.clip(0.5 * low + 0.5 * upp, low, upp)
