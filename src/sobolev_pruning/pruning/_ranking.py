"""In which order nodes are kept: the most significant first, or the most significant that says something new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from ..surrogate import Surrogate
from ._kept import Kept
from ._significance import Significance
from ._traces import check_surrogate, trace_layers


@final
@dataclass(frozen=True)
class Ranking:
    """The nodes of every hidden layer, and the inputs, the first to keep first.

    Attributes:
        orders: for each hidden layer all its node indices, `(n_nodes,)`.
        inputs: all indices of the inputs, `(d,)`; `None` ranks none.
    """

    orders: tuple[np.ndarray, ...]
    inputs: np.ndarray | None = None

    def keep(self, widths: Sequence[int | None], *, inputs: int | None = None) -> Kept:
        """Keep the first nodes of each layer.

        Args:
            widths: nodes to keep in each hidden layer, first to last; `None` removes the layer.
            inputs: how many inputs to keep; `None` keeps all.

        Raises:
            ValueError: a wrong number of layers, no node, or more nodes or inputs than there are; the message names
                the layer.
        """
        if len(widths) != len(self.orders):
            raise ValueError(
                f"`widths` names {len(widths)} hidden layers, the network has {len(self.orders)}; give a number, or "
                "None for a layer to remove, for each of them."
            )
        hidden = []
        for i, (width, order) in enumerate(zip(widths, self.orders, strict=True)):
            if width is None:
                hidden.append(None)
                continue
            if not 1 <= width <= order.size:
                raise ValueError(
                    f"`widths[{i}]` asks for {width} nodes of hidden layer {i}, which has {order.size}; keep 1 to "
                    f"{order.size}, or None to remove the layer."
                )
            hidden.append(tuple(sorted(int(j) for j in order[:width])))
        return Kept(tuple(hidden), tuple(order.size for order in self.orders), self._first_inputs(inputs))

    def _first_inputs(self, n: int | None) -> tuple[int, ...] | None:
        if n is None:
            return None
        if self.inputs is None:
            raise ValueError("this ranking knows no inputs, so `inputs` must be None; rank by a significance.")
        if not 1 <= n <= self.inputs.size:
            raise ValueError(f"`inputs` is {n}; the network has {self.inputs.size}: keep 1 to that, or None for all.")
        return tuple(sorted(int(j) for j in self.inputs[:n]))


def rank_by_significance(scores: Significance) -> Ranking:
    """The most significant nodes and inputs first; for several outputs the largest score counts.

    Equal scores keep the order of the nodes.

    Raises:
        ValueError: a score is NaN.
    """
    _check_scores(scores)
    return Ranking(tuple(_falling(score) for score in scores.of_nodes()), _falling(scores.of_inputs()))


def _check_scores(scores: Significance) -> None:
    for name, part in [("inputs", scores.inputs), *((f"hidden layer {i}", s) for i, s in enumerate(scores.hidden))]:
        if np.isnan(part).any():
            raise ValueError(
                f"`scores` of {name} hold NaN, which has no place in an order; look for weights or data that are not "
                "finite."
            )


def _falling(scores: Float[Array, " _"]) -> np.ndarray:
    return np.argsort(-np.asarray(scores), kind="stable")


def rank_distinct(scores: Significance, surrogate: Surrogate, x: Float[Array, "n d"]) -> Ranking:
    """The most significant nodes first, discounting what the nodes before them already say.

    Two significant nodes that are nearly the same function of the input are worth little more than one, and a refit
    on both needs large weights of opposite signs. So every node is a vector, its values and input Jacobians over the
    samples, of length equal to its significance; the QR decomposition with column pivoting (G. Golub, C. Van Loan,
    *Matrix Computations*, section 5.4.2) then takes, again and again, the node with the most significance left once
    the span of those taken before is projected out. Inputs are ranked by their significance alone.

    Args:
        scores: significance of the nodes.
        surrogate: the network.
        x: samples at which nodes are compared, `(n, d)`, in physical units.

    Raises:
        ValueError: `scores` belong to a network of other widths or are NaN; the samples have another number of inputs
            than the surrogate; or a sample or a weight is not finite.
    """
    check_surrogate(surrogate)
    _check_scores(scores)
    found = [part.shape[1] for part in scores.hidden]
    if found != surrogate.network.widths[1:-1]:
        raise ValueError(
            f"`scores` are of hidden layers of {found} nodes, the network has {surrogate.network.widths[1:-1]}; score "
            "this network."
        )
    layers = trace_layers(surrogate, x)
    orders = []
    for score, nodes, slopes in zip(scores.of_nodes(), layers.nodes, layers.node_jacobians, strict=True):
        centred = nodes - nodes.mean(axis=0)
        square = (slopes**2).sum()
        scale = np.sqrt((centred**2).sum() / square) if square > 0 else 1.0
        columns = np.vstack([centred, scale * np.moveaxis(slopes, 1, 2).reshape(-1, nodes.shape[1])])
        length = np.linalg.norm(columns, axis=0)
        columns *= np.asarray(score, np.float64) / np.where(length > 0, length, 1.0)
        # The triangular factor has the geometry of the columns in far fewer rows.
        triangle = np.linalg.qr(columns, mode="r")
        orders.append(scipy.linalg.qr(triangle, mode="r", pivoting=True)[-1])
    return Ranking(tuple(orders), _falling(scores.of_inputs()))
