"""Objects that the jobs of one command share: digests of files, the opened dataset, networks without weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dovision.config.component import Component
from dovision.config.settings import TrainSettings
from dovision.identity import plans
from dovision.identity.digests import SETTLED, Digests, stat_files
from dovision.identity.plans import Plan
from dovision.interfaces import Images

_T = TypeVar("_T")


class _Opened(NamedTuple):
    """A dataset, and the state of its files when it was opened."""

    key: str
    state: str
    images: Images


class PlannedJob(NamedTuple):
    """A job at its door: its plan, and the dataset and the digests that it was made from."""

    plan: Plan
    images: Images
    digests: Digests


class Shared:
    """Objects that the jobs of one command share in a process; each worker has its own."""

    def __init__(self) -> None:
        self._digests: dict[Path, Digests] = {}
        self._opened: _Opened | None = None
        self._made: dict[str, Any] = {}

    def digests(self, output_root: Path) -> Digests:
        """The digests of files that an output root keeps."""
        return self._digests.setdefault(output_root.absolute(), Digests(output_root.absolute()))

    def images(self, dataset: Component) -> Images:
        """The configured dataset, opened again if its files have changed.

        Images without labels take their classes from the job's classifier, and are opened for each job.
        """
        key, began = plans.data_key(dataset), time.time()
        before, self._opened = self._opened, None
        if before is not None and (before.key, before.state) == (key, stat_files(before.images.files or ()).digest):
            self._opened = before
            return before.images
        images: Images = dataset.make()
        if images.files is not None and images.labelled:
            state = stat_files(images.files)
            if state.changed < began - SETTLED:
                self._opened = _Opened(key, state.digest, images)
        return images

    def job(self, settings: TrainSettings, run_dir: Path) -> PlannedJob:
        """A job with its plan; see `plans.plan`."""
        images, digests = self.images(settings.dataset), self.digests(settings.output_root)
        plan = plans.plan(settings, images, digests, run_dir, images.identified(digests.many))
        digests.save()
        return PlannedJob(plan, images, digests)

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """What `make` gives, made once for all that is of one key, in plain types."""
        written = json.dumps(key)
        if written not in self._made:
            self._made[written] = make()
        made: _T = self._made[written]
        return made


_SHARED: ContextVar[Shared] = ContextVar("shared")


def begin_sharing() -> Shared:
    """Begin a command, whose jobs share nothing with those of an earlier one of this process."""
    shared = Shared()
    _SHARED.set(shared)
    return shared


def shared() -> Shared:
    """Objects that the jobs of this command share, here or in a worker."""
    return _SHARED.get(None) or begin_sharing()
