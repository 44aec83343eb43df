"""Scores and ranks: top-k, its 8-bit copy, kept lists, ranks for metrics."""
