"""Findings of detectors: the best one at its operating point, paired with the reference, on attacks it has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.functional.intervals import level_of_selected
from dovision.results import sentences
from dovision.results.detection_summary import (
    DETECTION,
    NOT_ADAPTIVE,
    WHOLE_FAMILY,
    detection,
    read_detection,
    unseen,
)
from dovision.results.detection_tables import ADAPTIVE_ATTACKS, DETECTOR, leaves_out, preferred
from dovision.results.detector_comparison import detector_differences, read_comparison
from dovision.results.display_names import component_name, display_name
from dovision.results.finding import Finding, direction, finding, in_brackets, level_text
from dovision.results.run_record import Run

_ROUNDING = 1e-9  # of a difference of two shares
_Row = Mapping[str, Any]


def detection_findings(run: Run) -> Iterator[Finding]:
    """Findings on the best detector's weakest family, its reference, and the adaptive attacker.

    The best has the largest least TPR at 5% of clean images rejected, over the families that it was not fitted to (or
    AUROC, where there is no threshold): of those that are ahead of the reference on one by the paired interval and not
    below its least, over the same families; if there is none, the sentence names that. Its intervals have the level of
    the best of so many.
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
        ahead = {row["detector"] for row in rows.to_dict("records") if direction(row, f"minus_{measure}") > 0}
        among = compared if len(compared) else weakest
        better = among[[name in ahead and not _is_lower(rows, name, measure) for name in among["detector"]]]
        row = (better if len(better) else among).iloc[-1].to_dict()
        best = row["detector"]
        beaten = pd.isna(row["reference"]) or len(better) > 0
        chosen = _chosen(len(better) or len(among), len(better) > 0, measure) if len(weakest) > 1 and beaten else ""
        name = component_name(best)
        if not beaten:
            name = _unbeaten(rows, best, [leader for leader in among["detector"] if leader in ahead], measure)
        if len(among) > 1:
            level = level_of_selected(1, len(among))
            row = _at_level(run, row, level)
            chosen += sentences.LEVEL_OF_BEST.format(level=level_text(level), count=len(among))
        yield _headline(rows, row, measure, name, chosen)
    yield from _adaptive(frame, best)


def _is_lower(rows: pd.DataFrame, detector: str, measure: str) -> bool:
    """Return whether a detector's lowest number over families is below its reference's."""
    of_detector = rows[rows["detector"] == detector]
    return bool(of_detector[measure].min() < (of_detector[measure] - of_detector[f"minus_{measure}"]).min() - _ROUNDING)


def _chosen(count: int, ahead: bool, measure: str) -> str:
    """Sentence on the number of detectors that the best was chosen from."""
    among = (sentences.ONLY_ONE if count == 1 else sentences.BEST_ONE).format(count=count)
    template = sentences.BEST_AHEAD if ahead else sentences.BEST_OF
    return template.format(among=among, count=count, measure=sentences.DETECTION_MEASURES[measure])


def _unbeaten(rows: pd.DataFrame, best: str, ahead: Sequence[str], measure: str) -> str:
    """Sentence that no detector beats its reference, with the families where one is ahead."""
    text = ""
    for name in ahead:
        of_detector = rows[rows["detector"] == name].to_dict("records")
        leads = [one["family"] for one in of_detector if direction(one, f"minus_{measure}") > 0]
        least = min(of_detector, key=lambda one: float(one[measure]))
        names = {"name": _sentence(component_name(name)), "family": component_name(least["family"])}
        number = in_brackets(least, measure, ".3f")
        text += sentences.AHEAD_BUT_LOWER.format(**names, families=", ".join(map(component_name, leads)), number=number)
    words = {"measure": sentences.DETECTION_MEASURES[measure], "best": component_name(best)}
    return sentences.UNBEATEN.format(**words, ahead=text)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


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
    return rows.merge(compared[[*names, "reference", "reference_fitted_on", *differences.values()]], "left", names)


def _headline(rows: pd.DataFrame, row: _Row, measure: str, name: str, chosen: str) -> Finding:
    """Sentence on a detector's operating point on its weakest family, `row`, and its differences from the reference.

    Args:
        rows: of all detectors and families.
        row: of the weakest family of the detector.
        measure: by which families are ranked.
        name: of the detector, as the text begins with it.
        chosen: a sentence on how the detector was chosen.
    """
    of_detector = rows[rows["detector"] == row["detector"]].to_dict("records")
    seen = sentences.FITTED_TO if row["fitted_on"] and len(of_detector) == 1 else ""
    of = sentences.WEAKEST.format(count=len(of_detector)) if len(of_detector) > 1 else seen
    names = {"name": _sentence(name), "family": component_name(row["family"]), "attacker": NOT_ADAPTIVE}
    text = sentences.BEST_DETECTOR.format(
        **names, point=_operating_point(row), of=of, count=_counted(row, "successful")
    )
    there = "" if pd.isna(row["tpr_5"]) else sentences.AREA_THERE.format(area=_area(row))
    text = f"{text}{there}{chosen}"
    if pd.isna(row["reference"]):
        return finding("detection", text, row, row["successful"], measure)
    text += _reference(rows, row, of_detector, measure)
    heads = sentences.DETECTION_MEASURES
    compared = [name for name in heads if not pd.isna(row[f"minus_{name}"])]
    there = ", ".join(f"{heads[name]} {in_brackets(row, f'minus_{name}')}" for name in compared)
    verdicts = {name: _verdicts(of_detector, f"minus_{name}") for name in (measure, "auroc_noise")}
    over = "; ".join(f"{heads[name]} {verdict}" for name, verdict in verdicts.items() if verdict)
    text += sentences.MINUS_REFERENCE.format(family=component_name(row["family"]), numbers=there)
    text += sentences.BY_FAMILY.format(verdicts=over) if over else ""
    return finding(f"{row['detector']}_minus_{row['reference']}", text, row, row["successful"], f"minus_{measure}")


