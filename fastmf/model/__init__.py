"""The model class MF, its run-time Options, and loading from a file."""

from fastmf.model.loading import load
from fastmf.model.mf import MF
from fastmf.model.options import Options

__all__ = ["MF", "Options", "load"]
