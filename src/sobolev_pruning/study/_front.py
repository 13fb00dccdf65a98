"""What a search for the smallest network leaves on disk: surrogates, numbers, and the front as a page."""

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .._files import SHORTENED, files_together, finish_together, short_stem, write_whole
from ..exchange import export_onnx
from ..pruning import Candidate, ShrinkResult, Tolerance
from ..surrogate import Surrogate, save
from ._figures import pareto_front, to_svg
from ._figures._numbers import grouped, scientific
from ._folder import RunExistsError
from ._report import STYLE, ReportFigure
from ._summary import environment

_FILES = ("smallest.safetensors", "smallest.onnx", "report.json", "report.html", "front.svg")
_FOLDER, _SURROGATES = "front", re.compile(rf"\d[\d-]*({SHORTENED})?(-\d+)?\.(safetensors|onnx)")
_TITLES = {
    "values": "values",
    "gradients": "gradients",
    "curvature": "curvature",
    "largest_value": "value",
    "largest_gradient": "gradient",
    "largest_curvature": "curvature",
}


def check_front_folder(path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Before hours are spent: the folder can be made and written to, and what is there is not lost.

    Raises:
        RunExistsError: the folder holds an earlier front and `overwrite` is false.
        NotADirectoryError: the path is a file.
        PermissionError: the folder cannot be made or written to.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; give a folder for the output.")
    finish_together(path, files_of_front)
    earlier = files_of_front(path)
    if earlier and not overwrite:
        raise RunExistsError(f"{path} already holds {earlier[0].name}; give another folder, or --overwrite.")
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise PermissionError(f"{path} cannot be made or written to, since {nearest} cannot; give another folder.")


def files_of_front(path: Path) -> list[Path]:
    """The files of an earlier search in a folder, which `write_front` removes."""
    return [f for f in (path / name for name in _FILES) if f.is_file()] + sorted(
        file for file in (path / _FOLDER).glob("*") if _SURROGATES.fullmatch(file.name) and file.is_file()
    )


def front_summary(result: ShrinkResult, tolerance: Tolerance, seconds: float) -> dict[str, Any]:
    """A search in words and numbers that JSON can hold.

    Args:
        result: of `shrink`.
        tolerance: that it was given.
        seconds: that it took.
    """
    front = result.front
    unseen = result.unseen_errors
    networks = [
        {
            "widths": c.widths,
            "parameters": c.n_parameters,
            "within": c.within,
            "on_front": any(c is other for other in front),
            "smallest": c is result.smallest,
            "errors": c.errors.as_dict(),
            "surrogate": None,
        }
        for c in (result.original, *result.trials)
    ]
    return {
        "tolerance": tolerance.bounds,
        "complete": result.complete,
        "seconds": round(seconds, 1),
        "judged_on": None if result.rows is None else result.rows.said,
        "smallest_on_unseen": None if unseen is None else unseen.as_dict(),
        "environment": environment(),
        "networks": networks,
    }


def write_front(
    result: ShrinkResult, tolerance: Tolerance, seconds: float, path: str | os.PathLike, *, onnx: bool = False
) -> dict[str, Any]:
    """Write all surrogates of the front, the smallest one, the numbers, the picture and the page.

    They replace an earlier front in the folder together: a crash leaves the old front, or the new one, of which files
    may then still lie in a hidden folder until the next call puts them in place.

    Args:
        result: of `shrink`.
        tolerance: that it was given.
        seconds: that it took.
        path: folder, as `check_front_folder` has found it good.
        onnx: whether every surrogate is written as ONNX as well, beside its file.

    Returns:
        What `report.json` holds.
    """
    with files_together(Path(path), files_of_front) as draft:
        return _write_files(result, tolerance, seconds, draft, onnx)


def _write_files(result: ShrinkResult, tolerance: Tolerance, seconds: float, path: Path, onnx: bool) -> dict[str, Any]:
    (path / _FOLDER).mkdir()
    summary = front_summary(result, tolerance, seconds)
    used: set[str] = set()
    for candidate, network in zip((result.original, *result.trials), summary["networks"], strict=True):
        if network["on_front"]:
            network["surrogate"] = _unused(used, candidate)
            _write(candidate.surrogate, path / network["surrogate"], onnx)
    _write(result.smallest.surrogate, path / "smallest.safetensors", onnx)
    picture = to_svg(pareto_front(summary["networks"], summary["tolerance"]))
    write_whole(path / "front.svg", picture)
    write_whole(path / "report.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_whole(path / "report.html", render_front(summary, picture).encode())
    return summary


def _write(surrogate: Surrogate, path: Path, onnx: bool) -> None:
    save(surrogate, path)
    if onnx:
        export_onnx(surrogate, path.with_suffix(".onnx"))


def _unused(used: set[str], candidate: Candidate) -> str:
    """A name of its own for each; two networks of the same widths may both be on the front."""
    name = short_stem("-".join(map(str, candidate.widths)))
    tail = next(f"-{k}" if k else "" for k in range(len(used) + 1) if f"{name}-{k}" not in used)
    used.add(f"{name}{tail or '-0'}")
    return f"{_FOLDER}/{name}{tail}.safetensors"


def render_front(summary: Mapping[str, Any], picture: bytes) -> str:
    """The front as one HTML page without scripts and without a single reference to the outside.

    Args:
        summary: as `front_summary` makes it.
        picture: of `pareto_front`, PNG or SVG.
    """
    networks: Sequence[Mapping[str, Any]] = summary["networks"]
    original, smallest = networks[0], next(n for n in networks if n["smallest"])
    figure = ReportFigure("front", "Parameters against errors", "", picture)
    measured = [name for name in _TITLES if any(n["errors"][name] is not None for n in networks)]
    unexplained = [name for name in measured if not name.startswith("largest")]
    groups = (
        f"<tr><td colspan='2'></td><th scope='colgroup' colspan='{len(unexplained)}' class='first'>1 − R²</th>"
        f"<th scope='colgroup' colspan='{len(measured) - len(unexplained)}' class='first'>largest error</th></tr>"
    )
    head = "".join(f"<th scope='col'>{_TITLES[name]}</th>" for name in measured)
    shown = sorted((n for n in networks if n["on_front"] or n is original), key=lambda n: n["parameters"])
    bounds = "".join(f"<td>{scientific(summary['tolerance'].get(name))}</td>" for name in measured)
    rows = "".join(_row(network, measured) for network in shown)
    facts = {"networks tried": str(len(networks) - 1), "time": f"{summary['seconds']:.0f} s", **summary["environment"]}
    ending = "" if summary["complete"] else " The search was ended by its limits; there may be a smaller one."
    return _PAGE.substitute(
        style=STYLE,
        headline=(
            f"The smallest network within the tolerance has <strong>{grouped(smallest['parameters'])} parameters"
            f"</strong> ({_widths(smallest)}); the one that was given has {grouped(original['parameters'])}.{ending}"
        ),
        source=figure.source,
        groups=groups,
        head=head,
        bounds=bounds,
        rows=rows,
        judged=html.escape(_judged(summary)),
        facts="".join(
            f"<tr><th scope='row'>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
            for k, v in facts.items()
        ),
    )


def _judged(summary: Mapping[str, Any]) -> str:
    """Which samples they were, and how good the smallest network is on others."""
    said, unseen = summary.get("judged_on"), summary.get("smallest_on_unseen")
    text = "" if said is None else f" Judged on {said}."
    if unseen is None:
        return text
    measured = (f"{name.replace('_', ' ')} {found:.1e}" for name, found in unseen.items() if found is not None)
    return f"{text} On the unseen ones the smallest network has the errors: {', '.join(measured)}."


def _widths(network: Mapping[str, Any]) -> str:
    return "-".join(map(str, network["widths"]))


def _row(network: Mapping[str, Any], measured: Sequence[str]) -> str:
    mark = "✓" if network["within"] else "▽"
    cells = "".join(f"<td>{scientific(network['errors'][name])}</td>" for name in measured)
    name = f"<strong>{_widths(network)}</strong>" if network["smallest"] else _widths(network)
    return f"<tr><th scope='row'>{mark} {name}</th><td>{grouped(network['parameters'])}</td>{cells}</tr>"


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>How small can it get?</title>
<style>$style</style>
</head>
<body>
<header>
<p class="kicker">Sobolev pruning  ·  the search for the smallest network</p>
<h1>$headline</h1>
</header>
<main>
<section id="front">
<h2>Parameters against errors</h2>
<figure id="figure-front"><div class="card"><img src="$source" alt="Parameters against errors"></div>
<figcaption>Every network that the search has fine-tuned. The front holds those that no other beats in parameters and in
all errors; the line is the least error with so many parameters or fewer.</figcaption></figure>
<div class="scroll"><table class="errors"><thead>$groups
<tr><th scope="col">network</th><th scope="col">parameters</th>$head</tr></thead>
<tbody><tr><th scope="row">tolerance</th><td></td>$bounds</tr>$rows</tbody></table></div>
<p class="note">✓ within the tolerance, ▽ not. Errors are on held-out samples, those of the worst output and the worst
derivative, each measured by itself.$judged</p>
</section>
<section id="environment">
<h2>Environment</h2>
<div class="scroll"><table class="environment"><tbody>$facts</tbody></table></div>
</section>
</main>
<footer>This page holds all it shows: it loads nothing and runs nothing. Every number is in <code>report.json</code>,
every surrogate on the front in <code>front/</code>.</footer>
</body>
</html>
""")
