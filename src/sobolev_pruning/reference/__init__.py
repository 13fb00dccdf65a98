"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._cotangents import Cotangents, vjps
from ._dataset import DataSet
from ._differences import AbstractDifferences, CentralDifferences, ForwardDifferences, ReturnedDerivatives
from ._directions import AbstractDirections, Axes, Gaussian, HessianProduct, InUnits, Orthonormal, Rademacher
from ._engineering import borehole, otl_circuit, piston, wing_weight
from ._function import FunctionReference
from ._host import HostFunction
from ._laws import NormalLaw, SobolBox, UniformBox
from ._leading_directions import LeadingCurvature, PrincipalComponents
from ._lorenz import lorenz
from ._mapped import MappedDataSet
from ._payoff import call, smoothed_call
from ._points import read_points
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._tables import read_table, stream_table, table_columns

__all__ = [
    "AbstractDifferences",
    "AbstractDirections",
    "AbstractReferenceModel",
    "AbstractReferenceWithTruth",
    "Axes",
    "BachelierBasket",
    "CentralDifferences",
    "CotangentProducts",
    "Cotangents",
    "DataSet",
    "ForwardDifferences",
    "FunctionReference",
    "Gaussian",
    "HessianProduct",
    "HessianProducts",
    "HostFunction",
    "InUnits",
    "LabelWeights",
    "LeadingCurvature",
    "MappedDataSet",
    "Mixture",
    "ModelLaw",
    "NormalLaw",
    "Orthonormal",
    "PrincipalComponents",
    "Rademacher",
    "ReturnedDerivatives",
    "Samples",
    "SobolBox",
    "SpotLaw",
    "UniformBox",
    "UniformCube",
    "borehole",
    "call",
    "lorenz",
    "otl_circuit",
    "piston",
    "published_cube_width",
    "read_points",
    "read_table",
    "smoothed_call",
    "stream_table",
    "table_columns",
    "vjps",
    "wing_weight",
]
