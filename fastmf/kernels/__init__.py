"""Numba kernels. Arrays and values have been validated by the caller; kernels check nothing again."""
