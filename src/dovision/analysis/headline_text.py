"""Headline metrics in words, and numbers with their intervals as text: the same on the page and on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dovision.analysis.summary import METRICS, QUALITY
from dovision.functional.intervals import SATURATED

MEAN_EFFECT = "mean_abs_expected_effect"
HEADLINE_METRICS = ("accuracy", *(name for name in METRICS if name not in QUALITY))  # and of attacks
METRIC_HEADS = {
    "images": "images",
    "prevalence": "prevalence",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "classifier_auroc": "AUROC",
    "auroc": "AUROC of |expected effect|, not adaptive",
    "calibration_error": "calibration error",
    "success_rate": "attack success",
    "success_8bit": "success at 8 bits",
    "robust_accuracy": "robust accuracy",
    MEAN_EFFECT: "mean |expected effect|",
}


def interval_text(interval: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """A number with its interval, as "estimate [low, high]".

    "-" stands for what there is not, the number or its interval; "saturated" for an effect that is rounding. A number
    that has no interval by its nature, an empty reason, stands alone.

    Args:
        interval: `estimate`, `low`, `high`, and, where it has intervals that are withheld, `reason`; None: no number.
        form: how each number is written.
    """
    if interval is None or pd.isna(interval["estimate"]):
        return "-"
    estimate, low, high, reason = *(interval[name] for name in ("estimate", "low", "high")), interval.get("reason")
    if reason == SATURATED:
        return "saturated"
    if pd.isna(low):
        return f"{estimate:{form}}" if reason == "" else f"{estimate:{form}} [-]"
    return f"{estimate:{form}} [{low:{form}}, {high:{form}}]"


def metric_text(metric: str, interval: Mapping[str, Any] | None) -> str:
    """A headline metric with its interval, to as many places as suit the metric."""
    estimate = None if interval is None else interval["estimate"]
    return interval_text(interval, number_form(metric, estimate))


def number_form(metric: str, value: float | None) -> str:
    """The format of a metric's numbers."""
    if metric != MEAN_EFFECT:
        return ".3f"
    return ".1e" if value is not None and value < 0.001 else ".4f"
