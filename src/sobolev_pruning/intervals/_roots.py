"""Polynomials of one variable with rational coefficients: their real roots, and exact values near them.

A polynomial is a tuple of coefficients, the constant first, without trailing zeros; `()` is zero. All arithmetic is
exact, so what is said of roots is proved (C.-F. Sturm's theorem; Basu, Pollack, Roy, Algorithms in Real Algebraic
Geometry, 2nd ed., section 2.2.2).
"""

import decimal
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise

Coefficients = tuple[Fraction, ...]

# Roots are isolated to this width, relative to the larger of the root and 1.
_WIDTH = Fraction(1, 2**110)

# `exp` is not asked for more than this: beyond, it is zero or infinite in both formats.
_LARGEST_EXPONENT = 2000

Bracket = tuple[Fraction, Fraction]


def trimmed(c: Sequence[Fraction]) -> Coefficients:
    """Without trailing zeros."""
    end = len(c)
    while end and c[end - 1] == 0:
        end -= 1
    return tuple(c[:end])


def add(p: Coefficients, q: Coefficients) -> Coefficients:
    """`p + q`."""
    n = max(len(p), len(q))
    zero = Fraction(0)
    return trimmed([(p[k] if k < len(p) else zero) + (q[k] if k < len(q) else zero) for k in range(n)])


def mul(p: Coefficients, q: Coefficients) -> Coefficients:
    """`p·q`."""
    if not p or not q:
        return ()
    product = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return tuple(product)


def scaled(p: Coefficients, factor: Fraction) -> Coefficients:
    """`factor·p`."""
    return trimmed([factor * c for c in p])


def power(p: Coefficients, exponent: int) -> Coefficients:
    """`pⁿ`."""
    result: Coefficients = (Fraction(1),)
    for _ in range(exponent):
        result = mul(result, p)
    return result


def derivative(p: Coefficients) -> Coefficients:
    """`p'`."""
    return tuple(k * c for k, c in enumerate(p))[1:]


def value(p: Coefficients, x: Fraction) -> Fraction:
    """`p(x)`."""
    result = Fraction(0)
    for c in reversed(p):
        result = result * x + c
    return result


def divided(p: Coefficients, q: Coefficients) -> tuple[Coefficients, Coefficients]:
    """Quotient and remainder of `p/q`."""
    rest = list(p)
    quotient = [Fraction(0)] * max(len(p) - len(q) + 1, 0)
    for k in reversed(range(len(quotient))):
        quotient[k] = rest[k + len(q) - 1] / q[-1]
        for j, c in enumerate(q):
            rest[k + j] -= quotient[k] * c
    return trimmed(quotient), trimmed(rest[: len(q) - 1])


def limit(p: Coefficients, sign: int) -> Fraction | float:
    """The limit of `p` at `sign·∞`."""
    if len(p) <= 1:
        return p[0] if p else Fraction(0)
    return math.inf if (p[-1] > 0) == (sign > 0 or len(p) % 2 == 1) else -math.inf


def _monic(p: Coefficients) -> Coefficients:
    return scaled(p, 1 / p[-1])


def _sturm(p: Coefficients) -> list[Coefficients]:
    chain = [p, derivative(p)]
    while len(chain[-1]) > 1:
        rest = divided(chain[-2], chain[-1])[1]
        if not rest:
            break
        chain.append(scaled(rest, -1 / abs(rest[-1])))
    return chain


def _changes(chain: list[Coefficients], x: Fraction) -> int:
    signs = [v > 0 for p in chain if (v := value(p, x))]
    return sum(a != b for a, b in pairwise(signs))


@cache
def roots(p: Coefficients) -> tuple[Bracket, ...]:
    """Narrow brackets of all real roots of a nonzero polynomial, each once, in increasing order."""
    if len(p) <= 1:
        return ()
    if len(p) == 2:
        root = -p[0] / p[1]
        return ((root, root),)
    chain = _sturm(_monic(p))
    common = chain[-1]
    if len(common) > 1:  # multiple roots: go on without their multiplicity
        return roots(divided(p, common)[0])
    bound = 1 + max(abs(c / p[-1]) for c in p[:-1])
    bound = Fraction(2 ** math.ceil(math.log2(float(bound)) + 1)) if bound < 2**1000 else bound
    found: list[Bracket] = []
    stack = [(-bound, bound, _changes(chain, -bound), _changes(chain, bound))]
    while stack:
        low, high, at_low, at_high = stack.pop()
        if at_low == at_high:
            continue
        if at_low - at_high == 1:
            found.append(_narrowed(p, low, high))
            continue
        middle = (low + high) / 2
        at_middle = _changes(chain, middle)
        stack += [(low, middle, at_low, at_middle), (middle, high, at_middle, at_high)]
    return tuple(sorted(found))


def _narrowed(p: Coefficients, low: Fraction, high: Fraction) -> Bracket:
    """Bisection, where `(low, high]` holds one simple root."""
    if value(p, high) == 0:
        return high, high
    positive = value(p, high) > 0
    while high - low > _WIDTH * max(1, abs(low)):
        middle = (low + high) / 2
        at = value(p, middle)
        if at == 0:
            return middle, middle
        low, high = (low, middle) if (at > 0) == positive else (middle, high)
    return low, high


def has_root(p: Coefficients, low: Fraction | None, high: Fraction | None) -> bool:
    """Whether a nonzero polynomial may have a root in `[low, high]`; None stands for infinity."""
    return any((high is None or a <= high) and (low is None or low <= b) for a, b in roots(p))


def value_near(p: Coefficients, at: Bracket) -> Bracket:
    """An enclosure of `p` on a narrow bracket: the mean value theorem with a crude bound of `|p'|`."""
    low, high = at
    middle = value(p, low)
    if low == high:
        return middle, middle
    size = max(abs(low), abs(high))
    slope = sum((abs(c) * size**k for k, c in enumerate(derivative(p))), Fraction(0))
    return middle - slope * (high - low), middle + slope * (high - low)


def product(x: Bracket, y: Bracket) -> Bracket:
    """The product of two brackets."""
    ends = [a * b for a in x for b in y]
    return min(ends), max(ends)


def sqrt_of(x: Bracket) -> Bracket:
    """√ of a bracket of positive numbers."""
    shift = 2**256
    low = Fraction(math.isqrt(math.floor(x[0] * shift)), 2**128)
    high = Fraction(math.isqrt(math.ceil(x[1] * shift)) + 1, 2**128)
    exact = low if low * low == x[0] == x[1] else None
    return (exact, exact) if exact is not None else (low, high)


def exp_of(x: Bracket) -> Bracket | None:
    """exp of a bracket, or None if it is beyond all floats."""
    if x[1] > _LARGEST_EXPONENT:
        return None
    low = _exp(x[0])[0] if x[0] > -_LARGEST_EXPONENT else Fraction(0)
    return low, _exp(max(x[1], Fraction(-_LARGEST_EXPONENT)))[1]


def _exp(x: Fraction) -> Bracket:
    # `Decimal.exp` is correctly rounded; the argument is not, which costs |x|·10⁻⁵⁰ ≤ 10⁻⁴⁶.
    context = decimal.Context(prec=50)
    argument = context.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator))
    near = Fraction(context.exp(argument))
    error = near * Fraction(1, 10**45) if x else Fraction(0)
    return near - error, near + error
