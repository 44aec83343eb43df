"""Jobs on the CPU: what hands arrays to compiled kernels, in pieces between which Ctrl-C is heard."""

from fastmf.devices.cpu import compare, solve, steps

__all__ = ["compare", "solve", "steps"]
