"""Everything jitted. Kernels get arrays and values that were checked at the door, and check nothing again."""
