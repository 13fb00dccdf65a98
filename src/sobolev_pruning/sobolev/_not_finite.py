"""Whose fault it is that a loss is not finite: that of the labels, or of the training."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ..reference import AbstractDirections, AbstractReferenceModel, Samples
from ..surrogate import MLP, Surrogate
from ._history import DivergedError
from ._loss import AbstractLoss
from ._steps import lenient

# Where labels lie, by the name that a user has for it.
_PARTS = {
    "inputs": ("x",),
    "values": ("y",),
    "gradients": ("dydx", "vjps"),
    "curvature": ("d2ydx2", "hvps"),
}
_SHOWN = 8


class NotFiniteError(DivergedError, ValueError):
    """Labels that a training needs are NaN or infinite; no learning rate would help.

    Attributes:
        step: at which they came, counted from zero.
        surrogate: with the parameters before that step, which are finite.
        losses: of all steps before it.
    """

    def __init__(self, message: str, step: int, surrogate: Surrogate | None, losses: np.ndarray) -> None:
        ArithmeticError.__init__(self, message)
        self.step, self.surrogate, self.losses, self.failures = step, surrogate, losses, ()


def check_samples(samples: Samples, what: str, parts: tuple[str, ...] = tuple(_PARTS)) -> None:
    """Refuse samples that are not finite before anything is learned from them or judged by them.

    Args:
        samples: in physical units.
        what: they are, such as "samples to judge by".
        parts: that must be finite: of `inputs`, `values`, `gradients` and `curvature`.

    Raises:
        NotFiniteError: they are not.
    """
    found = _found(samples)
    if any(name in found for name in parts):
        raise NotFiniteError(_told(samples, what, parts), 0, None, np.zeros(0))


class Suspects:
    """The labels of a training, looked at when its loss is not finite.

    Args:
        reference: draws them; None where they are given.
        loss: not calibrated yet.
        surrogate: where the training starts, for its units.
    """

    def __init__(self, reference: AbstractReferenceModel | None, loss: AbstractLoss, surrogate: Surrogate) -> None:
        self._reference, self._loss, self._surrogate = reference, loss, surrogate

    def check_first(self, batch: Samples, physical: Samples | PRNGKeyArray, key: PRNGKeyArray | None) -> None:
        """Before the training: look at the samples that the loss is calibrated on.

        Args:
            batch: in normalised units.
            physical: the same in physical units, or the key that they were drawn with.
            key: of the loss.

        Raises:
            NotFiniteError: labels that the loss needs are not finite.
        """
        if not _found(batch):
            return
        try:
            calibrated = self._loss.calibrate(batch)
            spoilt = not _all_finite(calibrated)
            calibrated = self._loss.calibrate(_cleaned(batch))
        except np.linalg.LinAlgError:
            spoilt, calibrated = True, self._loss
        if spoilt or self._are_guilty(self._surrogate.network, calibrated, batch, key):
            self._raise(batch, physical, 0, self._surrogate, np.zeros(0), "drawn before the first step")

    def check_step(
        self,
        batch: Samples,
        physical: Samples | PRNGKeyArray,
        key: PRNGKeyArray | None,
        loss: AbstractLoss,
        step: int,
        surrogate: Surrogate,
        losses: np.ndarray,
    ) -> None:
        """After a step whose loss or update was not finite: look at its samples.

        Args:
            batch: in normalised units.
            physical: the same in physical units, or the key that they were drawn with.
            key: of the loss at that step.
            loss: calibrated.
            step: counted from zero.
            surrogate: before that step.
            losses: of the steps before.

        Raises:
            NotFiniteError: the labels are at fault. Else the training is.
        """
        if _found(batch) and self._are_guilty(surrogate.network, loss, batch, key):
            self._raise(batch, physical, step, surrogate, losses, f"of step {step}")

    def _are_guilty(self, network: MLP, loss: AbstractLoss, batch: Samples, key: PRNGKeyArray | None) -> bool:
        """A loss may not need what is not finite, and a training may diverge beside it."""
        return not _is_finite(network, loss, batch, key) and _is_finite(network, loss, _cleaned(batch), key)

    def _raise(
        self,
        batch: Samples,
        physical: Samples | PRNGKeyArray,
        step: int,
        surrogate: Surrogate,
        losses: np.ndarray,
        when: str,
    ) -> None:
        if not isinstance(physical, Samples):
            assert self._reference is not None
            physical = drawn(self._reference, self._loss.directions(surrogate.normalisation), physical, batch.n)
        # What overflows in normalised units alone is shown in them.
        shown = physical if _found(physical) else batch
        what = "samples" if self._reference is None else f"samples {when}"
        kept = " The parameters before that step are kept in `.surrogate`." if step else ""
        raise NotFiniteError(_told(shown, what, tuple(_PARTS)) + kept, step, surrogate, losses)


@eqx.filter_jit
def drawn(
    reference: AbstractReferenceModel, directions: AbstractDirections | None, key: PRNGKeyArray, n: int
) -> Samples:
    """Samples in physical units."""
    return reference.sample(key, n) if directions is None else reference.sample(key, n, directions=directions)


def _leaves(samples: Samples, part: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Arrays of one part, each with where it is not finite although it counts."""
    for name in _PARTS[part]:
        for leaf in jax.tree.leaves(getattr(samples, name)):
            array = np.asarray(leaf)
            bad = ~np.isfinite(array)
            weights = getattr(samples.weights, name, None)
            yield name, array, bad if weights is None else bad & (np.asarray(weights) != 0)


