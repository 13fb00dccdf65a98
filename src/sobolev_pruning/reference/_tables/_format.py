"""How a text file writes a table: what separates cells, what is a number, and what is neither."""

import csv
import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import final

from ..._reading import shown

SEPARATORS = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What programs write into a cell that has no value, in lower case.
_MISSING = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})

# With a comma for the decimals; and of those, what could as well be thousands.
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
# Numbers that double precision reads as zero.
_VANISHED = re.compile(r"[^eE]*[1-9]")
_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")
# Digits among signs alone, such as a grouped number, a percentage, a price or a date, are no unit.
_LIKE_NUMBER = re.compile(r"[^\w^*]*\d(?:[^\w^*]|[\d_]|[eEdD](?=[+-]?\d))*")


@final
@dataclasses.dataclass(frozen=True)
class CsvFormat:
    """What is to be known of a text file of columns; whatever is not given is found in the file, or refused.

    Attributes:
        separator: between cells: a comma, semicolon, tab or bar, or another character. If not given, the one of those
            four that divides the first lines into the same number of cells, more than one.
        decimal: "." or ",". If not given, the comma where numbers have commas that cannot group thousands and no number
            has a point.
        comment: begins lines that are left out. If not given, those that begin with "#" above the names.
        missing: further texts of cells without value, beside the empty cell, -, NA, N/A, NaN, null and none. Upper and
            lower case are the same, and a number such as "-999" is one however it is written.
        unit_row: whether units stand below the names. If not given, they do where no cell there holds a number.

    Raises:
        ValueError: a separator that is not one character, or another decimal sign than these two, or both the same.
    """

    separator: str | None = None
    decimal: str | None = None
    comment: str | None = None
    missing: Sequence[str] = ()
    unit_row: bool | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '\r\n" '):
            raise ValueError(
                f"`separator` is {shown(self.separator)}; it must be one character, such as ';' or a tab, and no space."
            )
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"`decimal` is {shown(self.decimal)}; it must be '.' or ','.")
        if self.decimal is not None and self.decimal == self.separator:
            raise ValueError(f"`separator` and `decimal` are both {shown(self.decimal)}; no cell could be read.")
        if self.comment is not None and not self.comment.strip():
            raise ValueError("`comment` is empty; give the characters that comments begin with, such as '#'.")
        if isinstance(self.missing, str):
            raise ValueError(f"`missing` is the text {shown(self.missing)}; give a list of texts, such as ['-999'].")

    def separator_of(self, path: str, lines: Sequence[str]) -> str:
        """What separates the cells of the first lines.

        Raises:
            ValueError: several characters could.
        """
        if self.separator is not None:
            return self.separator
        widths = {separator: _widths(lines, separator) for separator in SEPARATORS}
        found = [s for s, width in widths.items() if len(set(width)) == 1 and width[0] > 1]
        # Where lines are ragged, the names decide; the line that has too many cells is named later.
        found = found or [s for s, width in widths.items() if width and width[0] > 1] or [","]
        if len(found) > 1:
            could = " or ".join(_NAMES[s] for s in found)
            raise ValueError(f"{path}: cells may be separated by {could}; say by which: `separator={found[0]!r}`.")
        return found[0]

    def decimal_of(self, path: str, cells: Iterable[str]) -> str:
        """The decimal sign of numbers.

        Raises:
            ValueError: commas could as well group thousands.
        """
        if self.decimal is not None:
            return self.decimal
        either, comma = "", False
        for cell in map(str.strip, cells):
            if _POINT.fullmatch(cell):
                return "."
            if _COMMA.fullmatch(cell):
                is_either = _EITHER.fullmatch(cell) is not None
                either, comma = (cell if is_either else either), comma or not is_either
        if either and not comma:
            raise ValueError(
                f"{path}: the comma of {shown(either)} may be a decimal one or group thousands; say which: "
                "`decimal=','` for decimals. Thousands are not grouped in a table."
            )
        return "," if comma else "."

    def number(self, cell: str, decimal: str) -> float:
        """A cell as a number; NaN where it has no value.

        Raises:
            ValueError: it is neither.
        """
        try:
            # Python's own digit grouping, which no table means, and the sign that is not the decimal one.
            if "_" in cell or (decimal == "," and "." in cell):
                raise ValueError
            value = float(cell.replace(",", ".") if decimal == "," else cell)
            if value == 0 and _VANISHED.match(cell):
                raise ValueError
        except ValueError:
            text = cell.strip().lower()
            if text in _MISSING or (self.missing and self._is_missing(text)):
                return math.nan
            raise
        return math.nan if self.missing and self._is_missing(value) else value

    def _is_missing(self, value: str | float) -> bool:
        if isinstance(value, str):
            return value in {marker.strip().lower() for marker in self.missing}
        return value in {_as_number(marker) for marker in self.missing}

    def is_number(self, cell: str, decimal: str) -> bool:
        """Whether a cell holds a number, and not a missing one."""
        try:
            return not math.isnan(self.number(cell, decimal))
        except ValueError:
            return False

    def is_missing(self, cell: str, decimal: str) -> bool:
        """Whether a cell has no value."""
        try:
            return math.isnan(self.number(cell, decimal))
        except ValueError:
            return False


def hint(cell: str, decimal: str) -> str:
    """What is wrong with a cell that is not read as a number, and what may be meant by it."""
    text = cell.strip()
    if _VANISHED.match(text) and (_POINT.fullmatch(text) or re.fullmatch(r"[+-]?\d+[eE]-\d+", text)):
        if decimal == ".":
            return "is too small for double precision; change the units of that column"
    if decimal == "." and _COMMA.fullmatch(text):
        return "is no number; for a decimal comma say `decimal=','`, and do not group thousands"
    if decimal == "," and _POINT.fullmatch(text):
        return "is no number; the decimal sign of this table is the comma, for a point say `decimal='.'`"
    if re.fullmatch(r"[+-]?\d{1,3}([ ,.'\u2019\u00a0\u202f]\d{3})+([.,]\d*)?", text):
        return "is no number; do not group the digits of numbers"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[dD][+-]?\d+", text):
        return "is no number; write the exponent with an E"
    if "\n" in text or "\r" in text:
        return "is no number; it has several lines, so a quotation mark before them may not be closed"
    if any(sign in text for sign in "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"):
        return "is no number; write its minus sign as '-', the sign of the keyboard"
    return "is no number"


def is_like_number(cell: str) -> bool:
    """Whether a cell may be meant as a number although it is read as none: it is data, and no unit."""
    return _LIKE_NUMBER.fullmatch(cell.strip()) is not None


def _widths(lines: Sequence[str], separator: str) -> list[int]:
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    found = []
    while True:
        try:
            row = next(rows, None)
        except csv.Error:  # it will be named when the line is read
            return found
        if row is None:
            return found
        if row:
            found.append(len(row))


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
