"""Let a process keep the memory that its tensors free, for the tensors that follow."""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's mallopt
OWN_CHOICE = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Keep freed memory in the process until it ends; False without glibc, or where the environment has chosen.

    By default glibc asks the kernel for each large block and returns it when it is freed, so that every tensor of more
    than 32 MiB starts with a page fault for each 4 KiB: up to half of the processor time of a gradient. The process
    stays at its peak afterwards, which is higher by the gaps between blocks.
    """
    if any(name in os.environ for name in OWN_CHOICE):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1))
