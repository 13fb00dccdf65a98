"""Dense pruning: whole nodes, layers and inputs go, and an ordinary smaller network is left."""

import itertools
import json
import math
from collections.abc import Sequence

import numpy as np

from .._programs import limit_programs
from .._reading import from_json, reading, shown
from ..surrogate import Normalisation, Surrogate
from ._compensation import AbstractCompensation, LeastSquares
from ._kept import Kept
from ._ranking import Ranking
from ._traces import check_surrogate, trace_layers

_MOST_CHOICES = 1000
# Numbers of the inputs that are left, and names of them all, where the command `fit` has stored names.
_KEPT = "kept_inputs"


def prune(surrogate: Surrogate, kept: Kept, compensation: AbstractCompensation) -> Surrogate:
    """Remove all hidden nodes, and all inputs, but the kept ones.

    A surrogate that loses inputs is an ordinary one of the others: it takes them alone, in the order they had, and
    `kept_inputs` says which they are. What compensates says what becomes of the rest: constants, or nothing that a
    refit could see.

    Args:
        surrogate: the network to prune, with its units, which stay.
        kept: the nodes and inputs that survive, from `Ranking.keep`, `choose_layers` or your own choice.
        compensation: how the rest takes over: `LeastSquares(x)`, `Mean(x)` or `Midpoint(region)`.

    Raises:
        ValueError: `kept` was made for a network of other widths, or weights of the network are not finite.
        TypeError: an argument is of another type.
    """
    limit_programs()
    check_surrogate(surrogate)
    if not isinstance(kept, Kept):
        raise TypeError(f"`kept` is {type(kept).__name__}; it must be `Kept`, such as `ranking.keep([8, 8])`.")
    if not isinstance(compensation, AbstractCompensation):
        raise TypeError(
            f"`compensation` is {type(compensation).__name__}; it must be `LeastSquares(x)`, `Mean(x)` or "
            "`Midpoint(region)`."
        )
    hidden = tuple(surrogate.network.widths[1:-1])
    if kept.widths != hidden:
        raise ValueError(f"`kept` belongs to hidden layers of {kept.widths} nodes, the network has {hidden}.")
    inputs = kept.input_indices(surrogate.network.widths[0])
    network, units = compensation(surrogate, kept), surrogate.normalisation
    if kept.inputs is None:
        return Surrogate(network, units, surrogate.provenance)
    index = np.asarray(inputs)
    units = Normalisation(units.x_mean[index], units.x_scale[index], units.y_mean, units.y_scale)
    original = np.asarray(kept_inputs(surrogate))[index].tolist()
    provenance = {_KEPT: json.dumps(original)}
    pruned = Surrogate(network, units, surrogate.provenance).with_provenance(**provenance)
    named = "inputs" in dict(surrogate.provenance)
    return pruned.named(inputs=[surrogate.input_names[i] for i in inputs]) if named else pruned


def kept_inputs(surrogate: Surrogate) -> tuple[int, ...]:
    """Which inputs of the original model a surrogate takes, in order: all that it has, unless `prune` has removed some.

    It is part of the provenance, so that it is stored with the surrogate. For samples `x` of the original model,

        surrogate.evaluate(x[:, jnp.asarray(kept_inputs(surrogate))])

    Raises:
        ValueError: the provenance, which may come from a file, does not name as many inputs as the surrogate has.
    """
    stored, d = dict(surrogate.provenance).get(_KEPT), surrogate.network.widths[0]
    if stored is None:
        return tuple(range(d))
    with reading("the provenance of the surrogate", f"`{_KEPT}` is {shown(stored)}, not {d} inputs"):
        kept = tuple(from_json(stored))
        if not all(type(i) is int and i >= 0 for i in kept) or not len(kept) == len(set(kept)) == d:
            raise ValueError("they are counted from zero, each once")
    return kept


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
        TypeError: `compensation` is no `LeastSquares`, which alone has a residual to judge by.
    """
    if not isinstance(compensation, LeastSquares):
        raise TypeError(f"`compensation` is {type(compensation).__name__}; layers are chosen by `LeastSquares(x)`.")
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
