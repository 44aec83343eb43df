"""Jobs on the CPU: calls of compiled kernels, in chunks between which Ctrl-C is handled."""

from fastmf.devices.cpu import beliefs, compare, solve, steps

__all__ = ["beliefs", "compare", "solve", "steps"]