def _found(samples: Samples) -> dict[str, np.ndarray]:
    """Rows that are not finite, by part."""
    rows = {part: np.zeros(samples.n, bool) for part in _PARTS}
    for part, found in rows.items():
        for _, _, bad in _leaves(samples, part):
            found |= bad.reshape(samples.n, -1).any(axis=1)
    return {part: found for part, found in rows.items() if found.any()}


def _cleaned(samples: Samples) -> Samples:
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, jnp.zeros_like(leaf)), samples)


def _is_finite(network: MLP, loss: AbstractLoss, batch: Samples, key: PRNGKeyArray | None) -> bool:
    with lenient():
        return bool(_loss_and_gradient_are_finite(network, loss, batch, key))


@eqx.filter_jit
def _loss_and_gradient_are_finite(network: MLP, loss: AbstractLoss, batch: Samples, key: PRNGKeyArray | None):
    found = eqx.filter_value_and_grad(lambda network: loss(network, batch, key=key))(network)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(found)]))


def _all_finite(tree: Any) -> bool:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return all(bool(np.all(np.isfinite(leaf))) for leaf in leaves)


def _told(samples: Samples, what: str, parts: tuple[str, ...]) -> str:
    """How many, in which parts, and the first of them with its input."""
    found = {part: rows for part, rows in _found(samples).items() if part in parts}
    rows = np.logical_or.reduce(list(found.values()))
    first = int(np.flatnonzero(rows)[0])
    listed = ", ".join(f"{part} of {int(bad.sum())}" for part, bad in found.items())
    part = next(part for part, bad in found.items() if bad[first])
    name, array, bad = next(leaf for leaf in _leaves(samples, part) if leaf[2][first].any())
    index = tuple(np.argwhere(bad[first])[0].tolist())
    where = {
        "x": "input {0}",
        "y": "the value of output {0}",
        "dydx": "the derivative of output {0} by input {1}",
        "d2ydx2": "the second derivative of output {0} by inputs {1} and {2}",
    }.get(name, f"`samples.{name}`").format(*index)
    remedy = (
        "Draw inputs where the function is defined, or repair the function there."
        if {"inputs", "values"} & found.keys()
        else "AD gives NaN or infinity for a root, a norm or a logarithm at 0, also in the branch that `jnp.where` "
        "does not take: give the function an argument that is safe there, or leave such inputs out."
    )
    return (
        f"{int(rows.sum())} of {samples.n} {what} are not finite ({listed}). The first is row {first}, at x = "
        f"{_row(samples.x[first])}: {where} is {array[(first, *index)]}. {remedy}"
    )


def _row(x: Any) -> str:
    numbers = [f"{float(number):.6g}" for number in np.asarray(x)[:_SHOWN]]
    return f"[{', '.join(numbers)}{', …' if len(x) > _SHOWN else ''}]"
