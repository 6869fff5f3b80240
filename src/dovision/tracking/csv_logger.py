"""Headline numbers as a CSV file in the run directory, and what other loggers send besides."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dovision.functional.intervals import Interval
from dovision.io.atomic import replacing
from dovision.store.run_record import Run
from dovision.store.spreadsheet import as_text
from dovision.store.tables import EFFECTS, row_groups

METRICS_FILE = "metrics.csv"
_MOST = 50  # classes up to which the numbers of each are sent


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


def metrics(run: Run) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(condition, metric, interval) of each headline number of a run; those of a class are metric/class, images too."""
    for condition, found in run.summary["conditions"].items():
        classes = found["classes"]
        for metric, interval in found.items():
            if isinstance(interval, dict) and metric != "classes":
                yield condition, metric, interval
        for name, own in classes.items() if len(classes) <= _MOST else ():
            for metric, interval in own.items():
                yield condition, f"{metric}/{name}", interval


def effect_histogram(folder: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Counts and edges of the effects of all conditions, in 64 bins over [-1, 1]."""
    edges = np.linspace(-1, 1, 65)
    counts = np.zeros(64, dtype=np.int64)
    for table in row_groups(folder / EFFECTS, ["effect"]):
        counts += np.histogram(table["effect"].to_numpy(), edges)[0]
    return counts, edges


def figure_files(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(name, picture, numbers) of every figure of a report."""
    for picture in sorted((folder / "figures").rglob("*.png")):
        yield str(picture.relative_to(folder / "figures").with_suffix("")), picture, picture.with_suffix(".csv")
