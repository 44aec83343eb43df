"""Foundations of all kernels: rows as SIMD vectors, the bridge to values, parallel launches, random numbers."""
