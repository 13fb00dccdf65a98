"""Surrogates for other runtimes and other libraries."""

from typing import TYPE_CHECKING, Any

from ._onnx import OnnxExport, OnnxExportError, export_onnx

if TYPE_CHECKING:
    from ._estimator import SobolevRegressor

__all__ = ["OnnxExport", "OnnxExportError", "SobolevRegressor", "export_onnx"]


def __getattr__(name: str) -> Any:
    """The estimator, only when it is asked for: scikit-learn is an extra."""
    if name != "SobolevRegressor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from ._estimator import SobolevRegressor
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "sklearn":
            raise
        raise ImportError(
            "`SobolevRegressor` needs scikit-learn; install it with `pip install 'sobolev-pruning[sklearn]'`.",
            name="sklearn",
        ) from error
    return SobolevRegressor


def __dir__() -> list[str]:
    return __all__
