"""Limits on the pairs that share a pass, and on the images that share a clean pass."""

from __future__ import annotations

import logging

import torch

log = logging.getLogger(__name__)

STORE = 256 * 2**20  # bytes for the maps of clean images; more is no faster on a processor
_CHUNK_BYTES = 64 * 2**20  # bytes for the changed values of a chunk; larger ones fall out of a processor's cache
ACCELERATOR = 2**30  # bytes for either on any other device
FIRST = 16  # pairs, or images, at a time before their size has been measured
WHOLE_BYTES = 8 * 2**20  # for the largest values of a whole pass
_MAX_PAIRS = 1024  # pairs
ENOUGH_ROWS = 16  # of a pass, from which on the bits of a row do not depend on how many there are
_COMPARED = 4  # times the pairs of a pass, whose edits are compared with the value at a time where they are local


class PassLimits:
    """Limits on pairs and images at a time; `chunk` None fits the pairs to a fixed number of bytes.

    The last bits of a row depend on how many rows share its pass where they are few. So a chunk is at least
    `ENOUGH_ROWS`, and the limits follow from the shapes of the values alone, not from the memory that happens to be
    free; only running out of it sets another one.
    """

    def __init__(self, chunk: int | None) -> None:
        self.chunk = None if chunk is None else max(chunk, ENOUGH_ROWS)
        self.limit: int | None = None  # on pairs, once memory has run out
        self.images = FIRST
        self.tried = 0  # bytes per pair, where an engine was tried
        self.begin()

    def begin(self) -> None:
        """Start a batch: sizes are measured again, so that its result does not depend on earlier batches."""
        self.pairs = self.limit or self.chunk or FIRST
        self._largest = 1  # bytes per pair seen so far

    def fit_images(self, bytes_per_image: int, device: torch.device) -> None:
        """Set the images at a time to as many as fit into memory; at least one."""
        if bytes_per_image > 0:
            self.images = max(1, _budget(STORE, device) // bytes_per_image)

    def fit_pairs(self, bytes_per_pair: int, device: torch.device) -> None:
        """Set the pairs of a pass from the largest pair so far and a chunk's memory, unless a number is set."""
        self._largest = max(self._largest, bytes_per_pair)
        if self.chunk is None and self.limit is None and bytes_per_pair > 0:
            self.pairs = min(max(1, _budget(_CHUNK_BYTES, device) // self._largest), _MAX_PAIRS)

    def fit_whole_passes(self, bytes_per_pair: int, device: torch.device) -> None:
        """Set the pairs for whole passes from the bytes of a pair, unless a number is set or the size is unknown."""
        if self.chunk is None and self.limit is None and bytes_per_pair > 0:
            useful = _budget(WHOLE_BYTES, device) // bytes_per_pair
            self.pairs = min(max(FIRST, useful), _MAX_PAIRS)

    def compared(self, local: bool) -> int:
        """Number of pairs to compare with the site's value at a time; larger than a pass where edits are local."""
        return self.pairs * _COMPARED if local else self.pairs

    def passes(self, pairs: int) -> int:
        """Number of passes for so many pairs: by the limit that memory has set, otherwise of about `pairs` each.

        The latter leaves no pass with few rows but where there are few pairs at all.
        """
        if self.limit is not None:
            return -(-pairs // self.limit)
        most = pairs // self.pairs if self.chunk is None else min(-(-pairs // self.chunk), pairs // ENOUGH_ROWS)
        return max(1, most)

    def halve(self, pairs: int) -> None:
        """Halve the pairs of a pass for good, once memory has run out with so many."""
        self.pairs = self.limit = pairs // 2
        log.warning(
            "out of memory with %d pairs in a pass; going on with %d. The last bits of what follows depend on it.",
            pairs,
            self.pairs,
        )


def _budget(useful: int, device: torch.device) -> int:
    return useful if device.type == "cpu" else ACCELERATOR


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out, on any device."""
    reported = "not enough memory" in str(error) or "can't allocate memory" in str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or reported
