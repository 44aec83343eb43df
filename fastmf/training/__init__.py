"""Training: a fit from zero, epoch by epoch, and the making of one update."""

from fastmf.training.batch import numbered
from fastmf.training.fit import Schedule, train
from fastmf.training.update import make_delta

__all__ = ["Schedule", "make_delta", "numbered", "train"]
