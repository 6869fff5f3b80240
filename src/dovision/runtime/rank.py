"""The rank of this process among those of one evaluation on several devices."""

from __future__ import annotations

import os


def is_rank_zero() -> bool:
    """False in the processes that Lightning starts for the other devices, which record nothing."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
