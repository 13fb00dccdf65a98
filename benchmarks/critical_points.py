"""Computes the critical points of the known activations: `python benchmarks/critical_points.py > src/.../_critical.py`.

For every function p of `_activations.known_forms`, in the variable u that the engine uses:

1. `p'` is derived by the algebra of normal forms, which for this purpose differentiates exactly: `erf' =
  2/√π·exp(−u²)`.
2. `[−r, r]` is subdivided until ball arithmetic proves that `p'` has no zero in a cell, or the cell is narrower than
   10⁻³⁶. A cell that is left is a critical point (or looks like one, which does no harm); its value is enclosed over
   the cell.
3. For `r ≤ |u| ≤ 10⁴`, with the smallest r for which it succeeds, balls prove that `p'`, divided by the exponential
   that decays slowest, has no zero. Beyond, the leading term is a polynomial without zeros there, and the ratio of
   every other term to it decays exponentially.

So between two neighbouring listed points the function is monotone. Points and values are printed with 30 decimals.
"""

import functools
import sys
from fractions import Fraction

import flint
from flint import arb

from sobolev_pruning.intervals._activations import known_forms
from sobolev_pruning.intervals._forms import ONE, Function, Polynomial, Variable
from sobolev_pruning.intervals._slopes import derivative
from sobolev_pruning.intervals._univariate import in_base

flint.ctx.prec = 300
DIGITS = 30
RADIUS = 9
FAR = 10_000


@functools.cache
def rational(value: Fraction) -> arb:
    return arb(value.numerator) / arb(value.denominator)


def exact_derivative(p: Polynomial) -> list[tuple[Polynomial, bool]]:
    """`p'` as pairs (polynomial, whether it is to be multiplied by 2/√π), in which it is linear."""
    plain = derivative(p, Fraction(0))
    return [(plain, False), (derivative(p, Fraction(1)) - plain, True)]


def tanh_softplus(q: arb) -> arb:
    """Increasing, so the ends of a ball are enough: a formula would repeat the argument."""
    ends = []
    for end in (q.lower(), q.upper()):
        square = 1 / (1 + end.exp()) ** 2
        ends.append((1 - square) / (1 + square))
    return ends[0].union(ends[1])


def evaluate(p: Polynomial, u: arb, cache: dict) -> arb:
    def atom_value(atom) -> arb:
        if atom not in cache:
            if isinstance(atom, Variable):
                cache[atom] = u
            else:
                q = evaluate(atom.argument, u, cache)
                cache[atom] = {
                    "logistic": lambda q: 1 / (1 + (-q).exp()),
                    "exp": lambda q: q.exp(),
                    "erf": lambda q: q.erf(),
                    "tanh_softplus": tanh_softplus,
                }[atom.name](q)
        return cache[atom]

    total = arb(0)
    for monomial, c in p.terms.items():
        term = rational(c)
        for atom, power in monomial:
            for _ in range(power):  # `**` of a ball that contains zero is NaN
                term = term * atom_value(atom)
        total += term
    return total


class Slope:
    """`p'` and `p''` as ball functions, with centred forms on cells."""

    def __init__(self, p: Polynomial) -> None:
        self.first = exact_derivative(p)
        self.second = [(q, times + extra) for part, times in self.first for q, extra in exact_derivative(part)]

    @staticmethod
    def _sum(parts, u: arb) -> arb:
        cache: dict = {}
        total = arb(0)
        slope = 2 / arb.pi().sqrt()
        for part, times in parts:
            total += evaluate(part, u, cache) * slope ** int(times)
        return total

    def __call__(self, cell: arb) -> arb:
        middle = arb(cell.mid())
        centred = self._sum(self.first, middle) + self._sum(self.second, cell) * (cell - middle)
        direct = self._sum(self.first, cell)
        try:
            return centred.intersection(direct)
        except ValueError:
            return direct


def cell(low: Fraction, high: Fraction) -> arb:
    return arb(rational((low + high) / 2).mid(), 0) + arb(0, rational((high - low) / 2))


def roots(slope: Slope, radius: Fraction) -> list[tuple[Fraction, Fraction]]:
    narrow = Fraction(1, 10**36)
    found: list[tuple[Fraction, Fraction]] = []
    stack = [(-radius, radius)]
    while stack:
        low, high = stack.pop()
        if not slope(cell(low, high)).contains(0):
            continue
        if high - low < narrow:
            found.append((low, high))
            continue
        if high - low < Fraction(1, 1000):
            # Newton: halve to the cell around the midpoint's improvement if the slope of p' has one sign.
            second = Slope._sum(slope.second, cell(low, high))
            if not second.contains(0):
                middle = arb(rational((low + high) / 2).mid())
                step = middle - Slope._sum(slope.first, middle) / second
                a, b = fraction(step.lower()), fraction(step.upper())
                a, b = max(low, a), min(high, b)
                if a > b:
                    continue
                if b - a < (high - low) / 2:
                    stack.append((a, b))
                    continue
        # Off centre, so that a critical point at zero is not on a boundary.
        middle = low + (high - low) * Fraction(511, 1024)
        stack += [(middle, high), (low, middle)]
    merged: list[tuple[Fraction, Fraction]] = []
    for low, high in sorted(found):
        if merged and low - merged[-1][1] < narrow:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def fraction(x: arb) -> Fraction:
    mantissa, exponent = x.mid().man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def decimal(low: Fraction, high: Fraction) -> str:
    value = (low + high) / 2
    digits = round(value * 10**DIGITS)
    assert high - low < Fraction(1, 10 ** (DIGITS - 2)) * max(1, abs(value)), (low, high)
    sign = "-" if digits < 0 else ""
    whole, part = divmod(abs(digits), 10**DIGITS)
    return f"{sign}{whole}.{part:0{DIGITS}d}".rstrip("0") or "0"


