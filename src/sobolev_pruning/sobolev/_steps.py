"""The compiled part of the training loop: many steps as one `lax.scan`."""

import contextlib
from collections.abc import Iterator
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray, PyTree, UInt32

from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Normalisation
from ._loss import AbstractLoss
from ._sharding import one_copy, shared_out

Keys = Key[Array, "*seeds steps"] | UInt32[Array, "*seeds steps _"]


@final
class Task(eqx.Module):
    """What every step does; the state it does it to is apart.

    Attributes:
        reference: draws the samples.
        loss: calibrated.
        units: of the network.
        static: the network without its parameters.
        optimizer: any Optax transformation.
        batch_size: samples a step.
        clip_norm: largest norm of a gradient; None for no limit.
        mesh: devices that share a batch; None for one device.
    """

    reference: AbstractReferenceModel
    loss: AbstractLoss
    units: Normalisation
    static: MLP
    optimizer: optax.GradientTransformation = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    clip_norm: float | None = eqx.field(static=True, default=None)
    mesh: Mesh | None = eqx.field(static=True, default=None)


@final
class Weights(eqx.Module):
    """What the steps change.

    Attributes:
        params: the network with its arrays alone.
        opt_state: of the optimizer.
        running: false from the first step on whose loss or update was not finite.
    """

    params: PyTree
    opt_state: PyTree
    running: Bool[Array, "..."]

    @classmethod
    def start(cls, network: MLP, optimizer: optax.GradientTransformation) -> "Weights":
        """Before the first step."""
        params = eqx.filter(network, eqx.is_inexact_array)
        with lenient():
            return cls(params, optimizer.init(params), jnp.asarray(True))


@final
class Told(eqx.Module):
    """What a chunk tells of each of its steps.

    Attributes:
        losses: before the update.
        finite: whether the loss and the update were.
        learning_rates: of the update, or None where the optimizer's state does not hold them.
    """

    losses: Float[Array, "..."]
    finite: Bool[Array, "..."]
    learning_rates: Float[Array, "..."] | None


def batch(
    reference: AbstractReferenceModel, loss: AbstractLoss, units: Normalisation, key: PRNGKeyArray, batch_size: int
) -> Samples:
    """Normalised samples with the derivatives that the loss asks for."""
    directions = loss.directions(units)
    if directions is None:
        return units.normalise(reference.sample(key, batch_size))
    return units.normalise(reference.sample(key, batch_size, directions=directions))


def run_steps(weights: Weights, keys: Keys, task: Task) -> tuple[Weights, Told]:
    """One step for each key; compiled by whoever calls it, for one network or for many."""

    def step(weights: Weights, key: PRNGKeyArray) -> tuple[Weights, Told]:
        samples = shared_out(batch(task.reference, task.loss, task.units, key, task.batch_size), task.mesh)
        directions_key = jax.random.fold_in(key, 1)
        value, gradient = jax.value_and_grad(
            lambda p: task.loss(eqx.combine(p, task.static), samples, key=directions_key)
        )(weights.params)
        with lenient():
            if task.clip_norm is not None:
                gradient, _ = optax.clip_by_global_norm(task.clip_norm).update(gradient, optax.EmptyState())
            updates, opt_state = task.optimizer.update(gradient, weights.opt_state, weights.params)
        rate = _learning_rate(opt_state)
        finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(updates))
        running = weights.running & finite
        # After the first bad step nothing moves any more, so the parameters before it survive.
        new, old = (optax.apply_updates(weights.params, updates), opt_state), (weights.params, weights.opt_state)
        params, opt_state = jax.tree.map(lambda a, b: jnp.where(running, a, b), new, old)
        return one_copy((Weights(params, opt_state, running), Told(value, finite, rate)), task.mesh)

    return jax.lax.scan(step, weights, keys)


# On the level of the module, so that another fit of the same shapes with the same optimizer does not compile again.
draw_batch = eqx.filter_jit(batch)
run_chunk = eqx.filter_jit(run_steps)


@eqx.filter_jit
def run_chunk_of_seeds(weights: Weights, keys: Keys, loss: AbstractLoss, task: Task) -> tuple[Weights, Told]:
    """The same for many networks, each with keys and a calibrated loss of its own, on a leading axis of all three."""

    def of_one(weights: Weights, keys: Keys, loss: AbstractLoss) -> tuple[Weights, Told]:
        return run_steps(weights, keys, eqx.tree_at(lambda t: t.loss, task, loss))

    return eqx.filter_vmap(of_one)(weights, keys, loss)


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """JAX's default promotion, also where the user made it strict: Optax raises floats to integer powers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _learning_rate(opt_state: PyTree) -> Float[Array, ""] | None:
    found = optax.tree.get_all_with_path(opt_state, "learning_rate")
    rates = [value for _, value in found if eqx.is_inexact_array(value) and value.ndim == 0]
    # Two rates belong to two parts of the network, and neither is the learning rate.
    return rates[0] if len(rates) == 1 else None
