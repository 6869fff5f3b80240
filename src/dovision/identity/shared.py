"""Objects that the jobs of one command share: digests of files, and the opened dataset."""

from __future__ import annotations

import time
from pathlib import Path

from dovision.config.component import Component
from dovision.identity.dependencies import data_key
from dovision.identity.digests import SETTLED, Digests, stat_files
from dovision.interfaces import Images


class Shared:
    """Objects shared by a command's jobs in one process; each worker has its own."""

    def __init__(self) -> None:
        self._digests: dict[Path, Digests] = {}
        self._opened: tuple[str, str, Images] | None = None  # key, state of the files when it was opened, and dataset

    def digests(self, output_root: Path) -> Digests:
        """Digest cache of an output root."""
        root = output_root.absolute()
        if root not in self._digests:
            self._digests[root] = Digests(root)
        return self._digests[root]

    def images(self, dataset: Component) -> Images:
        """The configured dataset, reopened if its files have changed.

        Images without labels take their classes from the job's classifier, and are opened for each job.
        """
        key, began = data_key(dataset), time.time()
        before, self._opened = self._opened, None
        if before is not None and before[:2] == (key, stat_files(before[2].files or ()).digest):
            self._opened = before
            return before[2]
        images: Images = dataset.make()
        if images.files is not None and images.labelled:
            state = stat_files(images.files)
            if state.changed < began - SETTLED:
                self._opened = key, state.digest, images
        return images
