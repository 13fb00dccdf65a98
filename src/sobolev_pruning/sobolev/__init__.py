"""Training on values and derivatives."""

from ._fit import DivergedError, FitResult, fit
from ._levenberg_marquardt import fit_levenberg_marquardt
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
    "fit_levenberg_marquardt",
]
