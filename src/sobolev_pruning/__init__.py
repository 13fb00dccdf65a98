"""Small neural surrogates that are right in their derivatives.

Each part has one public face: `sobolev_pruning.intervals`, `.reference`, `.surrogate`, `.sobolev`, `.pruning`,
`.exchange` and `.study`. The main verbs and nouns of them are names of the package itself, too:

    import sobolev_pruning as sp

    result = sp.fit(network, sp.DataSet(samples), sp.SobolevLoss(), …)

Nothing is imported before it is used, so that each costs only what it needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .certification import certify
    from .exchange import SobolevRegressor
    from .pruning import Tolerance, prune, shrink, significance
    from .reference import DataSet, FunctionReference, Samples
    from .sobolev import SobolevLoss, ValueLoss, fit, fit_levenberg_marquardt
    from .surrogate import MLP, Surrogate, load, save

__all__ = [
    "MLP",
    "DataSet",
    "FunctionReference",
    "Samples",
    "SobolevLoss",
    "SobolevRegressor",
    "Surrogate",
    "Tolerance",
    "ValueLoss",
    "__version__",
    "certify",
    "fit",
    "fit_levenberg_marquardt",
    "load",
    "prune",
    "save",
    "shrink",
    "significance",
]

# Part by part; the imports above tell type checkers the same.
_PART_OF = {
    "MLP": "surrogate",
    "DataSet": "reference",
    "FunctionReference": "reference",
    "Samples": "reference",
    "SobolevLoss": "sobolev",
    "SobolevRegressor": "exchange",
    "Surrogate": "surrogate",
    "Tolerance": "pruning",
    "ValueLoss": "sobolev",
    "certify": "certification",
    "fit": "sobolev",
    "fit_levenberg_marquardt": "sobolev",
    "load": "surrogate",
    "prune": "pruning",
    "save": "surrogate",
    "shrink": "pruning",
    "significance": "pruning",
}


def __getattr__(name: str) -> Any:
    """Import the part that has the name."""
    if name not in _PART_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PART_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
