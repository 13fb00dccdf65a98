"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._controls import AbstractControl, Control, DeltaHedge, PathStep
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
from ._gaussian_models import Bachelier, BlackScholes
from ._labels import AbstractLabels, LikelihoodRatio, Mixed, Pathwise
from ._noise import AbstractNoise, PseudoRandom
from ._payoff import call, smoothed_call
from ._payoffs import AbstractPayoff, Barrier, Option, Portfolio, TerminalPayoff
from ._points import read_points
from ._problem import Problem
from ._profiles import AbstractProfile, Call, Digital, Line, Put, Smoothed, Smoothing, smoothed
from ._quotes import (
    AbstractFixing,
    AbstractQuote,
    ArithmeticAverage,
    Asset,
    Basket,
    BestOf,
    GeometricAverage,
    Terminal,
    WorstOf,
)
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._schemes import AbstractScheme, EulerMaruyama, Milstein, ModelStep
from ._sde import AbstractSDE, ItoSDE
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._stochastic import StochasticReference

__all__ = [
    "AbstractControl",
    "AbstractDirections",
    "AbstractFixing",
    "AbstractLabels",
    "AbstractNoise",
    "AbstractPayoff",
    "AbstractProfile",
    "AbstractQuote",
    "AbstractReferenceModel",
    "AbstractReferenceWithTruth",
    "AbstractSDE",
    "AbstractScheme",
    "ArithmeticAverage",
    "Asset",
    "Bachelier",
    "BachelierBasket",
    "Barrier",
    "Basket",
    "BestOf",
    "BlackScholes",
    "Call",
    "Control",
    "CotangentProducts",
    "DataSet",
    "DeltaHedge",
    "Digital",
    "EulerMaruyama",
    "FunctionReference",
    "GeometricAverage",
    "HessianProduct",
    "HessianProducts",
    "ItoSDE",
    "LabelWeights",
    "LikelihoodRatio",
    "Line",
    "Milstein",
    "Mixed",
    "Mixture",
    "ModelLaw",
    "ModelStep",
    "Option",
    "PathStep",
    "Pathwise",
    "Portfolio",
    "Problem",
    "PseudoRandom",
    "Put",
    "Rademacher",
    "Samples",
    "Smoothed",
    "Smoothing",
    "SpotLaw",
    "StochasticReference",
    "Terminal",
    "TerminalPayoff",
    "UniformCube",
    "WorstOf",
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
    "smoothed",
    "smoothed_call",
    "worst_of_call",
    "worst_of_put",
]
