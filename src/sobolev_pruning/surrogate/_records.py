"""Surrogates on the way: stored with what a run that was killed must know of them, and believed only if whole."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Array

from .._digest import digest
from .._reading import cause, from_json, reading
from ._storage import load, save
from ._surrogate import Surrogate

T = TypeVar("T")
_FACTS, _DIGEST = "record", "record_digest"


def save_record(path: Path, surrogate: Surrogate, facts: Mapping[str, Any]) -> None:
    """Store a surrogate with facts about it, under one digest.

    Args:
        path: of the file; its folder must exist.
        surrogate: to store.
        facts: what JSON can hold; floating-point numbers are read back to the bit.
    """
    text = json.dumps(facts)
    save(surrogate.with_provenance(**{_FACTS: text, _DIGEST: _digest(surrogate, text)}), path)


def load_record(
    path: Path, activation: Callable[[Array], Array], understood: Callable[[Surrogate, dict[str, Any]], T]
) -> T:
    """Read what `save_record` wrote.

    Args:
        path: of the file.
        activation: of the network.
        understood: makes of the surrogate and its facts what is wanted. Where it cannot, it raises a `ValueError`,
            `KeyError` or `TypeError`.

    Raises:
        ValueError: the file is damaged, was edited, or is none that `save_record` wrote.
    """
    stored = load(path, activation=activation)
    provenance = dict(stored.provenance)
    text, written = provenance.pop(_FACTS, ""), provenance.pop(_DIGEST, "")
    surrogate = Surrogate(stored.network, stored.normalisation, tuple(provenance.items()))
    if written != _digest(surrogate, text):
        raise ValueError(f"{path}: what it holds is not what was written.")
    with reading(path, "its facts cannot be read"):
        facts = dict(from_json(text))
    try:
        return understood(surrogate, facts)
    except (ValueError, KeyError, TypeError) as error:  # one is missing, of another kind, or of another record
        raise ValueError(f"{path}: its facts are not those that belong here ({cause(error)}).") from None


def _digest(surrogate: Surrogate, text: str) -> str:
    return digest((surrogate.network, surrogate.normalisation), json.dumps([text, surrogate.provenance]))
