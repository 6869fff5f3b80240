"""Tables of a run that detects: success of attacks, features that detectors read, their scores, adaptive attacks.

Rows may come in any order; readers rely on the columns alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional.estimates import share_of_images
from dovision.results.tables import (
    FLAG,
    INTEGER,
    NAME,
    NUMBER,
    NUMBERS,
    RunFile,
    RunTable,
    read_schema,
    read_table,
    row_groups,
)

VAL, TEST = "val", "test"  # splits: thresholds come from the one, all else from the other
NOISE = "random_sign"  # the condition of noise as large as an attack's, which must not be detected
NOISE_OF = {"linf": NOISE, "l2": "random_sign_l2", "l1": "random_sign_l1", "spatial": "random_spatial"}  # by norm
NOISES = tuple(NOISE_OF.values())
ADAPTIVE = "adaptive"  # the attacker who knows the detector, in Linf; and in all norms:
ADAPTIVE_ATTACKS = {ADAPTIVE: "Linf", "adaptive_l2": "L2", "adaptive_l1": "L1", "adaptive_spatial": "spatial"}
UNFITTED = "as is"  # variants: of a detector that needs no fit,
CLEAN_ONLY, HARDENED = "clean only", "clean and noise"  # fitted to clean images; noise counted as clean,
SUPERVISED, SUPERVISED_HARDENED = "supervised", "supervised, hardened"  # and fitted to attacked ones too
ALL_ATTACKS = "all attacks"  # what a supervised detector is fitted to, if not to one family
PERMUTED_LABELS = "permuted labels"  # a control: fitted to clean and attacked images whose labels are permuted
UNFITTED_SUM = "unfitted sum"  # another, a variant: the sum of the same features, of a detector whose fit is monotone
DETECTOR = ["detector", "variant", "fitted_on"]  # columns that name one detector as it was fitted
CONDITION = ["attack", "eps"]  # columns that name a condition
VARIANTS = (
    SUPERVISED_HARDENED,
    HARDENED,
    SUPERVISED,
    CLEAN_ONLY,
    UNFITTED,
    UNFITTED_SUM,
)  # the first there is of these is shown
TOGETHER = "all together"  # an image is beaten if one of the attacks of an epsilon beats it
FAMILIES, TUNED = "dovision_families", "dovision_tuned"  # the family of each attack, what fits chose: in the metadata
NORMS_OF = "dovision_norms"  # beside them, by attack, where it is not Linf
MASKED = 0.05  # share of dead gradients above which attacks by gradient may fail for want of one
SHARES = ("success", "success_8bit", "robust_accuracy")
READS_FOLDER = "reads"
READS_ROW_GROUP = 4096  # rows, each of up to some thousand numbers
_IMAGE = {
    "sample": (INTEGER, "the row in the split"),
    "split": (NAME, '"val" or "test"'),
    "group": (INTEGER, "the patient"),
    "attack": (NAME, 'the condition: "clean", "random_sign", "pgd", ...'),
    "eps": (pa.float64(), "its epsilon in pixel units, 0 for clean"),
}
_WON = {
    "correct": (FLAG, "the label, or each of the labels, was predicted in this condition"),
    "success": (FLAG, "right when clean and wrong in this condition; null for clean, and for images wrong when clean"),
}
_FIT = {
    "detector": (NAME, "its name in the configuration"),
    "variant": (
        NAME,
        '"as is", "clean only", "clean and noise", "supervised", "supervised, hardened" or "unfitted sum"',
    ),
    "fitted_on": (
        NAME,
        'the family of attacks whose images it was fitted to, "all attacks", or "all but FAMILY"; "" for the '
        "unsupervised",
    ),
}
ATTACKS = RunTable(
    "attacks.parquet",
    "with detectors: a row per attacked image: success, also at 8 bits, and norms",
    keys=("split", "sample", "attack", "eps"),
    columns={
        **_IMAGE,
        "success": (FLAG, "right when clean and wrong in this condition; null for images wrong when clean"),
        "success_8bit": (FLAG, "the same after the attacked image was rounded to 8 bits"),
        "linf l2": (NUMBER, "norms of attacked minus clean image, pixel units"),
    },
)
READS = RunTable(
    f"{READS_FOLDER}/*.parquet",
    "what a detector read of each image in each condition",
    keys=("split", "sample", "attack", "eps"),
    columns={**_IMAGE, **_WON, "read": (NUMBERS, "what the detector's score is a function of")},
)
SCORES = RunTable(  # of val there are clean images and noise, of patients that no detector was fitted to
    "scores.parquet",
    "the score of each detector, as it was fitted, of each image in each condition",
    keys=("split", "sample", "attack", "eps", *DETECTOR),
    columns={**_IMAGE, **_FIT, **_WON, "score": (NUMBER, "the higher, the likelier attacked")},
)
ADAPTIVE_STEPS = RunTable(
    "adaptive.parquet",
    "with `detection.adaptive`: the step at which the attacker who knows a detector evades it, a row per image, "
    "epsilon, detector and direction",
    keys=("sample", "attack", "eps", *DETECTOR, "direction"),
    columns={
        **{name: _IMAGE[name] for name in ("sample", "group")},
        "attack": (NAME, f"the norm: {', '.join(ADAPTIVE_ATTACKS)}"),
        "eps": _IMAGE["eps"],
        **_FIT,
        "right": (FLAG, "the label, or each of the labels, was predicted of the clean image"),
        "direction": (
            NAME,
            "the way up the margin and down the score; each is tried on images that none before it has led to evasion",
        ),
        "steps starts": (pa.int32(), "gradients, or tries, that each start was given; starts of a direction"),
        "first": (
            pa.int32(),
            "steps of a start after which the image is misclassified and undetected at the 5% threshold, at this "
            "epsilon or a smaller one; 0: the start itself; null: no start led there",
        ),
        "start": (pa.int32(), "the number of that start, from 0"),
        "rounded": (FLAG, "the image of the lowest score evades after it was rounded to 8 bits as well"),
    },
)
COMPARISON = RunFile(
    "comparison.parquet",
    "with `detection.reference`: AUROC and TPR of each detector minus the reference's on the same images, paired",
)


def all_but(family: str) -> str:
    """Name of a fit to all attacks except a family."""
    return f"all but {family}"


def leaves_out(fitted_on: str) -> bool:
    """Return whether a name is that of a fit to all attacks except a family."""
    return fitted_on.startswith(all_but(""))


def scores_schema(
    families: Mapping[str, str] | None = None,
    tuned: Mapping[tuple[str, str, str], str] | None = None,
    norms: Mapping[str, str] | None = None,
) -> pa.Schema:
    """Schema of scores.parquet.

    In the metadata are the family of each attack, here given by attack (one that is not there is its own), the
    settings that each fit has chosen, as text, by (detector, variant, fitted_on), and the norms other than Linf.
    """
    chosen = [[*names, text] for names, text in (tuned or {}).items()]
    stated = {FAMILIES: dict(families or {}), TUNED: chosen, NORMS_OF: dict(norms or {})}
    return SCORES.schema({name: json.dumps(value) for name, value in stated.items()})


class Stated(NamedTuple):
    """What the metadata of scores.parquet state."""

    families: dict[str, str]  # of attacks
    norms: dict[str, str]  # of attacks, other than Linf
    tuned: dict[tuple[str, str, str], str]  # settings that fits have chosen, as text, by DETECTOR


def read_stated(folder: Path) -> Stated:
    """Read what scores.parquet states of attacks and fits."""
    metadata = read_schema(folder / SCORES).metadata
    families, norms, tuned = (json.loads(metadata[name.encode()]) for name in (FAMILIES, NORMS_OF, TUNED))
    return Stated(families, norms, {(detector, variant, fit): text for detector, variant, fit, text in tuned})


def read_adaptive(folder: Path) -> pd.DataFrame:
    """Read adaptive.parquet, names as text, `first` and `start` as nullable integers; empty without an adaptive attack.

    Errors are those of `tables.row_groups`.
    """
    if not (folder / ADAPTIVE_STEPS).is_file():
        return ADAPTIVE_STEPS.schema().empty_table().to_pandas()
    return ADAPTIVE_STEPS.read(folder, types_mapper={pa.int32(): pd.Int32Dtype()}.get)


def detector_label(detector: str, variant: str, fitted_on: str) -> str:
    """Label of a detector in a figure, such as "grid_profile, supervised, on fgsm"."""
    fit = "" if variant == UNFITTED else f", {variant}"
    if leaves_out(fitted_on):
        return f"{detector}{fit}, family unseen"
    return f"{detector}{fit}" if fitted_on in ("", ALL_ATTACKS) else f"{detector}{fit}, on {fitted_on}"


def widest(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows without fits to some of several families, and without those to permuted labels."""
    several = (frame["fitted_on"] == ALL_ATTACKS).any()
    return frame[frame["fitted_on"].isin(["", ALL_ATTACKS]) if several else frame["fitted_on"] != PERMUTED_LABELS]


