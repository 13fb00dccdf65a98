"""Training on values and derivatives."""

from ._fit import DivergedError, FitResult, fit
from ._loss import AbstractLoss, SobolevLoss, ValueLoss
from ._progress import ProgressBar, ProgressReporter, Silent

__all__ = [
    "AbstractLoss",
    "DivergedError",
    "FitResult",
    "ProgressBar",
    "ProgressReporter",
    "Silent",
    "SobolevLoss",
    "ValueLoss",
    "fit",
]
