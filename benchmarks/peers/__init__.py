"""fastmf and other libraries side by side, in one run on the same data: ``python -m benchmarks.peers``."""
