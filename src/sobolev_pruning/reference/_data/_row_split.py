"""Which rows of a table were trained on, recognised by what is in them."""

import hashlib
import json
from dataclasses import dataclass
from typing import final

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, UInt64

from ..._reading import shown


def rows_of_share(share: float, n: int) -> int:
    """How many of `n` rows a share of them is, which leaves some on both sides.

    Raises:
        ValueError: the share is out of range, or one side would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` is {share}; it must lie between 0 and 1.")
    if round(share * n) in (0, n):
        raise ValueError(
            f"a share of {share} of {n} samples leaves one of the two sets empty; use more samples or another share."
        )
    return round(share * n)


@final
@dataclass(frozen=True)
class RowSplit:
    """A division of rows into those to train on and those to judge by, which holds for every table.

    Each row has a number that is computed from its inputs; the rows with the lowest numbers are to judge by. So the
    division survives a table whose rows are reordered, removed or appended: none of the rows that were trained on is
    ever taken to judge by, as long as its inputs are the same. Rows with equal inputs stay on one side.

    Attributes:
        seed: of the numbers.
        share: of the rows that was asked for to judge by.
        last: highest number of a row to judge by.
        n_rows: of the table that it was made for.
        digest: of the inputs of that table, whatever the order of its rows.
        double: whether inputs are told apart in double precision. In single precision, which tells nearly all of them
            apart, a row is recognised in either.
    """

    seed: int
    share: float
    last: int
    n_rows: int
    digest: str
    double: bool

    @classmethod
    def draw(cls, x: ArrayLike, share: float, *, seed: int) -> "RowSplit":
        """Divide the rows of a table.

        Args:
            x: inputs, `(n, d)`.
            share: of the rows to judge by, in (0, 1). More are taken where rows have equal inputs.
            seed: another one gives another division.

        Raises:
            ValueError: a share out of range, or one side would be empty.
        """
        rows = np.asarray(x, np.float64)
        n = rows.shape[0]
        wanted = rows_of_share(share, n)
        with np.errstate(over="ignore"):
            single = rows.astype(np.float32)
        double = len(np.unique(single, axis=0)) < len(np.unique(rows, axis=0))
        numbers = _numbers(rows, seed, double)
        distinct, counts = np.unique(numbers, return_counts=True)
        if distinct.size == 1:
            raise ValueError(f"all {n} samples have the same inputs, so none can be set aside to judge by.")
        # As many whole groups of equal rows as come to the share, and at least one row on each side.
        place = np.searchsorted(np.cumsum(counts), wanted)
        last = distinct[min(int(place), distinct.size - 2)]
        return cls(seed, share, int(last), n, _digest(numbers), double)

    def held_out(self, x: ArrayLike) -> Bool[np.ndarray, " n"]:
        """Of every row, whether it is one to judge by."""
        return _numbers(np.asarray(x, np.float64), self.seed, self.double) <= np.uint64(self.last)

    def is_of(self, x: ArrayLike) -> bool:
        """Whether these are the rows that it was made for, in any order."""
        return _digest(_numbers(np.asarray(x, np.float64), self.seed, self.double)) == self.digest

    def to_text(self) -> str:
        """One line, for the provenance of a surrogate; `from_text` reads it."""
        facts = {
            "seed": self.seed,
            "share": self.share,
            "last": f"{self.last:016x}",
            "rows": self.n_rows,
            "digest": self.digest,
            "double": self.double,
        }
        return json.dumps(facts)

    @classmethod
    def from_text(cls, text: str) -> "RowSplit":
        """What `to_text` has written.

        Raises:
            ValueError: it is something else.
        """
        try:
            facts = json.loads(text)
            found = cls(
                int(facts["seed"]),
                float(facts["share"]),
                int(facts["last"], 16),
                int(facts["rows"]),
                str(facts["digest"]),
                bool(facts["double"]),
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            found = None
        if found is None or not (0 <= found.last < 2**64 and abs(found.seed) < 2**63):
            raise ValueError(f"`split` in the provenance of the surrogate is damaged: {shown(text)}.")
        return found


def _numbers(rows: Float[np.ndarray, "n d"], seed: int, double: bool) -> UInt64[np.ndarray, " n"]:
    """A number of each row, evenly spread."""
    with np.errstate(over="ignore"):
        given = rows if double else rows.astype(np.float32)
    # A zero has one sign, and a number the same bytes on every machine.
    given = np.ascontiguousarray(given + 0.0).astype("<f8" if double else "<f4")
    salt = seed.to_bytes(8, "little", signed=True)
    found = (hashlib.blake2b(row.tobytes(), digest_size=8, key=salt).digest() for row in given)
    return np.fromiter((int.from_bytes(number, "little") for number in found), np.uint64, len(given))


def _digest(numbers: UInt64[np.ndarray, " n"]) -> str:
    return hashlib.blake2b(np.sort(numbers).astype("<u8").tobytes(), digest_size=8).hexdigest()
