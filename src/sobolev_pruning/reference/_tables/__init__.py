"""Samples from tables, by the names of their columns."""

from ._read import read_table, stream_table, table_columns

__all__ = ["read_table", "stream_table", "table_columns"]
