"""The quality of the classifier, class by class, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dovision.functional.intervals import SHARE_INTERVALS
from dovision.report.latex import Ruled
from dovision.report.plots import results_table
from dovision.report.report_figure import ReportFigure, bracketed, missing_intervals, setup_sentence
from dovision.store.run_record import Run

_DRAWN = 100  # rows of the table in its figure; its CSV and its LaTeX have all
_HEADS = {
    "images": "images",
    "prevalence": "prevalence",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "calibration_error": "calibration error",
}


def class_table(run: Run) -> pd.DataFrame:
    """A row per (condition, class): each metric of HEADS with NAME_low, NAME_high and NAME_reason; nan: not defined."""
    ends = {"": "estimate", "_low": "low", "_high": "high", "_reason": "reason"}
    rows = [
        {"condition": condition, "class": name}
        | {f"{metric}{end}": own.get(metric, {}).get(key) for metric in _HEADS for end, key in ends.items()}
        for condition, found in run.summary["conditions"].items()
        for name, own in found["classes"].items()
    ]
    frame = pd.DataFrame(rows)
    numbers = [name for name in frame.columns[2:] if not name.endswith("_reason")]
    return frame.astype(dict.fromkeys(numbers, float))


def class_figure(run: Run) -> ReportFigure:
    """The table of `class_table`."""
    frame = class_table(run)
    metrics = [name for name in _HEADS if frame[name].notna().any()]
    if frame["accuracy"].equals(frame["sensitivity"]):
        metrics.remove("accuracy")
    table = Ruled(
        ["class", *(_HEADS[name] for name in metrics)],
        [(str(row["condition"]), _cells(row, metrics)) for _, row in frame.iterrows()],
    )
    cut = f" Drawn: the first {_DRAWN} of {len(frame):,} rows." if len(frame) > _DRAWN else ""
    images = max(found["images"] for found in run.summary["conditions"].values())
    caption = (
        "Each class against all others. Sensitivity: the share of its images of which it is predicted, which is the "
        "accuracy of a class; a label is predicted from its threshold on, and its accuracy is the share predicted "
        f"rightly. -: not defined by these images. {setup_sentence([run])} n = {images:,} images in each condition. "
        f"In brackets: {SHARE_INTERVALS}.{missing_intervals(frame)}{cut}"
    )
    figure = results_table(table.heads, table.rows[:_DRAWN])
    return ReportFigure("classes", "Quality of the classifier, class by class", caption, figure, frame, table)


def _cells(row: pd.Series, metrics: Sequence[str]) -> list[str]:
    return [str(row["class"]), f"{row['images']:,.0f}", *(bracketed(row, name) for name in metrics if name != "images")]
