"""Faster ways to compute the same graph, exact but for rounding: other kernels of a processor, and fewer tokens."""
