"""What has been proved of a surrogate over a region, as a record that is stored with it.

`sobolev_pruning.certification.certify` makes it. Here it is only written down, read back and compared with the weights
that it speaks of.
"""

import dataclasses
import enum
import hashlib
import json
import math
from typing import Any, final

import jax
import numpy as np

from .._reading import brief, from_json
from ..regions import AbstractRegion, region_from_dict
from ._activations import activation_program
from ._conversion import check_surrogate
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
        least, most: the extremes that were found at points, by evaluation in floats; NaN, both, if no point had a
            finite value.

    Raises:
        ValueError: `lower` ≤ `least` ≤ `most` ≤ `upper` does not hold.
    """

    lower: float
    upper: float
    least: float
    most: float

    def __post_init__(self) -> None:
        found = self.lower <= self.least <= self.most <= self.upper
        nothing = (
            math.isnan(self.least) and math.isnan(self.most) and self.lower == -math.inf and self.upper == math.inf
        )
        if not (found or nothing):
            raise ValueError(
                f"a bound has lower {self.lower}, least {self.least}, most {self.most} and upper {self.upper}, which "
                "are not in that order"
            )

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
        inputs, outputs: their names, `(d,)` and `(m,)`.

    Raises:
        ValueError: the parts are not of the same numbers of inputs and outputs, or a verdict does not follow from the
            bounds.
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
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_facts(self)
        _check_shapes(self)
        _check_verdicts(self)

    def is_of(self, surrogate: Surrogate) -> bool:
        """Whether it speaks of this function, by these names: weights, units, activation, inputs and outputs."""
        names = surrogate.input_names, surrogate.output_names
        return (self.inputs, self.outputs) == names and self.fingerprint == fingerprint(surrogate)

    def where(self) -> AbstractRegion:
        """The region, in the float format of the certificate."""
        return region_from_dict(self.region, np.dtype(self.dtype))

    def to_json(self) -> str:
        """The certificate as JSON; numbers that are not finite are written as strings, so that any reader takes it.

        `digest` in it is a checksum of all the rest: it tells a file that was damaged or edited by hand. It is no
        signature; who means to forge a certificate can compute it.
        """
        parts = _plain(dataclasses.asdict(self))
        return json.dumps(parts | {"digest": _checksum(parts)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Certificate":
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is no certificate, an earlier version wrote it, or it is not as it was written.
        """
        try:
            parts = from_json(text)
            digest = parts.pop("digest", None)
            if digest is None and "fingerprint" in parts:
                raise ValueError("an earlier version wrote it; certify the surrogate again")
            if digest != _checksum(parts):
                raise ValueError("it was changed after it was written; certify the surrogate again")
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
            names = {"inputs": _names(parts["inputs"]), "outputs": _names(parts["outputs"])}
            certificate = cls(**(parts | bounds | {"differences": differences} | names))
            if certificate.where().dim != len(certificate.inputs):
                raise ValueError("its region has another number of inputs")
            return certificate
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"this is no certificate ({type(error).__name__}: {brief(error)}).") from None


def fingerprint(surrogate: Surrogate) -> str:
    """SHA-256 of all that decides what a surrogate computes: weights, normalisation, activation.

    The activation counts by what it computes, not by its name; see `activation_program`.

    Raises:
        TypeError: `surrogate` is no `Surrogate`.
        ValueError: the activation calls back to Python.
    """
    check_surrogate(surrogate)
    network = surrogate.network
    dtype = network.layers[0].weight.dtype
    digest = hashlib.sha256(activation_program(network.activation, network.widths[1:-1], dtype))
    for leaf in jax.tree.leaves((network, surrogate.normalisation)):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _checksum(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check_facts(certificate: Certificate) -> None:
    kinds = {"fingerprint": str, "dtype": str, "arithmetic": str, "domain": str, "seconds": int | float, "boxes": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(certificate, name), kind)]
    wrong += ["seconds"] if not wrong and not math.isfinite(certificate.seconds) else []
    texts = [*certificate.versions.keys(), *certificate.versions.values()]
    if wrong or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"its {wrong[0] if wrong else 'versions'} cannot be what is stated")


def _check_shapes(certificate: Certificate) -> None:
    d, m = len(certificate.inputs), len(certificate.outputs)
    shapes = {
        "values": (m,),
        "gradients": (m, d),
        "lipschitz": (m,),
        "hessians": (m, d, d),
        "curvature": (m,),
        "monotone": (m, d),
        "convex_in": (m, d),
        "convex": (m,),
    }
    of_order_2 = ("hessians", "curvature", "convex_in", "convex")
    absent = not any(getattr(certificate, name) for name in of_order_2)
    for name, shape in shapes.items():
        if not (absent and name in of_order_2):
            _check_shape(name, getattr(certificate, name), shape)
    for name, difference in certificate.differences.items():
        _check_shape(f"the difference to {name}", difference.values, (m,))
        _check_shape(f"the difference to {name}", difference.gradients, (m, d))


def _check_shape(name: str, parts: Any, shape: tuple[int, ...]) -> None:
    if len(parts) != shape[0]:
        raise ValueError(f"{name} has {len(parts)} parts where there are {shape[0]} inputs or outputs")
    if len(shape) > 1:
        for part in parts:
            _check_shape(name, part, shape[1:])


def _check_verdicts(certificate: Certificate) -> None:
    d = len(certificate.inputs)
    for k in range(len(certificate.outputs)):
        for claim, bound in zip(certificate.monotone[k], certificate.gradients[k], strict=True):
            _check_verdict(claim, bound, ("nondecreasing", "nonincreasing"), d)
        if certificate.convex:
            for i, claim in enumerate(certificate.convex_in[k]):
                _check_verdict(claim, certificate.hessians[k][i][i], ("convex", "concave"), d)
            _check_verdict(certificate.convex[k], certificate.curvature[k], ("convex", "concave"), d)


def _check_verdict(claim: Claim, bound: Bound, names: tuple[str, str], d: int) -> None:
    """The verdict on a sign follows from a bound, except that a point can refute where no bound decides."""
    holds = dict(zip(names, (bound.lower >= 0, bound.upper <= 0), strict=True))
    proved = any(holds[name] and f" is {name} in " in claim.statement for name in names)
    if not any(f" is {name} in " in claim.statement for name in names):
        raise ValueError(f"a claim is {claim.statement!r}, which speaks of something else")
    if proved != (claim.verdict is Verdict.PROVED):
        raise ValueError(f"the verdict on {claim.statement!r} is {claim.verdict.value}; its bound says otherwise")
    if (claim.witness is not None) != (claim.verdict is Verdict.REFUTED):
        raise ValueError(
            f"the verdict on {claim.statement!r} is {claim.verdict.value}, and a witness belongs to refuted"
        )
    if claim.witness is not None and not (len(claim.witness) == d and all(map(math.isfinite, claim.witness))):
        raise ValueError(f"the witness against {claim.statement!r} is not a point of {d} finite inputs")


def _names(x: Any) -> tuple[str, ...]:
    if not (isinstance(x, list) and all(isinstance(name, str) for name in x)):
        raise ValueError("names of inputs and outputs are lists of texts")
    return tuple(x)


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
