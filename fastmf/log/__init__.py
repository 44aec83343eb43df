"""The log: events with row numbers, and the history of a model."""
