"""Tables of headline numbers and of the classifier's quality: job by job, and class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dovision.analysis import summary
from dovision.analysis.headline_text import HEADLINE_METRICS, METRIC_HEADS, number_form
from dovision.functional.intervals import BOTH_INTERVALS, SHARE_INTERVALS
from dovision.report.report_figure import FigureComponent, ReportFigure, bracketed, caption, images
from dovision.report.tables import Ruled
from dovision.store.run_record import Run

MEANING = (  # of the metrics of the classifier
    "AUROC, sensitivity and specificity are those of the second class where there are two, and means over classes "
    "otherwise; calibration error: the expected one, in 15 bins of the highest probability (of several labels: the "
    "mean of theirs)."
)
_OF_CLASS = (
    "images",
    "prevalence",
    "accuracy",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "auroc",
    "calibration_error",
)
_ENDS = {"": "estimate", "_low": "low", "_high": "high", "_reason": "reason"}


class Results(FigureComponent):
    """Headline numbers and quality of the classifier of all jobs, in files alone; its quality by class of each run."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        frame = results_frame(runs)
        yield _results("results", "Headline numbers", "", frame, HEADLINE_METRICS, runs)
        yield _results("classifier_quality", "Quality of the classifier", MEANING, frame, summary.QUALITY, runs)

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        yield _classes(run)


def results_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Headline numbers by job and condition: job, condition, eps, images, labels, metrics with _low, _high, _reason."""
    rows = []
    for run in runs:
        labels = summary.label_counts(run.summary["labels"])
        for condition, found in run.summary["conditions"].items():
            of_row = {"job": run.label, "condition": condition, "eps": found["eps"], "images": found["images"]}
            rows.append(of_row | {"labels": labels} | _intervals(found, summary.METRICS))
    return pd.DataFrame(rows)


def cells(row: pd.Series, metrics: Sequence[str]) -> list[str]:
    """Cells of a row of `results_frame`: condition, images, images by class, "estimate [low, high]" of each metric."""
    return [str(row["condition"]), f"{row['images']:,}", row["labels"], *(_cell(row, metric) for metric in metrics)]


def _results(
    name: str, title: str, text: str, frame: pd.DataFrame, metrics: Sequence[str], runs: Sequence[Run]
) -> ReportFigure:
    rows = [(str(row["job"]), cells(row, metrics)) for _, row in frame.iterrows()]
    table = Ruled(["condition", "images", "images by class", *(METRIC_HEADS[metric] for metric in metrics)], rows)
    data = frame[[*frame.columns[:5], *(f"{metric}{end}" for metric in metrics for end in _ENDS)]]
    words = caption(text, runs, images(frame["images"]), f"In brackets: {BOTH_INTERVALS}.", data)
    return ReportFigure.of_table(name, title, words, data, table, on_page=False)


def class_table(run: Run) -> pd.DataFrame:
    """A row per (condition, class): each metric with NAME_low, NAME_high and NAME_reason; nan: not defined."""
    rows = [
        {"condition": condition, "class": name} | _intervals(own, _OF_CLASS)
        for condition, found in run.summary["conditions"].items()
        for name, own in found["classes"].items()
    ]
    frame = pd.DataFrame(rows)
    numbers = [name for name in frame.columns[2:] if not name.endswith("_reason")]
    return frame.astype(dict.fromkeys(numbers, float))


def _classes(run: Run) -> ReportFigure:
    frame = class_table(run)
    metrics = [name for name in _OF_CLASS if frame[name].notna().any()]
    if frame["accuracy"].equals(frame["sensitivity"]):
        metrics.remove("accuracy")
    rows = []
    for _, row in frame.iterrows():
        numbers = [bracketed(row, name) if name != "images" else f"{row[name]:,.0f}" for name in metrics]
        rows.append((str(row["condition"]), [str(row["class"]), *numbers]))
    heads = ["class", *("AUROC" if name == "auroc" else METRIC_HEADS[name] for name in metrics)]
    text = (
        "Each class against all others. Sensitivity: the share of its images for which it is predicted. A label is "
        "predicted if its probability reaches its threshold; its accuracy is the share of right predictions. "
        "-: not defined on these images."
    )
    most = max(found["images"] for found in run.summary["conditions"].values())
    counted = f"n = {most:,} images in each condition."
    words = caption(text, [run], counted, f"In brackets: {SHARE_INTERVALS}.", frame)
    return ReportFigure.of_table(
        "classes", "Quality of the classifier, class by class", words, frame, Ruled(heads, rows)
    )


def _intervals(found: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """Each metric with its interval, as columns; None where it is not known."""
    return {f"{name}{end}": (found.get(name) or {}).get(key) for name in metrics for end, key in _ENDS.items()}


def _cell(row: pd.Series, metric: str) -> str:
    return bracketed(row, metric, number_form(metric, row[metric]))
