"""Prices in closed form or by one integral: pure functions of numbers, differentiable by AD twice."""

from ._bachelier import bachelier_asian_call, bachelier_call, bachelier_digital, bachelier_put, normal_call
from ._barrier import barrier_option, discrete_barrier_option_estimate
from ._black_scholes import black_scholes_call, black_scholes_digital, black_scholes_put, geometric_asian_call
from ._cev import cev_call, cev_digital, cev_put, grown_time
from ._heston import heston_call, heston_digital, heston_put
from ._normal import as_scalars, bivariate_normal_cdf
from ._two_assets import best_of_call, best_of_put, exchange_option, worst_of_call, worst_of_put

__all__ = [
    "as_scalars",
    "bachelier_asian_call",
    "bachelier_call",
    "bachelier_digital",
    "bachelier_put",
    "barrier_option",
    "best_of_call",
    "best_of_put",
    "bivariate_normal_cdf",
    "black_scholes_call",
    "black_scholes_digital",
    "black_scholes_put",
    "cev_call",
    "cev_digital",
    "cev_put",
    "discrete_barrier_option_estimate",
    "exchange_option",
    "geometric_asian_call",
    "grown_time",
    "heston_call",
    "heston_digital",
    "heston_put",
    "normal_call",
    "worst_of_call",
    "worst_of_put",
]
