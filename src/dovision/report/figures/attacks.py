"""The table of the attacks of a run that detects."""

from __future__ import annotations

import pandas as pd

from dovision.functional.intervals import SHARE_INTERVALS
from dovision.report.latex import Ruled
from dovision.report.plots import results_table
from dovision.report.report_figure import ReportFigure, bracketed, missing_intervals, setup_sentence, span
from dovision.store.attack_tables import ATTACKS, MASKED, SHARES, attack_rates
from dovision.store.run_record import Run

_HEADS = (
    "epsilon",
    "right of images",
    "success",
    "success at 8 bits",
    "robust accuracy",
    "largest Linf",
    "mean L2",
    "passes",
)


def attack_figures(run: Run) -> list[ReportFigure]:
    """The strength of the attacks that detectors are tested on; none where nothing is detected."""
    if not (run.folder / ATTACKS).is_file():
        return []
    frame = attack_rates(run.folder)
    queries = run.facts.get("condition_queries", {})
    frame["passes"] = [
        queries.get(attack, {}).get(f"{eps:g}") for attack, eps in zip(frame["attack"], frame["eps"], strict=True)
    ]
    caption = (
        "Success: of the test images that are right when clean, those that are wrong when attacked; with several "
        "labels an image is right if each of its known labels is. Robust accuracy: of all test images, those right "
        "before and after the attack. All together: an image is beaten if one of the attacks beats it. Passes: of "
        f"the classifier, for an image. {_health(run)}{_failed(run)}"
        f"n = {span(frame['images'])} images. In brackets: {SHARE_INTERVALS}."
        f"{missing_intervals(frame)} {setup_sentence([run])}"
    )
    table = Ruled(_HEADS, [(str(row["attack"]), _cells(row)) for _, row in frame.iterrows()])
    return [ReportFigure("detection_attacks", "The attacks", caption, results_table(*table), frame, table)]


def _health(run: Run) -> str:
    share = run.facts.get("condition_dead_gradients")
    if share is None:
        return ""
    masked = " Attacks by gradient may fail for want of one, which is no sign of robustness." if share > MASKED else ""
    return f"Zero or not finite: {share:.1%} of the clean images' gradients.{masked} "


def _failed(run: Run) -> str:
    failed = run.facts.get("failed_attacks", {})
    listed = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
    return f"Failed, and left out: {listed}. " if listed else ""


def _cells(row: pd.Series) -> list[str]:
    shares = [bracketed(row, name) for name in SHARES]
    numbers = ["-" if pd.isna(row[name]) else f"{row[name]:,.4g}" for name in ("linf", "l2", "passes")]
    return [f"{row['eps']:.3g}", f"{row['right']:,} of {row['images']:,}", *shares, *numbers]
