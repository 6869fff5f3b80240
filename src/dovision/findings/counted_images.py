"""Counts of the images behind headline numbers that are of fewer than their condition has."""

from __future__ import annotations

from collections.abc import Mapping

from dovision.store.run_record import Run
from dovision.store.tables import read_samples

_SHARES = {
    "accuracy": "correct",
    "robust_accuracy": "correct",
    "success_rate": "success",
    "success_8bit": "success_8bit",
}


def counted_images(run: Run) -> Mapping[str, Mapping[str, int]]:
    """For each condition the images of shares, by their metric, and as "auroc" the successfully attacked images."""
    samples = read_samples(run.folder)
    return {
        str(condition): {metric: int(rows[column].count()) for metric, column in _SHARES.items()}
        | {"auroc": int((rows["success"] == 1).sum())}
        for condition, rows in samples.groupby("condition", sort=False)
    }
