"""One run of the study, from its configuration to its folder."""

import dataclasses
import importlib.util
import json
import math
import os
import time
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from .._files import short_stem
from .._work import Work, unfinished, work
from ..exchange import export_onnx
from ..sobolev import DivergedError, ProgressReporter
from ..surrogate import save
from ._config import StudyConfig
from ._figures import save_figures
from ._folder import RunFolder, contents_of_run
from ._pictures import draw
from ._report import ReportFigure, render_report
from ._stages import Stage, Study
from ._summary import is_published_case, summarise


@runtime_checkable
class RunListener(Protocol):
    """Told what a run does."""

    def stage(self, stage: Stage) -> None:
        """A stage is done."""
        ...

    def note(self, text: str) -> None:
        """Something a user should know."""
        ...


@final
class _Nobody:
    """Listens to nothing."""

    def stage(self, stage: Stage) -> None: ...

    def note(self, text: str) -> None: ...


def run_bachelier(
    config: StudyConfig,
    output: str | os.PathLike,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressReporter | None = None,
    listener: RunListener | None = None,
) -> dict[str, Any]:
    """Run the published case study and write everything it finds.

    The folder then holds `config.toml`, `metrics.jsonl` (losses and errors of every fit), `checkpoints/` (the surrogate
    of every stage), `surrogate.safetensors` and, with the extra `onnx`, `surrogate.onnx` (the smallest network,
    fine-tuned on the reference), `figures/`, `report.html`, and last of all `summary.json`: where that stands, the run
    is complete.

    Args:
        config: what to run; checked before anything is written.
        output: folder of the run.
        overwrite: replace an earlier run in that folder, which stays until the first stage of this one is done.
        resume: go on with a run of the same configuration that was killed, to the same result; what it needs for that
            lies in `unfinished/`. Begin where there is none.
        progress: shows the course of every fit.
        listener: told about stages and notes.

    Returns:
        What `summary.json` holds. If the folder could not be written to any more (a full disk), the run went on in
        another one; then `moved` holds its path as `to`, and the error as `reason`.

    Raises:
        ConfigError: the configuration cannot be run.
        RunExistsError: the folder holds a run, and `overwrite` is false.
        UnfinishedError: it holds a run that was killed, and both `resume` and `overwrite` are false.
        OtherWorkError: the run that was killed had another configuration or other versions; the message names them.
        InUseError: another process runs in that folder.
        DivergedError: a fit diverged; the last good surrogate is among the checkpoints.
        OSError: neither the folder nor any other one can be written to.
    """
    begin = time.perf_counter()
    listener = _Nobody() if listener is None else listener
    study = Study(config, progress)
    unfinished_here = Path(output) / "unfinished"
    known = unfinished(unfinished_here)
    folder = RunFolder(output, overwrite=overwrite or known)
    with work(unfinished_here, "run", _flat(config), resume=resume, overwrite=overwrite) as here:
        summary = _run(study, folder, here, listener, begin, may_replace=not contents_of_run(output))
        here.finish()
    return summary


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every number of a configuration under its name in the file, such as `network.hidden`."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{prefix}{field.name}"
        found |= _flat(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return found


def _run(
    study: Study, folder: RunFolder, here: Work, listener: RunListener, begin: float, *, may_replace: bool
) -> dict[str, Any]:
    config = study.config
    stages: list[Stage] = []
    lines: list[str] = []
    try:
        for stage in study.run(here.folder):
            if not stages:
                folder.begin()
                folder.write("config.toml", config.to_toml())
            stages.append(stage)
            name = f"checkpoints/{short_stem(f'{stage.size}-{stage.name}')}.safetensors"
            lines += _metric_lines(stage)
            try:
                folder.store(name, lambda path, stage=stage: save(stage.surrogate, path))
                folder.write("metrics.jsonl", "".join(lines))
            finally:
                listener.stage(stage)
    except DivergedError as error:
        if not stages:
            if not may_replace:  # an earlier run is worth more than what diverged at once
                raise
            folder.begin()
            folder.write("config.toml", config.to_toml())
        size = "-".join(map(str, error.surrogate.network.widths))
        name = f"checkpoints/{short_stem(f'{size}-diverged')}.safetensors"
        folder.store(name, lambda path, error=error: save(error.surrogate, path))
        raise

    smallest = min(
        (stage for stage in stages if stage.name == "finetuned_reference"),
        key=lambda stage: stage.surrogate.network.n_parameters,
    ).surrogate
    folder.store("surrogate.safetensors", lambda path: save(smallest, path))
    if importlib.util.find_spec("onnxruntime") is None:
        listener.note("surrogate.onnx was not written: pip install 'sobolev-pruning[onnx]'")
    else:
        inputs = np.asarray(study.training_law.x[:256])
        folder.store("surrogate.onnx", lambda path: export_onnx(smallest, path, check_inputs=inputs))

    pictures = draw(study, stages)
    figures = {picture.name: picture.figure for picture in pictures}
    images: dict[str, bytes] = {}
    folder.store("figures", lambda path: images.update(save_figures(figures, path)))
    summary = summarise(stages, config.seed, time.perf_counter() - begin)
    report = render_report(
        # Another network than the published one has nothing published to stand beside.
        summary if is_published_case(summary) else {**summary, "published": {}},
        [ReportFigure(p.name, p.title, p.caption, images[p.name]) for p in pictures],
        config.to_toml(),
        summary["environment"],
    )
    folder.write("report.html", report)
    folder.write("summary.json", json.dumps(_finite(summary), indent=2, allow_nan=False) + "\n")
    return summary if folder.moved is None else {**summary, "moved": {"to": str(folder.path), "reason": folder.moved}}


def _metric_lines(stage: Stage) -> list[str]:
    """One JSON object a line: the mean loss of each stretch of the training, and the errors at its end."""
    where = {"size": stage.size, "stage": stage.name}
    lines = []
    if stage.course is not None:
        ends = stage.course.steps
        for i, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
            unexplained = {name: float(values[i]) for name, values in stage.course.unexplained.items()}
            loss = float(stage.course.losses[start:end].mean())
            lines.append({**where, "step": int(end), "loss": loss, "unexplained": unexplained})
    lines.append({**where, "seconds": stage.seconds, **stage.cube.table()})
    return [json.dumps(_finite(line), allow_nan=False) + "\n" for line in lines]


def _finite(value: Any) -> Any:
    """Infinities and NaN as null, since JSON has no word for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
