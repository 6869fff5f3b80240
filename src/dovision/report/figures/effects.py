"""Figures of the average effects of a run: over the image, and the largest ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import EFFECT_INTERVALS, LEVEL, MEAN_INTERVALS, SHARE_INTERVALS, level_of_selected
from dovision.report.image_overlay import PANEL, OverlayPanel, overlay, unit_values
from dovision.report.plots import average_effects_plot, strongest
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images, selected
from dovision.report.style import SIGN, panels_across, shortened_apart, styled
from dovision.results import average_effect
from dovision.results.display_names import display_name
from dovision.results.finding import bracketed
from dovision.results.image_tables import read_masks
from dovision.results.interchange_accuracy import interchange_accuracy
from dovision.results.run_record import Run
from dovision.results.tables import read_effects, read_samples, read_task
from dovision.results.thumbnails import load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import BOX_COLUMNS, Box

LARGEST = "largest effects, in log-odds where they were recorded,"
IN_THE_NUMBERS = f"In the numbers: {EFFECT_INTERVALS}; in log-odds, Student's t, widened for skew."


@dataclass
class Effects(FigureComponent):
    """Figures of average effects: over the image, and the largest ones."""

    averages: int  # pairs of a unit and a class whose average effect is drawn
    maps: int  # classes whose average effects are drawn over the image

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        averaged = average_effect.average_effects(run.folder)
        opposite = read_task(run.folder).opposite
        averaged = averaged[(averaged["class"] != opposite) & averaged["mean"].notna()]
        if averaged.empty:  # too few images for an average
            return
        yield from average_effect_maps(run, averaged, self.maps, opposite)
        yield _averages(run, averaged, self.averages, opposite)
        yield from _interchange(run, self.averages)


def _averages(run: Run, frame: pd.DataFrame, most: int, opposite: str | None) -> ReportFigure:
    """Figure of the largest average effects in log-odds."""
    chosen = strongest(frame.assign(mean=frame["log_odds"]), most).index
    level = level_of_selected(len(chosen), len(frame))
    drawn = average_effect.at_level(run.folder, frame.loc[chosen], level).assign(level=level)
    data = pd.concat([drawn, frame.drop(chosen).assign(level=LEVEL)])
    ends = {"log_odds": "mean", "log_odds_low": "low", "log_odds_high": "high"}
    drawn = drawn[["condition", "unit", "class", *ends]].rename(columns=ends)
    text = (
        f"Mean over images of the effect of do(unit) on the log-odds of the class{opposite_note(opposite)}: the "
        f"largest of {len(frame):,}."
    )
    whiskers = (
        f"Whiskers: {MEAN_INTERVALS}{selected(len(chosen), len(frame))}. In the numbers also: {EFFECT_INTERVALS}."
    )
    words = caption(text, [run], images(frame["images"]), whiskers, data)
    figure = average_effects_plot(drawn, "average effect on the log-odds of the class")
    return ReportFigure("average_effects", "Largest average effects", words, figure, data)


def _interchange(run: Run, most: int) -> Iterator[ReportFigure]:
    frame = interchange_accuracy(run.folder).sort_values("accuracy", ascending=False, kind="stable")
    if frame.empty:
        return
    shown = frame[:most]
    text = (
        "Interchange accuracy: the share of images that the network gives the class of their source, another image of "
        "the split, once the unit has the value that it has in the source; and the share without do(unit). 1: the unit "
        f"holds all that the class depends on. The largest {len(shown):,} of {len(frame):,}, not adjusted for that."
    )
    words = caption(text, [run], images(frame["images"]), f"Brackets: {SHARE_INTERVALS}.", frame)
    table = pd.DataFrame({"condition": shown["condition"].map(display_name)})
    table = table.assign(**{name.replace("_", " "): bracketed(shown, name) for name in ("accuracy", "without_do")})
    table.index = pd.Index(shown["unit"], name="unit")
    yield ReportFigure.of_table("interchange_accuracy", "Interchange accuracy", words, frame, table)


def average_effect_maps(
    run: Run, averaged: pd.DataFrame, most: int, opposite: str | None = None
) -> Iterator[ReportFigure]:
    """Figure of mean effects as maps; none where units move between images or have no position.

    Args:
        run: completed.
        averaged: from `average_effects`, without the effects of `opposite`.
        most: classes that are drawn, those with the largest effects in log-odds.
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
    size = frame["log_odds"].abs().groupby(frame["class"], sort=False).max()
    most = min(most, panels_across(PANEL, margin=0.8))
    classes = [name for name in size.index if name in {*size.nlargest(most, keep="first").index}]
    height, width = load_thumbnail(thumbnail_path(run.folder, pictured[0], conditions[0])).shape[:2]
    shown = frame[frame["class"].isin(classes)].join(places, on="unit")
    drawn = f"the {len(classes)} of {len(size):,} classes with the {LARGEST}" if len(classes) < len(size) else "all"
    text = (
        f"Mean over images of the effect of each unit on each class{opposite_note(opposite)}; {SIGN}"
        f". Of {len(frame):,} units, classes and conditions, {drawn} are drawn, without "
        "attack and at the last epsilon."
    )
    words = caption(text, [run], images(shown["images"]), IN_THE_NUMBERS, shown)
    figure = average_maps(shown, conditions, classes, (height, width))
    yield ReportFigure("average_effect_maps", "Average effects over the image", words, figure, shown)


def opposite_note(opposite: str | None) -> str:
    """Note on the omitted class, whose effects are the other's with opposite sign; empty if none."""
    return f" ({opposite}: the opposite)" if opposite else ""


def _places(run: Run, pictured: Sequence[int]) -> pd.DataFrame:
    """Box of each unit; empty where units differ between images or have no position."""
    rows = read_effects(run.folder, pictured[:3]).dropna(subset=["top"])
    boxes = rows[["unit", *Box._fields]].drop_duplicates().set_index("unit").astype(int)
    common = rows.groupby("unit")["sample"].nunique()
    fixed = boxes.index.is_unique and common.eq(rows["sample"].nunique()).all() and not read_masks(run.folder)
    return boxes if fixed else boxes.iloc[:0]


@styled
def average_maps(
    frame: pd.DataFrame, conditions: Sequence[str], classes: Sequence[str], size: tuple[int, int]
) -> Figure:
    """Draw maps, a row per condition and a column per class, on one colour scale.

    Args:
        frame: a row per (condition, unit, class): mean, and the box in pixels.
        conditions: rows.
        classes: columns.
        size: height and width of the images, in pixels.
    """
    heads = [*shortened_apart(classes, 16), *[""] * (len(conditions) - 1) * len(classes)]
    grey, objects = np.full(size, 128, np.uint8), pd.DataFrame(columns=BOX_COLUMNS)
    cells = [
        frame[(frame["condition"] == condition) & (frame["class"] == name)]
        for condition in conditions
        for name in classes
    ]
    panels = [
        OverlayPanel(head, grey, -unit_values(cell, "mean", size, np.nan), objects, {}, "", "minus the average effect")
        for head, cell in zip(heads, cells, strict=True)
    ]
    largest = float(frame["mean"].abs().max()) or 1.0
    return overlay(panels, largest, columns=len(classes), rows=[*map(display_name, conditions)])
