"""Samples from tables, by the names of their columns."""

from ._format import CsvFormat
from ._read import read_table, stream_table, table_columns

__all__ = ["CsvFormat", "read_table", "stream_table", "table_columns"]
