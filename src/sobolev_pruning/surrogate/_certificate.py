"""What has been proved of a surrogate over a region, as a record that is stored with it.

`sobolev_pruning.certification.certify` makes it. Here it is only written down, read back and compared with the weights
that it speaks of.
"""

import dataclasses
import enum
import hashlib
import json
from typing import Any, final

import jax
import numpy as np

from .._reading import brief, from_json
from ..regions import AbstractRegion, region_from_dict
from ._surrogate import Surrogate


class Verdict(enum.StrEnum):
    """What is known of a claim: `UNDECIDED` says that it was neither proved nor refuted, not that it is false."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@final
@dataclasses.dataclass(frozen=True)
class Bound:
    """The range of one quantity over the region.

    Attributes:
        lower, upper: guaranteed: no point of the region has less, or more. Infinite if nothing is proved.
        least, most: the extremes that were found at points, by evaluation in floats.
    """

    lower: float
    upper: float
    least: float
    most: float

    @property
    def magnitude(self) -> float:
        """Guaranteed: the largest absolute value is at most this."""
        return max(abs(self.lower), abs(self.upper))

    @property
    def found(self) -> float:
        """The largest absolute value that was found."""
        return max(abs(self.least), abs(self.most))

    @property
    def excess(self) -> float:
        """Width of the guaranteed range as a multiple of what was found, at least about 1."""
        span = self.most - self.least
        return (self.upper - self.lower) / span if span > 0 else float("inf")


@final
@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement about the whole region.

    Attributes:
        statement: in words, such as "y0 is nondecreasing in x3".
        verdict: whether it was proved, refuted, or neither.
        witness: an input, `(d,)`, at which it is proved to be false; None unless it is refuted.
    """

    statement: str
    verdict: Verdict
    witness: tuple[float, ...] | None = None


@final
@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between a surrogate and another function over the region.

    Attributes:
        values: of every output, `(m,)`.
        gradients: of every first derivative, `(m, d)`.
    """

    values: tuple[Bound, ...]
    gradients: tuple[tuple[Bound, ...], ...]


@final
@dataclasses.dataclass(frozen=True)
class Certificate:
    """What has been proved of a surrogate, in physical units.

    Attributes:
        region: where, as `AbstractRegion.to_dict` describes it.
        values: range of every output, `(m,)`.
        gradients: range of every first derivative, `(m, d)`.
        lipschitz: range of the Euclidean norm of every output's gradient, `(m,)`; its `upper` is a Lipschitz constant.
        hessians: range of every second derivative, `(m, d, d)`; empty if they were not asked for.
        curvature: range of the eigenvalues of every output's Hessian, `(m,)`; empty likewise.
        monotone: for every output and input, whether the output is nondecreasing, or nonincreasing, in it; `(m, d)`.
        convex_in: whether every output is convex, or concave, in each input alone; `(m, d)`, or empty.
        convex: whether every output is convex, or concave, in all inputs together; `(m,)`, or empty.
        differences: between the surrogate and other functions, by name.
        fingerprint: hash of weights, normalisation and activation.
        dtype: float format of the weights.
        arithmetic: float format of the proof.
        domain: how it was enclosed, as in `intervals.inclusion`.
        seconds: spent, without compilation.
        boxes: enclosed.
        versions: of the libraries.
    """

    region: dict[str, Any]
    values: tuple[Bound, ...]
    gradients: tuple[tuple[Bound, ...], ...]
    lipschitz: tuple[Bound, ...]
    hessians: tuple[tuple[tuple[Bound, ...], ...], ...]
    curvature: tuple[Bound, ...]
    monotone: tuple[tuple[Claim, ...], ...]
    convex_in: tuple[tuple[Claim, ...], ...]
    convex: tuple[Claim, ...]
    differences: dict[str, Difference]
    fingerprint: str
    dtype: str
    arithmetic: str
    domain: str
    seconds: float
    boxes: int
    versions: dict[str, str]

    def is_of(self, surrogate: Surrogate) -> bool:
        """Whether it speaks of these weights."""
        return self.fingerprint == fingerprint(surrogate)

    def where(self) -> AbstractRegion:
        """The region, in the float format of the certificate."""
        return region_from_dict(self.region, np.dtype(self.dtype))

    def to_json(self) -> str:
        """The certificate as JSON; infinite numbers are written as strings, so that any reader takes it."""
        return json.dumps(_plain(dataclasses.asdict(self)), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is no certificate.
        """
        try:
            parts = from_json(text)
            bounds = {
                "values": _each(parts["values"], 1, _bound),
                "gradients": _each(parts["gradients"], 2, _bound),
                "lipschitz": _each(parts["lipschitz"], 1, _bound),
                "hessians": _each(parts["hessians"], 3, _bound),
                "curvature": _each(parts["curvature"], 1, _bound),
                "monotone": _each(parts["monotone"], 2, _claim),
                "convex_in": _each(parts["convex_in"], 2, _claim),
                "convex": _each(parts["convex"], 1, _claim),
            }
            differences = {
                name: Difference(_each(d["values"], 1, _bound), _each(d["gradients"], 2, _bound))
                for name, d in parts["differences"].items()
            }
            return cls(**(parts | bounds | {"differences": differences}))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"this is no certificate ({type(error).__name__}: {brief(error)}).") from None


def fingerprint(surrogate: Surrogate) -> str:
    """SHA-256 of all that decides what a surrogate computes: weights, normalisation, activation."""
    digest = hashlib.sha256()
    activation = surrogate.network.activation
    digest.update(f"{activation.__module__}.{getattr(activation, '__name__', type(activation).__name__)}".encode())
    for leaf in jax.tree.leaves((surrogate.network, surrogate.normalisation)):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(value) for value in x]
    return x if not isinstance(x, float) or np.isfinite(x) else str(x)


def _each(x: Any, depth: int, make: Any) -> tuple[Any, ...]:
    return tuple(make(value) if depth == 1 else _each(value, depth - 1, make) for value in x)


def _bound(x: dict[str, Any]) -> Bound:
    return Bound(**{name: float(value) for name, value in x.items()})


def _claim(x: dict[str, Any]) -> Claim:
    witness = x["witness"]
    return Claim(x["statement"], Verdict(x["verdict"]), None if witness is None else tuple(map(float, witness)))