def _reference(rows: pd.DataFrame, row: _Row, of_detector: Sequence[_Row], measure: str) -> str:
    """Sentence on the reference's lowest number over families, and on what both were fitted to."""
    of_detector = [one for one in of_detector if not pd.isna(one[f"minus_{measure}"])]
    if not of_detector:
        return sentences.REFERENCE.format(reference=component_name(row["reference"]))
    least = min(of_detector, key=lambda one: float(one[measure] - one[f"minus_{measure}"]))
    key = {"detector": row["reference"], "family": least["family"], "fitted_on": least["reference_fitted_on"]}
    same = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)].to_dict("records")
    there = same[0] if same else {measure: least[measure] - least[f"minus_{measure}"]}
    apart = [one for one in of_detector if one["fitted_on"] != one["reference_fitted_on"]]
    how = sentences.SAME_FIT if row["fitted_on"] else ""
    if apart:
        fits = (str(apart[0][name]) for name in ("fitted_on", "reference_fitted_on"))
        detector, reference = (
            sentences.ALL_OTHERS if leaves_out(fit) else display_name(fit) or sentences.NO_ATTACK for fit in fits
        )
        how = sentences.OTHER_FIT.format(reference=reference, detector=detector)
    names = {"reference": component_name(row["reference"]), "family": component_name(least["family"])}
    names |= {"measure": sentences.DETECTION_MEASURES[measure], "number": in_brackets(there, measure, ".3f")}
    return sentences.REFERENCE_LEAST.format(**names, fit=how)


def _operating_point(row: _Row) -> str:
    """Detection rates at the thresholds, or else the AUROC."""
    rates = {"5%": "tpr_5", "1%": "tpr_1"}
    rates = {at: of for at, of in rates.items() if not pd.isna(row[of])}
    shares = " and ".join(f"{in_brackets(row, of, '.3f')} at {at}" for at, of in rates.items())
    real = " and ".join(in_brackets(row, of.replace("tpr", "false_clean"), ".3f") for of in rates.values())
    return sentences.DETECTS.format(shares=shares, real=real) if rates else sentences.HAS.format(area=_area(row))


def _area(row: _Row) -> str:
    paired, area, twins = (in_brackets(row, name, ".3f") for name in ("auroc_paired", "auroc", "auroc_twins"))
    caution = sentences.CAUTION[direction(row, "auroc_paired", middle=0.5)]
    return sentences.AREAS.format(paired=paired, area=area, twins=twins, caution=caution)


def _verdicts(rows: Sequence[_Row], column: str) -> str:
    """Families grouped by the sign of a difference: above zero, below it, or neither."""
    words = sentences.FAMILY_VERDICTS
    signs = {component_name(row["family"]): direction(row, column) for row in rows if not pd.isna(row[column])}
    named = {way: ", ".join(family for family, sign in signs.items() if sign == way) for way in words}
    return ", ".join(f"{word} {named[way]}" for way, word in words.items() if named[way])


def _adaptive(frame: pd.DataFrame, best: str) -> Iterator[Finding]:
    """Finding on the adaptive attacker's success in the worst norm, and at the largest epsilon of the others.

    Against the best detector, or the first that was attacked.
    """
    rows = frame[frame["attack"].isin(ADAPTIVE_ATTACKS) & frame["evasion_5"].notna()]
    if rows.empty:
        return
    named = best if (rows["detector"] == best).any() else rows["detector"].iloc[0]
    of_detector = rows[rows["detector"] == named]
    largest = of_detector.loc[of_detector.groupby("attack", sort=False)["eps"].idxmax()]
    row, *others = largest.sort_values("evasion_5", ascending=False, kind="stable").to_dict("records")
    less = ", ".join(f"{in_brackets(one, 'evasion_5', '.3f')} ({_budget(one)})" for one in others)
    text = sentences.ADAPTIVE_ATTACKER.format(
        detector=component_name(str(named)),
        share=in_brackets(row, "evasion_5", ".3f"),
        budget=_budget(row),
        count=_counted(row, "images"),
        others=sentences.WORST_NORM.format(others=less) if less else sentences.ONLY_NORM,
    )
    yield finding("adaptive_evasion", text, row, row["images"], "evasion_5")


def _counted(row: _Row, images: str) -> str:
    """Number of attacked images, behind that of their groups if these are fewer."""
    groups = row["groups" if images == "images" else f"{images}_groups"]
    return f"{row[images]:,}" if groups == row[images] else f"{groups:,.0f} groups, {row[images]:,}"


def _budget(row: _Row) -> str:
    return sentences.EPSILON_OF_NORM.format(norm=ADAPTIVE_ATTACKS[row["attack"]], eps=row["eps"])
