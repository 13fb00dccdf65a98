"""Multi-layer perceptrons with any list of widths."""

from collections.abc import Callable, Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._activations import known_name


@final
class Dense(eqx.Module):
    """An affine map `weight @ x + bias`.

    Attributes:
        weight: `(n_out, n_in)`.
        bias: `(n_out,)`.
    """

    weight: Float[Array, "n_out n_in"]
    bias: Float[Array, " n_out"]

    def __check_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                f"`weight` of shape {self.weight.shape} and `bias` of shape {self.bias.shape} do not fit; they must be "
                "(n_out, n_in) and (n_out,)."
            )

    def __call__(self, x: Float[Array, " n_in"]) -> Float[Array, " n_out"]:
        """Map one sample."""
        return self.weight @ x + self.bias


@final
class MLP(eqx.Module):
    """A dense network: affine maps with one activation between them, none after the last.

    Every hidden layer may have its own width, which is what dense pruning leaves behind.

    Attributes:
        layers: the affine maps, first to last; there is one hidden layer fewer.
        activation: any elementwise JAX function, such as `jax.nn.silu`.
    """

    layers: tuple[Dense, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not self.layers:
            raise ValueError("`layers` is empty; a network needs at least its output layer.")
        for i, (before, after) in enumerate(zip(self.layers[:-1], self.layers[1:], strict=True)):
            if before.weight.shape[0] != after.weight.shape[1]:
                raise ValueError(
                    f"layer {i} has {before.weight.shape[0]} outputs, but layer {i + 1} takes {after.weight.shape[1]} "
                    "inputs."
                )

    @classmethod
    def create(
        cls,
        widths: Sequence[int],
        *,
        activation: Callable[[Array], Array] = jax.nn.silu,
        key: PRNGKeyArray,
    ) -> "MLP":
        """Draw a network with normal weights of variance 1 / n_in (LeCun et al., 1998) and zero biases.

        Args:
            widths: nodes of every layer, inputs and outputs included, such as `[7, 128, 128, 1]`.
            activation: elementwise JAX function of every hidden layer.
            key: random key.

        Raises:
            ValueError: fewer than two widths, or one below 1.
        """
        if not callable(activation):
            raise TypeError(f"`activation` is {activation!r}; give the function itself, such as `jax.nn.silu`.")
        if len(widths) < 2 or any(width < 1 for width in widths):
            raise ValueError(f"`widths` is {list(widths)}; give at least an input and an output width, all at least 1.")
        keys = jax.random.split(key, len(widths) - 1)
        return cls(
            tuple(
                Dense(jax.random.normal(k, (n_out, n_in)) * n_in**-0.5, jnp.zeros(n_out))
                for k, n_in, n_out in zip(keys, widths[:-1], widths[1:], strict=True)
            ),
            activation,
        )

    @classmethod
    def from_equinox(cls, network: eqx.nn.MLP) -> "MLP":
        """The same network as one of this library; its weights are those arrays.

        A scalar input or output becomes one of size 1, and a bias that is not there one of zeros.

        Raises:
            TypeError: it is no `equinox.nn.MLP`.
            ValueError: it has an activation after its last layer, or one with arrays of its own.
        """
        if not isinstance(network, eqx.nn.MLP):
            raise TypeError(f"`network` is {type(network).__name__}; it must be an `equinox.nn.MLP`.")
        one = jax.ShapeDtypeStruct((), network.layers[-1].weight.dtype)
        after = jax.make_jaxpr(network.final_activation)(one).jaxpr
        if after.outvars != after.invars:
            raise ValueError(
                "`network` has an activation after its last layer, and an `MLP` has none there; leave it out and "
                "apply it to the outputs."
            )
        if any(map(eqx.is_array, jax.tree.leaves(network.activation))):
            raise ValueError(
                "the activation of `network` has arrays of its own; that of an `MLP` is a function without."
            )
        layers = tuple(
            Dense(layer.weight, jnp.zeros_like(layer.weight[:, 0]) if layer.bias is None else layer.bias)
            for layer in network.layers
        )
        activation = network.activation
        # Equinox applies an activation to one number at a time; the known ones are elementwise anyway.
        return cls(layers, activation if known_name(activation) else jax.vmap(activation))

    @property
    def widths(self) -> list[int]:
        """Nodes of every layer, inputs and outputs included."""
        return [self.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in self.layers)]

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)

    def __call__(self, x: Float[Array, " n_in"]) -> Float[Array, " n_out"]:
        """Map one sample."""
        return self.forward(x)[0]

    def forward(
        self, x: Float[Array, " n_in"], taps: Sequence[Float[Array, " _"]] | None = None
    ) -> tuple[Float[Array, " n_out"], tuple[Float[Array, " _"], ...]]:
        """Map one sample and keep every hidden node.

        Args:
            x: one sample, `(n_in,)`.
            taps: one array for each hidden layer, added to its nodes. With zeros nothing changes, and the derivative
                with respect to a tap is the adjoint of the nodes.

        Returns:
            The output and the nodes of the hidden layers after their activation, first to last.
        """
        _check_one_sample(x, self.widths[0])
        nodes = []
        for i, layer in enumerate(self.layers[:-1]):
            x = self.activation(layer(x))
            if taps is not None:
                x = x + taps[i]
            nodes.append(x)
        return self.layers[-1](x), tuple(nodes)


def _check_one_sample(x: Float[Array, "..."], n_in: int) -> None:
    # Without this a batch of as many samples as inputs would be multiplied by the weights from the wrong side.
    if jnp.shape(x) != (n_in,):
        raise ValueError(
            f"`x` has shape {jnp.shape(x)}; one sample of this network has shape ({n_in},). Map a batch with "
            "`jax.vmap`, or use `Surrogate.evaluate`."
        )
