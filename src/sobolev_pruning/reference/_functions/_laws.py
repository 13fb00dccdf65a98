"""Laws of the inputs of a function: where a reference is sampled."""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._sobol_points import scrambled_sobol

Vector = Float[Array, " d"] | Float[np.ndarray, " d"]


@final
class UniformBox(eqx.Module):
    """Independent inputs, uniform over a box.

    Attributes:
        lower, upper: ends of the box, `(d,)`, in physical units.

    Raises:
        ValueError: the ends do not fit each other, are not finite, or an input is constant.
    """

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]

    def __init__(self, lower: Vector, upper: Vector) -> None:
        self.lower, self.upper = _box(lower, upper)

    def __call__(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Draw `n` inputs."""
        unit = jax.random.uniform(key, (n, self.lower.shape[0]), self.lower.dtype)
        return self.lower[None] + (self.upper - self.lower)[None] * unit


@final
class SobolBox(eqx.Module):
    """Scrambled Sobol points over a box: each is uniform, and together they fill it more evenly than chance does.

    Every key scrambles anew, so batches differ and their means are unbiased. For smooth labels the error of a mean over
    n points falls nearly as `n^(-3/2)` in place of `n^(-1/2)`, if n is a power of two; other n lose part of that.

    Points have 32 bits, and 23 where the box is in single precision.

    Attributes:
        lower, upper: ends of the box, `(d,)`, in physical units.

    Raises:
        ValueError: the ends do not fit each other, are not finite, or an input is constant.
    """

    lower: Float[Array, " d"]
    upper: Float[Array, " d"]

    def __init__(self, lower: Vector, upper: Vector) -> None:
        self.lower, self.upper = _box(lower, upper)

    def __call__(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Draw `n` inputs, the first points of a newly scrambled sequence."""
        unit = scrambled_sobol(key, n, self.lower.shape[0], self.lower.dtype)
        return self.lower[None] + (self.upper - self.lower)[None] * unit


@final
class NormalLaw(eqx.Module):
    """Independent normal inputs.

    Attributes:
        mean, deviation: of every input, `(d,)`, in physical units.

    Raises:
        ValueError: the parts do not fit each other or are not finite, or a deviation is not positive.
    """

    mean: Float[Array, " d"]
    deviation: Float[Array, " d"]

    def __init__(self, mean: Vector, deviation: Vector) -> None:
        centre, spread = _vectors("mean", mean, "deviation", deviation)
        if not np.all(spread > 0):
            column = int(np.argmin(spread))
            raise ValueError(f"`deviation` is {spread[column]} for input {column}; it must be positive.")
        self.mean, self.deviation = jnp.asarray(centre, dtype=float), jnp.asarray(spread, dtype=float)

    def __call__(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Draw `n` inputs."""
        z = jax.random.normal(key, (n, self.mean.shape[0]), self.mean.dtype)
        return self.mean[None] + self.deviation[None] * z


def dimension_of(inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]]) -> int:
    """Number of inputs that a law draws.

    Raises:
        ValueError: it draws arrays of another rank.
    """
    x = jax.eval_shape(lambda: inputs(jax.random.key(0), 1))
    if len(x.shape) != 2:
        raise ValueError(f"`inputs` returns shape {x.shape} for one sample asked for; it must be (n, d), here (1, d).")
    return x.shape[1]


def _box(lower: Vector, upper: Vector) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    low, high = _vectors("lower", lower, "upper", upper)
    if not np.all(low < high):
        column = int(np.argmax(~(low < high)))
        raise ValueError(
            f"`lower` is {low[column]} and `upper` {high[column]} for input {column}; the box must have a width there. "
            "Leave a constant out of the inputs."
        )
    return jnp.asarray(low, dtype=float), jnp.asarray(high, dtype=float)


def _vectors(name: str, first: Vector, other: str, second: Vector) -> tuple[np.ndarray, np.ndarray]:
    """Both on the host and in double precision, where the checks need concrete numbers."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 1 or a.size == 0 or a.shape != b.shape:
        raise ValueError(f"`{name}` has shape {a.shape} and `{other}` {b.shape}; give both one number for each input.")
    for label, part in ((name, a), (other, b)):
        if not np.all(np.isfinite(part)):
            raise ValueError(f"`{label}` is {part.tolist()}; it must be finite.")
    return a, b