def preferred(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of each detector's preferred variant: supervised before unsupervised, hardened first; widest fit."""
    return best_variant(widest(frame))


def best_variant(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of one variant per detector, the first available of VARIANTS."""
    rank = frame["variant"].astype(str).map(VARIANTS.index)
    return frame[rank == rank.groupby(frame["detector"], observed=True).transform("min")]


def detectors_of(folder: Path) -> list[str]:
    """Detectors of scores.parquet, in order of their first rows; errors as of `read_scores`."""
    tables = row_groups(folder / SCORES, ["detector"])
    names = dict.fromkeys(str(name) for table in tables for name in table["detector"].unique())
    if not names:
        raise _no_rows(folder)
    return list(names)


def _no_rows(folder: Path, of: str = "") -> ValueError:
    return ValueError(f"{folder / SCORES} must have rows{of}, got none. Delete the folder {folder} and run again.")


def preferred_scores(folder: Path) -> pd.DataFrame:
    """Rows of `read_scores` of each detector's preferred variant, names as text, read one by one."""
    frames = (preferred(read_scores(folder, name)) for name in detectors_of(folder))
    return pd.concat([frame.astype(dict.fromkeys(["split", "attack", *DETECTOR], str)) for frame in frames])


def read_scores(folder: Path, detector: str | None = None) -> pd.DataFrame:
    """Read scores.parquet, names as categories, `success` as 1, 0 or nan.

    Args:
        folder: of the run.
        detector: whose rows are read; None: all, which may be tens of millions.

    Raises:
        FileNotFoundError, ValueError: see `tables.row_groups`; also if there are no rows, or a score is missing.
    """
    path = folder / SCORES
    table = read_table(path, detector=detector)
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    if frame.empty:
        raise _no_rows(folder, "" if detector is None else f" of the detector {detector}")
    silent = frame.loc[frame["score"].isna(), "detector"]
    if len(silent):
        raise ValueError(f"{path} must have a score in each row, got nan in {len(silent):,}, from {silent.iloc[0]}.")
    return frame.assign(success=frame["success"].to_numpy(float, na_value=np.nan))


def attack_rates(folder: Path) -> pd.DataFrame:
    """Success of attacks on test images: a row per (attack, eps), and per epsilon for all attacks; no noise.

    images, groups      attacked, and their patients
    right               of these images right when clean
    success             share of those that were right; success_8bit the same after rounding to 8 bits
    robust_accuracy     share of all images that are right before and after the attack
    linf, l2            the largest Linf and the mean L2 norm; nan for all together

    The shares have their intervals in NAME_low and NAME_high, NAME_reason says why there is none. Errors are those of
    `tables.row_groups`.
    """
    rows = ATTACKS.read(folder)
    test = rows[rows["split"] == TEST].astype({"success": float, "success_8bit": float})
    return pd.DataFrame(_rates(test))


def _rates(test: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (attack, eps), rows in test.groupby(["attack", "eps"], sort=False):
        yield _row(attack, eps, rows, float(rows["linf"].max()), float(rows["l2"].mean()))
    for eps, rows in test[~test["attack"].isin(NOISES)].groupby("eps"):
        if rows["attack"].nunique() > 1:
            beaten = rows.groupby("sample").agg({"group": "first", "success": "max", "success_8bit": "max"})
            yield _row(TOGETHER, eps, beaten, np.nan, np.nan)


def _row(attack: str, eps: float, rows: pd.DataFrame, linf: float, l2: float) -> dict[str, Any]:
    groups, success = rows["group"].to_numpy(), rows["success"].to_numpy(float)
    shares = success, rows["success_8bit"].to_numpy(float), (success == 0).astype(float)
    counts = {"images": len(rows), "groups": len(np.unique(groups)), "right": int(np.isfinite(success).sum())}
    row: dict[str, Any] = {"attack": attack, "eps": eps, **counts}
    for name, values in zip(SHARES, shares, strict=True):
        row |= share_of_images(values, groups).columns(name)
    return row | {"linf": linf, "l2": l2}


class Reads(NamedTuple):
    """Table rows of images in their conditions, and the features read from them."""

    images: pd.DataFrame  # split, sample, group, attack, eps, correct, success
    read: Tensor  # (N, F) float32

    def chosen(self, rows: pd.Series[bool]) -> Tensor:
        """Features of a selection of images."""
        return self.read[torch.tensor(rows.to_numpy(bool))]


def read_reads(folder: Path, detector: str) -> Iterator[Reads]:
    """Iterate over the table, some thousand rows at a time; errors as of `tables.row_groups`."""
    for table in row_groups(folder / READS.named(detector)):
        read = table["read"].combine_chunks()
        values = torch.from_numpy(np.array(read.values.to_numpy(zero_copy_only=False))).reshape(len(table), -1)
        rows = table.drop_columns(["read"]).to_pandas()
        yield Reads(rows.astype({"split": str, "attack": str}), values)
