"""`certify`: guaranteed ranges of a surrogate and its derivatives over a region, and what follows from them.

Three searches by subdivision, one after the other, share the time: values with first derivatives, second derivatives
with their eigenvalues, and the difference to every other function. A claim about a sign is proved by the bound of the
range, and refuted by an enclosure at one point that the search has found.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console

from .._compat import NO_DERIVATIVE
from .._programs import limit_programs
from .._reading import cause
from .._version import __version__
from ..intervals import Decoration, Interval, Subdivision, enclose_range, inclusion
from ..regions import AbstractRegion, TrustRegions
from ..surrogate import (
    Bound,
    Certificate,
    Claim,
    Difference,
    Surrogate,
    Verdict,
    check_surrogate,
    fingerprint,
    has_kinks,
    is_defined_everywhere,
)
from ._bar import CertificationBar, Progress
from ._defined import defined, own_derivatives

Function = Callable[[Float[Array, " d"]], Float[Array, " m"]]


def certify(
    surrogate: Surrogate,
    region: AbstractRegion,
    *,
    against: Mapping[str, Function] | Function | None = None,
    seconds: float = 60.0,
    order: int = 2,
    tolerance: float = 0.01,
    domain: str = "affine-32",
    boxes_at_once: int = 256,
    progress: Callable[[Progress], None] | None = None,
) -> Certificate:
    """Proves what it can of a surrogate over a region, in the time that it is given.

    A function that may be undefined somewhere in the region, such as a logarithm that reaches zero, has no bounds.

    What is guaranteed is the exact function of real numbers with these weights. A floating-point evaluation of it has
    rounding errors of its own, about `1e-6` of the size of the values in single precision. The proof is computed in
    double precision where JAX has it enabled, whatever the format of the weights: errors below `1e-4` need it.

    Args:
        surrogate: the network with its units.
        region: any of `sobolev_pruning.regions` but `TrustRegions`, in physical units.
        against: other functions `(d,) -> (m,)` that JAX can trace, by name, or one: the network before it was pruned,
            or a reference in closed form. The largest difference to each is bounded, in values and gradients.
        seconds: time for all searches together, not counting compilation; what one leaves goes to the next.
        order: of the derivatives that are enclosed: 1, or 2 for curvature and convexity, which compile longer.
        tolerance: a search ends when no bound reaches farther beyond what was found than this share of the range.
        domain: as in `intervals.inclusion`.
        boxes_at_once: boxes that one compiled call encloses.
        progress: called with the state after every round. By default a bar is drawn where standard error is a terminal;
            a function that does nothing, such as `sobolev.Silent()`, draws none.

    Returns:
        A `Certificate`; `save(surrogate, path, certificate=...)` stores it with the surrogate.

    Raises:
        TypeError: `surrogate` is no `Surrogate`, `region` no region, or a function of `against` cannot be called.
        ValueError: the region has another number of inputs or is a union of boxes, the budget
            is not positive, `order` is neither 1 nor 2, or a function of `against` returns another number of outputs.
        UnsupportedPrimitiveError: a function uses an operation that has no interval rule. This is found before any
            search begins.
    """
    if not (progress is None or callable(progress)):
        raise TypeError(f"`progress` is {progress!r}; it must be a function of the state of the search, or None.")
    others = _checked(surrogate, region, against, seconds, order)
    if progress is None and sys.stderr is not None and sys.stderr.isatty():
        with CertificationBar(Console(stderr=True), f"{seconds:g}s") as bar:
            return certify(
                surrogate,
                region,
                against=against,
                seconds=seconds,
                order=order,
                tolerance=tolerance,
                domain=domain,
                boxes_at_once=boxes_at_once,
                progress=bar.update,
            )
    given, default = surrogate, jnp.zeros(()).dtype
    surrogate = own_derivatives(surrogate)
    # Weights in single precision are the same numbers in double, whose rounding the proof has to cover is far less.
    surrogate, region, others = jax.tree.map(
        lambda x: x.astype(default) if eqx.is_inexact_array(x) else x, (surrogate, region, others)
    )
    point = region.point
    box = jax.tree.map(lambda x: x[0], region.coordinates)
    inside = None if region.inside(box.midpoint) is None else region.inside
    _check_supported(surrogate, others, order)
    stages = 1 + (order == 2) + len(others)
    clock = _Clock(seconds, stages)

    def continuous(f: Callable[[Any], Any]) -> bool:
        return bool(defined(lambda u: f(point(u)), box, inside, Decoration.DAC).all())

    def search(
        name: str,
        f: Callable[[Any], Any],
        guide: Callable[[Any], Any] | None = None,
        *,
        sure: bool,
        until: int | None = None,
    ) -> _Found:
        def told(state: Subdivision) -> None:
            clock.start()
            if progress is not None:
                progress(Progress(name, clock.share(), _worst_excess(state), state.boxes))

        found = enclose_range(
            lambda u: f(point(u)),
            box,
            inside=inside,
            guide=None if guide is None else lambda u: guide(point(u)),
            seconds=clock.next(),
            tolerance=tolerance,
            domain=domain,
            boxes_at_once=boxes_at_once,
            progress=told,
        )
        clock.stop()
        everywhere = None if sure else defined(lambda u: f(point(u)), box, inside)
        if until is not None:
            everywhere = np.arange(found.range.lower.size) < until if everywhere is None else everywhere
            everywhere[until:] = False
        return _found(f, point, found, everywhere)

    limit_programs()
    m, d = surrogate.network.widths[-1], surrogate.network.widths[0]
    x_names, y_names = surrogate.input_names, surrogate.output_names
    sure = is_defined_everywhere(surrogate)
    # Where a function jumps, its derivative does not say how it changes; nor does a second one where a slope jumps.
    steady = sure or continuous(surrogate)
    first = search(
        "values and first derivatives",
        lambda x: _first_order(surrogate, x),
        sure=sure,
        until=None if steady else m,
    )
    values, slopes, squares = first.bounds[:m], _grid(first.bounds[m : m + m * d], d), first.bounds[m + m * d :]
    names = ("nondecreasing", "nonincreasing")
    monotone = tuple(
        tuple(first.claim(m + k * d + i, m + k * d + i, names, (y_names[k], x_names[i])) for i in range(d))
        for k in range(m)
    )
    boxes = first.boxes
    hessians: tuple[Any, ...] = ()
    curvature: tuple[Bound, ...] = ()
    convex_in: tuple[Any, ...] = ()
    convex: tuple[Claim, ...] = ()
    if order == 2:
        smooth = steady and (
            (sure and not has_kinks(surrogate.network.activation))
            or continuous(lambda x: surrogate.gradient(x).reshape(-1))
        )
        second = search(
            "second derivatives",
            lambda x: _second_order(surrogate, x),
            lambda x: surrogate.hessian(x),
            sure=sure,
            until=None if smooth else 0,
        )
        boxes += second.boxes
        hessians, curvature, convex_in, convex = _curvature(second, x_names, y_names)
    differences = {}
    for name, other in others.items():
        found = search(
            f"difference to {name}",
            lambda x, other=other: _pair(surrogate, x) - _pair(other, x),
            lambda x, other=other: (_pair(surrogate, x), _pair(other, x)),
            sure=sure and isinstance(other, Surrogate) and is_defined_everywhere(other),
        )
        boxes += found.boxes
        differences[name] = Difference(found.bounds[:m], _grid(found.bounds[m:], d))
    return Certificate(
        region=region.to_dict(),
        values=values,
        gradients=slopes,
        lipschitz=tuple(_root(bound) for bound in squares),
        hessians=hessians,
        curvature=curvature,
        monotone=monotone,
        convex_in=convex_in,
        convex=convex,
        differences=differences,
        fingerprint=fingerprint(given),
        dtype=str(given.network.layers[0].weight.dtype),
        arithmetic=str(default),
        domain=domain,
        seconds=clock.spent(),
        boxes=boxes,
        versions={"sobolev-pruning": __version__, "jax": jax.__version__},
        inputs=x_names,
        outputs=y_names,
    )


# What is enclosed, as vectors.


def _pair(f: Function, x: Float[Array, " d"]) -> Float[Array, " _"]:
    """Values and first derivatives."""
    return jnp.concatenate([f(x), jax.jacrev(f)(x).reshape(-1)])


def _first_order(f: Function, x: Float[Array, " d"]) -> Float[Array, " _"]:
    """Values, first derivatives, and the squares of the norms of the gradients."""
    slopes = jax.jacrev(f)(x)
    return jnp.concatenate([f(x), slopes.reshape(-1), jnp.sum(slopes**2, axis=1)])


def _second_order(surrogate: Surrogate, x: Float[Array, " d"]) -> Float[Array, " _"]:
    """The upper triangle of every Hessian, then their smallest and their largest eigenvalues."""
    hessians = surrogate.hessian(x)
    eigenvalues = jax.vmap(jnp.linalg.eigvalsh)(hessians)
    rows, columns = np.triu_indices(x.size)
    return jnp.concatenate([hessians[:, rows, columns].reshape(-1), eigenvalues[:, 0], eigenvalues[:, -1]])


def _check_supported(surrogate: Surrogate, others: Mapping[str, Function], order: int) -> None:
    """Refuse what has no interval rule before the first search, which takes much longer than tracing it here.

    Raises:
        UnsupportedPrimitiveError: a function, or a derivative of it, uses such an operation.
    """
    unknown: list[Callable[[Any], Any]] = [
        lambda x, other=other: _pair(other, x)
        for other in others.values()
        if not (isinstance(other, Surrogate) and is_defined_everywhere(other))
    ]
    if not is_defined_everywhere(surrogate):
        unknown.append(surrogate.hessian if order == 2 else lambda x: _pair(surrogate, x))
    units = surrogate.normalisation
    for f in unknown:
        jax.eval_shape(inclusion(f), Interval.point(units.x_mean))


def _curvature(found: "_Found", x_names: tuple[str, ...], y_names: tuple[str, ...]):
    """The parts of a certificate that speak of second derivatives, from what `_second_order` returns."""
    d, m = len(x_names), len(y_names)
    rows, columns = np.triu_indices(d)
    entries = rows.size
    index = np.zeros((d, d), int)
    index[rows, columns] = index[columns, rows] = np.arange(entries)
    hessians = tuple(
        tuple(tuple(found.bounds[k * entries + j] for j in row) for row in index.tolist()) for k in range(m)
    )
    names = ("convex", "concave")
    convex_in = tuple(
        tuple(
            found.claim(j, j, names, (y_names[k], x_names[i]))
            for i, j in enumerate((k * entries + np.diag(index)).tolist())
        )
        for k in range(m)
    )
    smallest = range(m * entries, m * entries + m)
    pairs = [(j, j + m) for j in smallest]
    curvature = tuple(_joined(found.bounds[i], found.bounds[j]) for i, j in pairs)
    convex = tuple(found.claim(i, j, names, (y_names[k], "all inputs together")) for k, (i, j) in enumerate(pairs))
    return hessians, curvature, convex_in, convex


# What follows from it.


class _Found(NamedTuple):
    """What a search has found of q quantities.

    Attributes:
        bounds: of each, `(q,)`.
        lowest, highest: inputs at which the extremes were found, `(q, d)`.
        below: a proved upper bound of each at its lowest input, `(q,)`.
        above: a proved lower bound of each at its highest input, `(q,)`.
        boxes: enclosed.
    """

    bounds: tuple[Bound, ...]
    lowest: np.ndarray
    highest: np.ndarray
    below: np.ndarray
    above: np.ndarray
    boxes: int

    def claim(self, low: int, high: int, verbs: tuple[str, str], names: tuple[str, str]) -> Claim:
        """Whether quantity `low` is never negative or quantity `high` never positive: what is nearer to the truth.

        `verbs` are what the output then is; `names` are those of the output and the input.
        """
        bound = _joined(self.bounds[low], self.bounds[high])
        positive = not bound.most < -bound.least
        statement = f"{names[0]} is {verbs[0] if positive else verbs[1]} in {names[1]}"
        if (bound.lower >= 0) if positive else (bound.upper <= 0):
            return Claim(statement, Verdict.PROVED)
        witness = self.lowest[low] if positive else self.highest[high]
        if (self.below[low] < 0) if positive else (self.above[high] > 0):
            return Claim(statement, Verdict.REFUTED, tuple(witness.astype(np.float64).tolist()))
        return Claim(statement, Verdict.UNDECIDED)


def _found(
    f: Callable[[Any], Any], point: Callable[[Any], Any], state: Subdivision, everywhere: np.ndarray | None
) -> _Found:
    """Bounds as plain numbers, and the extremes that were found proved by an enclosure at their points.

    Args:
        f: that was enclosed.
        point: of the region, for coordinates in its box.
        state: of the search.
        everywhere: of every quantity, whether it is proved to be defined on the whole region; None if all are.
    """
    parts = (state.range.lower, state.range.upper, state.attained.lower, state.attained.upper)
    rows = np.stack([np.asarray(p, np.float64) for p in parts], axis=1)
    q = len(rows)
    sure = [True] * q if everywhere is None else everywhere.tolist()
    bounds = tuple(_bound(*row, everywhere=yes) for row, yes in zip(rows.tolist(), sure, strict=True))
    points = jax.vmap(point)(jnp.concatenate([state.lowest, state.highest]))
    enclosed, decorations = jax.jit(jax.vmap(inclusion(f, decorated=True)))(Interval.point(points))
    # What is nowhere defined has an empty enclosure, which refutes nothing.
    proved = (np.asarray(decorations) >= Decoration.DEF) & np.asarray(enclosed.lower <= enclosed.upper)
    below = np.where(np.diagonal(proved[:q]), np.diagonal(enclosed.upper[:q]), np.inf)
    above = np.where(np.diagonal(proved[q:]), np.diagonal(enclosed.lower[q:]), -np.inf)
    lowest, highest = np.split(np.asarray(points), 2)
    return _Found(bounds, lowest, highest, below, above, state.boxes)


def _bound(lower: float, upper: float, least: float, most: float, *, everywhere: bool) -> Bound:
    """The bound of one quantity; infinite where nothing is proved, whatever the search has made of it.

    An empty enclosure says that no point of the box has a value. Of a function that ought to have one everywhere, that
    proves nothing.
    """
    if not (everywhere and lower <= upper):
        lower, upper = -math.inf, math.inf
    if not (math.isfinite(least) and math.isfinite(most)):
        return Bound(-math.inf, math.inf, math.nan, math.nan)
    # What was found in floats may lie a rounding beyond what is guaranteed of real numbers.
    least, most = (min(max(x, lower), upper) for x in (least, most))
    return Bound(lower, upper, least, most)


def _joined(low: Bound, high: Bound) -> Bound:
    least, most = low.least, high.most
    return Bound(low.lower, high.upper, *((math.nan, math.nan) if math.isnan(least + most) else (least, most)))


def _root(square: Bound) -> Bound:
    """The bound of a norm, from that of its square; rounded outwards."""
    if math.isnan(square.least):
        return square
    lower, upper = (math.sqrt(max(x, 0.0)) for x in (square.lower, square.upper))
    least, most = (math.sqrt(max(x, 0.0)) for x in (square.least, square.most))
    return Bound(max(math.nextafter(lower, -math.inf), 0.0), math.nextafter(upper, math.inf), least, most)


def _grid(bounds: tuple[Bound, ...], d: int) -> tuple[tuple[Bound, ...], ...]:
    return tuple(bounds[k : k + d] for k in range(0, len(bounds), d))


def _worst_excess(state: Subdivision) -> float:
    excess = np.asarray(state.excess, np.float64)
    return float(np.max(np.where(np.isnan(excess), np.inf, excess)))


@dataclasses.dataclass
class _Clock:
    """Shares the time among stages; compilation, before the first state of a stage, does not count."""

    seconds: float
    stages: int
    begun: int = 0
    used: float = 0.0
    since: float | None = None

    def next(self) -> float:
        self.stop()
        self.begun += 1
        return max((self.seconds - self.used) / (self.stages - self.begun + 1), 1e-3)

    def start(self) -> None:
        if self.since is None:
            self.since = time.perf_counter()

    def stop(self) -> None:
        if self.since is not None:
            self.used, self.since = self.used + time.perf_counter() - self.since, None

    def spent(self) -> float:
        running = 0.0 if self.since is None else time.perf_counter() - self.since
        return self.used + running

    def share(self) -> float:
        return min(self.spent() / self.seconds, 1.0)


def _checked(
    surrogate: Surrogate, region: AbstractRegion, against: Any, seconds: float, order: int
) -> dict[str, Function]:
    check_surrogate(surrogate)
    if not isinstance(region, AbstractRegion):
        raise TypeError(f"`region` is {type(region).__name__}; it must be a region, such as `Box.around(x)`.")
    d, m = surrogate.network.widths[0], surrogate.network.widths[-1]
    if region.dim != d:
        raise ValueError(f"`region` has {region.dim} inputs, the surrogate {d}.")
    if isinstance(region, TrustRegions):
        raise ValueError("`region` is many boxes; certify over one region, such as `Box.around(x)`.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number):
        raise TypeError(f"`seconds` is {seconds!r}; give a number of seconds, such as 60.")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"`seconds` is {seconds}; the budget must be positive.")
    if order not in (1, 2):
        raise ValueError(f"`order` is {order}; it must be 1 or 2.")
    dtype = surrogate.network.layers[0].weight.dtype
    if region.coordinates.dtype != dtype:
        raise ValueError(f"`region` is in {region.coordinates.dtype}, the surrogate in {dtype}; make both the same.")
    x = jax.ShapeDtypeStruct((d,), dtype)
    slope = jax.jacrev(surrogate.network)
    _check_differentiable("the activation of `surrogate`", slope if order == 1 else jax.jacfwd(slope), x)
    if against is None:
        return {}
    others = dict(against) if isinstance(against, Mapping) else {"the other": against}
    for name, other in others.items():
        if not isinstance(name, str):
            raise TypeError(f"`against` names a function {name!r}; names must be strings.")
        if not callable(other):
            raise TypeError(f"`against` holds {type(other).__name__} as {name!r}; it must be a function (d,) -> (m,).")
        try:
            shape = jax.eval_shape(other, x)
        except jax.errors.JAXTypeError as error:
            raise TypeError(
                f"`against` {name!r} cannot be traced by JAX, as a proof needs ({cause(error)}); write "
                "it with `jax.numpy`."
            ) from error
        except Exception as error:  # a function of the user, which may raise anything
            raise ValueError(f"`against` {name!r} fails for one sample, of shape ({d},): {cause(error)}") from error
        if getattr(shape, "shape", None) != (m,):
            raise ValueError(f"`against` {name!r} returns {shape} for one sample; the surrogate returns ({m},).")
        _check_differentiable(f"`against` {name!r}", jax.jacrev(other), x)
    return others


def _check_differentiable(what: str, derivative: Callable[[Any], Any], x: jax.ShapeDtypeStruct) -> None:
    try:
        jax.eval_shape(derivative, x)
    except NO_DERIVATIVE as error:
        raise ValueError(
            f"{what} has no derivative that JAX can compute, as a proof needs ({cause(error)})."
        ) from error
