"""Numbers and files of runs and reports, as loggers send them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision.analysis.classifier_quality import OVERALL
from dovision.analysis.detection_summary import TWINS
from dovision.analysis.map_summary import LOGGED, whole_scores
from dovision.store.run_record import Run
from dovision.store.tables import EFFECTS, row_groups

TABLE_ROWS = 1000  # of a table that are sent
MOST_SCALARS = 40  # of a run that are sent one by one
_OF_UNITS = "average_effect/"  # numbers of a unit and class, as many as there are of both
_COUNTS = ("images", "prevalence")  # of a class, which are no metrics
_MOST = 50  # classes up to which the numbers of each are sent


class Headlines:
    """The first names of numbers that a dashboard shows as scalars; the numbers of all others become one table."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self.rest: dict[str, float] = {}

    def of(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """What is logged of `metrics` now: the scalars of the first names, and what is no number."""
        sent = {}
        for name, value in metrics.items():
            if not isinstance(value, (int, float, Tensor)):
                sent[name] = value
            elif name in self._names or (len(self._names) < MOST_SCALARS and not name.startswith(_OF_UNITS)):
                self._names.add(name)
                sent[name] = value
            else:
                self.rest[name] = float(value)
        return sent


def quality(run: Run) -> dict[str, float]:
    """Classifier quality and AUROC of twins of a completed run: neither what its callbacks log nor undefined numbers.

    The numbers are named metric/condition, and those of a class "metric/condition class", by the metric of the whole.
    """
    interval_by_name: dict[str, Any] = {}
    for condition, numbers in run.summary["conditions"].items():
        interval_by_name |= {f"{metric}/{condition}": numbers[metric] for metric in (*OVERALL.values(), *TWINS)}
        classes = numbers["classes"] if len(numbers["classes"]) <= _MOST else {}
        for name, of_class in classes.items():
            interval_by_name |= {
                f"{OVERALL.get(metric, metric)}/{condition} {name}": of_class[metric]
                for metric in of_class
                if metric not in _COUNTS
            }
    return {
        name: float(interval["estimate"])
        for name, interval in interval_by_name.items()
        if interval and interval["estimate"] is not None
    }


def map_scores(run: Run) -> dict[str, float]:
    """Mean map scores of a completed run by metric/explainer, without those already logged."""
    table = whole_scores(run.summary)
    rows = table[~table["metric"].isin(LOGGED)] if len(table) else table
    return {f"{row['metric']}/{row['explainer']}": float(row["mean"]) for row in rows.to_dict("records")}


def effect_histogram(folder: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Histogram of the effects of all conditions: counts and edges of 64 bins over [-1, 1]."""
    edges = np.linspace(-1, 1, 65)
    counts = np.zeros(64, dtype=np.int64)
    for table in row_groups(folder / EFFECTS, ["effect"]):
        counts += np.histogram(table["effect"].to_numpy(), edges)[0]
    return counts, edges


def figure_files(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(name, picture, numbers) of each figure of a report."""
    for picture in sorted((folder / "figures").rglob("*.png")):
        yield str(picture.relative_to(folder / "figures").with_suffix("")), picture, picture.with_suffix(".csv")
