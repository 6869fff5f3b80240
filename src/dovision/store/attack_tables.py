"""Success of the attacks of a run that detects: a row an attacked image, and the shares that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.functional.intervals import interval_columns, share_interval
from dovision.store.detection_tables import NOISE, TEST
from dovision.store.tables import METADATA, NAME, row_groups

ATTACKS = "attacks.parquet"
TOGETHER = "all together"  # an image is beaten if one of the attacks of an epsilon beats it
MASKED = 0.05  # share of dead gradients above which attacks by gradient may fail for want of one
SHARES = ("success", "success_8bit", "robust_accuracy")


def attacks_schema() -> pa.Schema:
    """Columns of attacks.parquet, a row per (split, sample, attack, eps).

    sample, split, group    the row in the split, "val" or "test", the patient
    attack, eps             the condition, and its epsilon in pixel units
    success                 right when clean and wrong in this condition; null for images wrong when clean
    success_8bit            the same after the attacked image was rounded to 8 bits
    linf, l2                norms of attacked minus clean image, pixel units
    """
    columns = {"sample": pa.int64(), "split": NAME, "group": pa.int64(), "attack": NAME, "eps": pa.float64()}
    columns |= {"success": pa.bool_(), "success_8bit": pa.bool_(), "linf": pa.float32(), "l2": pa.float32()}
    return pa.schema(columns, metadata=METADATA)


def attack_rates(folder: Path) -> pd.DataFrame:
    """A row per (attack, eps) of the test images, and per epsilon one for all attacks together, noise left out.

    An attack that failed in the middle, and so has no row of some images, is left out.

    images, right       attacked; of these right when clean
    success             share of those that were right; success_8bit the same after rounding to 8 bits
    robust_accuracy     share of all images that are right before and after the attack
    linf, l2            the largest Linf and the mean L2 norm; nan for all together

    The shares have their intervals in NAME_low and NAME_high, NAME_reason says why there is none.

    Args:
        folder: the run directory.

    Raises:
        FileNotFoundError, ValueError: the table is missing, damaged or of another format.
    """
    rows = pa.concat_tables(row_groups(folder / ATTACKS)).to_pandas()
    test = rows[rows["split"] == TEST].astype({"attack": str, "success": float, "success_8bit": float})
    count = test.groupby(["attack", "eps"])["sample"].transform("size")
    whole = test[count == test["sample"].nunique()]
    return pd.DataFrame([*_each(whole), *_together(whole)])


def _each(test: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (attack, eps), rows in test.groupby(["attack", "eps"], sort=False):
        norms = {"linf": float(rows["linf"].max()), "l2": float(rows["l2"].mean())}
        yield {"attack": attack, "eps": eps, **_shares(rows), **norms}


def _together(test: pd.DataFrame) -> Iterator[dict[str, Any]]:
    attacks = test[test["attack"] != NOISE]
    for eps, rows in attacks.groupby("eps"):
        if rows["attack"].nunique() > 1:
            beaten = rows.groupby("sample").agg({"group": "first", "success": "max", "success_8bit": "max"})
            yield {"attack": TOGETHER, "eps": eps, **_shares(beaten), "linf": np.nan, "l2": np.nan}


def _shares(rows: pd.DataFrame) -> dict[str, Any]:
    groups, success = rows["group"].to_numpy(), rows["success"].to_numpy(float)
    values = {"success": success, "success_8bit": rows["success_8bit"].to_numpy(float)}
    values["robust_accuracy"] = (success == 0).astype(float)
    shares: dict[str, Any] = {"images": len(rows), "right": int(np.isfinite(success).sum())}
    for name in SHARES:
        shares |= interval_columns(name, share_interval(values[name], groups))
    return shares
