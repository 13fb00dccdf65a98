"""Pairs of neighbouring samples: what the values differ by, and what the derivatives say that they should."""

import dataclasses
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from ..._columns import Moments

# Enough for a few thousand pairs; more would cost time and tell nothing new.
_MOST_ROWS, _MOST_QUERIES, _NEIGHBOURS = 20_000, 1500, 4
_FEWEST_ROWS = 12


@final
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Differences between neighbours a and b, inputs and outputs in units of their deviations.

    The mean of the slopes at both ends, times the step, is the difference of the values up to third order in the step:
    `y_b − y_a ≈ ½ (∇y_a + ∇y_b) · (x_b − x_a)`. Noise of labels that is independent from row to row is uncorrelated
    with it, since the left side changes its sign with a and b, and the right side's slopes do not.

    Attributes:
        x: inputs of all rows, `(n, d)`.
        y: values, `(n, m)`.
        gradients: derivatives, `(n, m, d)`; zero where they are not known.
        first, second: rows of the pairs, `(p,)`.
        unknown: columns of derivatives that are not known in most rows, `(m, d)`.
        units: what derivatives were multiplied by, `(m, d)`.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n m"]
    gradients: Float[np.ndarray, "n m d"]
    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]
    unknown: Bool[np.ndarray, "m d"]
    units: Float[np.ndarray, "m d"]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, "n m"],
        gradients: Float[np.ndarray, "n m d"],
        known_y: Bool[np.ndarray, "n m"],
        known_gradients: Bool[np.ndarray, "n m d"],
    ) -> "Pairs | None":
        """Neighbours among rows whose labels are known; None where there are too few."""
        unknown = known_gradients.mean(axis=0) < 0.5
        rows = known_y.all(axis=1) & (known_gradients | unknown).all(axis=(1, 2))
        rows &= np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        rows &= (np.isfinite(gradients) | ~known_gradients).all(axis=(1, 2))
        chosen = np.flatnonzero(rows)
        # The same choice each time, and nothing of the user's random numbers.
        rng = np.random.default_rng(0)
        if len(chosen) > _MOST_ROWS:
            chosen = np.sort(rng.choice(chosen, _MOST_ROWS, replace=False))
        # Inputs that come again have no step between them.
        _, once = np.unique(x[chosen], axis=0, return_index=True)
        chosen = chosen[np.sort(once)]
        if len(chosen) < _FEWEST_ROWS:
            return None
        of_x, of_y = Moments.of(x[chosen]), Moments.of(y[chosen])
        x_unit = np.where(of_x.deviation > 0, of_x.deviation, 1.0)
        y_unit = np.where(of_y.deviation > 0, of_y.deviation, 1.0)
        z = (x[chosen] - of_x.mean) / x_unit
        values = (y[chosen] - of_y.mean) / y_unit
        with np.errstate(over="ignore"):
            units = x_unit / y_unit[:, None]
            slopes = np.where(known_gradients, gradients, 0.0)[chosen] * units
        if not np.isfinite(slopes).all() or not np.isfinite(1 / units).all():
            return None
        queries = rng.permutation(len(chosen))[:_MOST_QUERIES]
        k = min(_NEIGHBOURS + 1, len(chosen))
        _, found = KDTree(z).query(z[queries], k=k)
        ends = np.stack([np.repeat(queries, k), np.asarray(found).reshape(-1)], axis=1)
        ends = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
        return cls(z, values, slopes, ends[:, 0], ends[:, 1], unknown, units)

    @property
    def steps(self) -> Float[np.ndarray, "p d"]:
        """`x_b − x_a`."""
        return self.x[self.second] - self.x[self.first]

    @property
    def differences(self) -> Float[np.ndarray, "p m"]:
        """`y_b − y_a`."""
        return self.y[self.second] - self.y[self.first]

    @property
    def slopes(self) -> Float[np.ndarray, "p m d"]:
        """`½ (∇y_a + ∇y_b)`."""
        return 0.5 * (self.gradients[self.first] + self.gradients[self.second])

    def reliability(self) -> Float[np.ndarray, "m d"]:
        """How alike the derivatives of neighbours are, by column: 1 where they are the same, 0 where unrelated."""
        a, b, squares = self.gradients[self.first], self.gradients[self.second], self.steps[:, None] ** 2
        whole = 0.5 * ((a**2 + b**2) * squares).sum(axis=0)
        return np.divide((a * b * squares).sum(axis=0), whole, out=np.zeros(whole.shape), where=whole > 0)
