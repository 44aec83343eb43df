"""MF: the door."""

from fastmf.model.mf import MF, load
from fastmf.model.options import Options

__all__ = ["MF", "Options", "load"]
