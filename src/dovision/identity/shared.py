"""Objects that the jobs of one command share: digests of files, and the opened dataset."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import NamedTuple

from dovision.config.component import Component
from dovision.config.settings import TrainSettings
from dovision.identity import plans
from dovision.identity.digests import SETTLED, Digests, stat_files
from dovision.identity.plans import Plan
from dovision.interfaces import Images

_DATASETS = logging.getLogger("dovision.datasets")


class _Opened(NamedTuple):
    """Dataset with the state of its files when opened."""

    key: str
    state: str
    images: Images
    log: _DatasetLog


class _DatasetLog(logging.Handler):
    """The lines that datasets log, once each, for the run.log of each job that shares one."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: dict[str, logging.LogRecord] = {}
        _DATASETS.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._records.setdefault(record.getMessage(), record)

    def repeat(self) -> None:
        """Write the lines into the files to which the log goes now, and nowhere else."""
        for handler in logging.getLogger().handlers:
            for record in self._records.values() if isinstance(handler, logging.FileHandler) else ():
                handler.handle(record)


class Shared:
    """Objects shared by a command's jobs in one process; each worker has its own."""

    def __init__(self) -> None:
        self._digests: dict[Path, Digests] = {}
        self._opened: _Opened | None = None

    def digests(self, output_root: Path) -> Digests:
        """Digest cache of an output root."""
        root = output_root.absolute()
        if root not in self._digests:
            self._digests[root] = Digests(root)
        return self._digests[root]

    def images(self, dataset: Component, repeat_log: bool = False) -> Images:
        """The configured dataset, reopened if its files have changed.

        Images without labels take their classes from the job's classifier, and are opened for each job.

        With `repeat_log` what a dataset that is open already has logged is written into the log's files, too.
        """
        key, began = plans.data_key(dataset), time.time()
        before, self._opened = self._opened, None
        if before is not None and (before.key, before.state) == (key, stat_files(before.images.files or ()).digest):
            self._opened = before
            if repeat_log:
                before.log.repeat()
            return before.images
        if before is not None:
            _DATASETS.removeHandler(before.log)
        opening = _DatasetLog()
        try:
            images: Images = dataset.make()
            if images.files is not None and images.labelled:
                state = stat_files(images.files)
                if state.changed < began - SETTLED:
                    self._opened = _Opened(key, state.digest, images, opening)
        finally:
            if self._opened is None:
                _DATASETS.removeHandler(opening)
        return images

    def job(self, settings: TrainSettings, run_dir: Path, repeat_log: bool = False) -> tuple[Plan, Images, Digests]:
        """Plan a job, of the dataset and the digests; see `plans.plan`, and `images` of `repeat_log`."""
        digests, images = self.digests(settings.output_root), self.images(settings.dataset, repeat_log)
        plan = plans.plan(settings, images, digests, run_dir, images.identified(digests.many))
        digests.save()
        return plan, images, digests
