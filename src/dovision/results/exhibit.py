"""What an exhibit is, and what its caption says of the runs behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dovision.results.drawing import save_figure
from dovision.results.reading import Run, describe


@dataclass(frozen=True)
class Exhibit:
    """A figure, the words below it, and the numbers behind it."""

    name: str
    title: str
    caption: str
    figure: Figure
    data: pd.DataFrame


def save(exhibit: Exhibit, folder: Path) -> str:
    """Write the figure as SVG and PNG and its numbers as CSV; returns the SVG."""
    save_figure(exhibit.figure, exhibit.data, folder, exhibit.name)
    return (folder / f"{exhibit.name}.svg").read_text(encoding="utf-8")


def settings(runs: Sequence[Run]) -> str:
    """What was measured on what, in one sentence; what differs between the runs is listed."""
    parts = []
    for key in ("dataset", "model", "intervention", "attack"):
        known = list(dict.fromkeys(_setting(key, run.config[key]) for run in runs if run.config.get(key)))
        more = [f"{len(known) - 3} more"] if len(known) > 3 else []
        parts.append(" or ".join(known[:3] + more))
    return f"{', '.join(filter(None, parts))}."


def images(counts: pd.Series) -> str:
    """How many images stand behind a figure, in one sentence."""
    low, high = counts.min(), counts.max()
    return f"n = {low:,} images in each arm." if low == high else f"n = {low:,} to {high:,} images in an arm."


def _setting(key: str, part: Any) -> str:
    """Interventions and attacks with all their numbers, data and models by their names."""
    if key in ("intervention", "attack"):
        return describe(part)
    return describe({name: part[name] for name in ("_target_", "name") if name in part})
