"""The trials of a search on the disk, so that a search that was killed goes on where it was."""

import dataclasses
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from jaxtyping import Array, PRNGKeyArray

from .._digest import digest, program_digest
from ..reference import AbstractReferenceModel, DataSet, Samples
from ..sobolev import CheckpointWarning
from ..surrogate import Surrogate, load_record, save_record
from ._tolerance import SurrogateErrors
from ._trials import Candidate

# Functions are written with where they lie in memory.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@final
class RecordedTrials:
    """Candidates by their number.

    Args:
        folder: to keep them in; None keeps none.
        activation: of their networks.
    """

    def __init__(self, folder: Path | None, activation: Callable[[Array], Array]) -> None:
        self._folder, self._activation = folder, activation
        if folder is not None:
            folder.mkdir(exist_ok=True)

    def read(self, number: int, hidden: tuple[int, ...]) -> Candidate | None:
        """The trial of that number, if it was recorded and is whole.

        Warns:
            CheckpointWarning: it is damaged; the search repeats it, to the same result.
        """
        if self._folder is None or not (path := self._path(self._folder, number)).exists():
            return None

        def understood(surrogate: Surrogate, facts: dict[str, Any]) -> Candidate:
            if (facts["number"], tuple(facts["hidden"])) != (number, hidden):
                raise ValueError(f"it is trial {facts['number']}, of {facts['hidden']} hidden nodes")
            errors = SurrogateErrors(**facts["errors"])
            if not all(isinstance(error, float | None) for error in facts["errors"].values()):
                raise ValueError("its errors are not numbers")
            return Candidate(surrogate, errors, bool(facts["within"]))

        try:
            return load_record(path, self._activation, understood)
        except (OSError, ValueError) as error:
            warnings.warn(f"{error} That trial is repeated.", CheckpointWarning, stacklevel=5)
            return None

    def write(self, number: int, hidden: tuple[int, ...], candidate: Candidate) -> None:
        """Keep a trial."""
        if self._folder is None:
            return
        facts = {"number": number, "hidden": hidden, "errors": dataclasses.asdict(candidate.errors)}
        save_record(self._path(self._folder, number), candidate.surrogate, facts | {"within": candidate.within})

    @staticmethod
    def _path(folder: Path, number: int) -> Path:
        return folder / f"trial-{number:04d}.safetensors"


def facts_of_search(
    surrogate: Surrogate, reference: AbstractReferenceModel | Samples, key: PRNGKeyArray, others: dict[str, Any]
) -> dict[str, str]:
    """What makes one search another one, by the names of its arguments."""
    model = DataSet(reference) if isinstance(reference, Samples) else reference
    drawn, calls_host = program_digest(lambda r, k: r.sample(k, 2), model, key)
    # What runs outside of JAX cannot be read, but it can be asked.
    asked = digest(model.sample(key, 2)) if calls_host else ""
    program, _ = program_digest(lambda s: s(s.normalisation.x_mean), surrogate)
    facts = {"network": program + digest(surrogate), "reference": drawn + digest(model) + asked, "key": digest(key)}
    return facts | {
        name: f"{_ADDRESS.sub('', json.dumps(repr(value)))} {digest(value)}" for name, value in others.items()
    }
