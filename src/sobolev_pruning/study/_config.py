"""The configuration of a study: typed, checked, and readable from TOML."""

import dataclasses
import difflib
import math
import os
import re
import sys
import tomllib
import types
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from .._reading import brief, reading, shown
from ..surrogate import ACTIVATIONS


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key, what was given and what is allowed."""


@dataclasses.dataclass(frozen=True)
class _Range:
    """Numbers that a field allows; ends are included unless they are open."""

    lowest: int | float = -math.inf
    highest: int | float = math.inf
    open_lowest: bool = False

    def __contains__(self, value: int | float) -> bool:
        above = value > self.lowest if self.open_lowest else value >= self.lowest
        # Not `math.isfinite`, which does not take a whole number beyond the largest float.
        return above and value <= self.highest and abs(value) < math.inf

    def __str__(self) -> str:
        if self.lowest == -math.inf:
            return "finite"
        if self.highest != math.inf:
            return f"in {'(' if self.open_lowest else '['}{self.lowest}, {self.highest}]"
        return "positive and finite" if self.open_lowest and self.lowest == 0 else f"at least {self.lowest:g}"


@dataclasses.dataclass(frozen=True)
class _OneOf:
    """Names that a field allows."""

    names: tuple[str, ...]

    def __contains__(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


def _bounded(default: Any, allowed: _Range) -> Any:
    """A field whose numbers (or whose elements) must lie in a range."""
    return dataclasses.field(default=default, metadata={"allowed": allowed})


# A correlation matrix of a thousand assets takes about half of it.
_LARGEST = 2**24
# The parser's time grows with the square of the number of parts of a key, to minutes; ours have two.
_LONG_KEY = re.compile(r"(?:\.\s*[^.,\s#][^.,\n]*){64}")

_POSITIVE = _Range(0.0, open_lowest=True)
_NOT_NEGATIVE = _Range(0.0)
_COUNT = _Range(1, 2**31 - 1)
_SEVERAL = _Range(2, 2**31 - 1)

# With piecewise linear ones the gammas are zero.
_ACTIVATIONS = tuple(ACTIVATIONS)


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """The basket; see `BachelierBasket`. What is not given is drawn from the seed."""

    dim: int = _bounded(7, _Range(1, 1000))
    strike: float = _bounded(1.1, _Range())
    basket_volatility: float = _bounded(0.2, _POSITIVE)
    exposure_date: float = _bounded(1.0, _POSITIVE)
    maturity_date: float = _bounded(2.0, _POSITIVE)
    spot_volatility_multiplier: float = _bounded(1.5, _POSITIVE)
    weights: tuple[float, ...] | None = _bounded(None, _NOT_NEGATIVE)
    volatilities: tuple[float, ...] | None = _bounded(None, _POSITIVE)
    correlation: tuple[tuple[float, ...], ...] | None = _bounded(None, _Range(-1, 1))


@dataclasses.dataclass(frozen=True)
class SpotsConfig:
    """Where the networks learn: a mixture of the uniform cube and the model's own law of the spots."""

    cube_share: float = _bounded(0.5, _Range(0, 1))


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The oversized network: hidden widths and an activation."""

    hidden: tuple[int, ...] = _bounded((128,) * 6, _COUNT)
    activation: str = dataclasses.field(default="silu", metadata={"allowed": _OneOf(_ACTIVATIONS)})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """One fit: Muon on the matrices and Adam on the rest, with a learning rate that falls to zero along a cosine."""

    steps: int = _bounded(2000, _COUNT)
    batch_size: int = _bounded(1024, _SEVERAL)
    paths: int = _bounded(64, _COUNT)
    learning_rate: float = _bounded(0.02, _POSITIVE)
    weight_decay: float = _bounded(0.1, _NOT_NEGATIVE)


@dataclasses.dataclass(frozen=True)
class PruningConfig:
    """Where significance is measured, and what is kept: hidden widths of each pruned network."""

    keep: tuple[tuple[int, ...], ...] = _bounded(((8,) * 6, (3, 3)), _COUNT)
    regions: int = _bounded(256, _SEVERAL)
    region_scale: float = _bounded(0.003, _POSITIVE)
    refit_samples: int = _bounded(2048, _SEVERAL)
    gradient_weight: float = _bounded(1.0, _NOT_NEGATIVE)


@dataclasses.dataclass(frozen=True)
class FinetuningConfig:
    """The fine-tunings, each from the pruned network and for the same number of steps.

    Networks of at most `second_order_below` parameters are fine-tuned by Levenberg–Marquardt on a fixed set of samples,
    larger ones by Muon on fresh samples.
    """

    steps: int = _bounded(3000, _COUNT)
    batch_size: int = _bounded(256, _SEVERAL)
    paths: int = _bounded(128, _COUNT)
    learning_rate: float = _bounded(0.005, _POSITIVE)
    weight_decay: float = _bounded(0.0, _NOT_NEGATIVE)
    gradient_weight: float = _bounded(1.0, _NOT_NEGATIVE)
    curvature_weight: float = _bounded(1.0, _NOT_NEGATIVE)
    teacher_samples: int = _bounded(65536, _SEVERAL)
    second_order_below: int = _bounded(200, _NOT_NEGATIVE)
    second_order_steps: int = _bounded(400, _COUNT)
    second_order_samples: int = _bounded(2048, _SEVERAL)
    second_order_paths: int = _bounded(2048, _COUNT)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Points in each of the two evaluation sets."""

    points: int = _bounded(4096, _SEVERAL)


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Everything that a run of the Bachelier study depends on. Same configuration, same result."""

    seed: int = _bounded(0, _Range(0, 2**31 - 1))
    reference: ReferenceConfig = ReferenceConfig()
    spots: SpotsConfig = SpotsConfig()
    network: NetworkConfig = NetworkConfig()
    oversized: TrainingConfig = TrainingConfig()
    pruning: PruningConfig = PruningConfig()
    finetuning: FinetuningConfig = FinetuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> "StudyConfig":
        """Read a configuration; every key may be left out.

        Raises:
            ConfigError: no such file, no TOML, an unknown key, a wrong type or a value out of range.
        """
        path = Path(path)
        with reading(path, "cannot be read", ConfigError):
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"larger than {_LARGEST >> 20} MiB")
            if not (path.is_file() or path.is_dir()):
                raise ValueError("not a file")
            data = path.read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{brief(path)}: cannot be read (not UTF-8 text).") from None
        with reading(path, "not valid TOML", ConfigError):
            if _LONG_KEY.search(text):
                raise ValueError("a key has more than 64 parts")
            data = tomllib.loads(text)
        return _build(cls, data, f"{brief(path)}: ", ())

    def check(self) -> None:
        """Raise `ConfigError` for what no run can be made of: a type, a value, or values that do not fit together."""
        _check_fields(self, ())
        reference = self.reference
        if reference.maturity_date <= reference.exposure_date:
            raise ConfigError(
                f"reference.maturity_date is {reference.maturity_date:g}; it must be later than "
                f"reference.exposure_date, {reference.exposure_date:g}."
            )
        d = reference.dim
        for name, given in (("weights", reference.weights), ("volatilities", reference.volatilities)):
            if given is not None and len(given) != d:
                raise ConfigError(f"reference.{name} holds {len(given)} numbers; reference.dim = {d} asks for {d}.")
        if reference.weights is not None and not any(reference.weights):
            raise ConfigError("reference.weights are all zero; at least one must be positive.")
        if reference.correlation is not None and (
            len(reference.correlation) != d or any(len(row) != d for row in reference.correlation)
        ):
            raise ConfigError(f"reference.correlation is not {d} rows of {d} numbers, as reference.dim = {d} asks.")
        hidden = self.network.hidden
        if not hidden:
            raise ConfigError("network.hidden is empty; the oversized network needs at least one hidden layer.")
        if not self.pruning.keep:
            raise ConfigError("pruning.keep is empty; give the hidden widths of at least one pruned network.")
        if len(set(self.pruning.keep)) < len(self.pruning.keep):
            raise ConfigError("pruning.keep names the same network twice.")
        for i, kept in enumerate(self.pruning.keep):
            if not 1 <= len(kept) <= len(hidden):
                raise ConfigError(
                    f"pruning.keep[{i}] has {len(kept)} hidden layers; network.hidden has {len(hidden)}, so keep 1 to "
                    f"{len(hidden)}."
                )
            if max(kept) > min(hidden):
                raise ConfigError(
                    f"pruning.keep[{i}] keeps {max(kept)} nodes of a layer, more than the {min(hidden)} that there are "
                    "(network.hidden)."
                )
        if self.pruning.regions > self.pruning.refit_samples:
            raise ConfigError(
                f"pruning.regions is {self.pruning.regions}; it must not exceed pruning.refit_samples, "
                f"{self.pruning.refit_samples}."
            )

    def to_toml(self) -> str:
        """The whole configuration as TOML, defaults included; what was not given is left out."""
        return tomli_w.dumps(_without_none(dataclasses.asdict(self)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, tuple) else value


def _build(cls: type, data: dict[str, Any], where: str, above: tuple[str, ...]) -> Any:
    """An instance of a configuration class from a TOML table."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    values = {}
    for key, value in data.items():
        path = (*above, key)
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}."
            raise ConfigError(f"{where}unknown key {_dotted(path)}; {hint}")
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}{_dotted(path)} is {shown(value)}; it must be a table, [{_dotted(path)}].")
            values[key] = _build(hint, value, where, path)  # pyright: ignore[reportArgumentType] -- a dataclass
            continue
        values[key] = _converted(value, hint, where, path)
        _check_range(values[key], fields[key], where, path)
    return cls(**values)


