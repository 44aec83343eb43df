"""The model class MF, its run-time Options, and loading from a file."""

from fastmf.model.mf import MF, load
from fastmf.model.options import Options

__all__ = ["MF", "Options", "load"]
