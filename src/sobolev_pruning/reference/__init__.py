"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._dataset import DataSet
from ._directions import AbstractDirections, HessianProduct, Rademacher
from ._function import FunctionReference
from ._mapped import MappedDataSet
from ._payoff import call, smoothed_call
from ._points import read_points
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width
from ._tables import read_table, stream_table, table_columns

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
    "MappedDataSet",
    "Mixture",
    "ModelLaw",
    "Rademacher",
    "Samples",
    "SpotLaw",
    "UniformCube",
    "call",
    "published_cube_width",
    "read_points",
    "read_table",
    "smoothed_call",
    "stream_table",
    "table_columns",
]
