"""Faster ways to compute the same graph, exact but for rounding: kernels of a processor, and what is not needed."""
