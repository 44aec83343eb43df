"""Parameters: named groups of rows, their ids and where they start."""
