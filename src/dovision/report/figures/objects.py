"""Figures of what objects and masks do: true effects, changes by attacks, and boxes and masks against controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.functional.intervals import EFFECT_INTERVALS, MEAN_INTERVALS, level_of_selected
from dovision.report.plots import average_effects_plot, draw_means, name_rows, strongest, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, selected, span
from dovision.report.style import FAINT, INK, MARKERS, PAPER, SMALL, canvas, series, shortened, styled
from dovision.results.mask_effects import INSIDE_MINUS, MASK_PLACES, mask_contrasts
from dovision.results.object_effects import cause_and_tag, changes_by_attacks, contrasts, object_effects, true_effects
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN

_MOST = 16  # pairs of a mask and a class that are drawn
_LOOKS: dict[str, dict[str, Any]] = {
    "inside": {"marker": "o"},
    "outside": {"marker": "s", "color": FAINT},
    "moved": {"marker": "o", "color": FAINT, "markerfacecolor": "none"},
}


@dataclass
class Objects(FigureComponent):
    """Figures of runs whose units are objects; none otherwise."""

    most: int  # pairs of a unit and a class that are drawn

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        yield from _true_effects(run, self.most)
        yield from _moves(run)
        yield from _forest(run)

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        tables = {run.label: contrasts(run.folder) for run in runs}
        painted = [run for run in runs if len(tables[run.label])]
        if len(painted) < 2:
            return
        frame = _clean(tables)
        shown = len(strongest(_drawn(frame), self.most))
        if shown < len(frame):
            level = level_of_selected(shown, len(frame))
            frame = _clean({run.label: contrasts(run.folder, level) for run in painted})
        drawn = _drawn(frame)
        text = "Effect of painting over an object's box minus that of its control boxes, run by run."
        whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(frame))}."
        words = caption(text, painted, f"n = {span(frame['images'])} images.", whiskers, drawn)
        figure = average_effects_plot(strongest(drawn, self.most), "effect of the box minus that of its controls")
        yield ReportFigure("box_minus_control", "Box minus control, run by run", words, figure, frame)


def _clean(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Contrasts of all jobs on clean images, in one table."""
    frame = pd.concat([table.assign(job=job) for job, table in tables.items() if len(table)])
    return _named(frame[frame["condition"] == CLEAN]).reset_index(drop=True)


