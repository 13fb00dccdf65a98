"""Figures to files."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..._files import short_stem, write_whole
from ._style import style

_DPI = 200


@style()
def to_png(figure: Figure, dpi: int = _DPI) -> bytes:
    """The figure as a PNG image, such as a report embeds."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@style()
def to_svg(figure: Figure) -> bytes:
    """The figure as an SVG image; same figure, same bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "sobolev-pruning"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


@style()
def save_figures(figures: Mapping[str, Figure], folder: str | os.PathLike) -> dict[str, bytes]:
    """Write every figure as PNG and PDF.

    Same figures, same bytes: no file holds a date.

    Args:
        figures: by the name of their files, without suffix.
        folder: is made if it is missing.

    Returns:
        The PNG images by name, for the report.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for name, figure in figures.items():
        images[name] = to_png(figure)
        stem = short_stem(name)
        write_whole(folder / f"{stem}.png", images[name])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="pdf", dpi=_DPI, metadata={"CreationDate": None})
        write_whole(folder / f"{stem}.pdf", buffer.getvalue())
    return images
