"""Lightning's TensorBoard logger, which shows figures too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from dovision import checks
from dovision.io import paths
from dovision.report.report_figure import ReportFigure
from dovision.store.run_record import Run
from dovision.store.thumbnails import load_thumbnail
from dovision.tracking.payload import effect_histogram, figure_files


class TensorBoardLogger(pl.loggers.TensorBoardLogger):
    """Event files with curves, numbers and figures, and the effects of a run as histogram.

    Args:
        save_dir: the run directory.
        folder: of the event files, in the run directory.
    """

    def __init__(self, save_dir: str, folder: str) -> None:
        checks.import_extra("tensorboard", "tensorboard")
        version = paths.below("logger.tensorboard.folder", folder)
        super().__init__(save_dir, name=None, version=version, default_hp_metric=False)

    def log_run(self, run: Run, figures: Sequence[ReportFigure]) -> None:
        """Send what a completed run shows."""
        for item in figures:
            self.experiment.add_figure(item.name, item.figure, global_step=0)
        counts, edges = effect_histogram(run.folder)
        middle = (edges[1:] + edges[:-1]) / 2
        moments = int(counts.sum()), middle @ counts, middle**2 @ counts
        self.experiment.add_histogram_raw("effects", -1.0, 1.0, *moments, edges[1:], counts, global_step=0)

    def log_report(self, folder: Path) -> None:
        """Send the figures of a written report."""
        for name, picture, _ in figure_files(folder):
            image = load_thumbnail(picture)[..., :3]
            self.experiment.add_image(f"figures/{name}", image, global_step=0, dataformats="HWC")
