"""Figure of average effects as maps: of each class, over all images, where units have the same place in each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import EFFECT_INTERVALS, LEVEL, holm
from dovision.report.image_overlay import colour_bar, colours_of, draw_beside, edges, framed, unit_values
from dovision.report.plots import contrasting
from dovision.report.report_figure import ReportFigure, caption, images
from dovision.report.style import SIGN, SMALL, canvas, shortened_apart, styled
from dovision.store.display_names import display_name
from dovision.store.run_record import Run
from dovision.store.tables import read_effects, read_samples
from dovision.store.thumbnails import load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.store.unit_masks import read_masks
from dovision.types import Box

LARGEST = "largest effects, in log-odds where they were recorded,"
IN_THE_NUMBERS = f"In the numbers: {EFFECT_INTERVALS}; in log-odds, Student's t, widened for skew."


def average_effect_maps(
    run: Run, averaged: pd.DataFrame, most: int, opposite: str | None = None
) -> Iterator[ReportFigure]:
    """Mean effect of each unit on each class, as maps; none where units move from image to image, or have no place.

    Args:
        run: completed.
        averaged: from `average_effects`, without the effects of `opposite`.
        most: classes that are drawn, those with the largest effects by `deciding`.
        opposite: see `Task.opposite`.
    """
    samples = read_samples(run.folder)
    conditions = list(samples["condition"].unique())
    conditions = list(dict.fromkeys([conditions[0], conditions[-1]]))
    pictured = samples_in_conditions(run.folder, conditions[:1])
    if len(pictured) < min(2, samples["sample"].nunique()):  # of one alone it is not known whether units move
        return
    places = _places(run, pictured)
    if len(places) < 2:
        return
    frame = averaged[averaged["condition"].isin(conditions) & averaged["unit"].isin(places.index)]
    frame = frame.assign(p_holm=holm(frame["log_odds_p"].to_numpy(float)))
    size = frame[deciding(frame)].abs().groupby(frame["class"], sort=False).max()
    classes = [name for name in size.index if name in {*size.nlargest(most, keep="first").index}]
    height, width = load_thumbnail(thumbnail_path(run.folder, pictured[0], conditions[0])).shape[:2]
    shown = frame[frame["class"].isin(classes)].join(places, on="unit")
    drawn = f"the {len(classes)} of {len(size):,} classes with the {LARGEST}" if len(classes) < len(size) else "all"
    text = (
        f"Mean over images of the effect of each unit on each class{opposite_note(opposite)}; {SIGN}"
        f"{dots_text(shown)}. Of {len(frame):,} units, classes and conditions, over which p is adjusted, "
        f"{drawn} are drawn, without attack and at the last epsilon."
    )
    words = caption(text, [run], images(shown["images"]), IN_THE_NUMBERS, shown)
    figure = average_maps(shown, conditions, classes, (height, width))
    yield ReportFigure("average_effect_maps", "Average effects over the image", words, figure, shown)


def opposite_note(opposite: str | None) -> str:
    """That a class is left out whose effects are those of the other one with the other sign; empty if none is."""
    return f" ({opposite}: the opposite)" if opposite else ""


def deciding(frame: pd.DataFrame) -> str:
    """The column that decides which effects are the largest: log_odds, or mean where log-odds were not recorded."""
    return "log_odds" if frame["log_odds"].notna().any() else "mean"


def has_dot(frame: pd.DataFrame) -> pd.Series[bool]:
    """Whether a cell has a dot: its effect in log-odds differs from 0, with the sign of `mean`, which is its colour."""
    return (frame["p_holm"] < 1 - LEVEL) & (frame["log_odds"] * frame["mean"] > 0)


def dots_text(frame: pd.DataFrame) -> str:
    """What a dot in a cell is, where there is one; empty where nothing could be tested."""
    how = "with the same sign (p < .05, two-sided, Holm-adjusted)"
    if has_dot(frame).any():
        return f"; a dot: the effect in log-odds differs from 0, {how}"
    return f"; none is shown to differ from 0 in log-odds, {how}" if frame["p_holm"].notna().any() else ""


def _places(run: Run, pictured: Sequence[int]) -> pd.DataFrame:
    """The box of each unit, by unit; without rows where units differ between images or have no place."""
    rows = read_effects(run.folder, pictured[:3]).dropna(subset=["top"])
    boxes = rows[["unit", *Box._fields]].drop_duplicates().set_index("unit").astype(int)
    common = rows.groupby("unit")["sample"].nunique()
    fixed = boxes.index.is_unique and common.eq(rows["sample"].nunique()).all() and not read_masks(run.folder)
    return boxes if fixed else boxes.iloc[:0]


@styled
def average_maps(
    frame: pd.DataFrame, conditions: Sequence[str], classes: Sequence[str], size: tuple[int, int]
) -> Figure:
    """A row per condition, a column per class; one colour scale.

    Args:
        frame: a row per (condition, unit, class): mean, log_odds with p_holm, and the box in pixels.
        conditions: rows.
        classes: columns.
        size: height and width of the images, in pixels.
    """
    largest = float(frame["mean"].abs().max()) or 1.0
    figure = canvas(0.8 + 1.1 * max(len(classes), 2), 0.35 + 1.2 * len(conditions), pictures=True)
    panels = figure.subplots(len(conditions), len(classes), squeeze=False)
    heads = shortened_apart(classes, 16)
    for (row, column), axes in np.ndenumerate(panels):
        own = frame[(frame["condition"] == conditions[row]) & (frame["class"] == classes[column])]
        draw_beside(axes, unit_values(own, "mean", size, np.nan), largest, edges(size))
        sure = own[has_dot(own)]
        middle = (sure["left"] + sure["right"]) / 2, (sure["top"] + sure["bottom"]) / 2
        on = colours_of(sure["mean"].to_numpy(float), largest)
        axes.scatter(*middle, s=4, linewidths=0, color=[contrasting(tuple(colour)) for colour in on])
        framed(axes)
        if row == 0:
            axes.set_title(heads[column], fontsize=SMALL, loc="center")
    for axes, condition in zip(panels[:, 0], conditions, strict=True):
        axes.set_ylabel(display_name(condition), fontsize=SMALL)
    colour_bar(figure, panels, largest, "average effect", aspect=20, pad=0.02)
    return figure
