"""The findings of a run, of whichever kind it is, in the order in which a reader asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from dovision.functional.estimates import MIN_IMAGES
from dovision.results import sentences
from dovision.results.detection_findings import detection_findings
from dovision.results.detection_summary import DETECTION, read_detection
from dovision.results.detection_tables import ADAPTIVE_ATTACKS
from dovision.results.effect_findings import attack_findings, fill_of, use_findings
from dovision.results.finding import Finding, finding, images_text
from dovision.results.image_tables import MAPS_FILE, OTHER_FILL, read_maps
from dovision.results.map_findings import RANDOM_MAP, at_chance, map_findings
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN, has_rows

MOST = 3  # sentences of a kind of measurement


def run_findings(run: Run) -> list[Finding]:
    """Write the findings of a completed run: what the network uses, what the attack changed, which method is better.

    What the run cannot show, and why, comes last; see `sentences.HEADINGS`.
    """
    uses, attacked = [*islice(use_findings(run), MOST)], [*islice(attack_findings(run), MOST)]
    better = [*islice(detection_findings(run), MOST), *map_findings(run)]
    better = [one for one in better if one.section != sentences.LIMITS]
    return [*uses, *attacked, *better, *limit_findings(run, [*uses, *attacked])]


def by_heading(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by the heading of their section, in its order."""
    ordered = sorted(findings, key=lambda one: [*sentences.HEADINGS].index(one.section))
    return {
        sentences.HEADINGS[section]: [*of_section]
        for section, of_section in groupby(ordered, key=lambda one: one.section)
    }


def limit_findings(run: Run, effects: Sequence[Finding]) -> Iterator[Finding]:
    """Sentences on what a run cannot say, and why.

    Args:
        run: a completed one.
        effects: the findings of `use_findings` and `attack_findings`.
    """
    images, labels = run.summary["conditions"][CLEAN]["images"], run.summary["labels"]
    if (chance := at_chance(run)) is not None:
        yield chance
    texts = [] if labels else [sentences.NO_LABELS]
    if labels and images < MIN_IMAGES:
        texts.append(sentences.NO_AVERAGE.format(count=images_text(images)))
    if not has_rows(run.folder):
        texts.append(sentences.NO_ROWS)
    refuters = {row["refuter"] for row in run.summary.get("refutations", []) if row["passed"] is not None}
    used = [one for one in effects if one.section == sentences.USES and one.number.n >= MIN_IMAGES]
    if (fill := fill_of(run)) and effects and OTHER_FILL not in refuters:
        texts.append(sentences.ONE_FILL.format(fill=fill))
    elif used and not refuters:
        texts.append(sentences.NO_REFUTER)
    if any(one.name == "effect_auroc" for one in effects):
        texts.append(sentences.NO_NOISE)
    if (run.folder / DETECTION).is_file() and not read_detection(run.folder)["attack"].isin(ADAPTIVE_ATTACKS).any():
        texts.append(sentences.NO_ADAPTIVE)
    has_maps = (run.folder / MAPS_FILE).is_file()
    if has_maps and chance is None and RANDOM_MAP not in {*read_maps(run.folder)["explainer"]}:
        texts.append(sentences.NO_RANDOM_MAP)
    for number, text in enumerate(texts):
        yield finding(f"limit_{number}", text, {}, images, section=sentences.LIMITS)
