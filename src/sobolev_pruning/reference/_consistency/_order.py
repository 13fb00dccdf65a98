"""Whether columns of derivatives are right but stand in another place, or rows beside other rows."""

import itertools

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ._pairs import Pairs

# Beyond, exchanges of two columns are too many to try.
_MOST_COLUMNS = 30
_MOST_NEEDED = 300
# Of what remains with the labels as they are, and of the differences themselves, an order must leave no more.
_HALF = 0.5
# Times the variance of the derivatives that the values have.
_NOISE = 4.0


def sizes(pairs: Pairs, slopes: Float[np.ndarray, "p m d"]) -> float:
    """What derivatives leave of the differences of values, as a share of these."""
    left = pairs.differences - np.einsum("pmd,pd->pm", slopes, pairs.steps)
    return float(np.abs(left).sum() / max(np.abs(pairs.differences).sum(), 1e-300))


def better_order(pairs: Pairs) -> tuple[str, float, list[int]] | None:
    """An order of the derivatives that fits the values far better than the one they are in.

    Returns:
        "transposed", "inputs" or "outputs", what is left of the differences, and the order: at its place k stands the
        column whose labels belong to the k-th input or output. None if there is none.
    """
    now = sizes(pairs, pairs.slopes)
    # Columns change places in the units that they came in.
    labels = pairs.slopes / pairs.units
    m, d = labels.shape[1:]
    found = []
    if m == d > 1:
        found.append(("transposed", sizes(pairs, np.swapaxes(labels, 1, 2) * pairs.units), list(range(d))))
    for kind, count in (("inputs", d), ("outputs", m)):
        if 1 < count <= _MOST_COLUMNS:
            left, order = _exchanged(pairs, labels, kind, now)
            found.append((kind, left, order))
    best = min(found, key=lambda one: one[1], default=None)
    return best if best is not None and best[1] < _HALF * min(now, 1.0) else None


def _exchanged(pairs: Pairs, labels: Float[np.ndarray, "p m d"], kind: str, now: float) -> tuple[float, list[int]]:
    """Exchange two columns at a time, as long as it helps."""
    count = labels.shape[2 if kind == "inputs" else 1]
    order = list(range(count))
    for _ in range(count):
        best, pair = now, None
        for i, j in itertools.combinations(range(count), 2):
            new = order.copy()
            new[i], new[j] = new[j], new[i]
            left = sizes(pairs, (labels[:, :, new] if kind == "inputs" else labels[:, new]) * pairs.units)
            if left < 0.98 * best:
                best, pair = left, new
        if pair is None:
            break
        now, order = best, pair
    return now, order


def are_unrelated(pairs: Pairs, output: int) -> bool:
    """Whether the values show a curvature of which the derivatives show nothing, as those of other rows would.

    Values that are noise show none. So the values are first explained without any derivative, by kernel ridge
    regression, whose errors at rows left out are known in closed form. Where it explains most of what a linear
    function leaves, its own derivatives vary as the labels should; and where the labels vary in another way, or not at
    all, they are not those of these rows.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(pairs.x))[:_MOST_NEEDED]
    z, y, g = pairs.x[rows], pairs.y[rows, output], pairs.gradients[rows, output]
    n, d = z.shape
    design = np.concatenate([np.ones((n, 1)), z], axis=1)
    if n < 2 * (d + 1):
        return False
    q, _ = np.linalg.qr(design)
    bent = y - q @ (q.T @ y)
    leverage = np.minimum((q**2).sum(axis=1), 1 - 1e-9)
    linear = float(np.mean((bent / (1 - leverage)) ** 2))
    if linear < 1e-8:
        return False
    error, slopes = _kernel_slopes(z, bent)
    if error > _HALF * linear:
        return False
    expected, given = slopes - slopes.mean(axis=0), g - g.mean(axis=0)
    norm = np.sqrt((expected**2).sum() * (given**2).sum())
    if norm == 0:
        return True
    # Of other rows derivatives vary as much as they should; those that vary far more are noise.
    if (given**2).sum() > _NOISE * (expected**2).sum():
        return False
    likeness = float((expected * given).sum() / norm)
    chance = np.std([float((expected * given[rng.permutation(n)]).sum() / norm) for _ in range(50)])
    return likeness < min(0.25, 2.5 * float(chance))


def _kernel_slopes(z: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, "n d"]]:
    """Mean squared error at rows left out, and derivatives, of the best of some smooth functions."""
    d = z.shape[1]
    products = z @ z.T / d
    squares = np.maximum(np.diag(products)[:, None] + np.diag(products) - 2 * products, 0.0)
    kernels = [(power, (1 + products) ** power) for power in (2, 3)]
    kernels += [(-length, np.exp(-squares / (2 * length**2))) for length in (0.5, 1.0, 2.0)]
    best, chosen = np.inf, None
    for kind, kernel in kernels:
        values, vectors = scipy.linalg.eigh(kernel)
        turned = vectors.T @ y
        for ridge in values[-1] * np.logspace(-10, -1, 10):
            inverse = 1 / (np.maximum(values, 0.0) + ridge)
            weights = vectors @ (inverse * turned)
            left_out = weights / (vectors**2 @ inverse)
            error = float(np.mean(left_out**2))
            if error < best:
                best, chosen = error, (kind, kernel, weights)
    assert chosen is not None
    kind, kernel, weights = chosen
    if kind > 0:
        inner = kind * (1 + products) ** (kind - 1) * weights
        return best, inner @ z / d
    inner = kernel * weights / (kind**2 * d)
    return best, inner @ z - inner.sum(axis=1)[:, None] * z
