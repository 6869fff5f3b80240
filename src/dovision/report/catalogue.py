"""From runs to figures with their captions, and to the table of headline numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis import average_effect, summary
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import BOTH_INTERVALS, MEAN_INTERVALS, level_of_selected
from dovision.report import plots
from dovision.report.ecdf import ecdf
from dovision.report.figures.attacks import attack_figures
from dovision.report.figures.channels import channel_figures
from dovision.report.figures.classes import class_figure
from dovision.report.figures.detection import detection_figures
from dovision.report.figures.detection_tables import seed_figures
from dovision.report.figures.epsilon import epsilon_figures
from dovision.report.figures.grid import grid_figures
from dovision.report.figures.label_success import label_figures
from dovision.report.figures.maps import map_figures
from dovision.report.figures.objects import fill_figures, object_figures
from dovision.report.figures.shortcut import shortcut_figures
from dovision.report.gallery import gallery
from dovision.report.latex import Ruled
from dovision.report.report_figure import (
    ReportFigure,
    bracketed,
    images,
    missing_intervals,
    selected,
    setup_sentence,
    span,
)
from dovision.report.style import FEWEST_FOR_CURVE, SIGN
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, largest_effect, read_effects, read_samples
from dovision.store.thumbnails import CHOSEN, load_thumbnail, samples_in_conditions, thumbnail_path
from dovision.types import Box

GALLERY = "gallery"  # the figure of saved images, whose numbers are their effect maps
MEANING = (  # what the metrics of the classifier are
    "AUROC, sensitivity and specificity are those of the second class where there are two, and means over classes "
    "otherwise; calibration error: the expected one, in 15 bins of the highest probability (of several labels: the "
    "mean of theirs)."
)
HEADLINE_METRICS = ("accuracy", *(name for name in summary.METRICS if name not in summary.QUALITY))  # and of attacks
ROWS_DRAWN = 100  # rows of the table of headline numbers in its figure; its CSV and its LaTeX have all
METRIC_HEADS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "classifier_auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_error": "calibration error",
    "success_rate": "attack success",
    "success_8bit": "success at 8 bits",
    "robust_accuracy": "robust accuracy",
    "mean_abs_expected_effect": "mean |ECE|",
    "auroc": "AUROC of |ECE|, not adaptive",
}


def results_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Headline numbers by job and condition: job, condition, eps, images, labels, metrics with _low, _high, _reason."""
    rows = []
    for run in runs:
        labels = summary.label_counts(run.summary["labels"])
        for condition, found in run.summary["conditions"].items():
            row: dict[str, Any] = {"job": run.label, "condition": condition, "eps": found["eps"]}
            row |= {"images": found["images"], "labels": labels}
            for metric in summary.METRICS:
                interval = found[metric] or dict.fromkeys(("estimate", "low", "high", "reason"))
                row |= {
                    metric: interval["estimate"],
                    f"{metric}_low": interval["low"],
                    f"{metric}_high": interval["high"],
                    f"{metric}_reason": interval["reason"],
                }
            rows.append(row)
    return pd.DataFrame(rows)


def cells(row: pd.Series, metrics: Sequence[str]) -> list[str]:
    """Cells of a row of `results_frame`: condition, images, images by class, "estimate [low, high]" of each metric."""
    return [str(row["condition"]), f"{row['images']:,}", row["labels"], *(_interval(row, metric) for metric in metrics)]


def sweep_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The figures that compare completed runs: seeds, a shortcut, fills, grids, attacks and epsilons."""
    compared = [*seed_figures(runs), *shortcut_figures(runs), *fill_figures(runs), *grid_figures(runs)]
    return [*compared, *epsilon_figures(runs), *_against_epsilon(runs)]


def results_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The tables of headline numbers and of the classifier's quality as figures; a page has them as tables."""
    frame, setup = results_frame(runs), setup_sentence(runs)
    quality = "classifier_quality", "Quality of the classifier", frame, summary.QUALITY, f"{MEANING} {setup}"
    return [_results("results", "Headline numbers", frame, HEADLINE_METRICS, setup), _results(*quality)]


def _results(name: str, title: str, frame: pd.DataFrame, metrics: Sequence[str], setup: str) -> ReportFigure:
    rows = [(str(row["job"]), cells(row, metrics)) for _, row in frame.iterrows()]
    table = Ruled(["condition", "images", "images by class", *(METRIC_HEADS[metric] for metric in metrics)], rows)
    cut = f" Drawn: the first {ROWS_DRAWN} of {len(rows):,} rows." if len(rows) > ROWS_DRAWN else ""
    figure = plots.results_table(table.heads, rows[:ROWS_DRAWN])
    ends = ("", "_low", "_high", "_reason")
    columns = [*frame.columns[:5], *(f"{metric}{end}" for metric in metrics for end in ends)]
    caption = (
        f"{setup} {images(frame['images'])} In brackets: {BOTH_INTERVALS}.{missing_intervals(frame[columns])}{cut}"
    )
    return ReportFigure(name, title, caption, figure, frame[columns], table)


def run_figures(run: Run) -> list[ReportFigure]:
    """The figures of one completed run: of its maps and parts, where it has any; then gallery, |ECE|, averages."""
    averaged = average_effect.average_effects(run.folder)
    general = [*_gallery(run), _distribution(run), _average_effects(run, averaged), *channel_figures(run, averaged)]
    attacks = [*attack_figures(run), *label_figures(run), class_figure(run)]
    return [*detection_figures(run), *attacks, *map_figures(run), *object_figures(run), *general]


