"""Dense pruning: whole nodes and whole layers go, and an ordinary smaller network is left."""

import itertools
import math
from collections.abc import Sequence

from ..surrogate import Surrogate
from ._compensation import AbstractCompensation, LeastSquares
from ._kept import Kept
from ._ranking import Ranking
from ._traces import trace_layers

_MOST_CHOICES = 1000


def prune(surrogate: Surrogate, kept: Kept, compensation: AbstractCompensation) -> Surrogate:
    """Remove all hidden nodes but the kept ones.

    Args:
        surrogate: the network to prune, with its units, which stay.
        kept: the nodes that survive, from `Ranking.keep`, `choose_layers` or your own choice.
        compensation: how the rest takes over: `LeastSquares(x)`, or `Midpoint(region)`.

    Raises:
        ValueError: `kept` was made for a network of other widths.
    """
    if not isinstance(kept, Kept):
        raise TypeError(f"`kept` is {type(kept).__name__}; it must be `Kept`, such as `ranking.keep([8, 8])`.")
    hidden = tuple(surrogate.network.widths[1:-1])
    if kept.widths != hidden:
        raise ValueError(f"`kept` belongs to hidden layers of {kept.widths} nodes, the network has {hidden}.")
    return Surrogate(compensation(surrogate, kept), surrogate.normalisation, surrogate.provenance)


def choose_layers(surrogate: Surrogate, ranking: Ranking, widths: Sequence[int], compensation: LeastSquares) -> Kept:
    """Decide which hidden layers stay, where fewer are wanted than there are.

    Every choice of `len(widths)` layers is refitted with the first nodes of their ranking; the one whose output is
    nearest to the original, by the residual of the refit, is kept.

    Args:
        surrogate: the network to prune.
        ranking: of its nodes.
        widths: nodes to keep in each layer that stays, first to last.
        compensation: the refit that judges the choices.

    Raises:
        ValueError: more layers or nodes than there are, or too many choices to try.
    """
    n_hidden = len(surrogate.network.widths) - 2
    if len(widths) > n_hidden:
        raise ValueError(f"`widths` asks for {len(widths)} hidden layers, the network has {n_hidden}.")
    n_choices = math.comb(n_hidden, len(widths))
    if n_choices > _MOST_CHOICES:
        raise ValueError(
            f"choosing {len(widths)} of {n_hidden} hidden layers has {n_choices} ways, more than {_MOST_CHOICES}; "
            "remove layers in several rounds, or name them in `Ranking.keep`."
        )
    original = trace_layers(surrogate, compensation.x)
    best: tuple[float, Kept] | None = None
    for layers in itertools.combinations(range(n_hidden), len(widths)):
        asked: list[int | None] = [None] * n_hidden
        for layer, width in zip(layers, widths, strict=True):
            asked[layer] = width
        kept = ranking.keep(asked)
        _, residual = compensation.refit(surrogate, original, kept)
        if best is None or residual < best[0]:
            best = residual, kept
    assert best is not None
    return best[1]
