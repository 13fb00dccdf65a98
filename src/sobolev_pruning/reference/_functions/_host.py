"""A Python function that JAX cannot trace as the reference model: a simulator, a solver, another library."""

import warnings
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cast import cast
from .._directions import AbstractDirections
from .._reference_model import AbstractReferenceModel
from .._samples import Samples
from ._differences import AbstractDifferences, ReturnedDerivatives
from ._jumps import without_jumps
from ._laws import dimension_of

# Of the points around samples, in memory together.
_NUMBERS_AT_ONCE = 2**22


@final
class HostFunction(AbstractReferenceModel):
    """Labels from a function of NumPy arrays that runs on the host.

    It must be deterministic: the same input, the same values. A slow one is evaluated once, by `table`, and learned
    from as `DataSet(host.table(key, n))`. A fast one may also label fresh samples in every compiled step of `fit`,
    which then waits for Python. There the function must not call JAX, which could wait for the step that waits for it.

    The function sees inputs in double precision, and differences are taken in it, also where JAX works in single.

    Attributes:
        function: takes one sample, `(d,)`, and returns its values, `(m,)`, or a number if m is 1. With `batched` it
            takes `(n, d)`, for any n, and returns `(n, m)`. With `ReturnedDerivatives` it returns a pair, of values and
            Jacobian.
        inputs: draws inputs, `(key, n) -> (n, d)`, such as `UniformBox(lower, upper)`; in JAX.
        n_outputs: m, which cannot be told without a call.
        derivatives: `ReturnedDerivatives()`, `CentralDifferences(steps)`, `ForwardDifferences(steps)`, or `None` for
            values alone. Differences step out of a box by as much as a step where a sample lies at its edge. Where the
            function jumps within a step, the difference on the other side is taken, with a warning.
        batched: whether the function takes all samples at once.

    Raises:
        TypeError: the function or the inputs cannot be called.
        ValueError: the number of outputs is below 1.
    """

    function: Callable[[np.ndarray], Any] = eqx.field(static=True)
    inputs: Callable[[PRNGKeyArray, int], Float[Array, "n d"]]
    n_outputs: int = eqx.field(static=True)
    derivatives: AbstractDifferences | ReturnedDerivatives | None = None
    batched: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        for name in ("function", "inputs"):
            if not callable(getattr(self, name)):
                raise TypeError(f"`{name}` is {type(getattr(self, name)).__name__}; it must be a function.")
        if self.n_outputs < 1:
            raise ValueError(f"`n_outputs` is {self.n_outputs}; a function needs at least one output.")

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return dimension_of(self.inputs)

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.n_outputs

    def table(self, key: PRNGKeyArray, n: int) -> Samples:
        """Evaluate the function at `n` inputs, once, and keep the labels: those that `sample` gives.

        Raises:
            RuntimeError: the function fails; the message has the input, and the cause is the function's own error.
            ValueError: it returns other shapes, or a value that is not finite; the message has the row. Also if this is
                called inside of `jit`.
        """
        if isinstance(key, Tracer):
            raise ValueError("`table` is called inside of `jit`, where nothing can be kept; call it before.")
        return self.sample(key, n)

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """Values `(n, m)` at `n` inputs drawn with `key`, and Jacobians `(n, m, d)` where `derivatives` is given.

        Raises:
            RuntimeError, ValueError: as `table`; from a compiled step JAX raises its own error, with the same text.
            ValueError: second derivatives are asked for.
        """
        if directions is not None:
            raise ValueError(
                "a function on the host has no second derivatives: differences of differences would be noise. Train on "
                "values and gradients, or make a `DataSet` with Hessians of your own."
            )
        x = self.inputs(key, n)
        m, d = self.n_outputs, x.shape[1]
        shapes = [(n, m)] if self.derivatives is None else [(n, m), (n, m, d)]
        structs = [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes]
        labels = _Evaluation(self.function, m, self.derivatives, self.batched)
        if isinstance(x, Tracer):
            parts = jax.pure_callback(labels, structs, x, vmap_method="broadcast_all")
        else:
            found, jumps = labels.exactly(x)
            _warn_of_jumps(jumps, np.asarray(x))
            parts = [cast(name, part, x.dtype) for name, part in zip(("y", "dydx"), found, strict=False)]
        return Samples(x, parts[0], parts[1] if len(parts) > 1 else None)


def _warn_of_jumps(jumps: list[tuple[int, int]], x: Float[np.ndarray, "n d"]) -> None:
    if not jumps:
        return
    row, i = jumps[0]
    warnings.warn(
        f"`function` jumps within a step of input {i} at row {row}, x = {x[row].tolist()}, and so it does for "
        f"{len(jumps)} derivatives in {len({row for row, _ in jumps})} of {len(x)} rows; these are differences on the "
        "side without the jump. What is learned across a jump is steep whatever the derivatives say.",
        stacklevel=4,
    )


