"""Findings of detectors: effect_consistency against feature squeezing on attacks that it has not seen, paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from dovision.analysis.detection_summary import DETECTION, WHOLE_FAMILY, read_detection, unseen
from dovision.analysis.detector_comparison import DIFFERENCES, detector_differences, read_comparison
from dovision.findings.finding import NO_DIFFERENCE, Finding, direction, finding, in_brackets
from dovision.store.detection_tables import ADAPTIVE, COMPARISON, SCORES, all_but, best_variant, preferred
from dovision.store.display_names import component_name
from dovision.store.run_record import Run

CLAIMED, REFERENCE = "effect_consistency", "feature_squeezing"
_AGAINST = dict(zip(DIFFERENCES, ("clean images", "noise of the same size"), strict=True))


def detection_findings(run: Run) -> Iterator[Finding]:
    """The claimed detector against the reference on clean images and on noise; without both, the best one's worst.

    Then the success of the attacker who knows the detector, where the run has one.
    """
    if not (run.folder / DETECTION).is_file():
        return
    frame = read_detection(run.folder)
    detectors = list(frame["detector"].unique())
    claimed = next((name for name in detectors if str(name).startswith(CLAIMED)), None)
    if claimed is not None and REFERENCE in detectors:
        yield from _compared(_differences(run.folder), str(claimed))
    else:
        yield from _best(frame)
    yield from _adaptive(frame, str(claimed or ""))


def _differences(folder: Path) -> pd.DataFrame:
    """Rows of whole families, unseen where there are several, of detectors minus the reference."""
    frame = read_comparison(folder) if (folder / COMPARISON).is_file() else pd.DataFrame()
    if frame.empty or frame["reference"].iloc[0] != REFERENCE:
        frame = detector_differences(folder, REFERENCE) if (folder / SCORES).is_file() else frame
    rows = frame[frame["attack"] == WHOLE_FAMILY] if len(frame) else frame
    if len(rows) and rows["family"].nunique() > 1:
        rows = rows[(rows["fitted_on"] == "") | (rows["fitted_on"] == rows["family"].map(all_but))]
    return best_variant(rows) if len(rows) else rows


def _compared(rows: pd.DataFrame, claimed: str) -> Iterator[Finding]:
    own = rows[rows["detector"] == claimed] if len(rows) else rows
    for column, negatives in _AGAINST.items():
        known = own[own[column].notna()] if len(own) else own
        if len(known):
            yield _over_families(known, claimed, column, negatives)


def _over_families(rows: pd.DataFrame, claimed: str, column: str, negatives: str) -> Finding:
    """Families on which the detector is ahead, behind, or not shown to differ, and its least difference."""
    signs = {str(row["family"]): direction(row, column) for row in rows.to_dict("records")}
    named = {way: _listed([family for family, sign in signs.items() if sign == way]) for way in (1, -1, 0)}
    words = {1: "higher on", -1: "lower on", 0: f"{NO_DIFFERENCE} on"}
    verdicts = ", ".join(f"{words[way]} {named[way]}" for way in words if named[way])
    least = rows.loc[rows[column].idxmin()].to_dict()
    attacks = "attacks of families that it was not fitted to" if len(rows) > 1 else "attacks of the family"
    ahead = sum(sign > 0 for sign in signs.values())
    text = (
        f"AUROC of {component_name(claimed)} minus that of {component_name(REFERENCE)}, {attacks} against {negatives}: "
        f"{verdicts} (ahead on {ahead} of {len(rows)}; least on {component_name(least['family'])}, "
        f"{in_brackets(least, column)}, n = {least['successful']:,} attacked images; each interval by itself)"
    )
    end = "noise" if column.endswith("noise") else "clean"
    return finding(f"detection_minus_squeezing_{end}", f"{text}.", least, least["successful"], column)


def _best(frame: pd.DataFrame) -> Iterator[Finding]:
    """The detector with the largest least AUROC over unseen families, or over attacks where there is one family."""
    rows = unseen(frame)
    rows = rows if len(rows) else preferred(frame[(frame["attacker"] != "adaptive") & (frame["family"] != "")])
    rows = rows[rows["auroc"].notna()]
    if rows.empty:
        return
    worst = rows.loc[rows.groupby("detector", sort=False)["auroc"].idxmin()]
    row = worst.loc[worst["auroc"].idxmax()].to_dict()
    among = f"; the least of its attacks, and the largest such estimate of {len(worst)} detectors"
    number = f"AUROC {in_brackets(row, 'auroc', '.3f')}, n = {row['successful']:,} attacked images"
    name, family = component_name(str(row["detector"])), component_name(str(row["family"]))
    how = {1: "score higher than clean images", -1: "score lower than clean images"}
    way = how.get(direction(row, "auroc", middle=0.5), "are not shown to be separated from clean images")
    text = f"By {name}, successful attacks of the family {family} {way} ({number}{among if len(rows) > 1 else ''})."
    yield finding("detection", text, row, row["successful"], "auroc")


def _adaptive(frame: pd.DataFrame, detector: str) -> Iterator[Finding]:
    rows = frame[(frame["attack"] == ADAPTIVE) & frame["evasion_5"].notna()]
    if rows.empty:
        return
    named = detector if (rows["detector"] == detector).any() else rows["detector"].iloc[0]
    own = rows[rows["detector"] == named]
    row = own.loc[own["eps"].idxmax()].to_dict()
    text = (
        f"An attacker who knows {component_name(str(named))} succeeds undetected, at the threshold for 5 % of clean "
        f"images, on {in_brackets(row, 'evasion_5', '.3f')} of the images (epsilon {row['eps']:.3g}, "
        f"{row['images']:,} attacked images)"
    )
    yield finding("adaptive_evasion", f"{text}.", row, row["images"], "evasion_5")


def _listed(families: Sequence[str]) -> str:
    return ", ".join(map(component_name, families))
