"""Findings of detectors: effect_consistency minus the reference of the run, paired, on attacks that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from dovision.analysis.detection_summary import DETECTION, WHOLE_FAMILY, read_detection, unseen
from dovision.analysis.detector_comparison import DIFFERENCES, read_comparison
from dovision.findings.finding import Finding, direction, finding, in_brackets
from dovision.store.detection_tables import ADAPTIVE, COMPARISON, all_but, best_variant, preferred
from dovision.store.display_names import component_name
from dovision.store.run_record import Run

CLAIMED = "effect_consistency"  # how the names of the detectors begin, of which the first is compared
_AGAINST = dict(zip(DIFFERENCES, ("clean images", "noise of the same size"), strict=True))


def detection_findings(run: Run) -> Iterator[Finding]:
    """The claimed detector against the reference on clean images and on noise; without either, the best one's worst.

    Then the success of the attacker who knows the detector, where the run has one.
    """
    if not (run.folder / DETECTION).is_file():
        return
    frame = read_detection(run.folder)
    compared = _differences(run)
    yield from _compared(compared) if len(compared) else _best(frame)
    yield from _adaptive(frame, CLAIMED)


def _differences(run: Run) -> pd.DataFrame:
    """Rows of whole families, unseen where there are several, of the claimed detector minus the reference."""
    if not (run.folder / COMPARISON).is_file():
        return pd.DataFrame()
    frame = read_comparison(run.folder)
    rows = frame[(frame["attack"] == WHOLE_FAMILY) & frame["detector"].str.startswith(CLAIMED)]
    rows = rows[rows["detector"] == rows["detector"].iloc[0]] if len(rows) else rows
    if rows["family"].nunique() > 1:
        rows = rows[(rows["fitted_on"] == "") | (rows["fitted_on"] == rows["family"].map(all_but))]
    return best_variant(rows)


def _compared(rows: pd.DataFrame) -> Iterator[Finding]:
    for column, negatives in _AGAINST.items():
        known = rows[rows[column].notna()]
        if len(known):
            yield _over_families(known, column, negatives)


def _over_families(rows: pd.DataFrame, column: str, negatives: str) -> Finding:
    """Families on which the detector is ahead, behind, or not shown to differ, and its least difference."""
    claimed, reference = (str(rows[name].iloc[0]) for name in ("detector", "reference"))
    signs = {str(row["family"]): direction(row, column) for row in rows.to_dict("records")}
    named = {way: _listed([family for family, sign in signs.items() if sign == way]) for way in (1, -1, 0)}
    words = {1: "higher on", -1: "lower on", 0: "not shown to differ on"}
    verdicts = ", ".join(f"{words[way]} {named[way]}" for way in words if named[way])
    least = rows.loc[rows[column].idxmin()].to_dict()
    families = f"{len(rows)} families that it was not fitted to" if len(rows) > 1 else "1 family"
    ahead = sum(sign > 0 for sign in signs.values())
    text = (
        f"Compared with {component_name(reference)}, the AUROC of {component_name(claimed)} against {negatives} is "
        f"{verdicts} (ahead on {ahead} of {families}; least on {component_name(least['family'])}, "
        f"{in_brackets(least, column)}, n = {least['successful']:,} attacked images; each interval by itself)"
    )
    end = "noise" if column.endswith("noise") else "clean"
    return finding(f"{claimed}_minus_{reference}_{end}", f"{text}.", least, least["successful"], column)


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
    named = next((name for name in rows["detector"] if name.startswith(detector)), rows["detector"].iloc[0])
    own = rows[rows["detector"] == named]
    row = own.loc[own["eps"].idxmax()].to_dict()
    text = (
        f"An attacker who knows {component_name(str(named))} succeeds undetected, at the threshold for 5% of clean "
        f"images, on {in_brackets(row, 'evasion_5', '.3f')} of the images (epsilon {row['eps']:.3g}, "
        f"{row['images']:,} attacked images)"
    )
    yield finding("adaptive_evasion", f"{text}.", row, row["images"], "evasion_5")


def _listed(families: Sequence[str]) -> str:
    return ", ".join(map(component_name, families))
