"""Which rows of a table a pruning learns from and which it is judged by."""

from dataclasses import dataclass
from typing import final

import jax
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from ..reference import DataSet, RowSplit, Samples
from ..surrogate import MLP, Surrogate

_SHARE = 0.2
# With fewer rows to judge by, all of them choose: halves would say too little about either.
_FEWEST_TO_HALVE = 40


@final
@dataclass(frozen=True)
class RowsApart:
    """Rows to learn from and rows to judge by.

    Attributes:
        training: rows to learn from.
        held_out: rows to judge by.
        unsure: why a row to judge by may be one that the surrogate was trained on, in words; None if none is.
    """

    training: DataSet
    held_out: Samples
    unsure: str | None


def rows_apart(network: Surrogate | MLP, data: DataSet, *, key: PRNGKeyArray, x: ArrayLike | None = None) -> RowsApart:
    """Divide a table as it was divided when the surrogate was trained on it.

    The command `fit` stores its division in the provenance of the surrogate (`RowSplit`), under `split`. It recognises
    rows by their inputs, so the table may have been reordered, and rows may have been appended. Without one, a fifth of
    the rows is drawn.

    Args:
        network: what is pruned.
        data: the table.
        key: random key of the rows that are drawn.
        x: inputs in the precision of the table, `(n, d)`, if those of the data have lost digits.

    Raises:
        ValueError: the stored division is damaged, or one of the two sets would be empty.
    """
    stored = dict(network.provenance).get("split") if isinstance(network, Surrogate) else None
    if stored is None:
        training, held_out = data.split(key, _SHARE)
        return RowsApart(
            training,
            held_out.samples,
            f"the surrogate does not say which rows it was trained on, so the {held_out.samples.n} rows to judge by "
            "may be among them",
        )
    rows = RowSplit.from_text(stored)
    x = data.samples.x if x is None else x
    training, held_out = data.split_by(rows, x)
    unsure = None
    if rows.is_of(x):
        if rows != RowSplit.draw(x, rows.share, seed=rows.seed):
            raise ValueError(
                "`split` in the provenance of the surrogate was changed after it was written, so which rows it was "
                "trained on is not known; take it out, or fit the surrogate again."
            )
    else:
        unsure = (
            f"the table is not the one of {rows.n_rows} rows that the surrogate was trained on; rows whose inputs have "
            "been changed since are not recognised, and may be among those to judge by"
        )
    return RowsApart(training, held_out.samples, unsure)


@final
@dataclass(frozen=True)
class JudgingRows:
    """The samples that a search is judged by.

    Attributes:
        choice: those on which networks are compared with the tolerance.
        unseen: those that play no part in any choice; the errors of the network that was chosen are on these not
            smaller by the choice itself. None if there are too few samples to spare.
        said: where they come from, in words.
    """

    choice: Samples
    unseen: Samples | None
    said: str


def halved(samples: Samples, key: PRNGKeyArray, said: str) -> JudgingRows:
    """One half to choose by and one to report on, of as many samples as that makes sense for."""
    if samples.n < _FEWEST_TO_HALVE:
        return JudgingRows(samples, None, f"{samples.n} {said}; the networks were chosen by the same ones")
    order, half = jax.random.permutation(key, samples.n), samples.n // 2
    choice, unseen = (jax.tree.map(lambda part, r=r: part[r], samples) for r in (order[half:], order[:half]))
    return JudgingRows(choice, unseen, f"{samples.n} {said}; one half chose the networks, the other is unseen")
