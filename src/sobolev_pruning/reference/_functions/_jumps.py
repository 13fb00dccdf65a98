"""Jumps of a function within a step of a difference, which then is not a derivative."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

# A difference is looked into where it is so many times the median slope, and its neighbour on the other side is not.
_STEEP = 5.0
# Values of size f say nothing below that share of f.
_ROUNDING = 1e-10
# A slope, a bend or a kink leaves 2⁻¹² of a difference on so small a part of its step; a jump leaves it all.
_HALVINGS = 12

Evaluate = Callable[[Float[np.ndarray, "s d"], Int[np.ndarray, " s"]], Float[np.ndarray, "s m"]]


def without_jumps(
    points: Float[np.ndarray, "n p d"],
    values: Float[np.ndarray, "n p m"],
    jacobian: Float[np.ndarray, "n m d"],
    evaluate: Evaluate,
) -> tuple[Float[np.ndarray, "n m d"], Int[np.ndarray, "j 2"]]:
    """Take the derivative from the side without a jump, where the other side has one.

    A central difference across a jump J is `J / 2h`, of any size. There the differences of the two sides disagree, as
    they do at a kink; halving the step that holds the larger one tells the two apart.

    Args:
        points: the samples, then steps forward along every input, then, of central differences, backward.
        values: there.
        jacobian: the differences.
        evaluate: the function at single points, given the row that each belongs to.

    Returns:
        The Jacobians, and rows and inputs of the derivatives that were taken from one side.

    Raises:
        ValueError: the function jumps on both sides of a sample.
    """
    d = points.shape[2]
    x, here = points[:, 0], values[:, 0]
    step = np.diagonal(points[:, 1 : 1 + d] - points[:, :1], axis1=1, axis2=2)
    forward = values[:, 1 : 1 + d] - here[:, None]
    is_central = points.shape[1] > 1 + d
    backward = here[:, None] - values[:, 1 + d :] if is_central else np.zeros_like(forward)
    row, i, k = np.nonzero(_doubtful(forward, backward, step, here, is_central))
    if not row.size:
        return jacobian, np.zeros((0, 2), np.int64)

    def at(fraction: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
        moved = x[row]
        moved[np.arange(len(row)), i] += fraction * step[row, i]
        return evaluate(moved, row)[np.arange(len(row)), k]

    rises = {1: forward[row, i, k], -1: backward[row, i, k]}
    if not is_central:
        rises[-1] = here[row, k] - at(-np.ones(len(row)))
    largest = np.maximum(np.abs(rises[1]), np.abs(rises[-1]))
    jumps = {side: _jumps(rises[side], largest, here[row, k], side, at) for side in (1, -1)}
    both = np.flatnonzero(jumps[1] & jumps[-1])
    if both.size:
        first = both[0]
        raise ValueError(
            f"`function` jumps on both sides of x = {x[row[first]].tolist()} (row {row[first]}) within a step of input "
            f"{i[first]}, so there is no difference to take; use smaller steps."
        )
    found = jacobian.copy()
    for side in (1, -1):
        chosen = jumps[side] if side == 1 or is_central else np.zeros(len(row), bool)
        found[row[chosen], k[chosen], i[chosen]] = rises[-side][chosen] / step[row[chosen], i[chosen]]
    changed = jumps[1] | (jumps[-1] & is_central)
    return found, np.unique(np.stack([row[changed], i[changed]], axis=1), axis=0)


def _doubtful(
    forward: Float[np.ndarray, "n d m"],
    backward: Float[np.ndarray, "n d m"],
    step: Float[np.ndarray, "n d"],
    here: Float[np.ndarray, "n m"],
    is_central: bool,
) -> Bool[np.ndarray, "n d m"]:
    larger = np.maximum(np.abs(forward), np.abs(backward))
    slopes = larger / step[:, :, None]
    steep = larger > _ROUNDING * np.abs(here).max(axis=0)
    if len(here) > 3:
        steep &= slopes > _STEEP * np.median(slopes, axis=0)
    return steep & (np.abs(forward - backward) > 0.5 * larger) if is_central else steep


def _jumps(
    rise: Float[np.ndarray, " s"],
    largest: Float[np.ndarray, " s"],
    here: Float[np.ndarray, " s"],
    side: int,
    at: Callable[[Float[np.ndarray, " s"]], Float[np.ndarray, " s"]],
) -> Bool[np.ndarray, " s"]:
    """Whether a difference is still there on a 4096th of its step: the half that holds more of it is halved again."""
    low, high = np.zeros(len(rise)), np.ones(len(rise))
    of_low, of_high = here, here + side * rise
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        of_middle = at(side * middle)
        is_low = np.abs(of_middle - of_low) > np.abs(of_high - of_middle)
        low, high = np.where(is_low, low, middle), np.where(is_low, middle, high)
        of_low, of_high = np.where(is_low, of_low, of_middle), np.where(is_low, of_middle, of_high)
    return (np.abs(of_high - of_low) > 0.5 * np.abs(rise)) & (np.abs(rise) > 0.5 * largest)
