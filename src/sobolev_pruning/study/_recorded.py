"""The stages of a run on the disk, so that a run that was killed goes on where it was."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Array

from .._files import short_stem
from ..sobolev import Checkpoints, CheckpointWarning
from ..surrogate import Surrogate, load_record, save_record
from ._course import Course

# A fit that is killed loses no more than so many seconds, and one that takes less keeps nothing on the way.
_SECONDS = 5.0


@final
class RecordedStages:
    """What the stages of a run have left, by their names.

    Args:
        folder: of the unfinished run; None keeps nothing.
        activation: of the networks.
    """

    def __init__(self, folder: Path | None, activation: Callable[[Array], Array]) -> None:
        self._folder, self._activation = folder, activation

    def read(self, name: str) -> tuple[Surrogate, float, Course | None] | None:
        """The surrogate of a stage, the seconds that it took, and its course, if it was recorded and is whole.

        Warns:
            CheckpointWarning: it is damaged; the run repeats the stage, to the same result.
        """
        if self._folder is None or not (path := self._path(self._folder, name)).exists():
            return None

        def understood(surrogate: Surrogate, facts: dict[str, Any]) -> tuple[Surrogate, float, Course | None]:
            if facts["name"] != name:
                raise ValueError(f"it is the stage {facts['name']}")
            return surrogate, float(facts["seconds"]), _unpacked(facts["course"])

        try:
            return load_record(path, self._activation, understood)
        except (OSError, ValueError) as error:
            warnings.warn(f"{error} The stage is repeated.", CheckpointWarning, stacklevel=2)
            return None

    def write(self, name: str, surrogate: Surrogate, seconds: float, course: Course | None) -> None:
        """Keep a stage, and forget the checkpoints of its fit.

        Warns:
            CheckpointWarning: the disk does not take it. The run goes on, but begins anew if it is killed.
        """
        if self._folder is None:
            return
        facts = {"name": name, "seconds": seconds, "course": _packed(course)}
        path = self._path(self._folder, name)
        try:
            path.parent.mkdir(exist_ok=True)
            save_record(path, surrogate, facts)
        except OSError as error:
            self.give_up(error)
        else:
            shutil.rmtree(self._folder / "checkpoints", ignore_errors=True)

    def checkpoints(self, name: str) -> Checkpoints | None:
        """Of the fit of a stage."""
        return (
            None
            if self._folder is None
            else Checkpoints(self._folder / "checkpoints" / short_stem(name), every=1, seconds=_SECONDS)
        )

    def give_up(self, error: OSError) -> None:
        """Keep nothing more.

        Warns:
            CheckpointWarning: says so.
        """
        warnings.warn(
            f"the run can no longer save what `resume` would need ({error}).",
            CheckpointWarning,
            stacklevel=3,
        )
        self._folder = None

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / "stages" / f"{short_stem(name)}.safetensors"


def _packed(course: Course | None) -> dict[str, Any] | None:
    """As JSON reads it back to the bit."""
    if course is None:
        return None
    unexplained = {name: values.tolist() for name, values in course.unexplained.items()}
    losses = {"dtype": str(course.losses.dtype), "values": course.losses.tolist()}
    return {"losses": losses, "steps": course.steps.tolist(), "unexplained": unexplained}


def _unpacked(facts: dict[str, Any] | None) -> Course | None:
    if facts is None:
        return None
    unexplained = {name: np.array(values, np.float64) for name, values in facts["unexplained"].items()}
    losses = np.array(facts["losses"]["values"], facts["losses"]["dtype"])
    return Course(losses, np.array(facts["steps"], np.int64), unexplained)
