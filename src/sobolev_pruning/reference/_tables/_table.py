"""What every kind of table offers: names of columns, and chunks of rows as numbers."""

import abc
import collections
import dataclasses
import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Int

from ..._reading import brief

# Names in a message, and names that are searched for a similar one, which takes 10 µs each.
_MOST_SHOWN, _MOST_COMPARED = 12, 10_000


@final
@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        columns: numbers of every column asked for, `(n,)`; NaN where a cell is empty.
        places: where the rows stand in the file, for messages, `(n,)`.
    """

    columns: dict[str, Float[np.ndarray, " n"]]
    places: Int[np.ndarray, " n"]


def _plain(name: str) -> str:
    """A name without what cannot be seen, and its letters in one of the ways that Unicode has."""
    text = unicodedata.normalize("NFKC", name)
    return "".join(c for c in text if unicodedata.category(c) != "Cf").strip()


class AbstractTable(abc.ABC):
    """A file of columns.

    Attributes:
        path: of the file.
        names: of its columns, in their order.
        unit: what `Chunk.places` counts, from one: "line" of the file, or "row" of the table.
    """

    path: Path
    names: list[str]
    unit: str

    @abc.abstractmethod
    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """At most `n_rows` rows at a time of the columns `wanted`.

        Raises:
            ValueError: a cell is no number, or the file is damaged; the message names file, column and row.
        """

    def check_names(self, wanted: Sequence[str]) -> None:
        """Refuse columns that are not there, or are there twice.

        Raises:
            ValueError: naming the file, the column and its nearest names.
        """
        counts = collections.Counter(self.names)
        for name in wanted:
            count = counts[name]
            if count > 1:
                raise ValueError(
                    f"{self.path}: {count} columns are named '{brief(name)}'; rename them, so that it is clear "
                    "which is meant."
                )
            if count == 0:
                raise ValueError(
                    f"{self.path}: there is no column '{brief(name)}'.{self._near(name)} {self._listing()}"
                )

    def _near(self, name: str) -> str:
        there = self.names[:_MOST_COMPARED]
        if any(_plain(other) == _plain(name) for other in there):
            return (
                " One is written with the same signs in other characters of Unicode (accents, wide or invisible ones); "
                "copy its name from the table."
            )
        near = [f"'{brief(other)}'" for other in difflib.get_close_matches(name, there, n=3)]
        return f" Did you mean {' or '.join(near)}?" if near else ""

    def _listing(self) -> str:
        shown = ", ".join(f"'{brief(name)}'" for name in self.names[:_MOST_SHOWN])
        more = len(self.names) - _MOST_SHOWN
        if not self.names:
            return "It has no columns."
        if len(self.names) == 1 and self.unit == "line":
            return (
                f"There is one column, {shown}; if there are more, say what separates the cells: `separator` (no "
                "space). Lines above the names must begin with '#'."
            )
        return f"The columns are {shown}{f' and {more} more' if more > 0 else ''}."

    def where(self, places: Int[np.ndarray, " k"]) -> str:
        """The first places in words: "line 3", or "lines 3, 4, 7, … (12 in all)"."""
        shown = ", ".join(map(str, places[:5].tolist()))
        if len(places) == 1:
            return f"{self.unit} {shown}"
        return f"{self.unit}s {shown}{f', … ({len(places)} in all)' if len(places) > 5 else ''}"