def _against_epsilon(runs: Sequence[Run]) -> list[ReportFigure]:
    metric = "mean_abs_expected_effect"
    columns = {metric: "mean", f"{metric}_low": "low", f"{metric}_high": "high", f"{metric}_reason": "reason"}
    frame = results_frame(runs)[["job", "condition", "eps", "images", *columns]].rename(columns=columns)
    if not frame["eps"].any():
        return []
    jobs, named = frame["job"].nunique(), plots.outstanding(frame)
    others = f"Named: of {jobs} jobs the three highest and the three lowest; grey: the others. " * (jobs > len(named))
    caption = (
        "Mean over images and units of the absolute expected causal effect, clean (epsilon 0) and attacked. "
        f"{others}{setup_sentence(runs)} {images(frame['images'])} Whiskers: {MEAN_INTERVALS}."
        f"{missing_intervals(frame)}"
    )
    figure = plots.effect_against_epsilon(frame)
    return [ReportFigure("effect_against_epsilon", "Mean |ECE| against epsilon", caption, figure, frame)]


def _distribution(run: Run) -> ReportFigure:
    samples = read_samples(run.folder)
    samples = samples.dropna(subset=["mean_abs_expected_effect"])  # an image without a unit has none
    noise = str(run.config["attack"].get("_target_")).endswith(".RandomSign")  # which is not out to succeed
    chosen = samples[(samples["condition"] == CLEAN) | (samples["success"] == True) | noise]  # noqa: E712  (null is neither)
    parts = [
        ecdf(rows["mean_abs_expected_effect"]).assign(condition=condition, images=len(rows))
        for condition, rows in chosen.groupby("condition", sort=False)
    ]
    frame = pd.concat(parts, ignore_index=True)
    silent = [condition for condition in samples["condition"].unique() if condition not in set(chosen["condition"])]
    others = "all images with noise" if noise else "the attacked images on which the attack succeeded"
    caption = f"All clean images, and {others}. {setup_sentence([run])}"
    missing = f" No attack succeeded at {', '.join(silent)}." if silent else ""
    return ReportFigure(
        "effect_distribution",
        "Distribution of |ECE|, clean against attacked",
        f"{caption}{missing} n = {span(frame['images'])} images a line; dots where fewer than {FEWEST_FOR_CURVE}. "
        "No interval; values below 1/10,000 of the largest, or below "
        f"{RESOLUTION:.0e}, the resolution of float32 probabilities, stand at the left edge.",
        plots.effect_distribution(frame),
        frame,
    )


def _average_effects(run: Run, frame: pd.DataFrame, most: int = 10) -> ReportFigure:
    shown = plots.strongest(frame, most)
    data = average_effect.at_level(frame, level_of_selected(len(shown), len(frame)))
    return ReportFigure(
        "average_effects",
        "Largest average effects",
        f"Mean over images of P(class | do(unit)) - P(class): the largest of {len(frame):,}. {setup_sentence([run])} "
        f"{images(frame['images'])} Whiskers: {MEAN_INTERVALS}"
        f"{selected(len(shown), len(frame))}.{missing_intervals(data)}",
        plots.average_effects_plot(plots.strongest(data, most)),
        data,
    )


def _gallery(run: Run, most: int = 4) -> list[ReportFigure]:
    samples = read_samples(run.folder)
    every = list(samples["condition"].unique())
    conditions = every[:most]
    pictured = samples_in_conditions(run.folder, every)
    effects = read_effects(run.folder, pictured)
    measured = set(effects["sample"])
    chosen = [sample for sample in pictured if sample in measured][:most]
    if not chosen:
        return []
    largest = largest_effect(effects)
    frame = _shown(samples, effects[effects["sample"].isin(chosen)], conditions)
    frame = frame.sort_values("sample", key=lambda sample: sample.map(chosen.index), kind="stable")
    pictures = {
        (s, condition): load_thumbnail(thumbnail_path(run.folder, s, condition))
        for s in chosen
        for condition in conditions
    }
    caption = (
        f"Images and the effect of each unit on the likeliest class; {SIGN}. One scale for all saved images, "
        f"conditions and classes of the job. {setup_sentence([run])} n = {len(chosen)}, {CHOSEN}; "
        "single images, so no interval."
    )
    return [ReportFigure(GALLERY, "Images and effect maps", caption, gallery(pictures, frame, largest), frame)]


def _shown(samples: pd.DataFrame, effects: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """Per (sample, condition, unit) the effect on the likeliest class of that condition."""
    classes = list(dict.fromkeys(effects["class"]))
    highest = effects.groupby(["sample", "condition"])["control"].transform("max")
    predicted = effects[effects["control"] == highest].rename(columns={"class": "predicted"})
    predicted = predicted[predicted["condition"].isin(conditions)].drop_duplicates(["sample", "condition", "unit"])
    label = samples.set_index(["sample", "condition"])["label"]
    names = [label_names(label[key], classes) for key in zip(predicted["sample"], predicted["condition"], strict=True)]
    columns = ["sample", "condition", "unit", "predicted", "control", "label", "effect", *Box._fields]
    return predicted.assign(label=names)[columns]


def _interval(row: pd.Series, metric: str) -> str:
    if metric != "mean_abs_expected_effect":
        return bracketed(row, metric)
    return bracketed(row, metric, ".1e" if pd.notna(row[metric]) and row[metric] < 0.001 else ".4f")


def label_names(label: Any, classes: Sequence[str]) -> str:
    """The name of a class number, or the names of the labels that a list of zeros and ones has."""
    if np.ndim(label) == 0:
        return classes[int(label)]
    return ", ".join(name for name, is_set in zip(classes, label, strict=True) if is_set == 1) or "none"
