"""Training on values and derivatives."""

from ._fit import DivergedError, FitResult, fit
from ._gauss_newton import fit_gauss_newton
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
    "fit_gauss_newton",
    "fit_levenberg_marquardt",
]
