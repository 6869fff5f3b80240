"""Paired comparison of detectors: differences of AUROC and TPR from a reference detector, on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.detection import auroc_difference, threshold
from dovision.functional.estimates import of_images
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL
from dovision.results.detection_summary import (
    RATES,
    TOO_FEW,
    WHOLE_FAMILY,
    WORST,
    beside_noise,
    norms_of,
    scored_images,
    worst_case,
)
from dovision.results.detection_tables import (
    ADAPTIVE_ATTACKS,
    COMPARISON,
    DETECTOR,
    NOISES,
    PERMUTED_LABELS,
    TEST,
    VAL,
    best_variant,
    detectors_of,
    leaves_out,
    preferred,
    read_scores,
    read_stated,
)
from dovision.results.paired_difference import paired_difference
from dovision.results.tables import CLEAN, read_table, write_frame

DIFFERENCES = ("auroc", "auroc_noise")
_IMAGE = ["attack", "eps", "sample"]
_READ = ["score", *(f"above_{end}" for end in RATES)]


def detector_differences(
    folder: Path, reference: str, names: Sequence[str] | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """Differences from the reference detector: a row per (detector, variant, fitted_on, attack, eps, family).

    attack, eps, family     as of `detection_summary.detection`, with "whole family", and "worst case" at any epsilon,
                            where each detector has its own least detected attack of an image; no noise, adaptive
    reference               the detector that is compared with, in its preferred variant: fitted to the same attacks,
                            or, where it has no such fit, to none or to all; of detectors fitted to attacks its fitted
                            form where there is one, the detector of its name with "_supervised" in it
    reference_fitted_on     what it was fitted to
    successful              attacked images, on which the attack succeeded: the same of both detectors
    successful_groups       their patients, or images: what intervals are over
    auroc, auroc_noise      AUROC of the detector minus that of the reference, against clean images and against noise,
                            with NAME_low, NAME_high and NAME_reason of the paired interval over groups
    tpr_1, tpr_5            the same of the shares of successful attacks above the threshold that each detector has from
                            clean validation images, as a mean over groups; nan where there is no threshold

    `names` selects some of the detectors, all by default; `level` is that of the intervals.

    Raises:
        ValueError: the reference has no scores.
    """
    detectors, families = detectors_of(folder), read_stated(folder).families
    if reference not in detectors:
        raise ValueError(f"the reference of a comparison must have scores, got none of {reference!r}.")
    fitted = [name for name in detectors if name.replace("_supervised", "") == reference != name]
    references = {name: _compared(folder, name) for name in (reference, *fitted)}

    rows: list[dict[str, Any]] = []
    for detector in (name for name in names or detectors if name != reference):
        others_of = {name: scores for name, scores in references.items() if name != detector}
        rows += _against(others_of, _compared(folder, detector), families, level)
    return pd.DataFrame(rows)


def _against(
    references: Mapping[str, pd.DataFrame], others: pd.DataFrame, families: Mapping[str, str], level: float
) -> Iterator[dict[str, Any]]:
    """Compare a detector's scores, `others`, with the first reference, or with the last if it was fitted."""
    for key, scores in others.groupby(DETECTOR, observed=True, sort=False):
        reference = list(references)[-1 if key[2] else 0]
        same = references[reference][references[reference]["fitted_on"] == key[2]]
        compared = best_variant(same) if len(same) else preferred(references[reference])
        both = scores.merge(compared[[*_IMAGE, *_READ]], on=_IMAGE, suffixes=("", "_reference"))
        reference_columns = {"reference": reference, "reference_fitted_on": str(compared["fitted_on"].iloc[0])}
        for row in _differences(both, families, level):
            yield dict(zip(DETECTOR, key, strict=True)) | row | reference_columns


def _compared(folder: Path, detector: str) -> pd.DataFrame:
    """Test scores of a detector, without fits that are controls.

    above_1, above_5: whether a score is above the threshold of its detector, 1 or 0; nan where there is none.
    """
    scores = read_scores(folder, detector)
    clean = scores["score"].where((scores["split"] == VAL) & (scores["attack"] == CLEAN)).astype(float)
    fits = clean.groupby([scores[name] for name in DETECTOR], observed=True)
    for end, rate in RATES.items():
        limit = fits.transform(lambda fit_scores, rate=rate: threshold(fit_scores.dropna().to_numpy(), rate))
        scores[f"above_{end}"] = (scores["score"] > limit).astype(float).where(limit.notna())
    chosen = (scores["split"] == TEST) & ~scores["attack"].isin(ADAPTIVE_ATTACKS)
    chosen &= scores["fitted_on"] != PERMUTED_LABELS
    return scores.assign(norm=norms_of(scores["attack"], read_stated(folder).norms))[chosen].astype({"attack": str})


def write_comparison(folder: Path, reference: str) -> None:
    """Write `detector_differences` of a run's folder as comparison.parquet there."""
    write_frame(folder / COMPARISON, detector_differences(folder, reference))


def read_comparison(folder: Path) -> pd.DataFrame:
    """comparison.parquet, with names as text; empty if the run has no such file."""
    path = folder / COMPARISON
    frame: pd.DataFrame = read_table(path).to_pandas() if path.is_file() else pd.DataFrame()
    return frame


def _differences(both: pd.DataFrame, families: Mapping[str, str], level: float = LEVEL) -> Iterator[dict[str, Any]]:
    """Differences, a row per condition and family; `both` has two scores per test image."""
    clean, noise = both[both["attack"] == CLEAN], both[both["attack"].isin(NOISES)]
    beaten = both[(both["success"] == 1) & ~both["attack"].isin([CLEAN, *NOISES])]
    attack = beaten["attack"].astype(str)
    family = attack.map(lambda name: families.get(name, name))
    by_condition = beaten.groupby([attack, "eps"], sort=False)
    conditions = [(*key, family[chosen.index[0]], chosen, chosen) for key, chosen in by_condition]
    conditions += [(WHOLE_FAMILY, np.nan, name, chosen, chosen) for name, chosen in beaten.groupby(family, sort=False)]
    if attack.nunique() > 1 and not leaves_out(str(both["fitted_on"].iloc[0])):
        of_both = worst_case(beaten), worst_case(beaten.assign(score=beaten["score_reference"]))
        conditions.append((WORST, np.nan, "", *(rows.sort_values("sample") for rows in of_both)))
    for name, eps, of_family, *of_each in conditions:
        row: dict[str, Any] = {"attack": name, "eps": eps, "family": of_family, "successful": len(of_each[0])}
        row |= {"successful_groups": of_each[0]["group"].nunique()}
        for column in DIFFERENCES:
            strata = [
                [(scored_images(attacked, end), scored_images(negative, end)) for attacked, negative in pairs]
                for rows, end in zip(of_each, ("", "_reference"), strict=True)
                for pairs in [[(rows, clean)] if column == "auroc" else beside_noise(rows, noise)]
            ]
            scored = (sum(len(pair[of].score) for pair in strata[0]) for of in (0, 1))
            row |= of_images(auroc_difference(strata[0], strata[1], level), *scored).columns(column)
        for end in RATES:
            more = of_each[0][f"above_{end}"].to_numpy() - of_each[1][f"above_{end}_reference"].to_numpy()
            images, groups = np.arange(len(more)), of_each[0]["group"].to_numpy()
            interval = paired_difference(more, groups, images, level, bounds=EFFECT_BOUNDS).interval
            row |= (interval._replace(reason=TOO_FEW) if np.isnan(more).all() else interval).columns(f"tpr_{end}")
        yield row
