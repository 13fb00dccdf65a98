"""The pictures of a study: pure functions from arrays to matplotlib figures."""

from ._errors_by_stage import errors_by_stage
from ._loss_curves import loss_curves
from ._network_before_after import network_before_after
from ._pareto_front import pareto_front
from ._payoff_smoothing import payoff_smoothing
from ._predictions import predictions
from ._sample_paths import sample_paths
from ._save import save_figures, to_png, to_svg
from ._significance import significance

__all__ = [
    "errors_by_stage",
    "loss_curves",
    "network_before_after",
    "pareto_front",
    "payoff_smoothing",
    "predictions",
    "sample_paths",
    "save_figures",
    "significance",
    "to_png",
    "to_svg",
]
