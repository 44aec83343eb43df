"""Training: a fit from zero, epoch by epoch, and the making of one update."""

from fastmf.learners.batch import numbered, require_times
from fastmf.learners.fit import Schedule, train
from fastmf.learners.update import make_delta
from fastmf.learners.visit import visit

__all__ = ["Schedule", "make_delta", "numbered", "require_times", "train", "visit"]