RHO, RATIO, MISH_RATIO = Variable(-2), Variable(-3), Variable(-4)


def tail(p: Polynomial, sign: int, slope_of_erf: bool) -> Polynomial:
    """`p` in terms of what decays: ρ = σ(−|q|) or exp(−κu²), and the ratio erfc(|u|)/exp(−u²).

    With `t = tanh(softplus u)`, it is the ratio `t/ρ` on the left and `(1 − t)/ρ²` on the right.
    """
    rho, ratio, of_mish = Polynomial.of(RHO), Polynomial.of(RATIO), Polynomial.of(MISH_RATIO)

    def image(atom):
        match atom:
            case Function("logistic"):
                return ONE - rho if sign > 0 else rho
            case Function("tanh_softplus"):
                return ONE - of_mish * rho * rho if sign > 0 else of_mish * rho
            case Function("exp"):
                return rho
            case Function("erf"):
                return (ONE - ratio * rho).scaled(Fraction(sign))
        return Polynomial.of(atom)

    return p.substitute(image)


def decided_tails(name: str, p: Polynomial, slope: Slope) -> Fraction:
    """The radius from which on `p'` is proved to have no zero, at most `RADIUS`.

    It is `p'/ρᵏ` that is evaluated, where k is the lowest power of ρ, on cells that shrink geometrically from `FAR`
    inwards.
    """
    radius = Fraction(1)
    functions = [a for a in p.atoms if isinstance(a, Function)]
    decaying = next((f for f in functions if f.name in ("logistic", "exp")), None)
    mish = any(f.name == "tanh_softplus" for f in functions)
    for sign in (-1, 1):
        parts = [(tail(part, sign, times), times) for part, times in slope.first if part.terms]
        lowest = min(k for part, _ in parts for k in part.coefficients(RHO))

        def divided(u: arb, parts=parts, lowest=lowest, sign=sign) -> arb:
            size = abs(u)
            known = {}
            if mish:
                e = (-size).exp()
                below = 1 + 2 * e + 2 * e * e if sign > 0 else e * e + 2 * e + 2
                known[MISH_RATIO] = 2 * (1 + e) * (1 + e) / below if sign > 0 else (1 + e) * (e + 2) / below
                rho = e / (1 + e)
            elif decaying is not None and decaying.name == "logistic":
                q = evaluate(decaying.argument, size, {})
                rho = (-q).exp() / (1 + (-q).exp())
            elif decaying is not None:
                rho = evaluate(decaying.argument, size, {}).exp()
            else:
                rho = (-size * size).exp()
            # Abramowitz and Stegun 7.1.13.
            factor = 2 / arb.pi().sqrt()
            low = factor / (size + (size * size + 2).sqrt())
            ratio = low.union(factor / (size + (size * size + 4 / arb.pi()).sqrt()))
            total = arb(0)
            for part, times in parts:
                for k, coefficient in part.coefficients(RHO).items():
                    term = evaluate(coefficient, u, {RATIO: ratio, **known})
                    for _ in range(k - lowest):
                        term = term * rho
                    total += term * factor if times else term
            return total

        high = Fraction(FAR)
        while high > radius:
            low = high - max(high, Fraction(4)) / 64
            if divided(cell(*sorted((sign * low, sign * high)))).contains(0):
                break
            high = round(low * 2**20) / Fraction(2**20)
        if high > RADIUS:
            raise ArithmeticError(f"{name}: the sign of p' near {float(sign * high)} is undecided")
        radius = max(high, radius)
    return radius


def main() -> None:
    print('"""Critical points and values of the known activations; written by `benchmarks/critical_points.py`.')
    print()
    print("Every entry is (u, p(u)) with u the argument of the function's σ or erf. Between neighbouring points p is")
    print("monotone. The decimals are wrong by less than 10⁻²⁵, relative to the larger of the number and 1.")
    print('"""')
    print()
    print("CRITICAL: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {")
    for dtype in ("float32", "float64"):
        for name, form in known_forms(dtype):
            p = in_base(form)[0]
            slope = Slope(p)
            radius = decided_tails(name, p, slope)
            lines = []
            for low, high in roots(slope, radius):
                value = evaluate(p, cell(low, high), {})
                v_low, v_high = fraction(value.lower()), fraction(value.upper())
                lines.append(f'        ("{decimal(low, high)}", "{decimal(v_low, v_high)}"),')
            if lines:
                print(f'    ("{dtype}", "{name}"): (')
                print("\n".join(lines))
                print("    ),")
            else:
                print(f'    ("{dtype}", "{name}"): (),')
            print(dtype, name, len(lines), float(radius), file=sys.stderr, flush=True)
    print("}")


if __name__ == "__main__":
    main()
