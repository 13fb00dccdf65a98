"""Surrogates for other runtimes."""

from ._onnx import OnnxExport, OnnxExportError, export_onnx

__all__ = ["OnnxExport", "OnnxExportError", "export_onnx"]
