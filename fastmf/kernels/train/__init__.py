"""Training: steps, negatives, solved rows, one event at a time."""
