"""Attack success label by label, where a task has several: an image is beaten as soon as one of its labels is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.intervals import SHARE_INTERVALS, interval_columns, share_interval
from dovision.report.latex import Ruled
from dovision.report.plots import results_table
from dovision.report.report_figure import ReportFigure, bracketed, missing_intervals, setup_sentence, span
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, read_samples

_HEADS = ("condition", "known", "right when clean", "success", "robust accuracy")


def label_success(folder: Path, classes: Sequence[str]) -> pd.DataFrame:
    """A row per (class, condition) of a multilabel run with an attack; no rows for any other.

    known, right        images of which the label is known; of these predicted rightly when clean
    success             share of those that were right which are wrong when attacked
    robust_accuracy     share of the known ones that are right before and after the attack

    The shares have their intervals in NAME_low and NAME_high, NAME_reason says why there is none.

    Args:
        folder: the run directory.
        classes: names of the labels.
    """
    samples = read_samples(folder).set_index("sample")
    clean, attacked = samples[samples["condition"] == CLEAN], samples[samples["condition"] != CLEAN]
    if attacked.empty or np.ndim(clean["label"].iloc[0]) == 0:
        return pd.DataFrame()
    truth, before = (np.stack(clean[name]) for name in ("label", "prediction"))
    rows = []
    for number, label in enumerate(classes):
        known = truth[:, number] >= 0
        right = known & (before[:, number] == truth[:, number])
        for condition, own in attacked.groupby("condition", sort=False):
            after = np.stack(own.loc[clean.index, "prediction"])[:, number]
            held = right & (after == truth[:, number])
            row: dict[str, Any] = {"class": label, "condition": condition, "known": known.sum(), "right": right.sum()}
            for name, over, hit in (("success", right, ~held), ("robust_accuracy", known, held)):
                share = np.where(over, hit, np.nan).astype(float)
                row |= interval_columns(name, share_interval(share, clean["group"].to_numpy()))
            rows.append(row)
    return pd.DataFrame(rows)


def label_figures(run: Run) -> list[ReportFigure]:
    """The table of `label_success`; none where no label was attacked."""
    classes = run.config.get("dataset", {}).get("classes", [])
    frame = label_success(run.folder, classes)
    if frame.empty:
        return []
    caption = (
        "Label by label. Success: of the images of which the label is known and predicted rightly when clean, those of "
        "which it is predicted wrongly when attacked, whatever becomes of the other labels. Robust accuracy: of those "
        "of which it is known, those right before and after. (Image by image, as in all other tables, an image is "
        "right if each of its known labels is, and beaten once one of them is wrong.) "
        f"{setup_sentence([run])} n = {span(frame['known'])} images. In brackets: {SHARE_INTERVALS}."
        f"{missing_intervals(frame)}"
    )
    table = Ruled(_HEADS, [(str(row["class"]), _cells(row)) for _, row in frame.iterrows()])
    return [
        ReportFigure("label_success", "Attack success, label by label", caption, results_table(*table), frame, table)
    ]


def _cells(row: pd.Series) -> list[str]:
    shares = [bracketed(row, name) for name in ("success", "robust_accuracy")]
    return [str(row["condition"]), f"{row['known']:,}", f"{row['right']:,}", *shares]