def _check_fields(config: Any, above: tuple[str, ...]) -> None:
    """Types and ranges of all fields, for a configuration that was made in Python."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint, path = getattr(config, field.name), hints[field.name], (*above, field.name)
        if dataclasses.is_dataclass(hint):
            if type(value) is not hint:
                raise ConfigError(f"{_dotted(path)} is {shown(value)}; it must be a {getattr(hint, '__name__', hint)}.")
            _check_fields(value, path)
        elif value is not None or not isinstance(hint, types.UnionType):
            converted = _converted(value, hint, "", path)
            _check_range(converted, field, "", path)
            if converted != value:
                raise ConfigError(
                    f"{_dotted(path)} is {shown(value)}; from Python it must be a tuple, {shown(converted)}."
                )


def _dotted(path: tuple[str, ...]) -> str:
    return brief(".".join(path))


def _check_range(value: Any, field: dataclasses.Field, where: str, path: tuple[str, ...]) -> None:
    allowed = field.metadata.get("allowed")
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            _check_range(item, field, where, (*path[:-1], f"{path[-1]}[{i}]"))
    elif allowed is not None and value is not None and value not in allowed:
        given = brief(value) if isinstance(value, str) else shown(value)
        raise ConfigError(f"{where}{_dotted(path)} is {given}; it must be {allowed}.")


def _converted(value: Any, hint: Any, where: str, path: tuple[str, ...]) -> Any:
    """A TOML value as the type that a field declares."""
    if isinstance(hint, types.UnionType):  # `T | None`; TOML has no None, so the value is a T.
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}{_dotted(path)} is {shown(value)}; it must be a list.")
        inner = get_args(hint)[0]
        return tuple(_converted(item, inner, where, (*path[:-1], f"{path[-1]}[{i}]")) for i, item in enumerate(value))
    # In Python a bool is an int and an int is no float; in a configuration it is the other way round.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) <= sys.float_info.max else math.inf
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise ConfigError(f"{where}{_dotted(path)} is {shown(value)}; it must be {names[hint]}.")
    return value
