"""Training: a fit from zero, epoch by epoch, and the making of one update."""

from fastmf.training.batch import numbered, require_times
from fastmf.training.fit import Schedule, train
from fastmf.training.update import make_delta
from fastmf.training.visit import visit

__all__ = ["Schedule", "make_delta", "numbered", "require_times", "train", "visit"]
