"""Keys of run.json and summary.json that several modules read, and the digest by which an edited run.json is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dovision.io.text_files import read_json

SUMMARY = "summary.json"
STATES = ("running", "completed", "partial", "failed", "interrupted")
RECORD_FORMAT = 3  # of run.json and summary.json; raised whenever a key changes its name or meaning
DIGEST = "digest"  # of the other facts of a run record
DIGESTS = "digests"  # of the files of a completed run
QUALITY = (  # metrics of the classifier
    "accuracy",
    "balanced_accuracy",
    "classifier_auroc",
    "sensitivity",
    "specificity",
    "calibration_error",
)
METRICS = (*QUALITY, "success_rate", "success_8bit", "robust_accuracy", "mean_abs_expected_effect", "auroc")


def read_summary(folder: Path) -> dict[str, Any]:
    """Read a run directory's summary.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of something else; the error names it.
    """
    summary = read_json(folder / SUMMARY)
    if not isinstance(summary.get("conditions"), dict):
        raise ValueError(f"{folder / SUMMARY} must hold what its run wrote, got no conditions. Run the job again.")
    return summary


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add format and digest to a run record; `verified` detects edits by it."""
    digested = {"format": RECORD_FORMAT, **{name: value for name, value in record.items() if name != DIGEST}}
    return {**digested, DIGEST: _digest(digested)}


def verified(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a run record if it matches its digest.

    Raises:
        ValueError: their digest differs, or the file is of another format; the error names it and the remedy.
    """
    digested = {name: value for name, value in content.items() if name != DIGEST}
    if content.get(DIGEST) != _digest(digested):
        raise ValueError(f"{path} must hold what its run wrote, got content of another digest. Run the job again.")
    if (got := digested.pop("format", 1)) != RECORD_FORMAT:
        raise ValueError(
            f"{path} must be of record format {RECORD_FORMAT}, got {got}. Run the job again, or read it with the "
            "version of dovision that wrote it."
        )
    return digested


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]
