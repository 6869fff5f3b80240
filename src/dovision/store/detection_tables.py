"""The table of a run that detects: what each detector says of each image in each condition.

Rows may come in any order; readers rely on the columns alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.store.tables import METADATA, NAME, row_groups

SCORES = "scores.parquet"

VAL, TEST = "val", "test"  # splits: thresholds come from the one, all else from the other
NOISE = "random_sign"  # the condition of noise as large as an attack's, which must not be detected
ADAPTIVE = "adaptive"  # the attacker who knows the detector,
ORTHOGONAL = "adaptive, orthogonal"  # and the one who moves along what leaves classifier or score as it is
ADAPTIVES = (ADAPTIVE, ORTHOGONAL)
UNFITTED = "as is"  # variants: of a detector that needs no fit,
CLEAN_ONLY, HARDENED = "clean only", "clean and noise"  # fitted to clean images; noise counted as clean,
SUPERVISED, SUPERVISED_HARDENED = "supervised", "supervised, hardened"  # and fitted to attacked ones too
ALL_ATTACKS = "all attacks"  # what a supervised detector is fitted to, if not to one attack
DETECTOR = ["detector", "variant", "fitted_on"]  # columns that name one detector as it was fitted
CONDITION = ["attack", "eps", "strength"]  # columns that name a condition
VARIANTS = (SUPERVISED_HARDENED, HARDENED, SUPERVISED, CLEAN_ONLY, UNFITTED)  # the first there is of these is shown


def scores_schema() -> pa.Schema:
    """Columns of scores.parquet, a row per (split, sample, attack, eps, strength, detector, variant, fitted_on).

    sample, split, group    the row in the split, "val" or "test", the patient
    attack                  the condition: "clean", "random_sign", "pgd", ...; "adaptive" and "adaptive, orthogonal" of
                            one who knows the detector of the row
    eps                     of the condition, pixel units; 0 for clean
    strength                lambda, what the adaptive attacker gives for a low score; null for all others
    detector                its name in the configuration
    variant                 "as is", "clean only", "clean and noise", "supervised" or "supervised, hardened"
    fitted_on               the attack whose images it was fitted to, or "all attacks"; "" for the unsupervised
    correct                 the label, or each of the labels, was predicted in this condition
    success                 right when clean and wrong in this condition; null for clean, and for images wrong when
                            clean
    score                   the higher, the likelier attacked

    Of val there are the rows of clean images and of noise, of patients that no detector was fitted to.
    """
    columns = {"sample": pa.int64(), "split": NAME, "group": pa.int64(), "attack": NAME}
    columns |= {"eps": pa.float64(), "strength": pa.float64(), **dict.fromkeys(DETECTOR, NAME)}
    columns |= {"correct": pa.bool_(), "success": pa.bool_(), "score": pa.float32()}
    return pa.schema(columns, metadata=METADATA)


def detector_label(detector: str, variant: str, fitted_on: str) -> str:
    """The name of a detector in a figure, such as "grid_profile, supervised, on fgsm"."""
    fit = "" if variant == UNFITTED else f", {variant}"
    return f"{detector}{fit}" if fitted_on in ("", ALL_ATTACKS) else f"{detector}{fit}, on {fitted_on}"


def widest(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without those of detectors that were fitted to one of several attacks."""
    several = (frame["fitted_on"] == ALL_ATTACKS).any()
    return frame[frame["fitted_on"].isin(["", ALL_ATTACKS])] if several else frame


def preferred(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one variant of each detector: supervised before unsupervised, hardened before not; of its widest fit.

    Args:
        frame: columns detector, variant, fitted_on, whatever else.
    """
    whole = widest(frame)
    rank = whole["variant"].astype(str).map(VARIANTS.index)
    return whole[rank == rank.groupby(whole["detector"], observed=True).transform("min")]


def read_scores(folder: Path) -> pd.DataFrame:
    """scores.parquet, with names as categories and `success` as 1, 0 or nan.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: the table is damaged, of another format, has no rows, or a score is missing.
    """
    path = folder / SCORES
    parts = list(row_groups(path))
    if not parts:
        raise ValueError(f"{path} must have rows, got none. Delete the folder {folder} and run again.")
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    silent = frame.loc[frame["score"].isna(), "detector"]
    if len(silent):
        raise ValueError(f"{path} must have a score in each row, got nan in {len(silent):,}, from {silent.iloc[0]}.")
    return frame.assign(success=frame["success"].to_numpy(float, na_value=np.nan))
