"""Shares of images at or below a value: steps, and dots where they are few."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from dovision.functional.intervals import has_quantile
from dovision.report.style import FEWEST_FOR_CURVE

_MOST = 200  # values that stand for a distribution


def ecdf(values: npt.ArrayLike) -> pd.DataFrame:
    """Each value with the share of values at or below it: columns share, in (0, 1], and value.

    Of more than MOST values, those at evenly spaced ranks; each is one that was measured.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    ranks = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST)).round().astype(int))
    return pd.DataFrame({"share": (ranks + 1) / len(ordered), "value": ordered[ranks]})


def draw_ecdf(axes: Axes, rows: pd.DataFrame, label: str, look: dict[str, Any]) -> None:
    """Steps, or a dot an image where there are fewer than FEWEST.

    Args:
        axes: to draw on.
        rows: columns images, share, value.
        label: of the line.
        look: its colour, dashes and width.
    """
    if rows["images"].iloc[0] < FEWEST_FOR_CURVE:
        look = look | {"linestyle": "none", "marker": "o", "markersize": 4}
    axes.plot(rows["value"], rows["share"], label=label, drawstyle="steps-post", **look)


def quantile(values: pd.Series[float], share: float) -> float:
    """A quantile; nan where the values are too few to hold it, as the 5 % quantile of fewer than 20."""
    return float(values.quantile(share)) if has_quantile(share, len(values)) else np.nan
