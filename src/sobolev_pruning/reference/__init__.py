"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._controls import AbstractControl, Control, DeltaHedge, PathStep
from ._cotangents import Cotangents, vjps
from ._dataset import DataSet
from ._differences import AbstractDifferences, CentralDifferences, ForwardDifferences, ReturnedDerivatives
from ._diffrax import DiffraxScheme
from ._directions import AbstractDirections, Axes, Gaussian, HessianProduct, InUnits, Orthonormal, Rademacher
from ._engineering import borehole, otl_circuit, piston, wing_weight
from ._function import FunctionReference
from ._gaussian_models import Bachelier, BlackScholes
from ._host import HostFunction
from ._labels import AbstractLabels, LikelihoodRatio, Mixed, Pathwise
from ._laws import NormalLaw, SobolBox, UniformBox
from ._leading_directions import LeadingCurvature, PrincipalComponents
from ._lorenz import lorenz
from ._mapped import MappedDataSet
from ._noise import AbstractNoise, PseudoRandom
from ._payoff import call, smoothed_call
from ._payoffs import AbstractPayoff, Barrier, Option, Portfolio, TerminalPayoff
from ._points import read_points
from ._problem import Problem
from ._profiles import AbstractProfile, Call, Digital, Line, Put, Smoothed, Smoothing, smoothed
from ._quotes import AbstractFixing, AbstractQuote, ArithmeticAverage, Asset, Basket, BestOf, GeometricAverage, Terminal, WorstOf
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._schemes import AbstractScheme, EulerMaruyama, Milstein, ModelStep
from ._sde import AbstractSDE, ItoSDE
from ._sobol import SobolNormals
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._stochastic import StochasticReference
from ._tables import read_table, stream_table, table_columns

__all__ = [
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
    "ArithmeticAverage",
    "Asset",
    "Axes",
    "Bachelier",
    "BachelierBasket",
    "Barrier",
    "Basket",
    "BestOf",
    "BlackScholes",
    "Call",
    "CentralDifferences",
    "Control",
    "CotangentProducts",
    "Cotangents",
    "DataSet",
    "DeltaHedge",
    "DiffraxScheme",
    "Digital",
    "EulerMaruyama",
    "ForwardDifferences",
    "FunctionReference",
    "Gaussian",
    "GeometricAverage",
    "HessianProduct",
    "HessianProducts",
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
    "Rademacher",
    "ReturnedDerivatives",
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
    "borehole",
    "call",
    "lorenz",
    "otl_circuit",
    "piston",
    "published_cube_width",
    "read_points",
    "read_table",
    "smoothed",
    "smoothed_call",
    "stream_table",
    "table_columns",
    "vjps",
    "wing_weight",
]
