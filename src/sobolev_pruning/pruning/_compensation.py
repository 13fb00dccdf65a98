"""What replaces removed nodes: constants folded into biases, or a least-squares refit of the weights that remain."""

import abc
from collections.abc import Callable, Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..intervals import Interval, inclusion
from ..regions import AbstractRegion
from ..surrogate import MLP, Dense, Surrogate
from ._enclosures import VacuousEnclosureError, check_region, enclose_nodes
from ._kept import Kept
from ._tolerance import in_precision_of
from ._traces import LayerTraces, check_samples, trace_layers, trace_values


class AbstractCompensation(eqx.Module):
    """How the kept part of a network takes over for the removed part."""

    @abc.abstractmethod
    def __call__(self, surrogate: Surrogate, kept: Kept) -> MLP:
        """The small network that keeps the given nodes."""


@final
class Midpoint(AbstractCompensation):
    """Every removed node becomes a constant, the midpoint of its enclosure, folded into the biases it feeds.

    A removed layer becomes an affine map, so that its neighbours merge: its nodes `φ(p)` are replaced by
    `mid[φ(p)] + mid[φ'(p)] (p − mid[p])`, with the enclosures of the pre-activation p over the region. A removed input
    is fixed at the middle of the region.

    Attributes:
        region: over which the nodes are enclosed; the hull of the enclosures over its boxes counts.

    Raises:
        ValueError: when called, if the region has another number of inputs than the surrogate.
        VacuousEnclosureError: when called, if the enclosure of a node is unbounded, so that it has no midpoint.

    Reference: Kichler et al. (2024); S. Afghan, U. Naumann, ICCS 2020, for nodes. The rule for layers is our own.
    """

    region: AbstractRegion

    def __check_init__(self) -> None:
        check_region(self.region)

    def __call__(self, surrogate: Surrogate, kept: Kept) -> MLP:
        """The small network that keeps the given nodes."""
        network = surrogate.network
        inputs, nodes = _hulls(surrogate, self.region)

        def line(i: int) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
            below = inputs if i == 0 else nodes[i - 1]
            pre = inclusion(lambda x, layer=network.layers[i]: layer(x))(below)
            derivative = jax.vmap(jax.grad(network.activation))
            slope = inclusion(derivative)(pre).midpoint
            return slope, nodes[i].midpoint - slope * pre.midpoint

        # The region may be of another precision than the network.
        return in_precision_of(surrogate, _fold(network, kept, inputs.midpoint, [n.midpoint for n in nodes], line))


@final
class Mean(AbstractCompensation):
    """Every removed node becomes a constant, its mean over data, folded into the biases it feeds.

    A removed layer becomes an affine map, so that its neighbours merge: each of its nodes is replaced by the line of
    its pre-activation that is nearest over the data, in the mean square. A removed input is fixed at its mean.

    Attributes:
        x: samples of the inputs, `(n, d)`, in physical units.

    Raises:
        ValueError: no samples; when called, samples of another number of inputs, or that are not finite.
    """

    x: Float[Array, "n d"]

    def __check_init__(self) -> None:
        check_samples(self.x, "a mean needs samples")

    def __call__(self, surrogate: Surrogate, kept: Kept) -> MLP:
        """The small network that keeps the given nodes."""
        inputs, pre, nodes = trace_values(surrogate, self.x)

        def line(i: int) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
            p, n = (part - part.mean(axis=0) for part in (pre[i], nodes[i]))
            square = (p**2).sum(axis=0)
            slope = np.where(square > 0, (p * n).sum(axis=0) / np.where(square > 0, square, 1.0), 0.0)
            return folded(slope), folded(nodes[i].mean(axis=0) - slope * pre[i].mean(axis=0))

        def folded(part: np.ndarray) -> Float[Array, " k"]:
            return jnp.asarray(part, surrogate.network.layers[0].weight.dtype)

        return _fold(
            surrogate.network, kept, folded(inputs.mean(axis=0)), [folded(n.mean(axis=0)) for n in nodes], line
        )


