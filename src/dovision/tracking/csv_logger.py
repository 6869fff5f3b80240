"""Headline numbers as a CSV file in the run directory."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dovision.functional.intervals import Interval
from dovision.io.atomic import replacing
from dovision.store.run_record import Run
from dovision.store.spreadsheet import as_text
from dovision.tracking.payload import metrics

METRICS_FILE = "metrics.csv"


class CSVLogger:
    """metrics.csv in the run directory: a row per condition and metric, with its interval."""

    def start(self, folder: Path, group: str, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run.

        Args:
            folder: the run directory.
            group: the runs that belong together.
            name: the run among them.
            config: plain values.
        """

    def report(self, run: Run) -> None:
        """Send the headline numbers of a completed run."""
        with replacing(run.folder / METRICS_FILE) as partial, partial.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["condition", "metric", *Interval._fields])
            for condition, metric, interval in metrics(run):
                rows.writerow(map(as_text, [condition, metric, *interval.values()]))

    def send(self, folder: Path) -> None:
        """Send the figures and tables of a written report, by their names; nothing to do for a CSV file."""

    def finish(self, failed: bool) -> None:
        """End the run; called in any case."""
