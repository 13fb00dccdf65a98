"""Evaluation while a network trains, and stopping when it helps no more."""

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..reference import Samples
from ..surrogate import MLP, Surrogate
from ._loss import AbstractLoss

Evaluation = Samples | Callable[[Surrogate], float | Mapping[str, float]]


def as_metrics(
    evaluation: Evaluation, loss: AbstractLoss, key: PRNGKeyArray
) -> Callable[[Surrogate], dict[str, float]]:
    """How to evaluate: the loss and the errors on held-out samples, or what a function of the user says."""
    if isinstance(evaluation, Samples):
        held_out = evaluation

        def on_samples(surrogate: Surrogate) -> dict[str, float]:
            # By a tuple, since compiled functions return the entries of a dictionary in alphabetical order.
            names = ("loss", "rmse_values", "rmse_gradients")
            found = _metrics(surrogate.network, surrogate.normalisation.normalise(held_out), loss, key)
            return {name: float(value) for name, value in zip(names, found, strict=False)}

        return on_samples
    called = evaluation

    def by_function(surrogate: Surrogate) -> dict[str, float]:
        found = called(surrogate)
        if not isinstance(found, Mapping):
            return {"evaluation": _as_float("evaluation", found)}
        if not found:
            raise ValueError("`evaluation` returned no metric; return one number, or several by their names.")
        return {str(name): _as_float(str(name), value) for name, value in found.items()}

    return by_function


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"`evaluation` returned {type(value).__name__} for {name!r}; return one number, or several by their names."
        ) from None


@eqx.filter_jit
def _metrics(network: MLP, samples: Samples, loss: AbstractLoss, key: PRNGKeyArray) -> list[Float[Array, ""]]:
    """The loss, then root mean squared errors of values and of gradients, if there are, all in normalised units."""
    metrics = [loss(network, samples, key=key)]
    weights = samples.weights
    errors = jax.vmap(network)(samples.x) - samples.y
    metrics.append(_rmse(errors, None if weights is None else weights.y))
    if samples.dydx is not None:
        errors = jax.vmap(jax.jacrev(network))(samples.x) - samples.dydx
        metrics.append(_rmse(errors, None if weights is None else weights.dydx))
    return metrics


def _rmse(errors: Float[Array, "n ..."], weights: Float[Array, "n ..."] | None) -> Float[Array, ""]:
    """Over the labels that are known."""
    if weights is None:
        return jnp.sqrt(jnp.mean(errors**2))
    known = weights > 0
    return jnp.sqrt(jnp.sum(jnp.where(known, weights * errors**2, 0.0)) / jnp.sum(weights))


@final
class Watch(eqx.Module):
    """What has been evaluated so far, and the best of it.

    Attributes:
        patience: evaluations in a row that may bring no improvement; None never stops and keeps no parameters.
        evaluated: steps that were done at each evaluation.
        names: of the metrics.
        metrics: of each evaluation, in the order of their names.
        best_step: of the smallest first metric.
        best: the parameters there, if there is a patience.
        stale: evaluations since then.
    """

    patience: int | None
    evaluated: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    metrics: tuple[tuple[float, ...], ...] = ()
    best_step: int | None = None
    best: MLP | None = None
    stale: int = 0

    def after(self, step: int, metrics: Mapping[str, float], params: MLP) -> "Watch":
        """With one evaluation more. One that is not finite is no improvement on anything.

        Raises:
            ValueError: it has other metrics than those before.
        """
        if self.names and tuple(metrics) != self.names:
            raise ValueError(
                f"`evaluation` returned the metrics {list(metrics)} after {step} steps and {list(self.names)} "
                "before; return the same names in the same order each time."
            )
        values = tuple(metrics.values())
        better = math.isfinite(values[0]) and values[0] < self._best_value
        return Watch(
            self.patience,
            (*self.evaluated, step),
            tuple(metrics),
            (*self.metrics, values),
            step if better else self.best_step,
            (params if better else self.best) if self.patience is not None else None,
            0 if better else self.stale + 1,
        )

    @property
    def _best_value(self) -> float:
        return math.inf if self.best_step is None else self.metrics[self.evaluated.index(self.best_step)][0]

    @property
    def is_over(self) -> bool:
        """Whether the patience is at its end."""
        return self.patience is not None and self.stale >= self.patience

    def arrays(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Evaluated steps, and each metric at all of them."""
        columns = zip(*self.metrics, strict=True)
        metrics = {name: np.array(values) for name, values in zip(self.names, columns, strict=True)}
        return np.array(self.evaluated, np.int64), metrics
