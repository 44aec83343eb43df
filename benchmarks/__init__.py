"""Benchmarks of fastmf's speed, memory and accuracy on the present machine. See README.md."""