def _fold(
    network: MLP,
    kept: Kept,
    inputs: Float[Array, " d"],
    middle: Sequence[Float[Array, " _"]],
    line: Callable[[int], tuple[Float[Array, " k"], Float[Array, " k"]]],
) -> MLP:
    """The network with constants in place of removed nodes and inputs, and lines in place of removed layers.

    Args:
        network: the original.
        kept: what survives.
        inputs: constants for normalised inputs.
        middle: constants for the nodes of every hidden layer.
        line: slope and offset of the nodes of a hidden layer in their pre-activations.
    """
    layers: list[Dense] = []
    # The affine map from the last kept nodes (or the inputs) to the nodes that feed the layer at hand.
    feed = None if kept.inputs is None else _selection(kept.input_indices(network.widths[0]), inputs)
    for i, layer in enumerate(network.layers):
        whole = layer
        if feed is not None:
            whole = Dense(layer.weight @ feed.weight, layer.weight @ feed.bias + layer.bias)
        if i == len(network.layers) - 1:
            layers.append(whole)
            break
        chosen = kept.hidden[i]
        if chosen is None:
            slope, offset = line(i)
            feed = Dense(slope[:, None] * whole.weight, slope * whole.bias + offset)
            continue
        index = jnp.asarray(chosen)
        layers.append(Dense(whole.weight[index], whole.bias[index]))
        feed = _selection(chosen, middle[i])
    return MLP(tuple(layers), network.activation)


def _selection(chosen: Sequence[int], middle: Float[Array, " k"]) -> Dense:
    """From the chosen entries to all, constants in place of the others."""
    index = jnp.asarray(chosen)
    weight = jnp.zeros((middle.size, len(chosen)), middle.dtype).at[index, jnp.arange(len(chosen))].set(1)
    return Dense(weight, middle.at[index].set(0))


def _hulls(surrogate: Surrogate, region: AbstractRegion) -> tuple[Interval, tuple[Interval, ...]]:
    """Normalised inputs and all hidden nodes over the whole region: the hull over its boxes."""
    enclosed = enclose_nodes(surrogate, region, rounding="outward")
    units = surrogate.normalisation
    inputs = inclusion(lambda x: (x - units.x_mean) / units.x_scale)(_hull_of_boxes(enclosed.inputs))
    nodes = tuple(_hull_of_boxes(n) for n in enclosed.nodes)
    for i, hull in enumerate(nodes):
        if not bool(jnp.all(jnp.isfinite(hull.width))):
            raise VacuousEnclosureError(
                f"the enclosure of a node of hidden layer {i} is unbounded, so it has no midpoint. Use smaller boxes, "
                "such as `TrustRegions.around(x, scale=0.003)`."
            )
    return inputs, nodes


def _hull_of_boxes(boxes: Interval) -> Interval:
    return Interval(jnp.min(boxes.lower, axis=0), jnp.max(boxes.upper, axis=0))


