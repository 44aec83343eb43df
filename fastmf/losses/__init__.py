"""Losses: how wrong a score is. One class each, in the file of its kind."""

from fastmf.losses.confidence import Confidence
from fastmf.losses.pointwise import Huber, Logistic, Poisson, Squared

__all__ = ["Confidence", "Huber", "Logistic", "Poisson", "Squared"]
