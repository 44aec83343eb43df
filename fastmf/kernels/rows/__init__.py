"""Rows by id, by batch and by event: tables, hashing, grouping, the log."""
