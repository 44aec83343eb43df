"""MF: the door."""

from fastmf.model.mf import MF
from fastmf.model.options import Options
from fastmf.model.saving import load

__all__ = ["MF", "Options", "load"]
