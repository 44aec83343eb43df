"""Scoring and ranking: exact top-k search, its 8-bit quantized scan, renewal of kept lists, ranks for metrics."""
