"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._bermudan import Bermudan, ExercisePolicy, fit_exercise_policy
from ._cev import CEV
from ._controls import AbstractControl, Control, DeltaHedge, PathStep
from ._correlated import CorrelatedAssets, random_correlation
from ._dataset import DataSet
from ._diffrax import DiffraxScheme
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
    normal_call,
    worst_of_call,
    worst_of_put,
)
from ._function import FunctionReference
from ._gaussian_models import Bachelier, BlackScholes
from ._heston import AbstractVarianceStep, FullTruncation, Heston, QuadraticExponential
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
from ._ready_made import bachelier, black_scholes, cev, correlated_basket, heston
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._schemes import AbstractScheme, EulerMaruyama, Milstein, ModelStep
from ._sde import AbstractSDE, ItoSDE
from ._sobol import SobolNormals
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._stochastic import StochasticReference
from ._truth import ReferenceWithTruth

__all__ = [
    "CEV",
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
    "AbstractVarianceStep",
    "ArithmeticAverage",
    "Asset",
    "Bachelier",
    "BachelierBasket",
    "Barrier",
    "Basket",
    "Bermudan",
    "BestOf",
    "BlackScholes",
    "Call",
    "Control",
    "CorrelatedAssets",
    "CotangentProducts",
    "DataSet",
    "DeltaHedge",
    "DiffraxScheme",
    "Digital",
    "EulerMaruyama",
    "ExercisePolicy",
    "FullTruncation",
    "FunctionReference",
    "GeometricAverage",
    "HessianProduct",
    "HessianProducts",
    "Heston",
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
    "QuadraticExponential",
    "Rademacher",
    "ReferenceWithTruth",
    "Samples",
    "Smoothed",
    "Smoothing",
    "SobolNormals",
    "SpotLaw",
    "StochasticReference",
    "Terminal",
    "TerminalPayoff",
    "UniformCube",
    "WorstOf",
    "bachelier",
    "bachelier_asian_call",
    "bachelier_call",
    "bachelier_digital",
    "bachelier_put",
    "barrier_option",
    "best_of_call",
    "best_of_put",
    "bivariate_normal_cdf",
    "black_scholes",
    "black_scholes_call",
    "black_scholes_digital",
    "black_scholes_put",
    "call",
    "cev",
    "cev_call",
    "cev_digital",
    "cev_put",
    "correlated_basket",
    "discrete_barrier_option_estimate",
    "exchange_option",
    "fit_exercise_policy",
    "geometric_asian_call",
    "heston",
    "heston_call",
    "heston_digital",
    "heston_put",
    "normal_call",
    "published_cube_width",
    "random_correlation",
    "read_points",
    "smoothed",
    "smoothed_call",
    "worst_of_call",
    "worst_of_put",
]
