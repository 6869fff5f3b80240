"""Figures of what objects and masks do: true effects, and boxes and masks against their controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from dovision.functional.intervals import EFFECT_INTERVALS, LEVEL, level_of_selected
from dovision.report.plots import average_effects_plot, forest, interval_columns, strongest
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, selected, span
from dovision.results.mask_effects import INSIDE_MINUS, MASK_PLACES, mask_contrasts
from dovision.results.object_effects import contrasts, object_effects
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN

_AVERAGES = {  # columns of contrasts as those of average effects, with jobs as conditions
    "job": "condition",
    "kind": "unit",
    "difference": "mean",
    "difference_low": "low",
    "difference_high": "high",
    "difference_reason": "reason",
}


@dataclass
class Objects(FigureComponent):
    """Figures of runs whose units are objects or masks; none otherwise."""

    most: int  # pairs of a unit and a class that are drawn

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        yield from _true_effects(run, self.most)
        yield from _boxes(run)
        yield from _masks(run, self.most)

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        painted = [run for run in runs if len(contrasts(run.folder))]
        if len(painted) < 2:
            return
        frame = _contrasts(painted)
        shown = len(strongest(frame.drop(columns="condition").rename(columns=_AVERAGES), self.most))
        if shown < len(frame):
            frame = _contrasts(painted, level_of_selected(shown, len(frame)))
        drawn = frame.drop(columns=["condition", "box_reason", "control_reason"]).rename(columns=_AVERAGES)
        text = "Effect of painting over an object's box minus that of its control boxes, run by run."
        whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(frame))}."
        words = caption(text, painted, f"n = {span(frame['images'])} images.", whiskers, drawn)
        figure = average_effects_plot(strongest(drawn, self.most), "effect of the box minus that of its controls")
        yield ReportFigure("box_minus_control", "Box minus control, run by run", words, figure, frame)


def _contrasts(runs: Sequence[Run], level: float = LEVEL) -> pd.DataFrame:
    """Contrasts of all runs on clean images, with their job."""
    frame = pd.concat([contrasts(run.folder, level).assign(job=run.label) for run in runs])
    return frame[frame["condition"] == CLEAN].reset_index(drop=True)


def _true_effects(run: Run, most: int) -> Iterator[ReportFigure]:
    frame = object_effects(run.folder)
    if frame.empty:
        return
    shown = len(strongest(frame.assign(unit=frame["kind"]), most))
    if shown < len(frame):
        frame = object_effects(run.folder, level_of_selected(shown, len(frame)))
    text = (
        "Mean of P(class | the image drawn without the object) - P(class), all else equal: the effect itself, not an "
        "estimate by a mask."
    )
    whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(frame))}."
    words = caption(text, [run], f"n = {span(frame['objects'])} objects.", whiskers, frame)
    figure = average_effects_plot(strongest(frame.assign(unit="no " + frame["kind"]), most))
    yield ReportFigure("object_effects", "True effects of the objects", words, figure, frame)


def _boxes(run: Run) -> Iterator[ReportFigure]:
    frame = contrasts(run.folder)
    if frame.empty:
        return
    clean = frame[frame["condition"] == CLEAN].sort_values("difference", kind="stable")
    text = (
        "Painting over an object's box against painting over boxes of its size elsewhere in the same image, on the "
        "class that the object is evidence for; negative: evidence was taken away. n: images; p: of the "
        "difference in log-odds, two-sided, Holm-adjusted over the rows."
    )
    words = caption(text, [run], "", f"Whiskers: {EFFECT_INTERVALS}.", clean)
    names = clean["kind"].where(clean["kind"] == clean["class"], clean["kind"] + " on " + clean["class"])
    names = names + clean["images"].map(" (n = {:,}".format) + clean["p_holm"].map(", p = {:.2g})".format)
    panels = {"effect": ("box", "control"), "box minus control": ("difference",)}
    drawn = {title: {name: interval_columns(clean, name) for name in of_panel} for title, of_panel in panels.items()}
    figure = forest(names.str.replace(", p = nan", ""), drawn, "effect on the class probability")
    yield ReportFigure("box_against_control", "Box against control", words, figure, frame)


def _masks(run: Run, most: int) -> Iterator[ReportFigure]:
    frame = mask_contrasts(run.folder)
    clean = frame[frame["condition"] == CLEAN]
    if clean.empty:
        return
    shown = min(len(clean), most)
    if shown < len(clean):
        frame = mask_contrasts(run.folder, level_of_selected(shown, len(clean)))
        clean = frame[frame["condition"] == CLEAN]
    text = (
        "Mean size of the effect of painting over a mask, over all that is outside it, and over the mask moved "
        "elsewhere, which has its area and shape; right: inside minus each, image by image. Positive: more "
        "evidence inside."
    )
    whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(clean))}."
    words = caption(text, [run], f"n = {span(clean['images'])} images.", whiskers, clean)
    drawn = clean.sort_values("inside", ascending=False, kind="stable").head(shown)
    sizes = {name: interval_columns(drawn, name) for name in MASK_PLACES}
    minus = {f"inside minus {other}": interval_columns(drawn, name) for name, other in INSIDE_MINUS.items()}
    panels = {"size": sizes, "inside minus": minus}
    figure = forest(drawn["mask"] + " on " + drawn["class"], panels, "|effect| on the class probability")
    yield ReportFigure("mask_contrasts", "Inside the mask against elsewhere", words, figure, frame)
