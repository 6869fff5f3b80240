"""How many pairs share a pass, and how many images share a clean pass: as memory allows."""

from __future__ import annotations

import logging
import os

import torch

log = logging.getLogger(__name__)

STORE = 256 * 2**20  # bytes for the maps of clean images; more is no faster on a processor
CHUNK = 64 * 2**20  # bytes for the changed values of a chunk; larger ones fall out of a processor's cache
FIRST = 16  # pairs, or images, at a time before their size has been measured
MOST = 1024  # pairs


class Allowance:
    """Limits on pairs and images at a time; `chunk` None fits the pairs to free memory."""

    def __init__(self, chunk: int | None) -> None:
        self.automatic = chunk is None
        self.pairs = FIRST if chunk is None else chunk
        self.images = FIRST
        self._largest = 1  # bytes per pair seen so far

    def begin(self) -> None:
        """A new batch: sizes are measured anew, so that its outcome does not hang on the batches before, to the bit."""
        if self.automatic:
            self.pairs, self._largest = FIRST, 1

    def fit_images(self, bytes_per_image: int, device: torch.device) -> None:
        """As many images as the store has room for; at least one."""
        if bytes_per_image > 0:
            self.images = max(1, _budget(STORE, device) // bytes_per_image)

    def fit_pairs(self, bytes_per_pair: int, device: torch.device) -> None:
        """As many pairs as a chunk has room for, by the largest so far; at least one. Nothing if `chunk` was given."""
        self._largest = max(self._largest, bytes_per_pair)
        if self.automatic and bytes_per_pair > 0:
            self.pairs = min(max(1, _budget(CHUNK, device) // self._largest), MOST)

    def halve(self, pairs: int) -> None:
        """After running out of memory with this many pairs; for good."""
        self.pairs = pairs // 2
        self.automatic = False
        log.warning("out of memory with %d pairs in a pass; going on with %d.", pairs, self.pairs)


def _budget(useful: int, device: torch.device) -> int:
    """Bytes to use: at most a quarter of what is free, and on a processor no more than is useful."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 4
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return useful
    return min(useful, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on any device."""
    told = "not enough memory" in str(error) or "can't allocate memory" in str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or told
