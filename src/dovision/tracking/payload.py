"""The payload of every dashboard: headline numbers, a histogram of the effects, the figures of a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dovision.store.run_record import Run
from dovision.store.tables import EFFECTS, row_groups

_MOST = 50  # classes up to which the numbers of each are sent


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
