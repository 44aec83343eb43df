"""Parameters: named groups of rows, their ids and their initial values."""
