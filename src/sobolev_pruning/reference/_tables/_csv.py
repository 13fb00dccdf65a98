"""Text files of columns: comma-separated values and their kin."""

import contextlib
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from ..._reading import brief, check_expansion, shown
from ._format import CsvFormat, hint, is_like_number
from ._table import AbstractTable, Chunk

# Lines and rows from which separator and decimal sign are found.
_FEW_LINES, _FEW_ROWS = 50, 1000
# What Excel writes and reads above the names.
_SEPARATOR_LINE = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)


class _Unpacked(gzip.GzipFile):
    """The bytes of a compressed file, as long as they are no more than such a file may hold."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._n_stored = path.stat().st_size

    def read1(self, size: int = -1) -> bytes:
        """Some bytes; this alone is what a text is read with."""
        data = super().read1(size)
        check_expansion(self._n_stored, self.tell())
        return data


@final
class CsvTable(AbstractTable):
    """A text file in UTF-8, plain or compressed by gzip, whose first line names the columns.

    Attributes:
        format: how cells are written.
        first: line of the first row below the names, whose columns have no names if the file has none.

    Raises:
        ValueError: the file is empty, not a text, or starts without names; or several separators are possible.
    """

    def __init__(self, path: Path, format: CsvFormat | None = None, *, names: bool = True) -> None:
        """Find separator and names.

        Args:
            path: of the file.
            format: what is known of it.
            names: whether the first line must hold names; else a line with a number is a row, and the columns are
                called by their numbers from one.
        """
        self.path = path
        self.unit = "line"
        self._begin = 1  # line where the row that was read last begins
        self.format = CsvFormat() if format is None else format
        self._separator = self.format.separator_of(str(path), list(itertools.islice(self._lines(), _FEW_LINES)))
        self._has_names = True
        _, row = next(self._rows(), (0, []))
        self.names = [name.strip() for name in row]
        if not any(self.names):
            raise ValueError(f"{path}: the table is empty; its first line must name the columns.")
        signs = (".", ",") if self.format.decimal is None else (self.format.decimal,)
        are_numbers = [any(self.format.is_number(name, sign) for sign in signs) for name in self.names]
        if not names and any(are_numbers):
            self.names = [str(i) for i in range(1, len(self.names) + 1)]
            self._has_names = False
        elif all(are_numbers):
            raise ValueError(
                f"{path}: the first line holds numbers ({brief(', '.join(self.names[:3]))}, …); write the names of "
                "the columns there, without a '#' before them."
            )

    def chunks(self, wanted: Sequence[str], n_rows: int) -> Iterator[Chunk]:
        """Some lines at a time; lines without any character are not rows."""
        self.check_names(wanted)
        place = {name: index for index, name in enumerate(self.names)}
        indices = [place[name] for name in wanted]
        few = itertools.islice(self._cells(indices), _FEW_ROWS)
        decimal = self.format.decimal_of(str(self.path), itertools.chain.from_iterable(cells for _, cells in few))
        rows = self._cells(indices)
        first = next(rows, None)
        if first is not None and not self._holds_units(first[1], decimal):
            rows = itertools.chain([first], rows)
        while chunk := list(itertools.islice(rows, n_rows)):
            places = [line for line, _ in chunk]
            columns = zip(*(cells for _, cells in chunk), strict=True)
            numbers = {
                name: self._numbers(name, cells, places, decimal) for name, cells in zip(wanted, columns, strict=True)
            }
            yield Chunk(numbers, np.array(places))

    def _holds_units(self, cells: Sequence[str], decimal: str) -> bool:
        """Whether the row below the names is not data: it then holds text, and not one number."""
        if self.format.unit_row is not None:
            return self.format.unit_row
        if not self._has_names or any(self.format.is_number(cell, decimal) for cell in cells):
            return False
        if any(is_like_number(cell) for cell in cells):
            return False
        return not all(self.format.is_missing(cell, decimal) for cell in cells)

    def _numbers(self, name: str, cells: Sequence[str], places: Sequence[int], decimal: str) -> Float[np.ndarray, " n"]:
        number = self.format.number
        try:
            return np.array([number(cell, decimal) for cell in cells], np.float64)
        except ValueError:
            bad = next(
                i
                for i, cell in enumerate(cells)
                if not self.format.is_number(cell, decimal) and not self.format.is_missing(cell, decimal)
            )
            what = hint(cells[bad], decimal)
            if what == "is no number" and not is_like_number(cells[bad]):
                is_first = places[bad] == next(self._cells([0]))[0]
                what += "; if that line holds units, say `unit_row=True`" if is_first else ""
                what += f"{', and' if is_first else ';'} if it stands for no value, name it in `missing`"
            raise ValueError(
                f"{self.path}: column '{brief(name)}' holds {shown(cells[bad])} in line {places[bad]}, which {what}."
            ) from None

    def _cells(self, indices: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        """Line and chosen cells of every row below the names."""
        rows = self._rows()
        if self._has_names:
            next(rows)
        for line, row in rows:
            if len(row) != len(self.names):
                raise ValueError(
                    f"{self.path}: line {line} has {len(row)} cells, but there are {len(self.names)} columns; a "
                    f"{shown(self._separator)} within a cell must stand in quotation marks{_of_comment(row[0])}"
                    f"{_of_marks(self._begin, line)}."
                )
            yield line, [row[index] for index in indices]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows as lists of text, names included, each with the line where it ends."""
        line, begin = 0, 0

        def counted(numbered: tuple[int, str]) -> str:
            nonlocal line, begin
            line, text = numbered
            begin = begin or line
            return text

        # What stands between a separator and the quotation mark of a cell is no part of it.
        rows = csv.reader(map(counted, self._numbered()), delimiter=self._separator, skipinitialspace=True)
        while True:
            begin = 0
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise ValueError(
                    f"{self.path}: line {line} cannot be read ({brief(error)}){_of_marks(begin, line)}."
                ) from None
            self._begin = begin
            if row is None:
                return
            if row:  # a line without any character holds no row
                yield line, row

    def _lines(self) -> Iterator[str]:
        return (text for _, text in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, str]]:
        """Lines that are not comments, with their numbers.

        A comment is told from a line within a cell in quotation marks by the number of marks before it.
        """
        comment, n_marks, above_names = self.format.comment, 0, True
        with self._open() as file:
            number = 0
            while True:
                number += 1
                try:
                    text = next(file, None)
                except UnicodeDecodeError:
                    raise ValueError(
                        f"{self.path}: line {self._first_line_that_is_no_text()} is not UTF-8; save the table as "
                        "text in UTF-8."
                    ) from None
                except (OSError, EOFError, ValueError, zlib.error) as error:
                    raise ValueError(
                        f"{self.path}: the compressed file is damaged after line {number - 1} ({brief(error)})."
                    ) from None
                if text is None:
                    return
                if number == 1 and _SEPARATOR_LINE.fullmatch(text):
                    continue
                mark = "#" if comment is None and above_names else comment
                if mark is not None and n_marks % 2 == 0 and text.lstrip().startswith(mark):
                    continue
                n_marks += text.count('"')
                above_names = above_names and not text.strip()
                yield number, text

    def _open(self, errors: str = "strict") -> io.TextIOWrapper:
        is_packed = self.path.suffix.lower() == ".gz"
        file: Any = _Unpacked(self.path) if is_packed else self.path.open("rb")
        # With or without the mark of the byte order that some programs put before the text.
        return io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")

    def _first_line_that_is_no_text(self) -> int:
        number = 0
        # What is compressed may be damaged further on.
        with contextlib.suppress(OSError, EOFError, ValueError, zlib.error), self._open("surrogateescape") as file:
            for line in file:
                line.encode()  # what stands for bytes that are not text cannot be written as such
                number += 1
        return number + 1


def _of_marks(begin: int, end: int) -> str:
    if end <= begin:
        return ""
    return f"; the row begins in line {begin}, so a quotation mark there may not be closed"


def _of_comment(cell: str) -> str:
    return "; to leave out comments say `comment='#'`" if cell.strip().startswith("#") else ""
