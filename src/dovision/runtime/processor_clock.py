"""A clock that stands still while other programs keep the processor from this thread."""

from __future__ import annotations

import time
from pathlib import Path

_SCHEDULED = Path("/proc/thread-self/schedstat")  # nanoseconds run, nanoseconds ready to run but not running, turns


def undisturbed_seconds() -> float:
    """Seconds, less those for which this thread was ready to run and waited for a processor; differences count.

    What the thread itself waits for, such as a disk or a GPU, counts. Where the system does not report the waiting, as
    only Linux does, the seconds are those of the wall's clock.
    """
    return time.perf_counter() - _waited()


def _waited() -> float:
    try:
        return int(_SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
