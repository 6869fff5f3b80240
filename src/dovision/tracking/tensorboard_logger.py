"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dovision.io import paths
from dovision.report.catalogue import Catalogue
from dovision.store.run_record import Run
from dovision.store.thumbnails import load_thumbnail
from dovision.tracking.csv_logger import CSVLogger, effect_histogram, figure_files, metrics


class TensorboardLogger(CSVLogger):
    """metrics.csv, and event files for TensorBoard: headline numbers against epsilon, figures, effects as histogram.

    Args:
        folder: of the event files, in the run directory.
    """

    def __init__(self, folder: str) -> None:
        self.folder = paths.below("logger.folder", folder)
        self.writer: Any = None

    def start(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.catalogue = Catalogue()  # a wrong figure is refused before the job, not after it
        self.writer = SummaryWriter(folder / self.folder)
        self.writer.add_text("run", f"{group}: {name}")

    def report(self, run: Run) -> None:
        super().report(run)
        for condition, metric, interval in metrics(run):
            self.writer.add_scalar(f"{metric}/{condition}", interval["estimate"])
        for item in self.catalogue.of_run(run):
            self.writer.add_figure(item.name, item.figure)
        counts, edges = effect_histogram(run.folder)
        middle = (edges[1:] + edges[:-1]) / 2
        self.writer.add_histogram_raw(
            "effects", -1.0, 1.0, int(counts.sum()), middle @ counts, middle**2 @ counts, edges[1:], counts
        )

    def send(self, folder: Path) -> None:
        for name, picture, _ in figure_files(folder):
            self.writer.add_image(f"figures/{name}", load_thumbnail(picture)[..., :3], dataformats="HWC")

    def finish(self, failed: bool) -> None:
        if self.writer is not None:
            self.writer.close()
