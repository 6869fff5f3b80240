"""Numbers and files of runs and reports, as loggers send them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dovision.analysis.detection_summary import HEADLINES
from dovision.store.detection_tables import CONDITION, DETECTOR, UNFITTED
from dovision.store.run_record import Run
from dovision.store.tables import EFFECTS, row_groups

TABLE_ROWS = 1000  # of a table that are sent
_COUNTS = ("classes", "images", "prevalence")  # of a summary, which are no metrics
_MOST = 50  # classes up to which the numbers of each are sent


def scalars(run: Run) -> dict[str, float]:
    """The headline numbers of a completed run, without those that are not defined.

    They are named metric/condition, those of a class "metric/condition class", and those of a detector
    detection_metric/detector/condition.
    """
    found: dict[str, Any] = {}
    for condition, numbers in run.summary["conditions"].items():
        classes = numbers["classes"] if len(numbers["classes"]) <= _MOST else {}
        rows = {condition: numbers, **{f"{condition} {name}": own for name, own in classes.items()}}
        for place, row in rows.items():
            for metric, interval in row.items():
                if isinstance(interval, dict) and metric not in _COUNTS:
                    found[f"{metric}/{place}"] = interval["estimate"]
    for row in run.summary.get("detection", ()):
        detector, condition = (_joined(row, columns) for columns in (DETECTOR, CONDITION))
        found |= {f"detection_{metric}/{detector}/{condition}": row[metric] for metric in HEADLINES}
    return {name: float(value) for name, value in found.items() if value is not None}


def _joined(row: dict[str, Any], columns: list[str]) -> str:
    """The values of the columns that name a detector or a condition, without those that it does not have."""
    return " ".join(f"{row[name]}" for name in columns if row[name] not in (None, "", UNFITTED))


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
