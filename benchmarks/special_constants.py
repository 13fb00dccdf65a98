"""Prints the constants of `intervals/_special_constants.py`, from balls of 400 bits.

ζ(k) − 1, the zeros of the digamma function with the minima of log|Γ| there, and the maximum of `e⁻ˣ·I₁(x)`.
"""

from collections.abc import Callable

import flint
from flint import acb, arb

flint.ctx.prec = 400


def crossing(f: Callable[[arb], arb], low: arb, high: arb) -> arb:
    """Where f changes its sign from `low` to `high`, by bisection."""
    rising = f(high) > 0
    for _ in range(300):
        middle = ((low + high) / 2).mid()
        if (f(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return low.union(high)


def digits(x: arb) -> str:
    return x.str(30, radius=False)


def main() -> None:
    print("ZETA_MINUS_ONE = (")
    for k in range(2, 31):
        print(f'    "{digits(arb(k).zeta() - 1)}",  # {k}')
    print(")\nLGAMMA_MINIMA = (")
    edge = arb(2) ** -60
    for n in range(33):
        low, high = (arb(1), arb(2)) if n == 0 else (edge - n, 1 - n - edge)
        at = crossing(lambda x: x.digamma(), low, high)
        print(f'    ("{digits(at)}", "{digits(acb(at).lgamma().real)}"),')

    def slope(x: arb) -> arb:
        return x.bessel_i(arb(0)) - x.bessel_i(arb(1)) * (1 + 1 / x)

    at = crossing(slope, arb(1), arb(2))
    print(f')\nBESSEL_I1E_MAXIMUM = ("{digits(at)}", "{digits(at.bessel_i(arb(1)) * (-at).exp())}")')
    print(f'EULER_GAMMA = "{digits(arb.const_euler())}"')
    print(f'PI = "{digits(arb.pi())}"')


if __name__ == "__main__":
    main()
