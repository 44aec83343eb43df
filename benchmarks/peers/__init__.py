"""fastmf against other libraries, on the same data in one run: ``python -m benchmarks.peers``."""
