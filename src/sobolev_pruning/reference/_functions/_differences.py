"""Where the derivatives of a function that JAX cannot trace come from. All on the host, in double precision."""

import abc
import math
from collections.abc import Sequence
from typing import final

import equinox as eqx
import numpy as np
from jaxtyping import Float

Steps = tuple[float, ...] | float


def _as_steps(steps: float | Sequence[float] | np.number | Float[np.ndarray, "..."]) -> Steps:
    # Numbers and not an array: the host needs them while a compiled step runs, where arrays are traced.
    numbers = np.asarray(steps, np.float64)
    return float(numbers) if numbers.ndim == 0 else tuple(numbers.tolist())


@final
class ReturnedDerivatives(eqx.Module):
    """The function returns a pair, its values and its Jacobian: `(m,)` and `(m, d)` for one sample."""


class AbstractDifferences(eqx.Module):
    """Differences of the values at points around each sample.

    Attributes:
        steps: h, of every input, in its physical units; one number is the step of all.
    """

    steps: eqx.AbstractVar[Steps]

    @abc.abstractmethod
    def points(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n p d"]:
        """Where the function is evaluated for each sample; the sample itself comes first.

        Raises:
            ValueError: there are not as many steps as inputs.
        """

    @abc.abstractmethod
    def jacobian(
        self, points: Float[np.ndarray, "n p d"], values: Float[np.ndarray, "n p m"]
    ) -> Float[np.ndarray, "n m d"]:
        """Jacobians from the values at the points."""


@final
class ForwardDifferences(AbstractDifferences):
    """`(f(x + h e) − f(x)) / h`: d further evaluations for each sample, of first order.

    The error is `h/2 f″ + O(h²)`, and rounding adds up to `2 ε |f| / h`. With inputs of size one and values in double
    precision h near 1e-8 is best and leaves about 1e-8.

    Attributes:
        steps: h, of every input, in its physical units; one number is the step of all.

    Raises:
        ValueError: a step is not finite and positive.
    """

    steps: Steps = eqx.field(static=True, converter=_as_steps)

    def __check_init__(self) -> None:
        _check_steps(self.steps)

    def points(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n p d"]:
        """The sample, then one step along every input, `(n, 1 + d, d)`."""
        steps = _steps_of(self.steps, x.shape[1])
        return np.concatenate([x[:, None], x[:, None] + np.diag(steps)[None]], axis=1)

    def jacobian(
        self, points: Float[np.ndarray, "n p d"], values: Float[np.ndarray, "n p m"]
    ) -> Float[np.ndarray, "n m d"]:
        """Differences from the sample, over the steps as they were taken."""
        taken = _taken(points[:, 1:] - points[:, :1], points)
        return np.swapaxes(values[:, 1:] - values[:, :1], 1, 2) / taken[:, None]


@final
class CentralDifferences(AbstractDifferences):
    """`(f(x + h e) − f(x − h e)) / 2h`: 2d further evaluations for each sample, of second order.

    The error is `h²/6 f‴ + O(h⁴)`, and rounding adds up to `ε |f| / h`. With inputs of size one and values in double
    precision h near 1e-5 is best and leaves about 1e-10.

    Attributes:
        steps: h, of every input, in its physical units; one number is the step of all.

    Raises:
        ValueError: a step is not finite and positive.
    """

    steps: Steps = eqx.field(static=True, converter=_as_steps)

    def __check_init__(self) -> None:
        _check_steps(self.steps)

    def points(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n p d"]:
        """The sample, then a step forward along every input, then one backward, `(n, 1 + 2d, d)`."""
        steps = np.diag(_steps_of(self.steps, x.shape[1]))[None]
        return np.concatenate([x[:, None], x[:, None] + steps, x[:, None] - steps], axis=1)

    def jacobian(
        self, points: Float[np.ndarray, "n p d"], values: Float[np.ndarray, "n p m"]
    ) -> Float[np.ndarray, "n m d"]:
        """Differences across the sample, over the steps as they were taken."""
        d = points.shape[2]
        taken = _taken(points[:, 1 : 1 + d] - points[:, 1 + d :], points)
        return np.swapaxes(values[:, 1 : 1 + d] - values[:, 1 + d :], 1, 2) / taken[:, None]


def _taken(steps: Float[np.ndarray, "n d d"], points: Float[np.ndarray, "n p d"]) -> Float[np.ndarray, "n d"]:
    """The steps as they were taken, of which none may be lost in the rounding of its input."""
    taken = np.diagonal(steps, axis1=1, axis2=2)
    lost = np.argwhere(taken == 0)
    if lost.size:
        row, i = lost[0].tolist()
        raise ValueError(
            f"`steps` are lost in the rounding of input {i}, which is {points[row, 0, i]:g} in row {row}; take larger "
            "ones."
        )
    return taken


def _check_steps(steps: Steps) -> None:
    for step in steps if isinstance(steps, tuple) else (steps,):
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"`steps` holds {step}; every step must be finite and positive, in units of its input.")


def _steps_of(steps: Steps, dim: int) -> Float[np.ndarray, " d"]:
    if not isinstance(steps, tuple):
        return np.full(dim, steps)
    if len(steps) != dim:
        raise ValueError(f"`steps` holds {len(steps)} numbers for {dim} inputs; give one for each, or one for all.")
    return np.array(steps)
