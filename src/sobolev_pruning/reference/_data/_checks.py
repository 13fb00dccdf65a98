"""What samples must be to learn from them: finite, with some labels that count."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from .._samples import Samples

_PARTS = ("y", "dydx", "d2ydx2")


def check_learnable(samples: Samples, *, somewhere: bool = True) -> None:
    """Refuse samples that nothing can be learnt from, or that would spoil all that is learnt.

    A label of weight zero may be anything. Nothing but emptiness is checked while JAX traces.

    Args:
        samples: to be checked.
        somewhere: whether some label of every kind must have a weight; a part of the data can do without.

    Raises:
        ValueError: there are no samples; inputs, labels or weights are not finite; a weight is negative; or no label of
            a kind has a weight. The message counts the rows and names the first, counted from zero.
    """
    if samples.n == 0:
        raise ValueError("`samples` is empty: a data set needs at least one sample.")
    # On the host: within a traced function even operations on concrete arrays would be traced.
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(samples)):
        return
    _refuse("x", samples.x, _not_finite(samples.x), "repair or remove those rows")
    for part in _PARTS:
        labels = getattr(samples, part)
        weights = None if samples.weights is None else getattr(samples.weights, part)
        if weights is not None:
            bad = _not_finite(weights) | (np.asarray(weights) < 0)
            _refuse(f"weights.{part}", weights, bad, "weights are finite, and zero or positive")
            # Without any value the derivatives still say all but the level.
            needed = part != "y" or not _has_known_derivatives(samples)
            if somewhere and needed and labels is not None and not np.any(weights):
                hint = "" if part == "y" else f", or leave out `{part}`"
                raise ValueError(
                    f"`samples.weights.{part}` is zero everywhere, so no label of `{part}` is left to learn from; give "
                    f"those that are known a positive weight{hint}."
                )
        if labels is not None:
            bad = _not_finite(labels) & (True if weights is None else np.asarray(weights) > 0)
            _refuse(part, labels, bad, "repair or remove those rows, or give labels that are not known the weight zero")
    for name in ("hvps", "vjps"):
        for leaf in jax.tree.leaves(getattr(samples, name)):
            _refuse(name, leaf, _not_finite(leaf), "repair or remove those rows")


def _has_known_derivatives(samples: Samples) -> bool:
    weights = None if samples.weights is None else samples.weights.dydx
    return samples.vjps is not None or (samples.dydx is not None and (weights is None or bool(np.any(weights))))


def without_unknown(samples: Samples) -> Samples:
    """The same samples with zero for every label of weight zero: NaN times zero would still be NaN."""
    if samples.weights is None:
        return samples
    changed = {}
    for part in _PARTS:
        labels, weights = getattr(samples, part), getattr(samples.weights, part)
        if labels is not None and weights is not None:
            changed[part] = jnp.where(weights == 0, jnp.zeros_like(labels), labels)
    return dataclasses.replace(samples, **changed)


def _not_finite(part: Float[Array, "n ..."]) -> Bool[np.ndarray, "n ..."]:
    return ~np.isfinite(np.asarray(part))


def _refuse(name: str, part: Float[Array, "n ..."], bad: Bool[np.ndarray, "n ..."], remedy: str) -> None:
    if not bad.any():
        return
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
    shown = ", ".join(map(str, rows[:5].tolist())) + (", …" if len(rows) > 5 else "")
    first = tuple(np.argwhere(bad)[0].tolist())
    raise ValueError(
        f"`samples.{name}` holds {bad.sum()} such as {np.asarray(part)[first]} in {len(rows)} of {len(bad)} rows (row "
        f"{shown}); {remedy}."
    )
