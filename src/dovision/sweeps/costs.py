"""The time that jobs take, from the work that they hold and from the pace of one batch of each kind: arithmetic."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

SECONDS = 0.5  # for which batches are timed, after the first one


class Pace(NamedTuple):
    """Seconds that work takes."""

    start: float  # once a job: what is set up and tuned before the first image
    image: float  # for each image
    gpu: int = 0  # bytes that were reserved on a GPU meanwhile, at most


class Work(NamedTuple):
    """A part of a job that takes a pace of its own; equal kinds of equal keys take the same one."""

    kind: str  # such as effects, or attack
    key: str  # depends on all that the pace depends on
    images: float  # passes over an image, at least
    unknown: str = ""  # why its pace or its passes cannot be known before it runs; empty if they can
    most: float = math.inf  # passes over an image that unknown ones may be


class Estimate(NamedTuple):
    """Minutes of a job, and its memory on a GPU."""

    minutes: float  # at least
    most: float  # infinite where something has no bound
    unknown: tuple[str, ...] = ()  # what they differ by
    gpu: int = 0  # bytes of a GPU, the most of all parts that were timed

    @property
    def is_known(self) -> bool:
        """Whether something of it is known, be it that nothing is to do."""
        return self.minutes > 0 or not self.unknown


def estimate(parts: Iterable[Work], pace: Callable[[Work], Pace | None]) -> Estimate:
    """The minutes of all parts; `pace` gives None for what could not be timed."""
    least, more, unknown, gpu = 0.0, 0.0, [], 0
    for work in parts:
        own = None if work.unknown and math.isinf(work.most) else pace(work)
        if own is not None:
            least += own.start + work.images * own.image
            gpu = max(gpu, own.gpu)
        if own is None or work.unknown:
            more += math.inf if own is None else (work.most - work.images) * own.image
            unknown.append(f"{work.kind} ({work.unknown or 'it could not be timed'})")
    return Estimate(least / 60, (least + more) / 60, tuple(dict.fromkeys(unknown)), gpu)


def on_workers(minutes: Sequence[float], workers: int) -> float:
    """Minutes of jobs that workers share out among them, at least those of the longest one."""
    return max([sum(minutes) / workers, *minutes], default=0.0)


def fits_of_detectors(supervised: Mapping[str, bool], families: int, hardened: bool, controls: bool) -> dict[str, int]:
    """Number of fits of each detector that is fitted, in its variants (see `detector_fits.fit_detectors`).

    Args:
        supervised: by name, whether it is fitted to attacked images as well.
        families: number of families of attacks.
        hardened: whether there is noise, which a variant counts as clean.
        controls: whether there are fits to permuted labels, and to noise.
    """
    widest = 1 + hardened
    some = 2 * families if families > 1 else 0  # to each family, and to all but it
    some += (1 + hardened) * controls
    return {name: widest + (some if given else 0) for name, given in supervised.items()}


class Batches:
    """Batches of samples for a DataLoader, which grow until they take long enough, and the pace at which they are done.

    Each batch is timed from the request for it to that for the next one: reading and all that is done with it. The
    first one also sets up and tunes what the others use; its excess is the pace's start. With a single batch, none.

    Args:
        samples: of the split, in order; the batches end with them.
        first, most: images of the first batch, and of the largest; each has twice those of the one before.
        clock: seconds.
    """

    def __init__(
        self, samples: Sequence[int], first: int, most: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._samples = samples
        self._first = first
        self._most = most
        self._clock = clock
        self._done: list[tuple[int, float]] = []  # images and seconds of each batch
        self._began = clock()

    def __len__(self) -> int:
        return len(self._samples) + 1  # more than there are, so that a loader asks once more after the last one

    def __iter__(self) -> Iterator[list[int]]:
        start, images, before = 0, self._first, self._began
        while start < len(self._samples) and sum(seconds for _, seconds in self._done[1:]) < SECONDS:
            batch = list(self._samples[start : start + images])
            yield batch
            now = self._clock()
            self._done.append((len(batch), now - before))
            start, images, before = start + images, min(2 * images, self._most), now

    @property
    def pace(self) -> Pace:
        """By the batches of the largest size after the first one.

        Raises:
            ValueError: no batch has been done.
        """
        if not self._done:
            raise ValueError("a pace needs at least one batch, got none.")
        (images, seconds), *others = self._done
        if not others:
            return Pace(0.0, seconds / images)
        largest = max(size for size, _ in others)
        times = [took for size, took in others if size == largest]
        image = sum(times) / (largest * len(times))
        return Pace(max(0.0, seconds - images * image), image)
