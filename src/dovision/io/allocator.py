"""Memory of a process: what its tensors free is kept for those that follow, and imports are not collected."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def uncollected() -> Iterator[None]:
    """Context of imports without garbage collection, which would take a quarter of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
