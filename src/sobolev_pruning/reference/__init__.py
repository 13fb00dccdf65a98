"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._dataset import DataSet
from ._directions import AbstractDirections, HessianProduct, Rademacher
from ._formulas import (
    bachelier_asian_call,
    bachelier_call,
    bachelier_digital,
    bachelier_put,
    barrier_option,
    best_of_call,
    best_of_put,
    bivariate_normal_cdf,
    black_scholes_call,
    black_scholes_digital,
    black_scholes_put,
    cev_call,
    cev_digital,
    cev_put,
    discrete_barrier_option_estimate,
    exchange_option,
    geometric_asian_call,
    heston_call,
    heston_digital,
    heston_put,
    worst_of_call,
    worst_of_put,
)
from ._function import FunctionReference
from ._payoff import call, smoothed_call
from ._points import read_points
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width

__all__ = [
    "AbstractDirections",
    "AbstractReferenceModel",
    "AbstractReferenceWithTruth",
    "BachelierBasket",
    "CotangentProducts",
    "DataSet",
    "FunctionReference",
    "HessianProduct",
    "HessianProducts",
    "LabelWeights",
    "Mixture",
    "ModelLaw",
    "Rademacher",
    "Samples",
    "SpotLaw",
    "UniformCube",
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
    "call",
    "cev_call",
    "cev_digital",
    "cev_put",
    "discrete_barrier_option_estimate",
    "exchange_option",
    "geometric_asian_call",
    "heston_call",
    "heston_digital",
    "heston_put",
    "published_cube_width",
    "read_points",
    "smoothed_call",
    "worst_of_call",
    "worst_of_put",
]
