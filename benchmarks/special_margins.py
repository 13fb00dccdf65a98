"""Measures XLA's special functions, and our enclosures of them: `python benchmarks/special_margins.py [samples]`.

For each function: a strided sweep over the bit patterns of the format (over its domain), and adversarial points near
zeros, poles, the points where formulas change, and the ends of the format; as one long array and in blocks of 3. The
largest error against balls is given relative to the true value, and relative to the larger of it and 1, in units of
eps; and the median width of the enclosures, relative to the true value. Subnormal results are left out. Functions of
several operands are sampled at random. An enclosure that misses a true value ends the run.

What depends on the measurement: the margins of atan2 and the Bessel functions, and the exactness of rem.
"""

import math
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import flint
import jax
import jax.numpy as jnp
import numpy as np
from flint import acb, arb
from jax import lax

from sobolev_pruning.intervals import Interval, rule_for

jax.config.update("jax_enable_x64", True)
flint.ctx.prec = 250

Points = Callable[[type, int, np.random.Generator], Sequence[np.ndarray]]


class Case(NamedTuple):
    """A primitive, its truth in ball arithmetic, and where it is measured."""

    primitive: jax.extend.core.Primitive
    truth: Callable[..., arb]
    points: Points


def sweep(dtype, n: int, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Every k-th bit pattern of the format that lies between the bounds."""
    bits = np.uint32 if dtype == np.float32 else np.uint64
    stride = int(np.iinfo(bits).max) // n | 1
    with np.errstate(invalid="ignore"):
        x = (np.arange(n, dtype=np.uint64) * np.uint64(stride)).astype(bits).view(dtype)
        keep = np.isfinite(x) & (np.abs(x) >= np.finfo(dtype).tiny) & (x > low) & (x < high)
    return x[keep]


def around(rng: np.random.Generator, n: int, *centres: float) -> np.ndarray:
    """Points at distances of 10⁻⁷ to 0.3 from each centre."""
    k = max(n // (4 * len(centres)), 4)
    return np.concatenate([c + rng.choice([-1, 1], k) * 10.0 ** rng.uniform(-7, -0.5, k) for c in centres])


def gamma_points(low: float, high: float) -> Points:
    def points(dtype, n, rng):
        centres = [c for c in (-2.5, -1.5, -2, 1, 1.4616321449683623, 2, 2.4570247382208, 7, 8.5) if low < c < high]
        x = [sweep(dtype, n, low, high), around(rng, n, *centres), rng.uniform(max(low, -20), min(high, 20), n // 2)]
        return [np.concatenate([np.asarray(v, dtype) for v in x])]

    return points


def line(low: float, high: float, *centres: float) -> Points:
    def points(dtype, n, rng):
        x = [sweep(dtype, n, low, high), around(rng, n, *centres), rng.uniform(max(low, -20), min(high, 20), n // 2)]
        every = np.concatenate([np.asarray(v, dtype) for v in x])
        return [every[(every > low) & (every < high)]]

    return points


def pairs(*scales: tuple[float, float]) -> Points:
    """Products of powers of ten between the given exponents; half of all pairs are close to each other."""

    def points(dtype, n, rng):
        columns = [10.0 ** rng.uniform(*scale, n) for scale in scales]
        near = rng.random(n) < 0.5
        columns[1] = np.where(
            near, np.clip(columns[0] * np.exp(rng.normal(0, 0.3, n)), 0, 10.0 ** scales[1][1]), columns[1]
        )
        return [np.asarray(c, dtype) for c in columns]

    return points


def everywhere(dtype, n, rng):
    first = np.concatenate([sweep(dtype, n), (rng.normal(0, 1, n) * np.exp(rng.normal(0, 3, n))).astype(dtype)])
    second = np.concatenate(
        [rng.permutation(sweep(dtype, n)), (rng.normal(0, 1, n) * np.exp(rng.normal(0, 3, n))).astype(dtype)]
    )
    return [first, second]


def beta_points(dtype, n, rng):
    a, b = (10.0 ** rng.uniform(-2, 1.5, n) for _ in range(2))
    mean = np.clip(a / (a + b) + rng.normal(0, 0.2, n), 1e-4, 1 - 1e-4)
    return [np.asarray(v, dtype) for v in (a, b, np.where(rng.random(n) < 0.5, mean, rng.uniform(1e-4, 1 - 1e-4, n)))]


def order(k: float, low: float, high: float) -> Points:
    """A fixed first operand."""

    def points(dtype, n, rng):
        x = np.concatenate([10.0 ** rng.uniform(low, high, n), rng.uniform(0, 20, n // 2)]).astype(dtype)
        return [np.full_like(x, k), x]

    return points


def remainder(x: arb, y: arb) -> arb:
    dividend, divisor = Fraction(float(x)), Fraction(float(y))
    exact = dividend - divisor * math.trunc(dividend / divisor)
    value = arb(float(exact))
    assert Fraction(float(value)) == exact
    return value


def scaled_bessel(order: int) -> Callable[[arb], arb]:
    def function(x: arb) -> arb:
        y, mu = abs(x), 4 * order * order
        if y < 1e5:
            return x.bessel_i(arb(order)) * (-y).exp()
        term = total = arb(1)
        for k in range(1, 5):  # DLMF 10.40.1; the next term is below 10⁻²³
            term = -term * (mu - (2 * k - 1) ** 2) / (k * 8 * y)
            total += term
        value = total * arb(1, 1e-22) / (2 * arb.pi() * y).sqrt()
        return -value if order and x < 0 else value

    return function


def polygamma(n: arb, x: arb) -> arb:
    return (-1) ** (int(float(n)) + 1) * n.fac() * (acb(n + 1).zeta(acb(x))).real


CASES = {
    "lgamma, x > 0": Case(lax.lgamma_p, lambda x: x.lgamma(), gamma_points(0, 1e12)),
    "lgamma, −20 < x < 0": Case(lax.lgamma_p, lambda x: acb(x).lgamma().real, gamma_points(-20, 0)),
    "digamma, x > 0": Case(lax.digamma_p, lambda x: x.digamma(), gamma_points(0, 1e12)),
    "digamma, −20 < x < 0": Case(lax.digamma_p, lambda x: x.digamma(), gamma_points(-20, 0)),
    "polygamma(1, x)": Case(lax.polygamma_p, polygamma, order(1, -6, 4)),
    "polygamma(4, x)": Case(lax.polygamma_p, polygamma, order(4, -4, 3)),
    "zeta(1.5, q)": Case(lax.zeta_p, lambda s, q: acb(s).zeta(acb(q)).real, order(1.5, -6, 4)),
    "zeta(s, q), s > 1.01": Case(lax.zeta_p, lambda s, q: acb(1 + s).zeta(acb(q)).real, pairs((-2, 1.3), (-2, 2))),
    "erf_inv": Case(lax.erf_inv_p, lambda x: x.erfinv(), line(-1, 1, -1, 0, 0.5, 0.9966, 1)),
    "bessel_i0e": Case(lax.bessel_i0e_p, scaled_bessel(0), line(-np.inf, np.inf, 0, 8, -8, 8)),
    "bessel_i1e": Case(lax.bessel_i1e_p, scaled_bessel(1), line(-np.inf, np.inf, 0, 8, -8, 8)),
    "igamma, a, x < 100": Case(lax.igamma_p, lambda a, x: x.gamma_lower(a, 1), pairs((-2, 2), (-2, 2))),
    "igammac, a, x < 100": Case(lax.igammac_p, lambda a, x: x.gamma_upper(a, 1), pairs((-2, 2), (-2, 2))),
    "incomplete beta, a, b < 32": Case(
        lax.regularized_incomplete_beta_p, lambda a, b, x: x.beta_lower(a, b, 1), beta_points
    ),
    "atan2": Case(lax.atan2_p, lambda y, x: arb.atan2(y, x), everywhere),
    "rem": Case(lax.rem_p, remainder, everywhere),
}
# The first operand of this one is s − 1.
SHIFTED = {"zeta(s, q), s > 1.01"}


def error(name: str, dtype, n: int) -> tuple[float, float, str, float]:
    """Largest error of XLA relative to f and to max(1, |f|), where, and the median relative width of the enclosure."""
    case = CASES[name]
    operands = [np.asarray(v) for v in case.points(dtype, n, np.random.default_rng(0))]
    inputs = [operands[0] + dtype(1), *operands[1:]] if name in SHIFTED else operands
    operands = [inputs[0] - dtype(1), *inputs[1:]] if name in SHIFTED else operands
    arrays = [jnp.asarray(v) for v in inputs]
    f = jax.jit(lambda *args: case.primitive.bind(*args))
    out = jax.jit(lambda *args: rule_for(case.primitive)(*map(Interval.point, args)))(*arrays)
    info = np.finfo(dtype)
    eps, tiny, largest = float(info.eps), float(info.tiny), float(info.max)
    every = range(0, len(inputs[0]) - 3, max(3, len(inputs[0]) // 100))
    got = [(i, v) for i, v in enumerate(np.asarray(f(*arrays)))]
    got += [(i + j, v) for i in every for j, v in enumerate(np.asarray(f(*(a[i : i + 3] for a in arrays))))]
    truths = [case.truth(*(arb(float(v[i])) for v in operands)) for i in range(len(inputs[0]))]
    relative, absolute, where, widths = 0.0, 0.0, "", []
    for i, value in got:
        truth = truths[i]
        if not truth.is_finite() or truth.rel_accuracy_bits() < 68:
            if truth != 0:
                continue
        elif not tiny <= float(abs(truth)) <= largest:
            continue
        off = abs(arb(float(value)) - truth) if np.isfinite(value) else arb("inf")
        absolute = max(absolute, float(off / max(1.0, float(abs(truth)))) / eps)
        if truth != 0 and float(off / abs(truth)) / eps > relative:
            relative = float(off / abs(truth)) / eps
            where = ", ".join(f"{v[i]:.6g}" for v in inputs)
        if truth != 0:
            widths.append((float(out.upper[i]) - float(out.lower[i])) / float(abs(truth)) / eps)
        low, upp = float(out.lower[i]), float(out.upper[i])
        if (np.isfinite(low) and arb(low) > truth) or (np.isfinite(upp) and truth > arb(upp)):
            raise SystemExit(f"{name} at {[v[i] for v in inputs]}: {truth} is not in [{low}, {upp}]")
    return relative, absolute, where, float(np.median(widths))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"jax {jax.__version__}, {jax.default_backend()}, {n} samples a sweep")
    heads = "of \\|f\\| | of max(1, \\|f\\|) | at | width"
    print(f"| function | float32: {heads} | float64: {heads} |")
    print("|" + "---|" * 9)
    for name in CASES:
        cells = []
        for dtype in (np.float32, np.float64):
            relative, absolute, where, width = error(name, dtype, n)
            cells.append(f"{relative:.3g} | {absolute:.3g} | {where} | {width:.3g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
