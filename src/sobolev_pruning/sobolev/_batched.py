"""Values, Jacobians and Hessian products of a network at many samples, from one shared linearisation.

Written out for dense networks, since the layout decides the cost: features lead and samples trail in every array, so
that each layer is one product of its weights with a wide matrix whose columns are all samples (and outputs, and
directions) together, and no array is ever transposed. Mapping `jax.grad` over samples instead makes batched products
of small matrices. With k directions a step takes the products of 1 + k first-order steps: the forward pass, its
adjoint, and the tangent of both along each direction (B. Pearlmutter, 1994).
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..surrogate import MLP

Network = Callable[[Float[Array, " d"]], Float[Array, " m"]]


@final
class Derivatives(eqx.Module):
    """What a network says at n samples; samples are on the last axis.

    Attributes:
        values: `(m, n)`.
        gradients: `(d, c, n)`, of c = m outputs or along c cotangents; `None` at order 0.
        products: `∇²f · v` of every output, `(d, m, k, n)`; `None` below order 2.
    """

    values: Float[Array, "m n"]
    gradients: Float[Array, "d c n"] | None = None
    products: Float[Array, "d m k n"] | None = None


def derivatives(
    network: Network,
    x: Float[Array, "n d"],
    *,
    order: int,
    cotangents: Float[Array, "n c m"] | None = None,
    directions: Float[Array, "n k d"] | None = None,
) -> Derivatives:
    """Evaluate a network and its derivatives at many samples.

    Args:
        network: maps one sample, `(d,) -> (m,)`. An `MLP` takes the fast passes, anything else is mapped over samples.
        x: inputs, `(n, d)`.
        order: of the highest derivative, 0, 1 or 2.
        cotangents: along which first derivatives are taken, `(n, c, m)`; `None` takes every output's.
        directions: along which second derivatives are taken, `(n, k, d)`; needed at order 2.
    """
    # The second order is of every output, so at order 2 whole Jacobians are there anyway.
    seeds = cotangents if order < 2 else None
    found = (_of_mlp if isinstance(network, MLP) else _of_any)(network, x, order, seeds, directions)
    if order == 2 and cotangents is not None:
        along = jnp.einsum("dmn,ncm->dcn", found.gradients, cotangents)
        return Derivatives(found.values, along, found.products)
    return found


def _of_mlp(
    network: MLP,
    x: Float[Array, "n d"],
    order: int,
    cotangents: Float[Array, "n c m"] | None,
    directions: Float[Array, "n k d"] | None,
) -> Derivatives:
    hidden, last = network.layers[:-1], network.layers[-1]
    nodes, slopes, bends = x.T, [], []
    for layer in hidden:
        nodes, slope, bend = _activated(network.activation, layer.weight @ nodes + layer.bias[:, None], order)
        slopes.append(slope)
        bends.append(bend)
    values = last.weight @ nodes + last.bias[:, None]
    if order == 0:
        return Derivatives(values)

    # Adjoints of the nodes of each layer, (width, c, n). Those of the last hidden layer are the same at every sample
    # unless the cotangents differ; an axis of length one stands for all.
    if cotangents is None:
        adjoint = last.weight.T[:, :, None]
    else:
        adjoint = _times(last.weight.T, cotangents.T)
    adjoints = []
    for layer, slope in zip(hidden[::-1], slopes[::-1], strict=True):
        adjoints.append(adjoint)
        adjoint = _times(layer.weight.T, slope[:, None] * adjoint)
    c = adjoint.shape[1]
    gradients = jnp.broadcast_to(adjoint, (x.shape[1], c, x.shape[0]))
    if order == 1:
        return Derivatives(values, gradients)

    assert directions is not None
    k = directions.shape[1]
    # Tangents of the nodes before their activation, (width, k, n); then the tangents of the adjoints along the same
    # directions, (width, c, k, n), which start from zero since the last layer is affine.
    tangent, tangents = directions.T, []
    for layer, slope in zip(hidden, slopes, strict=True):
        tangents.append(_times(layer.weight, tangent))
        tangent = slope[:, None] * tangents[-1]
    moved = None
    for layer, slope, bend, before, adjoint in zip(
        hidden[::-1], slopes[::-1], bends[::-1], tangents[::-1], adjoints, strict=True
    ):
        before_activation = (bend[:, None] * adjoint)[:, :, None] * before[:, None]
        if moved is not None:
            before_activation = before_activation + slope[:, None, None] * moved
        moved = _times(layer.weight.T, before_activation)
    if moved is None:
        moved = jnp.zeros((x.shape[1], c, k, x.shape[0]), values.dtype)
    return Derivatives(values, gradients, moved)


def _times(weight: Float[Array, "p q"], nodes: Float[Array, "q *rest"]) -> Float[Array, "p *rest"]:
    """One matrix product, whatever stands behind the features; a sharded axis of samples stays as it is."""
    return jnp.tensordot(weight, nodes, 1)


def _activated(activation: Callable[[Array], Array], z: Float[Array, "width n"], order: int):
    """The activation and as many of its derivatives as the order asks for, elementwise; None for the others."""
    one = jnp.ones_like(z)

    def with_slope(z: Array) -> tuple[Array, Array]:
        return jax.jvp(activation, (z,), (one,))

    if order == 0:
        return activation(z), None, None
    if order == 1:
        return *with_slope(z), None
    (nodes, slope), (_, bend) = jax.jvp(with_slope, (z,), (one,))
    return nodes, slope, bend


def _of_any(
    network: Network,
    x: Float[Array, "n d"],
    order: int,
    cotangents: Float[Array, "n c m"] | None,
    directions: Float[Array, "n k d"] | None,
) -> Derivatives:
    """The same by AD, one sample at a time and mapped."""
    if order == 0:
        return Derivatives(jax.vmap(network, out_axes=-1)(x))

    def with_gradients(x: Float[Array, " d"], seeds: Float[Array, "c m"] | None):
        y, pullback = jax.vjp(network, x)
        (rows,) = jax.vmap(pullback)(jnp.eye(y.shape[0], dtype=y.dtype) if seeds is None else seeds)
        return y, rows.T

    if order == 1:
        return Derivatives(*jax.vmap(with_gradients, out_axes=-1)(x, cotangents))

    def with_products(x: Float[Array, " d"], v: Float[Array, "k d"]):
        found, along = jax.linearize(lambda x: with_gradients(x, None), x)
        return *found, jax.vmap(along, out_axes=-1)(v)[1]

    return Derivatives(*jax.vmap(with_products, out_axes=-1)(x, directions))
