"""Findings of detectors: the best one on its weakest family of attacks, against the reference, and the adaptive one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dovision.functional.intervals import Number, level_of_selected, withheld
from dovision.results.detection_summary import DETECTION, WHOLE_FAMILY, detection, read_detection, unseen
from dovision.results.detection_tables import ADAPTIVE_ATTACKS, DETECTOR, preferred
from dovision.results.detector_comparison import detector_differences, read_comparison
from dovision.results.display_names import component_name, display_name
from dovision.results.finding import NOTHING, Finding, direction, finding, in_brackets, level_text
from dovision.results.run_record import Run
from dovision.results.sentences import BETTER, DETECTION_MEASURES, NOT_SHOWN, SHOWN

_OTHERS = ("tpr_5", "tpr_1", "false_clean_5", "auroc_paired", "auroc", "auroc_twins")  # numbers of the detail
_Row = Mapping[str, Any]


def detection_findings(run: Run) -> Iterator[Finding]:
    """Findings on the best detector's weakest family, against its reference, and on the adaptive attacker.

    The best has the largest least TPR at 5% of clean images rejected, over the families that it was not fitted to (or
    AUROC, where there is no threshold), of those that have a reference, if any has; it beats the reference if the
    paired difference on that family says so, at the level of the best of so many.
    """
    if not (run.folder / DETECTION).is_file():
        return
    frame = read_detection(run.folder)
    rows, best = _families(frame, read_comparison(run.folder)), ""
    measure = "tpr_5" if rows["tpr_5"].notna().any() else "auroc"
    rows = rows[rows[measure].notna()]
    if len(rows):
        weakest = rows.loc[rows.groupby("detector", sort=False)[measure].idxmin()].sort_values([measure, "auroc"])
        compared = weakest[weakest["reference"].notna()]
        among = compared if len(compared) else weakest
        row = among.iloc[-1].to_dict()
        level = level_of_selected(1, len(among))
        best = row["detector"]
        yield _best(rows, _at_level(run, row, level), measure, [("level of the intervals", level_text(level))])
    yield from _adaptive(frame, best)


def _best(rows: pd.DataFrame, row: _Row, measure: str, detail: list[tuple[str, str]]) -> Finding:
    """Finding on a detector's weakest family, `row`; its differences from the reference by family are in the detail."""
    minus, number = f"minus_{measure}", Number.of(row, measure)._replace(n=int(row["successful"]))
    is_alone = pd.isna(row["reference"])
    control = NOTHING if is_alone else withheld(row[measure] - row[minus], number.n, "")
    state = "alone" if is_alone else SHOWN if direction(row, minus) > 0 else NOT_SHOWN
    words = {"family": component_name(row["family"]), "measure": DETECTION_MEASURES[measure]}
    words |= {} if is_alone else {"rival": component_name(row["reference"])}
    result = finding(BETTER, "detector", state, component_name(row["detector"]), number, control, **words)
    numbers = [(name, in_brackets(row, name, ".3f")) for name in _OTHERS if not pd.isna(row[name])]
    others = rows[(rows["detector"] == row["detector"]) & ~is_alone].to_dict("records")
    numbers += [(f"minus the reference on {component_name(of['family'])}", in_brackets(of, minus)) for of in others]
    fitted = [("fitted to", display_name(str(row["fitted_on"])) or "no attack")]
    return result._replace(detail=[*numbers, *fitted, ("attacked images", f"{number.n:,}"), *detail])


def _at_level(run: Run, row: _Row, level: float) -> _Row:
    """The row of a detector and a family with intervals of another level, from the run's scores."""
    names, reference = [row["detector"]], row["reference"]
    compared = pd.DataFrame()
    if not pd.isna(reference):
        compared = detector_differences(run.folder, reference, names=names, level=level)
    rows = _families(detection(run.folder, names=names, level=level), compared)
    same = rows[(rows[[*DETECTOR, "family"]] == [row[name] for name in (*DETECTOR, "family")]).all(axis=1)]
    at_level: _Row = same.iloc[0].to_dict()
    return at_level


def _families(frame: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole families, unseen ones if there are several, with minus_NAME, differences from the reference."""
    rows = unseen(frame)
    rows = rows if len(rows) else preferred(frame[frame["attack"] == WHOLE_FAMILY])
    if compared.empty:
        return rows.assign(reference=None)
    names = [*DETECTOR, "family"]
    differences = {name: f"minus_{name}" for name in compared if name.startswith(("auroc", "tpr"))}
    compared = compared[compared["attack"] == WHOLE_FAMILY].rename(columns=differences)
    return rows.merge(compared[[*names, "reference", *differences.values()]], "left", names)


def _adaptive(frame: pd.DataFrame, best: str) -> Iterator[Finding]:
    """Finding on the adaptive attacker's success in the worst norm, at the largest epsilon.

    Against the best detector, or the first that was attacked.
    """
    rows = frame[frame["attack"].isin(ADAPTIVE_ATTACKS) & frame["evasion_5"].notna()]
    if rows.empty:
        return
    named = str(best if (rows["detector"] == best).any() else rows["detector"].iloc[0])
    of_detector = rows[rows["detector"] == named]
    largest = of_detector.loc[of_detector.groupby("attack", sort=False)["eps"].idxmax()]
    row, *others = largest.sort_values("evasion_5", ascending=False, kind="stable").to_dict("records")
    number = Number.of(row, "evasion_5")._replace(n=int(row["images"]))
    result = finding(BETTER, "adaptive", SHOWN, component_name(named), number, budget=_budget(row))
    detail = [(_budget(of), in_brackets(of, "evasion_5", ".3f")) for of in (row, *others)]
    detail += [("attacked images", f"{row['images']:,}"), ("threshold", "5% of clean images rejected")]
    yield result._replace(name="adaptive_evasion", detail=detail)


def _budget(row: _Row) -> str:
    return f"{ADAPTIVE_ATTACKS[row['attack']]} epsilon {row['eps']:.3g}"
