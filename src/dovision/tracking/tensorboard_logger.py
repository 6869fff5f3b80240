"""Lightning's TensorBoard logger, which shows figures too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from dovision import checks
from dovision.io import paths
from dovision.io.atomic import publish
from dovision.report.report_figure import ReportFigure
from dovision.store.run_record import Run
from dovision.store.tables import has_rows
from dovision.store.thumbnails import load_thumbnail
from dovision.tracking.payload import effect_histogram, figure_files


class TensorBoardLogger(pl.loggers.TensorBoardLogger):
    """Event files with curves, numbers, figures, and a histogram of effects.

    A job that was stopped goes on in the same folder: what it logs of a step takes the place of what was there.

    Args:
        save_dir: the run directory.
        folder: of the event files, in the run directory.
    """

    def __init__(self, save_dir: str, folder: str) -> None:
        checks.import_extra("tensorboard", "tensorboard")
        version = paths.safe_relative_path("logger.tensorboard.folder", folder)
        super().__init__(save_dir, name=None, version=version, default_hp_metric=False)

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """Close the event files, and remove events that were logged again."""
        if self._experiment is not None:
            self._experiment.close()
            merge_events(Path(self.log_dir))

    def log_run(self, run: Run, figures: Sequence[ReportFigure]) -> None:
        """Send what a completed run shows."""
        for item in figures:
            self.experiment.add_figure(f"figures/{item.name}", item.figure, global_step=0)
        if not has_rows(run.folder):
            return
        counts, edges = effect_histogram(run.folder)
        middle = (edges[1:] + edges[:-1]) / 2
        moments = int(counts.sum()), middle @ counts, middle**2 @ counts
        self.experiment.add_histogram_raw("effects", -1.0, 1.0, *moments, edges[1:], counts, global_step=0)

    def log_report(self, folder: Path) -> None:
        """Send the figures of a written report."""
        for name, picture, _ in figure_files(folder):
            image = load_thumbnail(picture)[..., :3]
            self.experiment.add_image(f"figures/{name}", image, global_step=0, dataformats="HWC")


def merge_events(folder: Path) -> None:
    """Merge event files in which a step was logged twice, keeping the last event per name and step."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    paths = sorted(folder.glob("events.out.tfevents.*"))
    events = [event for path in paths for event in LegacyEventFileLoader(str(path)).Load() if event.HasField("summary")]
    last: dict[Any, Any] = {}
    for event in events:
        key = event.step, *(value.tag for value in event.summary.value)
        last.pop(key, None)
        last[key] = event
    if len(last) == len(events):
        return
    with TemporaryDirectory(dir=folder) as merged:
        writer = EventFileWriter(merged)
        for event in last.values():
            writer.add_event(event)
        writer.close()
        (whole,) = Path(merged).iterdir()
        publish(whole, folder / whole.name)
    for path in paths:
        path.unlink()
