"""All that a fit knows between two chunks: what a checkpoint must hold to go on to the same bits."""

import dataclasses
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..surrogate import MLP
from ._history import Failure, History
from ._loss import AbstractLoss
from ._steps import Told, Weights
from ._watch import Watch


@final
class Course(eqx.Module):
    """The state of a fit, on this process's first device and on the host.

    Attributes:
        attempt: which network this is, counted from zero.
        step: steps that are done.
        weights: parameters and state of the optimizer after them.
        loss: calibrated.
        key: of the batches of all steps.
        losses: of all steps that are done, chunk by chunk.
        learning_rates: likewise; None where they are not known.
        watch: evaluations so far.
        failures: of the attempts before.
    """

    attempt: int
    step: int
    weights: Weights
    loss: AbstractLoss
    key: PRNGKeyArray
    losses: tuple[np.ndarray, ...]
    learning_rates: tuple[np.ndarray, ...]
    watch: Watch
    failures: tuple[Failure, ...]

    def after(self, weights: Weights, told: Told) -> "Course":
        """With one chunk more."""
        losses = np.asarray(told.losses)
        rates = () if told.learning_rates is None else (np.asarray(told.learning_rates),)
        return dataclasses.replace(
            self,
            step=self.step + len(losses),
            weights=weights,
            losses=(*self.losses, losses),
            learning_rates=(*self.learning_rates, *rates),
        )

    def watched(self, metrics: dict[str, float]) -> "Course":
        """With one evaluation more."""
        return dataclasses.replace(self, watch=self.watch.after(self.step, metrics, self.weights.params))

    @property
    def params(self) -> MLP:
        """What the fit would return: the best ones if there is a patience, or else the last ones."""
        return self.weights.params if self.watch.best is None else self.watch.best

    def history(self) -> History:
        """What has been recorded."""
        evaluated, metrics = self.watch.arrays()
        return History(
            np.concatenate(self.losses),
            np.concatenate(self.learning_rates) if self.learning_rates else None,
            evaluated,
            metrics,
            watched=self.watch.names[0] if self.watch.names else None,
            best_step=self.watch.best_step,
            stopped_early=self.watch.is_over,
        )

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays by name, and what JSON can hold exactly: Python writes every float so that it reads the same."""
        arrays = {}
        for name, part in self._parts().items():
            for i, leaf in enumerate(jax.tree.leaves(part)):
                arrays[f"{name}.{i}"] = _as_host(leaf)
        for name in ("losses", "learning_rates"):
            if getattr(self, name):
                arrays[name] = np.concatenate(getattr(self, name))
        watch = self.watch
        return arrays, {
            "attempt": self.attempt,
            "step": self.step,
            "evaluated": list(watch.evaluated),
            "names": list(watch.names),
            "metrics": [list(metrics) for metrics in watch.metrics],
            "best_step": watch.best_step,
            "stale": watch.stale,
            "failures": [[failure.attempt, failure.step, failure.reason] for failure in self.failures],
        }

    def unpacked(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> "Course":
        """A stored course of the same fit; this one, at any of its steps, says which array is what.

        Raises:
            ValueError: an array is missing or has another shape or type than this fit's.
        """
        best_step, patience = facts["best_step"], self.watch.patience
        parts = self._parts() | {
            "best": self.weights.params if best_step is not None and patience is not None else None
        }
        filled = {}
        for name, part in parts.items():
            leaves, structure = jax.tree.flatten(part)
            filled[name] = structure.unflatten([_filled(leaf, arrays, f"{name}.{i}") for i, leaf in enumerate(leaves)])
        metrics = tuple(tuple(values) for values in facts["metrics"])
        watched = tuple(facts["evaluated"]), tuple(facts["names"]), metrics
        watch = Watch(patience, *watched, best_step, filled["best"], facts["stale"])
        return Course(
            facts["attempt"],
            facts["step"],
            filled["weights"],
            eqx.combine(filled["loss"], self.loss),
            filled["key"],
            (arrays["losses"],) if "losses" in arrays else (),
            (arrays["learning_rates"],) if "learning_rates" in arrays else (),
            watch,
            tuple(Failure(*failure) for failure in facts["failures"]),
        )

    def _parts(self) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "loss": eqx.filter(self.loss, eqx.is_array),
            "key": self.key,
            "best": self.watch.best,
        }


def _as_host(leaf: Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _filled(leaf: Array, arrays: dict[str, np.ndarray], name: str) -> Array:
    like = _as_host(leaf)
    stored = np.asarray(arrays.get(name, np.zeros(0, np.int8)))
    if (stored.shape, stored.dtype) != (like.shape, like.dtype):
        raise ValueError(f"`{name}` is {stored.dtype}{list(stored.shape)}, not {like.dtype}{list(like.shape)}")
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(leaf))
    return jnp.asarray(stored)
