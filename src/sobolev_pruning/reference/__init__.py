"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._consistency import ContradictionWarning, DerivativeCheck, check_derivatives
from ._data._checks import without_unknown
from ._data._dataset import DataSet
from ._data._mapped import MappedDataSet
from ._data._points import read_points
from ._data._row_split import RowSplit
from ._directions import AbstractDirections, Axes, Gaussian, HessianProduct, InUnits, Orthonormal, Rademacher
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
from ._functions._cotangents import Cotangents, vjps
from ._functions._differences import AbstractDifferences, CentralDifferences, ForwardDifferences, ReturnedDerivatives
from ._functions._engineering import borehole, otl_circuit, piston, wing_weight
from ._functions._function import FunctionReference
from ._functions._host import HostFunction
from ._functions._laws import NormalLaw, SobolBox, UniformBox
from ._functions._lorenz import lorenz
from ._leading_directions import LeadingCurvature, PrincipalComponents
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._stochastic._bachelier import BachelierBasket
from ._stochastic._bermudan import Bermudan, ExercisePolicy, fit_exercise_policy
from ._stochastic._cev import CEV
from ._stochastic._controls import AbstractControl, Control, DeltaHedge, PathStep
from ._stochastic._correlated import CorrelatedAssets, random_correlation
from ._stochastic._diffrax import DiffraxScheme
from ._stochastic._gaussian_models import Bachelier, BlackScholes
from ._stochastic._heston import AbstractVarianceStep, FullTruncation, Heston, QuadraticExponential
from ._stochastic._labels import AbstractLabels, LikelihoodRatio, Mixed, Pathwise
from ._stochastic._noise import AbstractNoise, PseudoRandom
from ._stochastic._payoff import call, smoothed_call
from ._stochastic._payoffs import AbstractPayoff, Barrier, Option, Portfolio, TerminalPayoff
from ._stochastic._problem import Problem
from ._stochastic._profiles import AbstractProfile, Call, Digital, Line, Put, Smoothed, Smoothing
from ._stochastic._quotes import (
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
from ._stochastic._ready_made import bachelier, black_scholes, cev, correlated_basket, heston
from ._stochastic._reference import StochasticReference
from ._stochastic._schemes import AbstractScheme, EulerMaruyama, Milstein, ModelStep
from ._stochastic._sde import AbstractSDE, ItoSDE
from ._stochastic._sobol import SobolNormals
from ._stochastic._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._stochastic._truth import ReferenceWithTruth
from ._tables import CsvFormat, read_table, stream_table, table_columns

__all__ = [
    "CEV",
    "AbstractControl",
    "AbstractDifferences",
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
    "Axes",
    "Bachelier",
    "BachelierBasket",
    "Barrier",
    "Basket",
    "Bermudan",
    "BestOf",
    "BlackScholes",
    "Call",
    "CentralDifferences",
    "ContradictionWarning",
    "Control",
    "CorrelatedAssets",
    "CotangentProducts",
    "Cotangents",
    "CsvFormat",
    "DataSet",
    "DeltaHedge",
    "DerivativeCheck",
    "DiffraxScheme",
    "Digital",
    "EulerMaruyama",
    "ExercisePolicy",
    "ForwardDifferences",
    "FullTruncation",
    "FunctionReference",
    "Gaussian",
    "GeometricAverage",
    "HessianProduct",
    "HessianProducts",
    "Heston",
    "HostFunction",
    "InUnits",
    "ItoSDE",
    "LabelWeights",
    "LeadingCurvature",
    "LikelihoodRatio",
    "Line",
    "MappedDataSet",
    "Milstein",
    "Mixed",
    "Mixture",
    "ModelLaw",
    "ModelStep",
    "NormalLaw",
    "Option",
    "Orthonormal",
    "PathStep",
    "Pathwise",
    "Portfolio",
    "PrincipalComponents",
    "Problem",
    "PseudoRandom",
    "Put",
    "QuadraticExponential",
    "Rademacher",
    "ReferenceWithTruth",
    "ReturnedDerivatives",
    "RowSplit",
    "Samples",
    "Smoothed",
    "Smoothing",
    "SobolBox",
    "SobolNormals",
    "SpotLaw",
    "StochasticReference",
    "Terminal",
    "TerminalPayoff",
    "UniformBox",
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
    "borehole",
    "call",
    "cev",
    "cev_call",
    "cev_digital",
    "cev_put",
    "check_derivatives",
    "correlated_basket",
    "discrete_barrier_option_estimate",
    "exchange_option",
    "fit_exercise_policy",
    "geometric_asian_call",
    "heston",
    "heston_call",
    "heston_digital",
    "heston_put",
    "lorenz",
    "normal_call",
    "otl_circuit",
    "piston",
    "published_cube_width",
    "random_correlation",
    "read_points",
    "read_table",
    "smoothed_call",
    "stream_table",
    "table_columns",
    "vjps",
    "wing_weight",
    "without_unknown",
    "worst_of_call",
    "worst_of_put",
]
