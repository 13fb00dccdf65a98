"""The published case study as one run: configuration, stages, evaluation, figures, report."""

from ._config import ConfigError, StudyConfig
from ._figures import loss_curves
from ._folder import RunExistsError, RunFolder, contents_of_run
from ._metrics import ErrorMeasures, Errors, errors_between, measure
from ._run import RunListener, run_bachelier
from ._stages import Course, Pruning, Stage, Study, short_widths
from ._summary import PUBLISHED, environment
from ._terminal import stage_line, tables

__all__ = [
    "PUBLISHED",
    "ConfigError",
    "Course",
    "ErrorMeasures",
    "Errors",
    "Pruning",
    "RunExistsError",
    "RunFolder",
    "RunListener",
    "Stage",
    "Study",
    "StudyConfig",
    "contents_of_run",
    "environment",
    "errors_between",
    "loss_curves",
    "measure",
    "run_bachelier",
    "short_widths",
    "stage_line",
    "tables",
]
