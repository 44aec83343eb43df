"""Loss functions: pointwise, ranking (pairwise and listwise), and weighted least squares over all pairs."""

from fastmf.losses.confidence import Confidence
from fastmf.losses.pointwise import Huber, Logistic, Poisson, Squared, StudentT
from fastmf.losses.ranking import BPR, WARP, SampledSoftmax, Softmax

__all__ = [
    "BPR",
    "WARP",
    "Confidence",
    "Huber",
    "Logistic",
    "Poisson",
    "SampledSoftmax",
    "Softmax",
    "Squared",
    "StudentT",
]