def _drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """Differences in the format of average effects, with jobs as conditions."""
    names = {"difference": "mean", "job": "condition", "kind": "unit"}
    names |= {f"difference_{end}": end for end in ("low", "high", "reason")}
    return frame.drop(columns=["condition", "box_reason", "control_reason"]).rename(columns=names)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Contrasts with row names: the kind of object, and the class if different."""
    object_name, label = frame["kind"], frame["class"]
    return frame.assign(name=object_name.where(object_name == label, object_name + " on " + label))


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


def _moves(run: Run) -> Iterator[ReportFigure]:
    """Figure of cause and tag effects, clean against attacked; none without an attack or an image with both."""
    rows = true_effects(run.folder)
    both, changes = cause_and_tag(rows), changes_by_attacks(rows)
    if both.empty or changes.empty:
        return
    counts = both.groupby(["class", "condition"])["sample"].nunique()
    text = (
        "True effects (the object left out, all else equal) of the causes of the class, and of the tag that is only "
        "correlated with it, in log-odds, so that a saturated probability does not hide them; negative: evidence was "
        "taken away. Left: images that have both, and their means. Right: the same object of the same image, attacked "
        "minus clean. An attack on the cause, or on the tag, changes that kind most; one without a target changes both "
        "like the rib, which carries no information."
    )
    counted = f"n = {span(counts)} images (left), {span(changes['objects'])} objects (right)."
    words = caption(text, [run], counted, f"Whiskers: {MEAN_INTERVALS}.", changes)
    data = pd.concat([changes, both], ignore_index=True)  # the right panels, then the left one
    title = "What attacks do to the effects of cause and tag"
    yield ReportFigure("cause_against_tag", title, words, _cause_against_tag(both, changes), data)


@styled
def _cause_against_tag(pairs: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """Plot the cause's effect against the tag's, a point per image, a row per class."""
    classes, conditions = list(dict.fromkeys(changes["class"])), list(dict.fromkeys(pairs["condition"]))
    figure = canvas(6.75, 0.6 + 2.0 * len(classes))
    panels = figure.subplots(len(classes), 3, squeeze=False, width_ratios=(1.3, 1, 1))
    for (cloud, signed, sizes), label in zip(panels, classes, strict=True):
        of_class = changes[changes["class"] == label]
        kinds = list(dict.fromkeys(of_class["kind"]))
        for number, condition in enumerate(conditions):
            _cloud(cloud, pairs[(pairs["class"] == label) & (pairs["condition"] == condition)], condition, number)
            rows = of_class[of_class["condition"] == condition]
            position = np.array([kinds.index(object_name) for object_name in rows["kind"]], float)
            position += (number - len(conditions) / 2) * 0.5 / len(conditions)
            for axes, name in ((signed, "change"), (sizes, "size")):
                draw_means(axes, position, rows, number - 1, across=True, name=name, marker="o")
        cloud.set_title(f"effects on {shortened(label, 24)}, a point an image")
        cloud.set(xlabel="effect of taking its causes away (log-odds)", ylabel="... the tag (log-odds)")
        signed.set_title("change by the attack")
        sizes.set_title("size of the change")
        sizes.set_xlim(0, 1.05 * of_class["size_high"].fillna(of_class["size"]).max())
        for axes in (signed, sizes):
            name_rows(axes, kinds, 16)
            axes.set_xlabel("attacked minus clean (log-odds)")
        for axes in (cloud, signed):
            axes.axvline(0, color=INK, linewidth=0.8)
        cloud.axhline(0, color=INK, linewidth=0.8)
    return with_legend(figure, panels[0, :1])


def _cloud(axes: Axes, rows: pd.DataFrame, condition: str, number: int) -> None:
    """Plot each image, and the mean as a large marker."""
    colour = series(number - 1)["color"]
    axes.scatter(rows["cause"], rows["tag"], s=9, color=colour, alpha=0.45, linewidths=0)
    centre: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "markersize": 9, "markeredgecolor": PAPER}
    axes.plot([rows["cause"].mean()], [rows["tag"].mean()], color=colour, label=condition, linestyle="none", **centre)


def _forest(run: Run) -> Iterator[ReportFigure]:
    frame = contrasts(run.folder)
    if frame.empty:
        return
    frame = _named(frame)
    clean = frame[frame["condition"] == CLEAN].sort_values("difference", kind="stable")
    text = (
        "Painting over an object's box against painting over boxes of its size elsewhere in the same image, on the "
        "class that the object is evidence for; negative: evidence was taken away. n: images; p: of the "
        "difference in log-odds, two-sided, Holm-adjusted over the rows."
    )
    words = caption(text, [run], "", f"Whiskers: {EFFECT_INTERVALS}.", clean)
    yield ReportFigure("box_against_control", "Box against control", words, _forest_plot(clean), frame)


@styled
def _forest_plot(frame: pd.DataFrame) -> Figure:
    """Plot effects of object boxes and of control boxes, beside their differences."""
    figure = canvas(6.0, 0.7 + 0.25 * len(frame))
    means, difference = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    position = np.arange(float(len(frame)))
    hollow: dict[str, Any] = {"color": FAINT, "markerfacecolor": "none"}
    draw_means(means, position - 0.13, frame, -1, across=True, name="box", marker="o")
    draw_means(means, position + 0.13, frame, 0, across=True, name="control", **hollow)
    draw_means(difference, position, frame, 0, across=True, name="difference")
    means.set_title("box (filled) and its controls (hollow)")
    difference.set_title("box minus control")
    name_rows(means, frame["name"])
    for axes in (means, difference):
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("effect on the class probability")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    for height, (images, p) in enumerate(zip(frame["images"], frame["p_holm"], strict=True)):
        note = f"n = {images:,}" + ("" if pd.isna(p) else f", p = {p:.2g}")
        at = (1, height), (6, 0), ("axes fraction", "data"), "offset points"
        difference.annotate(note, *at, va="center", fontsize=SMALL)
    return figure


class Masks(FigureComponent):
    """Figure of effect sizes inside masks, outside, and for moved masks; none without mask units."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        frame = mask_contrasts(run.folder)
        clean = frame[frame["condition"] == CLEAN]
        if clean.empty:
            return
        shown = min(len(clean), _MOST)
        if shown < len(clean):
            frame = mask_contrasts(run.folder, level_of_selected(shown, len(clean)))
            clean = frame[frame["condition"] == CLEAN]
        drawn = clean.sort_values("inside", ascending=False, kind="stable").head(shown)
        text = (
            "Mean size of the effect of painting over a mask, over all that is outside it, and over the mask moved "
            "elsewhere, which has its area and shape; right: inside minus each, image by image. Positive: more "
            "evidence inside."
        )
        whiskers = f"Whiskers: {EFFECT_INTERVALS}{selected(shown, len(clean))}."
        words = caption(text, [run], f"n = {span(clean['images'])} images.", whiskers, clean)
        yield ReportFigure("mask_contrasts", "Inside the mask against elsewhere", words, _mask_forest(drawn), frame)


@styled
def _mask_forest(frame: pd.DataFrame) -> Figure:
    """Plot sizes (left) and paired differences (right), a row per mask and class."""
    figure = canvas(6.0, 1.1 + 0.45 * len(frame))
    sizes, differences = figure.subplots(1, 2, sharey=True)
    position = np.arange(float(len(frame)))
    for number, name in enumerate(MASK_PLACES):
        draw_means(sizes, position + 0.2 * (number - 1), frame, 0, name, across=True, name=name, **_LOOKS[name])
    for number, (name, other) in enumerate(INSIDE_MINUS.items()):
        look = _LOOKS[other] | {"color": INK}
        draw_means(differences, position + 0.2 * (number - 0.5), frame, 0, across=True, name=name, **look)
    name_rows(sizes, frame["mask"] + " on " + frame["class"])
    differences.axvline(0, color=INK, linewidth=0.8)
    sizes.set(title="size", xlabel="|effect| on the class probability")
    sizes.set_xlim(left=0)
    differences.set(title="inside minus", xlabel="difference in size")
    for axes in (sizes, differences):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return with_legend(figure, [sizes])
