"""Reference models: what a surrogate learns from. Knows nothing of networks or training."""

from ._bachelier import BachelierBasket
from ._dataset import DataSet
from ._function import FunctionReference
from ._payoff import call, smoothed_call
from ._points import read_points
from ._reference_model import AbstractReferenceModel, AbstractReferenceWithTruth
from ._samples import Samples
from ._spots import Mixture, ModelLaw, SpotLaw, UniformCube, published_cube_width

__all__ = [
    "AbstractReferenceModel",
    "AbstractReferenceWithTruth",
    "BachelierBasket",
    "DataSet",
    "FunctionReference",
    "Mixture",
    "ModelLaw",
    "Samples",
    "SpotLaw",
    "UniformCube",
    "call",
    "published_cube_width",
    "read_points",
    "smoothed_call",
]
