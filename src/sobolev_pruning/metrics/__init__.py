"""How far a surrogate is from the truth: one definition of every error measure, pooled and column by column."""

from ._columns import ColumnErrors, errors_by_column
from ._pooled import ErrorMeasures, Errors, errors_between, gammas, measure

__all__ = ["ColumnErrors", "ErrorMeasures", "Errors", "errors_between", "errors_by_column", "gammas", "measure"]
