"""The published case study as one run: configuration, stages, evaluation, figures, report."""

from ..metrics import ErrorMeasures, Errors, errors_between, measure
from ._config import ConfigError, StudyConfig
from ._figures import loss_curves, pareto_front
from ._folder import RunExistsError, RunFolder, contents_of_run
from ._front import check_front_folder, files_of_front, front_summary, render_front, write_front
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
    "check_front_folder",
    "contents_of_run",
    "environment",
    "errors_between",
    "files_of_front",
    "front_summary",
    "loss_curves",
    "measure",
    "pareto_front",
    "render_front",
    "run_bachelier",
    "short_widths",
    "stage_line",
    "tables",
    "write_front",
]
