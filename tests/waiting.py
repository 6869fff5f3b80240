"""Waiting for another process or thread, as long as it may take where twenty of them share a core."""

import time
from collections.abc import Callable

SECONDS = 300.0


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)
