"""Losses: how wrong a score is. One class each, in the file of its kind."""

from fastmf.losses.confidence import Confidence
from fastmf.losses.pointwise import Huber, Logistic, Poisson, Squared
from fastmf.losses.ranking import BPR, WARP, SampledSoftmax, Softmax

__all__ = ["BPR", "WARP", "Confidence", "Huber", "Logistic", "Poisson", "SampledSoftmax", "Softmax", "Squared"]
