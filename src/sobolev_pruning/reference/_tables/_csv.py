"""Comma-separated values with one line of names."""

import contextlib
import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from ..._reading import brief, shown
from ._table import AbstractTable, Chunk

# What programs write into a cell that has no value, in lower case.
_EMPTY = {"", "na", "n/a", "nan", "null", "none"}


@final
class CsvTable(AbstractTable):
    """A CSV file in UTF-8, its first line the names of the columns.

    Raises:
        ValueError: the file is empty, no text, or starts without names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unit = "line"
        with self._rows() as rows:
            self.names = [name.strip() for name in next(rows, [])]
        if not any(self.names):
            raise ValueError(f"{path}: the table is empty; its first line must name the columns.")
        if all(_is_number(name) for name in self.names):
            raise ValueError(
                f"{path}: the first line holds numbers ({brief(', '.join(self.names[:3]))}, …); write the names of "
                "the columns there."
            )
        for other, name in ((";", "semicolons"), ("\t", "tabs")):
            if len(self.names) == 1 and other in self.names[0]:
                raise ValueError(
                    f"{path}: the columns are separated by {name}; write commas, with points in the numbers."
                )

    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """Some lines at a time; lines without any character are no rows."""
        self.check_names(wanted)
        place = {name: index for index, name in enumerate(self.names)}
        indices = [place[name] for name in wanted]
        cells: list[list[str]] = []
        places: list[int] = []
        with self._rows() as rows:
            next(rows)  # the names
            for row in rows:
                if not row:  # a line without any character
                    continue
                if len(row) != len(self.names):
                    raise ValueError(
                        f"{self.path}: line {rows.line_num} has {len(row)} cells, but there are {len(self.names)} "
                        "columns; a comma within a cell must stand in quotation marks."
                    )
                cells.append([row[index] for index in indices])
                places.append(rows.line_num)
                if len(cells) == n_rows:
                    yield self._chunk(wanted, cells, places)
                    cells, places = [], []
        if cells:
            yield self._chunk(wanted, cells, places)

    def _chunk(self, wanted: Sequence[str], cells: list[list[str]], places: list[int]) -> Chunk:
        columns = zip(*cells, strict=True)
        numbers = {name: self._numbers(name, column, places) for name, column in zip(wanted, columns, strict=True)}
        return Chunk(numbers, np.array(places))

    def _numbers(self, name: str, cells: Sequence[str], places: Sequence[int]) -> Float[np.ndarray, " n"]:
        try:
            return np.array([_number(cell) for cell in cells], np.float64)
        except ValueError:
            bad = next(i for i, cell in enumerate(cells) if not _is_number(cell) and not _is_empty(cell))
            raise ValueError(
                f"{self.path}: column '{name}' holds {shown(cells[bad])} in line {places[bad]}, which is no number."
            ) from None

    @contextlib.contextmanager
    def _rows(self) -> Iterator[Any]:
        """The rows as lists of text; the reader's `line_num` is the line that was read last."""
        # With or without the mark of the byte order that some programs put before the text.
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            try:
                yield rows
            except UnicodeDecodeError:
                raise ValueError(
                    f"{self.path}: line {self._first_line_that_is_no_text()} is not UTF-8; save the table as "
                    "comma-separated values in UTF-8."
                ) from None
            except csv.Error as error:
                raise ValueError(f"{self.path}: line {rows.line_num} cannot be read ({error}).") from None

    def _first_line_that_is_no_text(self) -> int:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return number
        return 1


def _number(cell: str) -> float:
    if "_" in cell:  # Python's own digit grouping, which no table means
        raise ValueError
    try:
        return float(cell)
    except ValueError:
        if _is_empty(cell):
            return math.nan
        raise


def _is_empty(cell: str) -> bool:
    return cell.strip().lower() in _EMPTY


def _is_number(cell: str) -> bool:
    try:
        return not math.isnan(_number(cell))
    except ValueError:
        return False
