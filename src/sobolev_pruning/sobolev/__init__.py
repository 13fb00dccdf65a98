"""Training on values and derivatives."""

from ._balance import AbstractBalance, GeometricMean, LabelNoise, LabelScale
from ._checkpoints import Checkpoints, CheckpointWarning
from ._curvature import NoisyCurvatureWarning, has_curvature
from ._fit import fit
from ._gauss_newton import fit_gauss_newton
from ._history import CollapsedWarning, DivergedError, Failure, FitResult, History
from ._levenberg_marquardt import fit_levenberg_marquardt
from ._loss import AbstractLoss, SobolevLoss, ValueLoss
from ._not_finite import NotFiniteError, check_samples
from ._progress import ProgressBar, ProgressReporter, Silent
from ._restarts import redrawn
from ._seeds import FitResults, fit_seeds
from ._whitened import Whitened

__all__ = [
    "AbstractBalance",
    "AbstractLoss",
    "CheckpointWarning",
    "Checkpoints",
    "CollapsedWarning",
    "DivergedError",
    "Failure",
    "FitResult",
    "FitResults",
    "GeometricMean",
    "History",
    "LabelNoise",
    "LabelScale",
    "NoisyCurvatureWarning",
    "NotFiniteError",
    "ProgressBar",
    "ProgressReporter",
    "Silent",
    "SobolevLoss",
    "ValueLoss",
    "Whitened",
    "check_samples",
    "fit",
    "fit_gauss_newton",
    "fit_levenberg_marquardt",
    "fit_seeds",
    "has_curvature",
    "redrawn",
]