@final
class LeastSquares(AbstractCompensation):
    """The weights of each kept layer are refitted, so that its pre-activations stay what they were.

    Layer by layer from the inputs, weights and bias of the kept nodes are the least-squares solution of

        Σ ‖A W + b − P‖² + λ c Σ ‖∂A W − ∂P‖²

    over the samples, with P the pre-activations of those nodes in the original network, A the activations of the last
    kept layer of the *small* network (so that later layers repair the errors of earlier ones), and ∂ their Jacobians
    with respect to the normalised inputs. Both terms are linear in W. The constant c, the variance of P over the mean
    square of ∂P, brings them to one scale, as `SobolevLoss` does. Removed layers need no rule of their own: the next
    kept layer is fitted on what is left below it. Removed inputs are left out of the fit of the first layer, so that on
    average over the samples the bias and the inputs that are correlated with them take over.

    Solved in double precision on the host, by the singular value decomposition, so that redundant nodes do no harm.
    Where samples are too few to determine the weights, those are taken that are nearest to the ones before.

    Attributes:
        x: samples of the inputs, `(n, d)`, in physical units.
        gradient_weight: λ; zero fits the values alone.

    Raises:
        ValueError: no samples, or a negative weight.
    """

    x: Float[Array, "n d"]
    gradient_weight: float = 1.0

    def __check_init__(self) -> None:
        check_samples(self.x, "a refit needs samples")
        if not self.gradient_weight >= 0:
            raise ValueError(f"`gradient_weight` is {self.gradient_weight}; it must be zero or positive.")

    def __call__(self, surrogate: Surrogate, kept: Kept) -> MLP:
        """The small network that keeps the given nodes."""
        return self.refit(surrogate, trace_layers(surrogate, self.x), kept)[0]

    def refit(self, surrogate: Surrogate, original: LayerTraces, kept: Kept) -> tuple[MLP, float]:
        """The small network, and the relative residual of its output.

        Args:
            surrogate: the original network.
            original: its `trace_layers` at `x`; computed once for any number of choices of nodes.
            kept: the nodes that survive.

        Returns:
            The network, and what is left of the sum above at the output layer, relative to the variance of the output.
        """
        network = surrogate.network
        n, d = original.x.shape
        inputs = kept.input_indices(d)
        nodes, slopes = original.x[:, inputs], np.broadcast_to(np.eye(d)[inputs], (n, len(inputs), d))
        layers: list[Dense] = []
        # The nodes that the layer at hand takes now, where it took them before as well.
        below: Sequence[int] | None = inputs
        residual = 0.0
        for i, layer in enumerate(network.layers):
            is_output = i == len(network.layers) - 1
            chosen = tuple(range(network.widths[-1])) if is_output else kept.hidden[i]
            if chosen is None:
                below = None
                continue
            goal, goal_slopes = original.pre[i][:, chosen], original.pre_jacobians[i][:, chosen]
            variance, square = goal.var(axis=0).sum(), (goal_slopes**2).sum() / n
            scale = np.sqrt(self.gradient_weight * (variance / square if variance > 0 and square > 0 else 1.0))
            matrix = np.vstack([np.hstack([nodes, np.ones((n, 1))]), scale * _rows_per_input(slopes, padding=1)])
            right = np.vstack([goal, scale * _rows_per_input(goal_slopes)])
            prior = np.zeros((matrix.shape[1], right.shape[1]))
            n_equations = matrix.shape[0] if self.gradient_weight > 0 else n
            if below is not None and n_equations < matrix.shape[1]:
                prior[:-1] = np.asarray(layer.weight, np.float64)[np.ix_(chosen, below)].T
                prior[-1] = np.asarray(layer.bias, np.float64)[list(chosen)]
            solution = prior + np.linalg.lstsq(matrix, right - matrix @ prior, rcond=_RCOND)[0]
            weight, bias = solution[:-1].T, solution[-1]
            layers.append(Dense(jnp.asarray(weight, layer.weight.dtype), jnp.asarray(bias, layer.bias.dtype)))
            if is_output:
                square = ((matrix @ solution - right) ** 2).sum() / n
                residual = float(square / variance) if variance > 0 else float(square)
            else:
                nodes, slopes = _activate(network, nodes @ weight.T + bias, np.einsum("kq,nqd->nkd", weight, slopes))
            below = chosen
        return MLP(tuple(layers), network.activation), residual


# Singular values below this share of the largest are noise of single precision; keeping them would only let nearly
# equal nodes take weights of opposite signs and any size.
_RCOND = 1e-6


def _rows_per_input(jacobians: np.ndarray, padding: int = 0) -> np.ndarray:
    """One row for each sample and input: `(n, k, d)` becomes `(n d, k + padding)`, padded with zeros."""
    n, k, d = jacobians.shape
    return np.pad(jacobians.transpose(0, 2, 1).reshape(n * d, k), ((0, 0), (0, padding)))


def _activate(network: MLP, pre: np.ndarray, pre_slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes after the activation, `(n, k)`, and their Jacobians, `(n, k, d)`."""
    p = jnp.asarray(pre, network.layers[0].weight.dtype)
    nodes, slope = jax.jvp(network.activation, (p,), (jnp.ones_like(p),))
    return np.asarray(nodes, np.float64), np.asarray(slope, np.float64)[:, :, None] * pre_slopes
