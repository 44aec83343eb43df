"""The log: events in row numbers, and the history that a model keeps of them."""
