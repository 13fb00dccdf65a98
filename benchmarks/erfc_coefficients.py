"""Computes the coefficients of `intervals/_erfcx.py` and proves their error: `python benchmarks/erfc_coefficients.py`.

`(1 + 2x)·exp(x²)·erfc(x)` varies between 1 and 1.13 on `x ≥ ½` (the form is that of M. Shepherd and J. Laframboise,
Chebyshev approximation of (1 + 2x)exp(x²)erfc x in 0 ≤ x < ∞, Math. Comp. 36, 1981). With `t = (x − 4.5)/(x + 3.5)`,
which takes `[½, ∞)` to `[−1, 1)`, its Chebyshev series falls by a factor of about six a term. The series is cut and
written in powers of t. The error is bounded over `½ ≤ x ≤ 30` by Taylor models in ball arithmetic: of the difference
on each of many short pieces, the last coefficient over the whole piece, the others at its centre.
"""

from fractions import Fraction
from itertools import pairwise

import flint
from flint import arb, arb_poly, arb_series

flint.ctx.prec = 400

TERMS = {"float32": 13, "float64": 26}
NODES = 120
PIECES = 2000
ORDER = 24
SCALE = 10**30


def scaled_erfc(x):
    return (1 + 2 * x) * (x * x).exp() * x.erfc()


def coefficients(n: int) -> list[Fraction]:
    angles = [(2 * j + 1) * arb.pi() / (2 * NODES) for j in range(NODES)]
    nodes = [angle.cos() for angle in angles]
    values = [scaled_erfc(arb("0.5") + 4 * (1 + t) / (1 - t)) for t in nodes]
    total, before, now = arb_poly([0]), arb_poly([1]), arb_poly([0, 1])
    for k in range(n):
        c = sum((v * (k * a).cos() for v, a in zip(values, angles, strict=True)), arb(0)) * (2 if k else 1) / NODES
        total = total + before * c
        before, now = now, arb_poly([0, 2]) * now - before
    return [Fraction(int((c * SCALE).mid().floor().unique_fmpz() or 0), SCALE) for c in total.coeffs()]


def error(terms: list[Fraction]) -> arb:
    """An upper bound of the difference over ½ ≤ x ≤ 30."""
    flint.ctx.cap = ORDER + 1
    worst = arb(0)
    ends = [Fraction(1, 2) + Fraction(59, 2) * i / PIECES for i in range(PIECES + 1)]
    ends = [(x - Fraction(9, 2)) / (x + Fraction(7, 2)) for x in ends]
    for left, right in pairwise(ends):
        middle, radius = (left + right) / 2, (right - left) / 2
        center = arb(middle.numerator) / middle.denominator
        half = arb(radius.numerator) / radius.denominator
        at, over = (difference(terms, arb_series([c, 1])) for c in (center, arb(center, float(half) * 1.0001)))
        bound = sum((abs(at[k]) * half**k for k in range(ORDER)), arb(0)) + abs(over[ORDER]) * half**ORDER
        if bound.upper() > worst:
            worst = bound.upper()
    return worst


def difference(terms: list[Fraction], t: arb_series) -> arb_series:
    x = arb("0.5") + 4 * (1 + t) / (1 - t)
    total = arb_series([0])
    for c in reversed(terms):
        total = total * t + arb(c.numerator) / c.denominator
    return scaled_erfc(x) - total


def main() -> None:
    for dtype, n in TERMS.items():
        terms = coefficients(n)
        print(f"    # Error at most {float(error(terms).upper()):.2e}.")
        print(f'    "{dtype}": (')
        for c in terms:
            print(f'        "{c * SCALE}e-30",')
        print("    ),")


if __name__ == "__main__":
    main()
