"""Networks, their units, and how they are stored."""

from ._mlp import MLP, Dense
from ._normalisation import Normalisation
from ._storage import load, save
from ._surrogate import Surrogate

__all__ = ["MLP", "Dense", "Normalisation", "Surrogate", "load", "save"]
