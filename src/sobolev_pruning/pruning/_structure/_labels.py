"""Which entries of which axes belong together.

Every entry of every axis of every array in a program is an *atom*. An operation that pairs entries joins their atoms:
`a + b` joins entry i of a with entry i of b. What is joined in the end stays or goes together, and is called a channel.

This is the dependency graph of structured pruning (G. Fang et al., *DepGraph: Towards Any Structural Pruning*, CVPR
2023), found from the primitives of the program and entry by entry, so that concatenation, slices and flattening need
no offsets or blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Axes = list[np.ndarray]


@final
@dataclass(frozen=True)
class _Product:
    """An axis whose entries are all combinations of the entries of other axes, the last running fastest."""

    whole: np.ndarray
    factors: tuple[np.ndarray, ...]
    source: str


@final
@dataclass
class Labels:
    """Atoms, what joins them, and what fixes them; filled while a program is read, then resolved."""

    n_atoms: int = 0
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pins: list[tuple[np.ndarray, str]] = field(default_factory=list)
    mixed: list[tuple[np.ndarray, str]] = field(default_factory=list)
    products: list[_Product] = field(default_factory=list)
    # Programs inside of steps, with their atoms, by the identity of the step.
    bodies: dict[int, list[Any]] = field(default_factory=dict)

    def fresh(self, size: int) -> np.ndarray:
        """Atoms of a new axis."""
        self.n_atoms += size
        return np.arange(self.n_atoms - size, self.n_atoms)

    def fresh_axes(self, shape: Sequence[int]) -> Axes:
        """Atoms of all axes of a new array."""
        return [self.fresh(size) for size in shape]

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Entry by entry, what belongs to one axis belongs to the other."""
        assert first.shape == second.shape, (first.shape, second.shape)
        self.pairs.append((first, second))

    def pin(self, atoms: np.ndarray, reason: str) -> None:
        """These entries can never be removed."""
        self.pins.append((atoms, reason))

    def mix(self, atoms: np.ndarray, source: str) -> None:
        """A result depends on all of these entries together, not through weights of their own."""
        self.mixed.append((atoms, source))

    def product(self, whole: np.ndarray, factors: Sequence[np.ndarray], source: str) -> None:
        """The entries of one axis are the combinations of those of others."""
        # An axis of one entry combines with nothing.
        factors = tuple(f for f in factors if f.size > 1)
        if len(factors) == 1:
            self.join(whole, factors[0])
        elif factors:
            self.products.append(_Product(whole, factors, source))

    def resolve(self) -> "Channels":
        """Join what can be joined.

        An entry of a product belongs to several axes. If all of them but one are fixed, such as the pixels of a
        flattened image, it goes with that one, a channel. If several are free, such as heads and what is in a head,
        only one can be pruned: the outermost stays free and the others are fixed.
        """
        pending = list(self.products)
        while True:
            channels = self._connect()
            progress = False
            for product in pending:
                shape = tuple(f.size for f in product.factors)
                held = channels.is_fixed[channels.of[product.whole]].reshape(shape)
                for i, factor in enumerate(product.factors):
                    others = tuple(j for j in range(len(shape)) if j != i)
                    new = held.any(axis=others) & ~channels.is_fixed[channels.of[factor]]
                    if new.any():
                        reason = channels.reason(int(channels.of[product.whole[held.ravel()][0]]))
                        self.pin(factor[new], reason)
                        progress = True
            if progress:
                continue
            waiting = []
            for product in pending:
                free = [i for i, f in enumerate(product.factors) if not channels.is_fixed[channels.of[f]].all()]
                if len(free) > 1:
                    waiting.append(product)
                    continue
                progress = True
                shape = [f.size for f in product.factors]
                if free:
                    (i,) = free
                    inner = int(np.prod(shape[i + 1 :]))
                    outer = int(np.prod(shape[:i]))
                    self.join(product.whole, np.tile(np.repeat(product.factors[i], inner), outer))
                else:
                    reason = f"combines fixed axes in {product.source}"
                    self.pin(product.whole, reason)
            pending = waiting
            if not progress and pending:
                product = pending[0]
                free = [f for f in product.factors if not channels.is_fixed[channels.of[f]].all()]
                for factor in free[1:]:
                    self.pin(factor, f"is merged with another free axis by {product.source}")
                progress = True
            if not progress:
                return channels

    def _connect(self) -> "Channels":
        rows = np.concatenate([first for first, _ in self.pairs] or [np.empty(0, int)])
        columns = np.concatenate([second for _, second in self.pairs] or [np.empty(0, int)])
        graph = coo_array((np.ones(rows.size, bool), (rows, columns)), shape=(self.n_atoms, self.n_atoms))
        count, of = connected_components(graph, directed=False)
        reasons: dict[int, list[str]] = {}
        is_fixed = np.zeros(count, bool)
        for atoms, reason in self.pins:
            for channel in np.unique(of[atoms]):
                is_fixed[channel] = True
                found = reasons.setdefault(int(channel), [])
                if reason not in found:
                    found.append(reason)
        mixed: dict[int, list[str]] = {}
        for atoms, source in self.mixed:
            for channel in np.unique(of[atoms]):
                found = mixed.setdefault(int(channel), [])
                if source not in found:
                    found.append(source)
        return Channels(of, is_fixed, reasons, mixed)


@final
@dataclass(frozen=True)
class Channels:
    """What belongs together.

    Attributes:
        of: the channel of every atom.
        is_fixed: of every channel, whether it must stay.
        reasons: why fixed channels are fixed.
        mixed: where channels are reduced together with others.
    """

    of: np.ndarray
    is_fixed: np.ndarray
    reasons: dict[int, list[str]]
    mixed: dict[int, list[str]]

    def reason(self, channel: int) -> str:
        """Why a channel is fixed, in the words of the first reasons found."""
        return "; ".join(self.reasons[channel][:2])
