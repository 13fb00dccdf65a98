"""A fixed set of samples as the reference model."""

import dataclasses
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._cast import cast
from .._directions import AbstractDirections
from .._reference_model import AbstractReferenceModel
from .._samples import LabelWeights, Samples
from ._checks import check_learnable, without_unknown
from ._row_split import RowSplit, rows_of_share

_SHAPES = {"x": "(n, d)", "y": "(n, m)", "dydx": "(n, m, d)", "d2ydx2": "(n, m, d, d)"}


@final
class DataSet(AbstractReferenceModel):
    """Samples that were made once; batches are drawn from them uniformly, with replacement.

    Attributes:
        samples: the data, with or without derivatives. Labels of weight zero are stored as zero.

    Raises:
        ValueError: there are no samples; inputs, labels or weights are not finite; or weights of zero leave no label of
            a kind. A label of weight zero may be NaN.
    """

    samples: Samples

    def __init__(self, samples: Samples) -> None:
        """Check the samples.

        Args:
            samples: the data.
        """
        if not isinstance(samples, Samples):
            raise TypeError(
                f"`samples` is {type(samples).__name__}; it must be `Samples`. Use `DataSet.from_arrays` for arrays."
            )
        check_learnable(samples)
        self.samples = without_unknown(samples)

    @classmethod
    def from_arrays(
        cls,
        x: ArrayLike,
        y: ArrayLike | None,
        dydx: ArrayLike | None = None,
        d2ydx2: ArrayLike | None = None,
        *,
        weights: LabelWeights | None = None,
        allow_missing: bool = False,
    ) -> "DataSet":
        """Data from arrays of NumPy or JAX, in JAX's default precision.

        Args:
            x: inputs, `(n, d)`.
            y: values, `(n, m)`; `None` where only derivatives are known, which leave a constant of each output open.
            dydx: Jacobians, `(n, m, d)`.
            d2ydx2: Hessians, `(n, m, d, d)`.
            weights: of the labels; all weigh alike if not given. `LabelWeights.from_errors` makes them of standard
                errors.
            allow_missing: take labels that are NaN as unknown: their weight becomes zero.

        Raises:
            ValueError: an array is of another shape or length, or holds no real numbers or such that are not finite.
        """
        if y is None:
            if dydx is None:
                raise ValueError("`y` and `dydx` are both None, which leaves nothing to learn; give one of them.")
            given = LabelWeights() if weights is None else weights
            y = np.zeros(np.shape(dydx)[:2])
            weights = dataclasses.replace(given, y=jnp.zeros(y.shape))
        samples = Samples(
            _checked("x", x),
            _checked("y", y),
            None if dydx is None else _checked("dydx", dydx),
            None if d2ydx2 is None else _checked("d2ydx2", d2ydx2),
            weights=weights,
        )
        labels = {"y": samples.y, "dydx": samples.dydx, "d2ydx2": samples.d2ydx2}
        known = {name: ~np.isnan(np.asarray(part)) for name, part in labels.items() if part is not None}
        if allow_missing and not all(part.all() for part in known.values()):
            given = LabelWeights() if weights is None else weights
            masked = LabelWeights(**{name: _masked(getattr(given, name), part) for name, part in known.items()})
            samples = dataclasses.replace(samples, weights=masked)
        return cls(samples)

    def split(self, key: PRNGKeyArray, share: float) -> tuple["DataSet", "DataSet"]:
        """Two sets that share no row, such as one to train and one to judge.

        Args:
            key: random key; it decides which rows go where.
            share: of the rows that the second set gets, in (0, 1); rounded to whole rows.

        Returns:
            The rest, and the share.

        Raises:
            ValueError: one of the two would be empty, or the first without any known label of a kind.
        """
        n = self.samples.n
        n_second = rows_of_share(share, n)
        rows = jax.random.permutation(key, n)
        first, second = (
            jax.tree.map(lambda part, chosen=chosen: part[chosen], self.samples)
            for chosen in (rows[n_second:], rows[:n_second])
        )
        # Few known labels of a kind may all fall to one side; the second set can do without them.
        return DataSet(first), eqx.tree_at(lambda data: data.samples, self, second)

    def split_by(self, rows: RowSplit, x: ArrayLike | None = None) -> tuple["DataSet", "DataSet"]:
        """Two sets by what is in the rows: those to train on, and those to judge by.

        Args:
            rows: the division, such as that of a surrogate that was trained before.
            x: the inputs as the division knows them, `(n, d)`, where those of the data have lost digits.

        Raises:
            ValueError: one of the two would be empty, or the first without any known label of a kind.
        """
        held = rows.held_out(self.samples.x if x is None else x)
        if held.all() or not held.any():
            raise ValueError(f"{'all' if held.all() else 'none'} of {self.samples.n} rows are to judge by; add rows.")
        first, second = (
            jax.tree.map(lambda part, chosen=chosen: part[chosen], self.samples)
            for chosen in (np.nonzero(~held)[0], np.nonzero(held)[0])
        )
        return DataSet(first), eqx.tree_at(lambda data: data.samples, self, second)

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self.samples.x.shape[1]

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.samples.y.shape[1]

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """`n` rows of the data, drawn with replacement, so that `n` may exceed their number.

        Raises:
            ValueError: second derivatives are asked for, and the data hold none.
        """
        if directions is not None and self.samples.d2ydx2 is None and self.samples.hvps is None:
            raise ValueError("the data hold no second derivatives: `samples.d2ydx2` and `samples.hvps` are None.")
        rows = jax.random.randint(key, (n,), 0, self.samples.n)
        return jax.tree.map(lambda part: part[rows], self.samples)


def _checked(name: str, array: ArrayLike) -> Float[Array, "n ..."]:
    given = np.asarray(array)
    if not (jnp.issubdtype(given.dtype, jnp.integer) or jnp.issubdtype(given.dtype, jnp.floating)):
        raise ValueError(f"`{name}` is of {given.dtype}; give an array of real numbers.")
    wanted = _SHAPES[name]
    if given.ndim != wanted.count(",") + 1:
        hint = "; a single output has an axis of its own, such as `y[:, None]`" if name != "x" else ""
        raise ValueError(f"`{name}` has shape {given.shape}; it must be {wanted}, samples first{hint}.")
    return cast(name, given, jnp.zeros(()).dtype)


def _masked(weights: Float[Array, "n ..."] | None, known: Bool[np.ndarray, "n ..."]) -> Float[Array, "n ..."]:
    given = np.ones(known.shape) if weights is None else np.asarray(weights)
    return jnp.asarray(np.where(known, given, 0.0), dtype=float)
