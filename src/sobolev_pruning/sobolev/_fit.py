"""The training loop: compiled chunks of many steps, with Python only between them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray, UInt32

from ..reference import AbstractReferenceModel, Samples
from ..surrogate import MLP, Normalisation, Surrogate
from ._loss import AbstractLoss
from ._progress import ProgressReporter, Silent


class DivergedError(ArithmeticError):
    """The loss or an update was not finite.

    Attributes:
        step: the first step, counted from zero, at which that happened.
        surrogate: with the parameters before that step, which are finite.
        losses: of all steps before it.
    """

    def __init__(self, step: int, surrogate: Surrogate, losses: np.ndarray) -> None:
        super().__init__(
            f"training diverged: the loss or its gradient is not finite at step {step}. The parameters before that "
            "step are kept in `.surrogate`. Lower the learning rate, or look for labels that are not finite."
        )
        self.step = step
        self.surrogate = surrogate
        self.losses = losses


@final
class FitResult(eqx.Module):
    """A trained surrogate and the course of its training.

    Attributes:
        surrogate: after the last step.
        losses: of every step, `(steps,)`, in normalised units, each measured before the step's update.
    """

    surrogate: Surrogate
    losses: np.ndarray


def fit(
    surrogate: Surrogate,
    reference: AbstractReferenceModel,
    loss: AbstractLoss,
    *,
    key: PRNGKeyArray,
    steps: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    steps_per_chunk: int = 250,
    progress: ProgressReporter | None = None,
    title: str = "fit",
    on_chunk: Callable[[int, Surrogate], None] | None = None,
) -> FitResult:
    """Train the network of a surrogate on samples of a reference model.

    Every step draws `batch_size` samples with a key of its own: fresh ones from a simulator, rows of the data from a
    `DataSet`, labels of a teacher from a `FunctionReference`. Same key, same result. Samples are drawn inside the
    compiled step and never leave the device. Many steps are one `lax.scan`; between those chunks Python shows
    progress and can be interrupted.

    Args:
        surrogate: where to start; its normalisation stays as it is.
        reference: what to learn from.
        loss: `ValueLoss()`, `SobolevLoss(λ₁)`, or another; calibrated on the first batch.
        key: random key of all batches.
        steps: number of updates.
        batch_size: samples a step.
        optimizer: any Optax transformation, with its schedule inside.
        steps_per_chunk: updates between two looks at the progress.
        progress: shows the course of training; nothing is shown if not given.
        title: of the progress bar.
        on_chunk: called after every chunk with the steps done and the surrogate so far, to evaluate or to store it.

    Returns:
        The trained surrogate and all losses.

    Raises:
        ValueError: a number out of range, a reference of other dimensions, or labels that the loss needs and the
            reference lacks.
        DivergedError: the loss or an update was not finite; the error carries the last good parameters.
    """
    if not isinstance(reference, AbstractReferenceModel):
        raise TypeError(
            f"`reference` is {type(reference).__name__}; it must be a reference model. Wrap samples as "
            "`DataSet(samples)` and a function as `FunctionReference(function, inputs)`."
        )
    for name, number in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("steps_per_chunk", steps_per_chunk),
    ):
        if number < 1:
            raise ValueError(f"`{name}` is {number}; it must be at least 1.")
    widths = surrogate.network.widths
    if (reference.dim_in, reference.dim_out) != (widths[0], widths[-1]):
        raise ValueError(
            f"the reference maps {reference.dim_in} inputs to {reference.dim_out} outputs, the network {widths[0]} to "
            f"{widths[-1]}."
        )
    calibration_key, key = jax.random.split(key)
    loss = loss.calibrate(_batch(reference, loss, surrogate.normalisation, calibration_key, batch_size))
    params, static = eqx.partition(surrogate.network, eqx.is_inexact_array)
    with _lenient():
        state = (params, optimizer.init(params), jnp.asarray(True))
    keys = jax.random.split(key, steps)
    losses: list[Float[np.ndarray, " chunk"]] = []
    reporter: ProgressReporter = Silent() if progress is None else progress
    reporter.start(title, steps)
    try:
        for begin in range(0, steps, steps_per_chunk):
            chunk = keys[begin : begin + steps_per_chunk]
            state, (values, finite) = _run_chunk(
                state, chunk, reference, loss, surrogate.normalisation, static, optimizer, batch_size
            )
            bad = np.flatnonzero(~np.asarray(finite))
            if bad.size:
                kept = np.concatenate([*losses, np.asarray(values)[: bad[0]]])
                raise DivergedError(begin + int(bad[0]), _replaced(surrogate, state[0], static), kept)
            losses.append(np.asarray(values))
            reporter.update(begin + len(losses[-1]), losses[-1])
            if on_chunk is not None:
                on_chunk(begin + len(losses[-1]), _replaced(surrogate, state[0], static))
    finally:
        reporter.stop()
    return FitResult(_replaced(surrogate, state[0], static), np.concatenate(losses))


@eqx.filter_jit
def _batch(
    reference: AbstractReferenceModel, loss: AbstractLoss, units: Normalisation, key: PRNGKeyArray, batch_size: int
) -> Samples:
    """Normalised samples with the derivatives that the loss asks for."""
    directions = loss.directions(units)
    if directions is None:
        return units.normalise(reference.sample(key, batch_size))
    return units.normalise(reference.sample(key, batch_size, directions=directions))


# On the level of the module, so that another fit of the same shapes with the same optimizer does not compile again.
@eqx.filter_jit
def _run_chunk(
    state: tuple[MLP, optax.OptState, Bool[Array, ""]],
    keys: Key[Array, " chunk"] | UInt32[Array, "chunk _"],
    reference: AbstractReferenceModel,
    loss: AbstractLoss,
    units: Normalisation,
    static: MLP,
    optimizer: optax.GradientTransformation,
    batch_size: int,
):
    """One step for each key; returns the state, and for each step the loss and whether it was finite."""

    def step(state, key):
        params, opt_state, running = state
        batch = _batch(reference, loss, units, key, batch_size)
        directions_key = jax.random.fold_in(key, 1)
        value, gradient = jax.value_and_grad(lambda p: loss(eqx.combine(p, static), batch, key=directions_key))(params)
        with _lenient():
            updates, new_opt_state = optimizer.update(gradient, opt_state, params)
        finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(updates))
        running = running & finite
        # After the first bad step nothing moves any more, so the parameters before it survive.
        new = (optax.apply_updates(params, updates), new_opt_state)
        params, opt_state = jax.tree.map(lambda a, b: jnp.where(running, a, b), new, (params, opt_state))
        return (params, opt_state, running), (value, finite)

    return jax.lax.scan(step, state, keys)


@contextlib.contextmanager
def _lenient() -> Iterator[None]:
    """JAX's default promotion, also where the user made it strict: Optax raises floats to integer powers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _replaced(surrogate: Surrogate, params: MLP, static: MLP) -> Surrogate:
    return Surrogate(eqx.combine(params, static), surrogate.normalisation, surrogate.provenance)
