"""How a sparsity of the whole network is shared out among its layers."""

import abc
from collections.abc import Sequence
from typing import final

import equinox as eqx
import numpy as np

Shapes = Sequence[tuple[int, ...]]


class AbstractSparsity(eqx.Module):
    """How many weights are kept, and where they may be.

    Attributes:
        sparsity: share of all weights that is removed, in [0, 1). Biases do not count, and stay.
    """

    sparsity: eqx.AbstractVar[float]

    @abc.abstractmethod
    def kept(self, shapes: Shapes) -> tuple[int, ...]:
        """Weights that are kept: one number for each layer, or a single one for all layers together.

        The numbers add up to `round((1 - sparsity) * n)` of n weights, exactly.

        Args:
            shapes: of the weight of every layer, (n_out, n_in).

        Raises:
            ValueError: fewer weights would be left than there are layers.
        """


@final
class UniformSparsity(AbstractSparsity):
    """Every layer has the same sparsity, to the nearest weight.

    Evci et al. (2020) leave the first layer dense; here no layer is special.

    Attributes:
        sparsity: share of all weights that is removed, in [0, 1).

    Raises:
        ValueError: a sparsity outside of [0, 1).
    """

    sparsity: float

    def __check_init__(self) -> None:
        check_share(sparsity=self.sparsity)

    def kept(self, shapes: Shapes) -> tuple[int, ...]:
        """One number for each layer."""
        sizes, total = _sizes_and_total(shapes, self.sparsity)
        return _whole_numbers((1 - self.sparsity) * sizes, sizes, total)


@final
class ErdosRenyiSparsity(AbstractSparsity):
    """Layers with few weights for their nodes are denser: the density is `ε (n_in + n_out) / (n_in n_out)`.

    So every node keeps about as many connections wherever it is. Where that density exceeds one the layer is kept
    whole, and ε, which follows from the sparsity, is found again for the others. For layers without a kernel this is
    the Erdős–Rényi-kernel rule, too.

    Attributes:
        sparsity: share of all weights that is removed, in [0, 1).

    Raises:
        ValueError: a sparsity outside of [0, 1).

    Reference: D. Mocanu et al., Nature Communications 9, 2383 (2018), eq. (1); U. Evci et al., ICML 2020, section 3.
    """

    sparsity: float

    def __check_init__(self) -> None:
        check_share(sparsity=self.sparsity)

    def kept(self, shapes: Shapes) -> tuple[int, ...]:
        """One number for each layer."""
        sizes, total = _sizes_and_total(shapes, self.sparsity)
        raw = np.asarray([n_out + n_in for n_out, n_in in shapes], np.float64)
        whole = np.zeros(len(sizes), bool)
        ideal = sizes.astype(np.float64)
        while not whole.all():
            epsilon = (total - sizes[whole].sum()) / raw[~whole].sum()
            ideal = np.where(whole, sizes, epsilon * raw)
            # The densest alone: without it ε is smaller, and the next one may fit.
            density = np.where(whole, 0.0, ideal / sizes)
            if density.max() <= 1:
                break
            whole |= density == density.max()
        return _whole_numbers(ideal, sizes, total)


@final
class GlobalSparsity(AbstractSparsity):
    """All weights are ranked together, so that the scores decide which layer is how dense.

    No layer is left empty: the best weight of each is kept in any case.

    Attributes:
        sparsity: share of all weights that is removed, in [0, 1).

    Raises:
        ValueError: a sparsity outside of [0, 1).
    """

    sparsity: float

    def __check_init__(self) -> None:
        check_share(sparsity=self.sparsity)

    def kept(self, shapes: Shapes) -> tuple[int, ...]:
        """A single number, for all layers together."""
        return (_sizes_and_total(shapes, self.sparsity)[1],)


def check_share(**named: float) -> None:
    """Refuse a share outside of [0, 1), NaN included, by its name.

    Raises:
        ValueError: see above.
    """
    for name, value in named.items():
        if not 0 <= value < 1:
            raise ValueError(f"`{name}` is {value}; it is a share of the weights, and must be in [0, 1).")


def _sizes_and_total(shapes: Shapes, sparsity: float) -> tuple[np.ndarray, int]:
    sizes = np.asarray([n_out * n_in for n_out, n_in in shapes])
    n = int(sizes.sum())
    total = round((1 - sparsity) * n)
    if total < len(sizes):
        raise ValueError(
            f"`sparsity` {sparsity} keeps {total} of {n} weights, and so nothing in at least one of {len(sizes)} "
            f"layers; it can be at most {1 - len(sizes) / n:.6g} here."
        )
    return sizes, total


def _whole_numbers(ideal: np.ndarray, sizes: np.ndarray, total: int) -> tuple[int, ...]:
    """The method of the largest remainders, with at least one weight for each layer."""
    found = np.clip(np.floor(ideal).astype(int), 1, sizes)
    while (missing := total - found.sum()) != 0:
        rest = ideal - found
        if missing > 0:
            found[np.argmax(np.where(found < sizes, rest, -np.inf))] += 1
        else:
            found[np.argmin(np.where(found > 1, rest, np.inf))] -= 1
    return tuple(int(n) for n in found)
