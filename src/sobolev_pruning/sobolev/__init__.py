"""Training on values and derivatives."""

from ._balance import AbstractBalance, GeometricMean, LabelNoise, LabelScale
from ._curvature import NoisyCurvatureWarning
from ._fit import DivergedError, FitResult, fit
from ._levenberg_marquardt import fit_levenberg_marquardt
from ._loss import AbstractLoss, SobolevLoss, ValueLoss
from ._progress import ProgressBar, ProgressReporter, Silent

__all__ = [
    "AbstractBalance",
    "AbstractLoss",
    "DivergedError",
    "FitResult",
    "GeometricMean",
    "LabelNoise",
    "LabelScale",
    "NoisyCurvatureWarning",
    "ProgressBar",
    "ProgressReporter",
    "Silent",
    "SobolevLoss",
    "ValueLoss",
    "fit",
    "fit_levenberg_marquardt",
]
