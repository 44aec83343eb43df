"""What all kernels are made of: rows as vectors, values as methods, launches, random numbers."""
