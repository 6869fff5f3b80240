"""The figures of what the objects of images do: true effects, and boxes against controls."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dovision.analysis import object_moves
from dovision.analysis.object_effects import CONTRASTS, contrasts, object_effects, true_effects
from dovision.functional.intervals import LEVEL, MEAN_INTERVALS, level_of_selected
from dovision.report import plots
from dovision.report.figures import object_plots
from dovision.report.report_figure import ReportFigure, missing_intervals, selected, setup_sentence, span
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN

_MOST = 16  # pairs of a unit and a class that are drawn


def object_figures(run: Run) -> list[ReportFigure]:
    """The figures of a run whose units are the objects of images; none for any other."""
    return [*_true_effects(run), *_moves(run), *_forest(run)]


def _true_effects(run: Run) -> list[ReportFigure]:
    frame = object_effects(run.folder)
    if frame.empty:
        return []
    shown = len(plots.strongest(frame.assign(unit=frame["kind"]), _MOST))
    if shown < len(frame):
        frame = object_effects(run.folder, level_of_selected(shown, len(frame)))
    caption = (
        "Mean of P(class | the image drawn without the object) - P(class), all else equal: the effect itself, not an "
        f"estimate by a mask. {setup_sentence([run])} n = {span(frame['objects'])} objects. "
        f"Whiskers: {MEAN_INTERVALS}{selected(shown, len(frame))}.{missing_intervals(frame)}"
    )
    drawn = frame.assign(unit="no " + frame["kind"])
    figure = plots.average_effects_plot(plots.strongest(drawn, _MOST))
    return [ReportFigure("object_effects", "True effects of the objects", caption, figure, frame)]


def _moves(run: Run) -> list[ReportFigure]:
    """Clean against attacked; none without an attack, or without an image that has a cause and a tag."""
    rows = object_moves.relevant(true_effects(run.folder))
    pairs, changes = object_moves.pairs(rows), object_moves.moves(rows)
    if pairs.empty or changes.empty:
        return []
    counts = pairs.groupby(["class", "condition"])["sample"].nunique()
    caption = (
        "True effects, the object left out and all else equal, of what causes the class and of the tag that is only "
        "correlated with it, in log-odds, which a saturated probability does not hide; negative: evidence was taken "
        "away. Left: images that have both, and their means. Right: the same object of the same image, attacked minus "
        "clean. An attack on the cause, or on the tag, moves that kind most; one on nothing in particular moves them "
        f"like the rib, which means nothing. {setup_sentence([run])} n = {span(counts)} images (left), "
        f"{span(changes['objects'])} objects (right). Whiskers: {MEAN_INTERVALS}."
        f"{missing_intervals(changes)}"
    )
    figure = object_plots.cause_against_tag(pairs, changes)
    data = pd.concat([changes, pairs], ignore_index=True)  # the right panels, then the left one
    return [ReportFigure("cause_against_tag", "What attacks do to the effects of cause and tag", caption, figure, data)]


def _forest(run: Run) -> list[ReportFigure]:
    frame = contrasts(run.folder)
    if frame.empty:
        return []
    frame = frame.assign(name=_names(frame))
    clean = frame[frame["condition"] == CLEAN].sort_values("difference", kind="stable")
    caption = (
        "Painting over an object's box against painting over boxes of its size elsewhere in the same image, on the "
        f"class that the object speaks for; negative: evidence was taken away. {setup_sentence([run])} n: images; p: "
        f"two-sided, Holm-adjusted over the rows. Whiskers: {MEAN_INTERVALS}.{missing_intervals(clean)}"
    )
    return [ReportFigure("box_against_control", "Box against control", caption, object_plots.forest(clean), frame)]


def fill_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Boxes against controls, run by run; none with fewer than two runs that measured them."""
    found, frame = _clean_contrasts(runs, LEVEL)
    if len(found) < 2:
        return []
    shown = len(plots.strongest(_drawn(frame), _MOST))
    if shown < len(frame):
        _, frame = _clean_contrasts(found, level_of_selected(shown, len(frame)))
    drawn = _drawn(frame)
    caption = (
        "Effect of painting over an object's box minus that of its control boxes, run by run. "
        f"{setup_sentence(found)} n = {span(frame['images'])} images. "
        f"Whiskers: {MEAN_INTERVALS}{selected(shown, len(frame))}.{missing_intervals(drawn)}"
    )
    figure = plots.average_effects_plot(plots.strongest(drawn, _MOST), "effect of the box minus that of its controls")
    return [ReportFigure("box_minus_control", "Box minus control, run by run", caption, figure, frame)]


def _clean_contrasts(runs: Sequence[Run], level: float) -> tuple[list[Run], pd.DataFrame]:
    """The runs that measured boxes against controls, and what they found on clean images."""
    tables = {run.folder: contrasts(run.folder, level) for run in runs}
    found = [run for run in runs if len(tables[run.folder])]
    tables_of_runs = [tables[run.folder].assign(job=run.label) for run in found]
    frame = (
        pd.concat(tables_of_runs, ignore_index=True) if tables_of_runs else pd.DataFrame(columns=[*CONTRASTS, "job"])
    )
    frame = frame[frame["condition"] == CLEAN].reset_index(drop=True)
    return found, frame.assign(name=_names(frame))


def _drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """The differences as a figure of average effects takes them, the jobs in place of the conditions."""
    names = {"difference": "mean", "job": "condition", "kind": "unit"}
    names |= {f"difference_{end}": end for end in ("low", "high", "reason")}
    return frame.drop(columns=["condition", "box_reason", "control_reason"]).rename(columns=names)


def _names(frame: pd.DataFrame) -> list[str]:
    pairs = zip(frame["kind"], frame["class"], strict=True)
    return [kind if kind == label else f"{kind} on {label}" for kind, label in pairs]
