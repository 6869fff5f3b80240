"""The time that jobs take, from the work that they hold and from the pace of one batch of each kind: arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dovision.runtime.processor_clock import undisturbed_seconds

PER_RUN = 0.4  # seconds of a run that neither batches nor rows take: its folder, networks, record and memory, about
SECONDS = 2.0  # for which batches are timed at least, after the first one
LONGEST = 20.0  # seconds after which they are timed no more, however unsteady
STEADY = 0.05  # share by which the time of an image changes from a size of batches to the next one, at most


class Pace(NamedTuple):
    """Seconds that work takes."""

    start: float  # once a job: what is set up and tuned before the first image
    image: float  # for each image
    gpu: int = 0  # bytes that were reserved on a GPU meanwhile, at most
    end: float = 0.0  # for each image, once all are done: tables and summary
    sums: float = 0.0  # for each image and block of sums that are held at once, likewise


class Work(NamedTuple):
    """A part of a job that takes a pace of its own; equal kinds of equal keys take the same one."""

    kind: str  # such as effects, or attack
    key: str  # depends on all that the pace depends on
    images: float  # passes over an image, at least
    unknown: str = ""  # why its pace or its passes cannot be known before it runs; empty if they can
    most: float = math.inf  # passes over an image that unknown ones may be
    blocks: int = 0  # of sums, see `Pace`
    merged_blocks: int | None = None  # of the run into which a shard is merged; None: it is no shard
    workers: int = 1  # processes, each of one thread, that share the images


class Estimate(NamedTuple):
    """Minutes of a job, and its memory on a GPU."""

    minutes: float  # at least
    most: float  # infinite where something has no bound
    unknown: tuple[str, ...] = ()  # what they differ by
    gpu: int = 0  # bytes of a GPU, the most of all parts that were timed
    merge: float = 0.0  # minutes that the merge of shards takes for this one, once all are done

    def plus(self, other: Estimate) -> Estimate:
        """With that of more work."""
        unknown = tuple(dict.fromkeys((*self.unknown, *other.unknown)))
        minutes = self.minutes + other.minutes, self.most + other.most
        return Estimate(*minutes, unknown, max(self.gpu, other.gpu), self.merge + other.merge)

    def with_runs(self, shards: int | None) -> Estimate:
        """With what a run takes in any case, also that into which a job is merged as one of so many shards."""
        if not self.is_known:
            return self
        merge = 0.0 if shards is None else PER_RUN / 60 / shards
        return self.plus(Estimate(PER_RUN / 60, PER_RUN / 60, merge=merge))

    @property
    def is_known(self) -> bool:
        """Whether something of it is known, be it that nothing is to do."""
        return self.minutes > 0 or not self.unknown


def estimate(parts: Iterable[Work], pace: Callable[[Work], Pace | None]) -> Estimate:
    """The minutes of all parts; `pace` gives None for what could not be timed."""
    least, more, unknown, gpu, merge = 0.0, 0.0, [], 0, 0.0
    for work in parts:
        own = None if work.unknown and math.isinf(work.most) else pace(work)
        if own is not None:
            least += own.start + work.images * (own.image + own.end + work.blocks * own.sums) / work.workers
            gpu = max(gpu, own.gpu)
            if work.merged_blocks is not None:
                merge += work.images * (own.end + work.merged_blocks * own.sums)
        if own is None or work.unknown:
            more += math.inf if own is None else (work.most - work.images) * own.image / work.workers
            unknown.append(f"{work.kind} ({work.unknown or 'it could not be timed'})")
    return Estimate(least / 60, (least + more) / 60, tuple(dict.fromkeys(unknown)), gpu, merge / 60)


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
    """Batches of samples for a DataLoader, which grow until their pace is steady, and the pace at which they are done.

    A pace is steady with batches of the largest size, or once it has changed little from two sizes to the next ones: an
    image takes less in a large batch. Each batch is timed from the request for it to that for the next one: reading and
    all that is done with it. The first one also sets up and tunes what the others use; its excess is the pace's start.
    With a single batch, none.

    Args:
        samples: of the split, in order; the batches end with them.
        first, most: images of the first batch, and of the largest; each has twice those of the one before.
        clock: seconds.
    """

    def __init__(
        self, samples: Sequence[int], first: int, most: int, clock: Callable[[], float] = undisturbed_seconds
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
        while start < len(self._samples) and not self._enough:
            batch = list(self._samples[start : start + images])
            yield batch
            now = self._clock()
            self._done.append((len(batch), now - before))
            start, images, before = start + images, min(2 * images, self._most), now

    @property
    def _enough(self) -> bool:
        took = sum(seconds for _, seconds in self._done[1:])
        if took < SECONDS or took >= LONGEST:
            return took >= LONGEST
        images = [seconds / size for size, seconds in self._done[1:]][-3:]
        steady = all(abs(after / before - 1) <= STEADY for before, after in itertools.pairwise(images))
        return self._done[-1][0] == self._most or (len(images) == 3 and steady)

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
