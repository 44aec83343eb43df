"""Training: gradient steps, sampled negatives, alternating least squares, single events."""