@final
class _Evaluation(eqx.Module):
    """The host's part: calls the function and checks what it returns. It holds no arrays, which JAX would trace."""

    function: Callable[[np.ndarray], Any] = eqx.field(static=True)
    n_outputs: int = eqx.field(static=True)
    derivatives: AbstractDifferences | ReturnedDerivatives | None
    batched: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*batch n d"] | Float[np.ndarray, "*batch n d"]) -> list[np.ndarray]:
        """Values and Jacobians of samples under any number of leading axes, in the precision of `x`."""
        return [part.astype(x.dtype) for part in self.exactly(x)[0]]

    def exactly(
        self, x: Float[Array, "*batch n d"] | Float[np.ndarray, "*batch n d"]
    ) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
        """The same in double precision; also rows and inputs where a difference was taken beside a jump."""
        *axes, d = x.shape
        rows = np.asarray(x, np.float64).reshape(-1, d)
        # The points around all samples at once would be d times as many numbers as the Jacobians.
        at_once = max(1, _NUMBERS_AT_ONCE // (d * (1 + 2 * d)))
        every = np.arange(len(rows))
        found = [self._of_rows(rows[i : i + at_once], every[i : i + at_once]) for i in range(0, len(rows), at_once)]
        parts = [np.concatenate(part) for part in zip(*(parts for parts, _ in found), strict=True)]
        jumps = [(int(row), int(i)) for _, some in found for row, i in some]
        return [part.reshape((*axes, *part.shape[1:])) for part in parts], jumps

    def _of_rows(
        self, x: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " n"]
    ) -> tuple[list[np.ndarray], Int[np.ndarray, "j 2"]]:
        """Values and Jacobians of samples; rows and inputs where a difference was taken beside a jump."""
        if not isinstance(self.derivatives, AbstractDifferences):
            return [part[:, 0] for part in self._checked(x[:, None], rows)], np.zeros((0, 2), np.int64)
        points = self.derivatives.points(x)
        (values,) = self._checked(points, rows)
        jacobian, jumps = without_jumps(
            points,
            values,
            self.derivatives.jacobian(points, values),
            lambda moved, chosen: self._checked(moved[:, None], rows[chosen])[0][:, 0],
        )
        jumps[:, 0] = rows[jumps[:, 0]]
        return [values[:, 0], jacobian], jumps

    def _checked(self, points: Float[np.ndarray, "n p d"], rows: Int[np.ndarray, " n"]) -> list[np.ndarray]:
        """What the function returns at p points of each sample, `(n, p, m)` and `(n, p, m, d)`, all of it finite."""
        n, p, d = points.shape
        flat = points.reshape(-1, d)
        if self.batched:
            parts = self._of_batch(flat, p, rows)
        else:
            found = [self._of_row(x, int(rows[i // p])) for i, x in enumerate(flat)]
            parts = [np.stack(part) for part in zip(*found, strict=True)]
        for name, part in zip(("value", "derivative"), parts, strict=False):
            bad = np.flatnonzero(~np.isfinite(part.reshape(n * p, -1)).all(axis=1))
            if bad.size:
                number = part[bad[0]][~np.isfinite(part[bad[0]])][0]
                raise ValueError(
                    f"`function` returns a {name} of {number} in row {rows[bad[0] // p]}, "
                    f"x = {flat[bad[0]].tolist()}; {len(set(bad // p))} of {n} rows are not finite. Repair the "
                    "function, or leave such inputs out."
                )
        return [part.reshape(n, p, *part.shape[1:]) for part in parts]

    def _of_row(self, x: Float[np.ndarray, " d"], row: int) -> list[np.ndarray]:
        place = f"row {row}, x = {x.tolist()}"
        m, d = self.n_outputs, x.shape[0]
        try:
            # A copy, so that a function that writes into its input spoils nothing.
            returned = self.function(x.copy())
        except Exception as error:
            raise RuntimeError(f"`function` failed in {place}: {type(error).__name__}: {error}") from error
        shapes = {"values": (m,), "Jacobian": (m, d)}
        parts = zip(shapes.items(), self._parts(returned, place), strict=False)
        return [_shaped(part, name, shape, m, place) for (name, shape), part in parts]

    def _of_batch(self, x: Float[np.ndarray, "n d"], p: int, rows: Int[np.ndarray, " k"]) -> list[np.ndarray]:
        (n, d), m = x.shape, self.n_outputs
        place = f"a batch of {n} points"
        try:
            returned = self.function(x.copy())
        except Exception as error:
            first = self._first_failure(x)
            if first is not None:
                place = f"row {rows[first // p]}, x = {x[first].tolist()}"
            raise RuntimeError(f"`function` failed in {place}: {type(error).__name__}: {error}") from error
        shapes = {"values": (n, m), "Jacobian": (n, m, d)}
        parts = zip(shapes.items(), self._parts(returned, place), strict=False)
        return [_shaped(part, name, shape, m, place) for (name, shape), part in parts]

    def _first_failure(self, x: Float[np.ndarray, "n d"]) -> int | None:
        """A point at which the function fails alone, by halving a batch at which it does."""

        def fails(begin: int, end: int) -> bool:
            try:
                self.function(x[begin:end].copy())
            except Exception:
                return True
            return False

        begin, end = 0, len(x)
        while end - begin > 1:
            middle = (begin + end) // 2
            begin, end = (begin, middle) if fails(begin, middle) else (middle, end)
        return begin if fails(begin, end) else None

    def _parts(self, returned: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(self.derivatives, ReturnedDerivatives):
            return (returned,)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise ValueError(
                f"`function` returns {type(returned).__name__} in {place}; with `ReturnedDerivatives` it must return a "
                "pair, values and Jacobian."
            )
        return returned


def _shaped(part: Any, name: str, shape: tuple[int, ...], m: int, place: str) -> np.ndarray:
    """As numbers of the shape that is asked for; the axis of the outputs may be left out where there is one."""
    if np.ma.is_masked(part):  # NumPy would read what lies below the mask
        raise ValueError(f"`function` returns {name} in {place} that are masked; give the numbers, or leave it out.")
    try:
        numbers = np.asarray(part).astype(np.float64, casting="same_kind")
    except (TypeError, ValueError) as error:
        raise ValueError(f"`function` returns {name} in {place} that are not real numbers ({error}).") from None
    axis = len(shape) - (1 if name == "values" else 2)
    if numbers.shape != shape and not (m == 1 and numbers.shape == shape[:axis] + shape[axis + 1 :]):
        raise ValueError(f"`function` returns {name} of shape {numbers.shape} in {place}; it must be {shape}.")
    return numbers.reshape(shape)
