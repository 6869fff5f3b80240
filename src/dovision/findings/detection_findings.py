"""Findings of detectors: the best one at its operating point, paired with the reference, on attacks it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.analysis.detection_summary import DETECTION, NOT_ADAPTIVE, WHOLE_FAMILY, read_detection, unseen
from dovision.analysis.detector_comparison import read_comparison
from dovision.findings.finding import Finding, direction, finding, in_brackets
from dovision.store.detection_tables import ADAPTIVE, COMPARISON, DETECTOR, preferred
from dovision.store.display_names import component_name
from dovision.store.run_record import Run

_HEADS = {"tpr_5": "TPR at 5%", "auroc": "AUROC against clean images", "auroc_noise": "AUROC against noise"}
_WORDS = {1: "higher on", -1: "lower on", 0: "not shown to differ on"}
_CAUTION = {0: ", not shown to be separated from clean images", -1: ", below chance"}
_Row = Mapping[str, Any]


def detection_findings(run: Run) -> Iterator[Finding]:
    """The best detector on its weakest family, and its differences from the reference; the attacker who knows it.

    The best has the largest least TPR at 5% of clean images rejected, over the families that it was not fitted to (or
    AUROC, where there is no threshold): of those that are ahead of the reference on one by the paired interval, if any.
    """
    if not (run.folder / DETECTION).is_file():
        return
    frame = read_detection(run.folder)
    rows, best = _families(run, frame), ""
    measure = "tpr_5" if rows["tpr_5"].notna().any() else "auroc"
    rows = rows[rows[measure].notna()]
    if len(rows):
        weakest = rows.loc[rows.groupby("detector", sort=False)[measure].idxmin()].sort_values([measure, "auroc"])
        compared = weakest[weakest["reference"].notna()]
        ahead = {row["detector"] for row in rows.to_dict("records") if direction(row, f"minus_{measure}") > 0}
        among = compared if len(compared) else weakest
        among = among[among["detector"].isin(ahead)] if ahead else among
        row = among.iloc[-1].to_dict()
        best = row["detector"]
        own = rows[rows["detector"] == best].to_dict("records")
        chosen = f"; best of {len(among)} that are ahead on a family" if ahead else f"; best of {len(among)}"
        unbeaten = weakest[weakest["detector"] == row["reference"]].to_dict("records") if not ahead else []
        yield _headline(row, own, measure, chosen if len(weakest) > 1 else "", unbeaten)
    yield from _adaptive(frame, best)


def _families(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole families, unseen where there are several, with the differences from the reference as minus_NAME."""
    rows = unseen(frame)
    rows = rows if len(rows) else preferred(frame[frame["attack"] == WHOLE_FAMILY])
    compared = read_comparison(run.folder) if (run.folder / COMPARISON).is_file() else pd.DataFrame()
    if compared.empty:
        return rows.assign(reference=None)
    names = [*DETECTOR, "family"]
    differences = {name: f"minus_{name}" for name in compared if name.startswith(("auroc", "tpr"))}
    compared = compared[compared["attack"] == WHOLE_FAMILY].rename(columns=differences)
    return rows.merge(compared[[*names, "reference", "reference_fitted_on", *differences.values()]], "left", names)


def _headline(row: _Row, own: Sequence[_Row], measure: str, chosen: str, unbeaten: Sequence[_Row]) -> Finding:
    """The operating point of a detector on its weakest family, `row`, and its differences from the reference.

    Args:
        row: of the weakest of the families.
        own: of all families.
        measure: by which they are ranked.
        chosen: among how many detectors this one was.
        unbeaten: the row of the reference's weakest family, if no detector is ahead of its reference on any.
    """
    seen = " that it was fitted to" if row["fitted_on"] and len(own) == 1 else ""
    of = f", its weakest of {len(own)} families that it was not fitted to" if len(own) > 1 else seen
    counted = f"n = {row['successful']:,} attacked images{chosen}; {NOT_ADAPTIVE}"
    text = f"{component_name(row['detector'])} {_operating_point(row)}{of} ({counted})"
    if pd.isna(row["reference"]):
        return finding("detection", f"{text[0].upper()}{text[1:]}.", row, row["successful"], measure)
    fitted = " fitted to the same attacks" if row["reference_fitted_on"] else ", fitted against unfitted"
    reference = f"{component_name(row['reference'])}{fitted if row['fitted_on'] else ''}"
    for weakest in unbeaten:
        ahead = f"no detector is shown to be ahead of its reference in {_HEADS[measure]} on any family"
        text = f"{ahead}: {reference} {_operating_point(weakest)}, its weakest, and is not beaten. Of the others {text}"
    there = ", ".join(f"{head} {in_brackets(row, f'minus_{name}')}" for name, head in _HEADS.items())
    over = "; ".join(f"{_HEADS[name]} {_verdicts(own, f'minus_{name}')}" for name in (measure, "auroc_noise"))
    text = f"{text[0].upper()}{text[1:]}. Minus {reference}, paired, on that family: {there}."
    text = f"{text} By family, each by itself: {over}."
    return finding(f"{row['detector']}_minus_{row['reference']}", text, row, row["successful"], f"minus_{measure}")


def _operating_point(row: _Row) -> str:
    """The shares detected at the thresholds, and the AUROC, on the attacks of a family."""
    rates = {"5%": "tpr_5", "1%": "tpr_1"}
    shares = [f"{in_brackets(row, of, '.3f')} at {at}" for at, of in rates.items() if not pd.isna(row[of])]
    area = f"AUROC {in_brackets(row, 'auroc', '.3f')}{_CAUTION.get(direction(row, 'auroc', middle=0.5), '')}"
    point = f"detects {' and '.join(shares)} of clean images rejected ({area})" if shares else f"has {area}"
    return f"{point}, of successful attacks by {component_name(row['family'])}"


def _verdicts(rows: Sequence[_Row], column: str) -> str:
    """Families on which a difference lies above zero, below it, or on neither side."""
    signs = {component_name(row["family"]): direction(row, column) for row in rows}
    named = {way: ", ".join(family for family, sign in signs.items() if sign == way) for way in _WORDS}
    return ", ".join(f"{words} {named[way]}" for way, words in _WORDS.items() if named[way])


def _adaptive(frame: pd.DataFrame, best: str) -> Iterator[Finding]:
    """The success of an attacker who knows the best detector, or, where that was not attacked, the first that was."""
    rows = frame[(frame["attack"] == ADAPTIVE) & frame["evasion_5"].notna()]
    if rows.empty:
        return
    named = best if (rows["detector"] == best).any() else rows["detector"].iloc[0]
    own = rows[rows["detector"] == named]
    row = own.loc[own["eps"].idxmax()].to_dict()
    text = (
        f"An attacker who knows {component_name(str(named))} succeeds undetected, at the threshold for 5% of clean "
        f"images, on {in_brackets(row, 'evasion_5', '.3f')} of the images (Linf epsilon {row['eps']:.3g}, no other "
        f"norm; {row['images']:,} attacked images)"
    )
    yield finding("adaptive_evasion", f"{text}.", row, row["images"], "evasion_5")
