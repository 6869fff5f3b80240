"""Tables of the attacks of a run: their strength where it detects them, and their success label by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.intervals import SHARE_INTERVALS, share_interval
from dovision.report.report_figure import FigureComponent, ReportFigure, bracketed, caption, span
from dovision.report.tables import Ruled
from dovision.store.detection_tables import ATTACKS, MASKED, SHARES, attack_rates
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, read_samples

BRACKETS = f"In brackets: {SHARE_INTERVALS}."
_HEADS = ("epsilon", "right of images", "success", "success at 8 bits", "robust accuracy", "largest Linf", "mean L2")


class Attacks(FigureComponent):
    """Strength of the attacks that detectors are tested on, and success by label where a task has several labels."""

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if (run.folder / ATTACKS).is_file():
            yield _strength(run)
        frame = label_success(run.folder, run.config.get("dataset", {}).get("classes", []))
        if len(frame):
            yield _labels(run, frame)


def _strength(run: Run) -> ReportFigure:
    frame = attack_rates(run.folder)
    queries = run.facts.get("condition_queries", {})
    pairs = zip(frame["attack"], frame["eps"], strict=True)
    frame["passes"] = [queries.get(attack, {}).get(f"{eps:g}") for attack, eps in pairs]
    text = (
        "Success: of the test images that are right when clean, the share that is wrong when attacked; with several "
        "labels an image is right if each of its known labels is. Robust accuracy: of all test images, the share that "
        "is right before and after the attack. All together: an image counts if any of the attacks succeeds. Passes: "
        f"forward passes of the classifier for an image.{_health(run)}{_failed(run)}"
    )
    words = caption(text, [run], f"n = {span(frame['images'])} images.", BRACKETS, frame)
    table = Ruled([*_HEADS, "passes"], [(str(row["attack"]), _cells(row)) for _, row in frame.iterrows()])
    return ReportFigure.of_table("detection_attacks", "The attacks", words, frame, table)


def _health(run: Run) -> str:
    share = run.facts.get("condition_dead_gradients")
    if share is None:
        return ""
    masked = " Attacks by gradient may fail for want of one, which is no sign of robustness." if share > MASKED else ""
    return f" Zero or not finite: {share:.1%} of the clean images' gradients.{masked}"


def _failed(run: Run) -> str:
    failed = run.facts.get("failed_attacks", {})
    listed = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
    return f" Failed, and left out: {listed}." if listed else ""


def _cells(row: pd.Series) -> list[str]:
    shares = [bracketed(row, name) for name in SHARES]
    numbers = ["-" if pd.isna(row[name]) else f"{row[name]:,.4g}" for name in ("linf", "l2", "passes")]
    return [f"{row['eps']:.3g}", f"{row['right']:,} of {row['images']:,}", *shares, *numbers]


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
                row |= share_interval(share, clean["group"].to_numpy()).columns(name)
            rows.append(row)
    return pd.DataFrame(rows)


def _labels(run: Run, frame: pd.DataFrame) -> ReportFigure:
    text = (
        "Success of a label: of the images whose label is known and predicted rightly when clean, the share for which "
        "it is predicted wrongly when attacked, whatever becomes of the other labels. Robust accuracy: of the images "
        "whose label is known, the share that is right before and after. In all other tables an image is right if "
        "each of its known labels is, and an attack succeeds if it changes one of them."
    )
    words = caption(text, [run], f"n = {span(frame['known'])} images.", BRACKETS, frame)
    rows = []
    for _, row in frame.iterrows():
        shares = [bracketed(row, name) for name in ("success", "robust_accuracy")]
        rows.append((str(row["class"]), [str(row["condition"]), f"{row['known']:,}", f"{row['right']:,}", *shares]))
    table = Ruled(("condition", "known", "right when clean", "success", "robust accuracy"), rows)
    return ReportFigure.of_table("label_success", "Attack success, label by label", words, frame, table)
