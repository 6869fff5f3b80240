"""Kernels of a processor that are faster than those torch chooses, exact but for rounding."""
