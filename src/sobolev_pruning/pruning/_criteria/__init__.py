"""Criteria by which nodes and weights are kept, all with one interface."""

from ._criterion import AbstractCriterion
from ._loss import Saliency, Taylor
from ._magnitude import Magnitude
from ._random import Random
from ._significant import IntervalSignificance, SampledSignificance
from ._variance import ActivationVariance

__all__ = [
    "AbstractCriterion",
    "ActivationVariance",
    "IntervalSignificance",
    "Magnitude",
    "Random",
    "Saliency",
    "SampledSignificance",
    "Taylor",
]
